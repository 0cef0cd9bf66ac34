"""Subject: what is being checked, as one forward and one backward on lists of NumPy arrays.

Whatever a user hands in (a NumPy pair, a function of Tensors, a Module with its parameters and a
loss) becomes a Subject, and the rest of the checker knows nothing else.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from minicnn.backprop import enable_grad, grad, no_grad
from minicnn.differentiable import Op
from minicnn.errors import ArgumentError
from minicnn.gradcheck.replay import Replay
from minicnn.nn import Module
from minicnn.tensor import Tensor
from minicnn_kernels.arrays import Array, is_floating, to_device

Outputs = list[Array]
Gradients = list[Array | None]


class Subject:
    """A function and the gradient that belongs to it.

    Attributes:
        name: what the report calls it.
        inputs: where it is checked; the floating-point ones in `dtype`.
        names: one name per input.
        settings: stride, padding, p ...: what is known about the call besides the arrays.
        checked: the positions of the inputs that have a gradient.
        native: the element type that the user's inputs had.
    """

    def __init__(
        self,
        name: str,
        inputs: Sequence[Array],
        names: Sequence[str],
        forward: Callable[[Sequence[Array]], Any],
        record: Callable[[Sequence[Array]], Callable[[Sequence[Array]], Any]],
        replay: Replay,
        settings: Mapping[str, Any] | None = None,
        checked: Sequence[int] | None = None,
        dtype: Any = np.float64,
    ) -> None:
        floats = [i for i, x in enumerate(inputs) if is_floating(x.dtype)]
        self.checked = floats if checked is None else list(checked)
        self.native = np.result_type(*(inputs[i].dtype for i in floats)) if floats else dtype
        self.inputs = [
            np.array(x, dtype=dtype if is_floating(x.dtype) else None, order="C") for x in inputs
        ]
        self.name, self.names, self.settings = name, list(names), dict(settings or {})
        self._forward, self._record, self.replay = forward, record, replay
        self.dtype = np.dtype(dtype)
        self.calls = 0

    @property
    def rounding(self) -> float:
        """The relative spacing of numbers in the type the subject computes in."""
        return float(np.finfo(self.dtype).eps)

    def forward(self, inputs: Sequence[Array]) -> Outputs:
        """Compute the outputs from these very arrays, randomness replayed."""
        self.calls += 1
        self.replay.restore()
        with np.errstate(all="ignore"):  # steps may lead out of the domain
            found = as_list(self._forward(self._cast(inputs)))
        return [checked_output(self.name, y) for y in found]

    def values(self, inputs: Sequence[Array]) -> Outputs:
        """Compute the outputs from copies, so that nothing the caller holds can change."""
        return [np.array(y) for y in self.forward([np.array(x) for x in inputs])]

    def complex_forward(self, inputs: Sequence[Array]) -> list[Array] | None:
        """Compute the outputs for complex inputs; None if the function does not take them."""
        self.calls += 1
        self.replay.restore()
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("error")  # of an imaginary part that is dropped
                found = [np.asarray(y) for y in as_list(self._forward(inputs))]
        except Exception:
            return None
        return found if all(y.dtype.kind == "c" for y in found) else None

    def disturb(self) -> None:
        """Run elsewhere: a backward that reads what another call saved is found out."""
        inputs = elsewhere(self.inputs)
        with contextlib.suppress(Exception):
            self.gradients([np.ones(y.shape) for y in self.values(inputs)], inputs)

    def record(self, inputs: Sequence[Array]) -> Callable[[Sequence[Array]], Gradients]:
        """Run forward on these very arrays; return the backward under test, ready for any dy.

        It returns one gradient per input where it gave one per input or one per input that is
        checked, and what it gave otherwise.
        """
        self.calls += 1
        self.replay.restore()
        with np.errstate(all="ignore"):
            run = self._record(self._cast(inputs))

        def backward(upstream: Sequence[Array]) -> Gradients:
            with np.errstate(all="ignore"):
                found = as_list(run(self._cast(upstream)))
            if len(found) == len(self.checked) != len(inputs):
                placed: list[Any] = [None] * len(inputs)
                for position, dx in zip(self.checked, found, strict=True):
                    placed[position] = dx
                found = placed
            return [None if dx is None else np.asarray(dx) for dx in found]

        return backward

    def _cast(self, arrays: Sequence[Array]) -> list[Array]:
        """Return floating-point arrays in the subject's type: the very same ones if they are."""
        return [x.astype(self.dtype, copy=False) if is_floating(x.dtype) else x for x in arrays]

    def gradients(self, upstream: Sequence[Array], inputs: Sequence[Array]) -> Gradients:
        """Run forward and backward on copies and return copies."""
        backward = self.record([np.array(x) for x in inputs])
        found = backward([np.array(dy) for dy in upstream])
        return [None if dx is None else np.array(dx) for dx in found]


def as_list(result: Any) -> list[Any]:
    """Return what a function returned as a list: one value, a tuple or a list of them."""
    return list(result) if isinstance(result, (tuple, list)) else [result]


