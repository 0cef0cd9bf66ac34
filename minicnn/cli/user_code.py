"""Functions in files and modules of the user's own, as `minicnn gradcheck` finds them."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import random
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

import minicnn
from minicnn.cli.targets import Check, near
from minicnn.differentiable import Op
from minicnn.errors import UsageError
from minicnn.gradcheck import Report, gradcheck, gradcheck_pair, gradgradcheck
from minicnn.nn import Module
from minicnn.tensor import Tensor
from minicnn_kernels.arrays import Array

Shape = tuple[int, ...]


class Found(NamedTuple):
    """A function of the user's: where it stands, and its backward if it has one."""

    target: str
    module: ModuleType
    name: str
    function: Any
    backward: Any

    @property
    def file(self) -> str | None:
        """The file that it stands in."""
        return getattr(self.module, "__file__", None)


@contextmanager
def visitors_welcome(seed: int) -> Iterator[None]:
    """Let user code be imported and draw random numbers; leave everything as it was."""
    path, legacy, plain = list(sys.path), np.random.get_state(), random.getstate()
    ours = minicnn.random.default.get_state()
    np.random.seed(seed % 2**32)
    random.seed(seed)
    minicnn.manual_seed(seed)
    try:
        yield
    finally:
        sys.path[:] = path
        np.random.set_state(legacy)
        random.setstate(plain)
        minicnn.random.default.set_state(ours)


def user_check(target: str, shapes: Sequence[Shape], order: int, seed: int) -> Check:
    """Return the check of `file.py::function` or `package.module::function`.

    Raises:
        UsageError: there is no such function, or it is not known what to call it with.
    """
    found = find(target)
    with errors_explained(found.target, found.file):
        function = _instance(found)
        inputs = _inputs(found, function, shapes, seed)
    if found.backward is not None:
        if order == 2:
            raise UsageError(
                f"{target}: --order 2 differentiates a backward again, so it needs a function of "
                f"Tensors; {found.name} is plain NumPy"
            )
        arrays, forward, backward = _settled(found, inputs)
        check = partial(gradcheck_pair, forward, backward, arrays)
    else:
        check = partial(gradcheck if order == 1 else gradgradcheck, function, inputs)

    short = target.rpartition("/")[2]

    def run(**settings: Any) -> Report:
        with errors_explained(found.target, found.file, found):
            report = check(**settings)
        report.name = short if order == 1 else f"the gradient of {short}"
        return report

    return Check(target, (target,), run)


# --- finding the function -------------------------------------------------------------------------


def find(target: str) -> Found:
    """Import the module of a target; return its function, and the backward that goes with it.

    A backward may be named instead of the forward: both are found by their names.
    """
    place, _, name = target.partition("::")
    if not place or not name.isidentifier():
        raise UsageError(f"{target!r}: write file.py::function or package.module::function")
    module = _imported(place, target)
    if not hasattr(module, name):
        raise UsageError(f"{place} has no {name!r}; {near(name, _functions(module))}")
    forward = next((n for n in _partners(name, back=False) if _callable(module, n)), None)
    if forward is not None:
        return Found(target, module, forward, getattr(module, forward), getattr(module, name))
    backward = next((n for n in _partners(name, back=True) if _callable(module, n)), None)
    return Found(
        target, module, name, getattr(module, name), backward and getattr(module, backward)
    )


def _partners(name: str, back: bool) -> list[str]:
    """Return what the backward (or, if not `back`, the forward) of `name` may be called.

    >>> _partners("conv_forward_naive", back=True)[0]
    'conv_backward_naive'
    >>> _partners("relu", back=True)
    ['relu_backward', 'backward_relu']
    >>> _partners("relu_backward", back=False)
    ['relu_forward', 'relu']
    """
    if back:
        found = [name.replace("forward", "backward"), f"{name}_backward", f"backward_{name}"]
    elif "backward" in name:
        bare = name.replace("_backward", "").replace("backward_", "")
        found = [name.replace("backward", "forward"), bare]
    else:
        found = []
    return [partner for partner in found if partner != name]


def _callable(module: ModuleType, name: str) -> bool:
    return callable(getattr(module, name, None))


