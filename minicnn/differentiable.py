"""The decorator that pairs an operation with its gradient.

::

    @differentiable
    def mul(a, b, /):
        return a * b

    @mul.gradient(saves="a b")
    def _(dy, y, a, b):
        return lambda: unbroadcast(dy * b, a), lambda: unbroadcast(dy * a, b)

Left of the slash stand the tensors, right of it the settings, which have no gradient.  Called on
arrays, an operation just computes; called on Tensors, it also records a Node.  A gradient returns
one thunk per tensor, and only those needed are run.  It is written with differentiable operations,
so the same text runs fast on arrays and, on Tensors, is itself recorded and differentiable.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Container
from contextvars import ContextVar
from itertools import count
from typing import Any, Generic, NamedTuple, ParamSpec, TypeAlias

from minicnn import anomaly, arguments, guards, storage
from minicnn.tensor import Hook, Tensor
from minicnn_kernels.arrays import is_floating

P = ParamSpec("P")
Array: TypeAlias = Any  # in an operation an array; in a recorded gradient it may be a Tensor
Thunk: TypeAlias = Callable[[], Any]
Gradients: TypeAlias = Thunk | tuple[Thunk, ...]

grad_enabled: ContextVar[bool] = ContextVar("grad_enabled", default=True)
ticks = count()  # one for each recorded call


class Spec(NamedTuple):
    """What remains of an array whose values the gradient does not read."""

    shape: tuple[int, ...]
    dtype: Any

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)


class Node:
    """One recorded call: its operation, what the gradient will read, and where each dx goes."""

    __slots__ = "hooks", "op", "parents", "saved", "settings", "spec", "tick", "trace", "versions"

    def __init__(
        self, op: Op[Any], inputs: tuple[Any, ...], arrays: list[Any], y: Tensor, settings: Any
    ) -> None:
        self.op = op
        self.tick = next(ticks)
        self.settings = settings
        self.spec = Spec(y.shape, y.dtype)
        self.hooks: list[Hook] = []
        parents: list[Node | Tensor | None] = []
        saved: list[Any] = [y.array if 0 in op.saves else self.spec]
        versions = [(y.version, y.version[0]) if 0 in op.saves else None]
        for i, (t, value) in enumerate(zip(inputs, arrays, strict=True), 1):
            is_tensor, is_read = isinstance(t, Tensor), i in op.saves
            parents.append(t.origin if is_tensor and t.requires_grad else None)
            versions.append((t.version, t.version[0]) if is_tensor and is_read else None)
            only_spec = hasattr(value, "dtype") and not is_read
            saved.append(Spec(value.shape, value.dtype) if only_spec else value)
        self.parents, self.versions = tuple(parents), tuple(versions)
        self.saved: tuple[Any, ...] | None = tuple(saved)
        self.trace = anomaly.trace(self.saved) if anomaly.active.get() else None

    def gradients(self, dy: Any) -> tuple[Thunk, ...]:
        """Return one thunk per tensor argument, for dy an array or a Tensor."""
        saved = guards.usable(self)
        if isinstance(dy, Tensor):  # recorded: hand out Tensors that know where they come from
            origins = (self, *self.parents)
            saved = tuple(
                self._rebuilt(i, value, origin)
                for i, (value, origin) in enumerate(zip(saved, origins, strict=True))
            )
        thunks = storage.thunks(self.op, dy, saved, self.settings)
        return guards.check_thunks(self, thunks if isinstance(thunks, tuple) else (thunks,))

    def _rebuilt(self, i: int, value: Any, origin: Node | Tensor | None) -> Any:
        """Return saved value number i as the Tensor it was; what was none stays as it is."""
        version = self.versions[i]
        if version is None:  # a Spec, an array or a number
            return value
        if isinstance(origin, Tensor):
            return guards.same_leaf(self, i, origin, value)
        tensor = Tensor(value)
        tensor.node, tensor.version = origin, version[0]
        return tensor

    def release(self) -> None:
        """Let go of everything saved for the gradient; only the way to the parents stays."""
        self.saved = self.settings = None


class Op(Generic[P]):
    """An operation on arrays together with its gradient; what `differentiable` makes.

    Attributes:
        reads_halves: whether it takes arrays of 16 bits on a card as they are: `minicnn.storage`.
    """

    reads_halves = False

    def __init__(self, forward: Callable[P, Any]) -> None:
        self.forward: Callable[..., Any] = forward
        self.gradient_function: Callable[..., Gradients] | None = None
        self.name = forward.__name__
        self.__doc__, self.__name__ = forward.__doc__, forward.__name__
        self.__module__, self.__qualname__ = forward.__module__, forward.__qualname__
        self.__wrapped__ = forward
        kinds = guards.checked_signature(self.name, inspect.signature(forward))
        self.setting_defaults = {p.name: p.default for p in kinds if p.default is not p.empty}
        self.tensor_names = [p.name for p in kinds if p.kind is p.POSITIONAL_ONLY]
        self.variadic = any(p.kind is p.VAR_POSITIONAL for p in kinds)
        self.setting_names = [p.name for p in kinds if p.kind is p.POSITIONAL_OR_KEYWORD]
        self.saves: Container[int] = range(sys.maxsize)  # positions in (y, *tensors) that are read

    def gradient(self, saves: str | None = None) -> Callable[[Callable[..., Gradients]], Op[P]]:
        """Take the function below as this operation's gradient.

        Args:
            saves: the names, among y and the tensors, whose values the gradient reads.  The
                others arrive as a Spec (shape and dtype), so that their memory can go.
        """
        if saves is not None:
            names = ["y", *self.tensor_names]
            self.saves = {names.index(name) for name in saves.split()}

        def register(gradient_function: Callable[..., Gradients]) -> Op[P]:
            self.gradient_function = gradient_function
            return self

        return register

    def value_names(self, node: Node) -> list[str]:
        """Name the values that `node` saved, for messages."""
        names = self.tensor_names or [f"tensor {i}" for i in range(len(node.versions) - 1)]
        return ["its result", *(f"its input {name}" for name in names)]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Compute on arrays; on Tensors also record, if one of them requires a gradient."""
        inputs, settings = arguments.bind(self, args, kwargs)
        tensors = [value for value in inputs if isinstance(value, Tensor)]
        if not tensors:
            return self.forward(*inputs, **settings)
        arrays = arguments.to_arrays(self, inputs)
        y = Tensor(arguments.compute(self, arrays, settings))
        if anomaly.active.get():
            anomaly.check_finite(y.array, self.name, "forward")
        _share_version(y, tensors)
        if grad_enabled.get() and is_floating(y.dtype) and any(t.requires_grad for t in tensors):
            y.node = Node(self, inputs, arrays, y, settings)
        return y

    def __repr__(self) -> str:
        return f"<differentiable operation {self.name}>"


def differentiable(forward: Callable[P, Any]) -> Op[P]:
    """Make an operation of a function on arrays; `.gradient` then gives it its gradient."""
    return Op(forward)


def _share_version(y: Tensor, tensors: list[Tensor]) -> None:
    """Let a view count changes in place together with the tensor it looks at."""
    memory = arguments.owner(y.array)
    for tensor in tensors:
        if arguments.owner(tensor.array) is memory:
            y.version = tensor.version