def checked_output(name: str, y: Any) -> Array:
    """Return an output as an array; complain about what has no derivative."""
    array = np.asarray(y)
    if array.dtype.kind not in "fiub":
        raise ArgumentError(
            f"gradcheck: {name} returned {type(y).__name__} ({array.dtype}); it must return "
            f"arrays of real numbers"
        )
    return array


# --- plain NumPy: forward and backward ------------------------------------------------------------


def from_pair(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    inputs: Sequence[Any],
    names: Sequence[str] | None = None,
    cache: bool | None = None,
    dtype: Any = np.float64,
) -> Subject:
    """Make a Subject of `forward(*inputs)` and `backward(dy, *inputs)`.

    With `cache`, forward returns `(out, cache)` and backward takes `(dout, cache)`, as in the
    exercises of the course cs231n; by default (None) the functions' own shape decides.
    """
    arrays = [_as_array(x, i) for i, x in enumerate(inputs)]
    replay = Replay(forward, backward)
    if cache is None:
        cache = _returns_cache(forward(*elsewhere(arrays)), backward, len(arrays))

    def run(given: Sequence[Array]) -> Any:
        return forward(*given)[0] if cache else forward(*given)

    def record(given: Sequence[Array]) -> Callable[[Sequence[Array]], Any]:
        out = forward(*given)
        saved = (out[1],) if cache else given
        return lambda upstream: backward(*upstream, *saved)

    return Subject(
        name_of(forward),
        arrays,
        names or _parameter_names(forward, len(arrays)),
        run,
        record,
        replay,
        _settings_of(forward),
        dtype=dtype,
    )


def _returns_cache(result: Any, backward: Callable[..., Any], inputs: int) -> bool:
    """Say whether forward returned (out, cache) and backward expects (dout, cache)."""
    if not (isinstance(result, tuple) and len(result) == 2):
        return False
    if not isinstance(result[1], (np.ndarray, float, int, np.generic)):
        return True
    try:
        inspect.signature(backward).bind(*range(2 + inputs))
    except TypeError:
        return True  # two outputs and the inputs would not even fit
    except ValueError:
        pass
    return False


def _as_array(x: Any, position: int) -> Array:
    array = x.detach().cpu().array if isinstance(x, Tensor) else np.asarray(x)
    if array.dtype.kind not in "fiub":
        raise ArgumentError(
            f"gradcheck: input {position} is {type(x).__name__} ({array.dtype}); "
            f"pass real numbers, and settings through functools.partial"
        )
    return array


# --- functions of Tensors, operations, modules ----------------------------------------------------