def _functions(module: ModuleType) -> list[str]:
    """Return the names of what a module itself defines and one could check."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (callable(value) or isinstance(value, Module))
        and getattr(value, "__module__", module.__name__) == module.__name__
    ]


def _imported(place: str, target: str) -> ModuleType:
    """Import a file by its path, or a module by its name."""
    if not (place.endswith(".py") or "/" in place):
        sys.path.insert(0, str(Path.cwd()))
        with errors_explained(target, None):
            spec = importlib.util.find_spec(place)
        if spec is None:
            raise UsageError(f"no module named {place!r}; a file is written with its .py")
        with errors_explained(target, spec.origin):
            return importlib.import_module(place)
    file = Path(place).resolve()
    if not file.is_file():
        raise UsageError(f"no such file: {place}")
    root, parts = file.parent, [file.stem]
    while (root / "__init__.py").is_file():  # a module of a package, which may import its siblings
        root, parts = root.parent, [root.name, *parts]
    sys.path.insert(0, str(root))
    with errors_explained(target, str(file)):
        if len(parts) > 1:
            return importlib.import_module(".".join(parts))
        name = f"checked_{file.stem}"  # not the plain name: a file may be called random.py
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise UsageError(f"{place} is not a Python file")
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


# --- what to call it with -------------------------------------------------------------------------


def _instance(found: Found) -> Any:
    """Return the function; of a class, an object made without arguments."""
    if not inspect.isclass(found.function):
        return found.function
    try:
        inspect.signature(found.function).bind()
    except TypeError as error:
        raise UsageError(
            f"{found.target}: {found.name}() takes arguments ({error}); make an object in the "
            f"file, as in `layer = {found.name}(...)`, and name that"
        ) from None
    made = found.function()
    if not isinstance(made, Module):
        name = found.name.lower()
        raise UsageError(
            f"{found.target}: {found.name} is a class, but no minicnn Module; write its forward "
            f"and its backward as two functions, {name}_forward and {name}_backward"
        )
    return made


def _inputs(found: Found, function: Any, shapes: Sequence[Shape], seed: int) -> tuple[Any, ...]:
    """Return the inputs: random ones of the given shapes, or what the file itself offers."""
    names = _input_functions(found.name)
    if shapes:
        draw = np.random.default_rng(seed)
        inputs: tuple[Any, ...] = tuple(draw.standard_normal(shape) for shape in shapes)
    else:
        name = next((n for n in names if _callable(found.module, n)), None)
        if name is None:
            raise UsageError(_how_to_give_inputs(found, function, names[0]))
        given = getattr(found.module, name)()
        inputs = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    try:
        inspect.signature(_called(function)).bind(*inputs)
    except TypeError as error:
        raise UsageError(
            f"{found.target}: {found.name}({', '.join(_arguments(function))}) cannot be called "
            f"with {len(inputs)} input{'s' * (len(inputs) != 1)}: {error}"
        ) from None
    except ValueError:  # a built-in function that does not tell its signature
        pass
    return inputs


def _input_functions(name: str) -> list[str]:
    """Return the names under which a file may offer inputs for the function `name`.

    >>> _input_functions("conv_forward_naive")
    ['conv_forward_naive_inputs', 'conv_inputs', 'sample_inputs']
    """
    bare = name.partition("_forward")[0].removeprefix("forward_")
    return list(dict.fromkeys([f"{name}_inputs", f"{bare}_inputs", "sample_inputs"]))


def _arguments(function: Any) -> list[str]:
    """Return the names of the arguments that have no default."""
    try:
        found = inspect.signature(_called(function)).parameters.values()
    except (TypeError, ValueError):  # a built-in function does not tell
        return ["x"]
    return [p.name for p in found if p.default is p.empty and p.kind != p.VAR_KEYWORD]


def _called(function: Any) -> Any:
    """Return what names the arguments: the `forward` of a Module and of an operation."""
    return function.forward if isinstance(function, (Module, Op)) else function


def _how_to_give_inputs(found: Found, function: Any, name: str) -> str:
    arguments = _arguments(function) or ["x"]
    drawn = ", ".join("draw((2, 3))" for _ in arguments)
    shapes = " ".join("--shape 2,3" for _ in arguments)
    return (
        f"{found.target}: what shall {found.name}({', '.join(arguments)}) be called with? Add to "
        f"the file, with the right shapes,\n\n    def {name}():\n"
        f"        draw = np.random.default_rng(0).standard_normal\n        return {drawn}\n\n"
        f"or ask for random values, one shape per argument:\n\n"
        f"    minicnn gradcheck {found.target} {shapes}"
    )


def _settled(found: Found, inputs: tuple[Any, ...]) -> tuple[list[Array], Any, Any]:
    """Bind what stands behind the arrays, as `{"stride": 1, "pad": 0}`, to its parameter's name."""
    count = next((i for i, x in enumerate(inputs) if not _is_array(x)), len(inputs))
    if any(_is_array(x) for x in inputs[count:]):
        raise UsageError(f"{found.target}: its inputs must be arrays first, then settings")
    if count == 0:
        raise UsageError(f"{found.target}: its inputs hold no array")
    names = list(inspect.signature(found.function).parameters)[count:] if inputs[count:] else []
    settings = dict(zip(names, inputs[count:], strict=False))
    taken = inspect.signature(found.backward).parameters
    shared = {name: value for name, value in settings.items() if name in taken}
    forward = partial(found.function, **settings) if settings else found.function
    backward = partial(found.backward, **shared) if shared else found.backward
    return list(inputs[:count]), forward, backward


def _is_array(x: Any) -> bool:
    return isinstance(x, (np.ndarray, np.generic, Tensor, list))


# --- errors in the user's code --------------------------------------------------------------------


@contextmanager
def errors_explained(target: str, file: str | None, found: Found | None = None) -> Iterator[None]:
    """Turn whatever user code raises into one UsageError with file and line."""
    try:
        yield
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        message = error.msg if isinstance(error, SyntaxError) else error
        text = f"{target}: {_place(error, file)}{type(error).__name__}: {message}"
        if found is not None and found.backward is None and inspect.isfunction(found.function):
            looked = " or ".join(_partners(found.name, back=True))
            text += (
                f"\n{found.name} was called with Tensors, for the file has no {looked}; if it is "
                f"plain NumPy, write its backward under such a name"
            )
        raise UsageError(text) from error


def _place(error: BaseException, file: str | None) -> str:
    """Return "FILE, line N: " for the last line of user code that an error came through."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}: "
    if file is None:
        return ""
    folder, ours = Path(file).parent, Path(minicnn.__file__).parent
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        others = path.is_relative_to(ours) or "site-packages" in path.parts
        if frame.filename == file or (path.is_relative_to(folder) and not others):
            return f"{frame.filename}, line {frame.lineno}: "
    return f"{file}: "