def from_function(
    function: Callable[..., Any],
    inputs: Any,
    loss: Callable[..., Any] | None = None,
    names: Sequence[str] | None = None,
    order: int = 1,
    dtype: Any = np.float64,
) -> Subject:
    """Make a Subject of a function of Tensors; of a Module, with a copy of its parameters.

    Tensors that require a gradient are checked; if none does, all of floating-point type are.
    Anything that is neither a Tensor nor an array is passed on as it is.  What lies on a card is
    computed there, in arrays that NumPy changes and reads.  With `order` 2 the
    outputs are the gradients of the function, and the inputs are followed by its dy.
    """
    given = list(inputs) if isinstance(inputs, (tuple, list)) else [inputs]
    arrays_at = [i for i, x in enumerate(given) if isinstance(x, (Tensor, np.ndarray, np.generic))]
    arrays = [_as_array(given[i], i) for i in arrays_at]
    module = _copied(function, dtype) if isinstance(function, Module) else None
    call: Callable[..., Any] = module or function
    parameters = dict(module.named_parameters()) if module else {}
    tensors = [x for x in (*given, *parameters.values()) if isinstance(x, Tensor)]
    device = next((x.device for x in tensors if x.device != "cpu"), "cpu")

    def compute(leaves: Sequence[Tensor]) -> list[Tensor]:
        arguments = list(given)
        for place, leaf in zip(arrays_at, leaves, strict=True):
            arguments[place] = leaf
        result = call(*arguments)
        if loss is not None:
            result = loss(*as_list(result))
        outputs = [y for y in _tensors_in(result) if is_floating(y.dtype)]
        if not outputs:
            raise ArgumentError(
                f"gradcheck: {name_of(function)} returned {type(result).__name__}; "
                f"it must return a floating-point Tensor"
            )
        return outputs

    def place(values: Sequence[Array]) -> list[Tensor]:
        """Return the Tensors to differentiate by: the inputs, the parameters and, second, dy."""
        leaves = [Tensor(to_device(x, device), is_floating(x.dtype)) for x in values]
        middle = len(arrays)
        for parameter, leaf in zip(parameters.values(), leaves[middle:], strict=False):
            parameter.data = leaf
        return [*leaves[:middle], *parameters.values(), *leaves[middle + len(parameters) :]]

    def outputs_of(places: Sequence[Tensor]) -> list[Tensor]:
        outputs = compute(places[: len(arrays)])
        if order == 1:
            return outputs
        first = places[: len(arrays) + len(parameters)]
        wanted = [x for x in first if x.requires_grad]
        found = grad(outputs, wanted, places[len(first) :], create_graph=True, allow_unused=True)
        return [dx for dx in found if dx is not None]

    def run(values: Sequence[Array]) -> list[Array]:
        with no_grad() if order == 1 else enable_grad():
            return [to_device(y.array, "cpu") for y in outputs_of(place(values))]

    def record(values: Sequence[Array]) -> Callable[[Sequence[Array]], list[Any]]:
        with enable_grad():
            places = place(values)
            outputs = outputs_of(places)
        wanted = [i for i, x in enumerate(places) if x.requires_grad]

        def backward(upstream: Sequence[Array]) -> list[Any]:
            pairs = zip(outputs, upstream, strict=True)
            reached = [(y, Tensor(to_device(dy, device))) for y, dy in pairs if y.requires_grad]
            found: list[Any] = [None] * len(places)
            if reached and wanted:
                ends, seeds = zip(*reached, strict=True)
                targets = [places[i] for i in wanted]
                results = grad(ends, targets, seeds, retain_graph=True, allow_unused=True)
                for i, dx in zip(wanted, results, strict=True):
                    found[i] = None if dx is None else to_device(dx.array, "cpu")
            return found

        return backward

    floats = [k for k, x in enumerate(arrays) if is_floating(x.dtype)]
    asked = [k for k in floats if getattr(given[arrays_at[k]], "requires_grad", False)]
    start = len(arrays)
    learned = [start + k for k, p in enumerate(parameters.values()) if p.requires_grad]
    checked = [*(asked or floats), *learned]
    own_names = list(names or _parameter_names(function, len(given)))
    labels = [own_names[i] if i < len(own_names) else f"x{i}" for i in arrays_at]
    everything = [*arrays, *(to_device(p.array, "cpu") for p in parameters.values())]
    labels += parameters
    replay = Replay(call, loss)
    if order == 2:
        converted = [x.astype(dtype) if is_floating(x.dtype) else x for x in everything]
        with no_grad():
            results = compute(place(converted)[:start])
        upstream = [signs(np.random.default_rng(1), y.shape) for y in results]
        checked += range(len(everything), len(everything) + len(upstream))
        everything += upstream
        labels += ["dy"] if len(upstream) == 1 else [f"dy{i}" for i in range(len(upstream))]
    name = name_of(function) if order == 1 else f"the gradient of {name_of(function)}"
    subject = Subject(
        name, everything, labels, run, record, replay, _settings_of(function), checked, dtype
    )
    if isinstance(function, Module) and parameters:
        subject.native = next(iter(function.parameters())).dtype
    return subject


def _copied(module: Module, dtype: Any) -> Module:
    """Return a copy of a module in another element type: the check may then change it."""
    try:
        return copy.deepcopy(module).to(dtype=dtype)
    except Exception as error:
        raise ArgumentError(
            f"gradcheck: {type(module).__name__} cannot be copied ({error}); check it as a "
            f"function of its inputs: gradcheck(lambda x: model(x), x)"
        ) from error


def _tensors_in(result: Any) -> list[Tensor]:
    """Return the Tensors of a result: one, or those inside tuples, lists and dicts."""
    if isinstance(result, Tensor):
        return [result]
    if isinstance(result, Mapping):
        return [y for part in result.values() for y in _tensors_in(part)]
    if isinstance(result, (tuple, list)):
        return [y for part in result for y in _tensors_in(part)]
    return []


def elsewhere(inputs: Sequence[Array]) -> list[Array]:
    """Return other inputs for the same function: the same values in another order."""
    rng = np.random.default_rng(5)
    return [
        rng.permutation(x.ravel()).reshape(x.shape) if is_floating(x.dtype) else np.array(x)
        for x in inputs
    ]


def signs(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw values of both signs between 0.5 and 1.5 in size: none is lost among the others."""
    return np.asarray(rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape))


# --- names ----------------------------------------------------------------------------------------


def name_of(function: Any) -> str:
    """Return the name under which a report speaks of a function."""
    if isinstance(function, functools.partial):
        return name_of(function.func)
    if isinstance(function, Module):
        return type(function).__name__
    name: str = getattr(function, "__name__", type(function).__name__)
    return "the function" if name == "<lambda>" else name


def _settings_of(function: Any) -> dict[str, Any]:
    """Return the keyword settings fixed by functools.partial."""
    if isinstance(function, functools.partial):
        return {**_settings_of(function.func), **function.keywords}
    return {}


def _parameter_names(function: Any, count: int) -> list[str]:
    """Return the function's own names for its first `count` arguments, or x0, x1, ..."""
    if isinstance(function, Op) and function.tensor_names:
        names = list(function.tensor_names)
    else:
        called = function.forward if isinstance(function, Module) else function
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        try:
            found = inspect.signature(called).parameters.values()
        except (TypeError, ValueError):
            found = {}.values()
        names = [p.name for p in found if p.kind in kinds]
    return [names[i] if i < len(names) else f"x{i}" for i in range(count)]
