"""Formulas of many steps, computed element by element in one pass over memory.

Written with NumPy, a formula of n steps sends whole arrays through memory n times, on one core.
Here it is *recorded* first: called with Lazy arrays, which note what would be done to them, the
same text gives an expression, of which `minicnn_kernels.cpu.pointwise` makes one loop and
`minicnn_kernels.cuda.pointwise` one kernel.

>>> import numpy as np
>>> x = Lazy.of(np.ones(3, np.float32))
>>> print((1 - x * x).node)
(1 - (x * x))

What a Lazy array cannot note makes it compute itself and go on as an ordinary array.  So recording
decides how fast a result comes, never what it is.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, wraps
from typing import Any, TypeVar

import numpy as np

from minicnn_kernels.arrays import Array, is_on_card
from minicnn_kernels.expression import KINDS, STEPS, Node, an_array_of
from minicnn_kernels.registry import can_compile
from minicnn_kernels.strides import memory_order

F = TypeVar("F", bound=Callable[..., Any])

LEAST = 2**15
"""So many values are worth waking a compiled loop for; on a card any number is worth a kernel."""

_least: ContextVar[int | None] = ContextVar("least", default=None)

SHORT_POWERS: dict[float, Callable[[Any], Any]] = {
    2: np.square,
    1: lambda x: x,
    0.5: np.sqrt,
    -0.5: lambda x: 1 / np.sqrt(x),
    -1: np.reciprocal,
    -2: lambda x: 1 / (x * x),
}
FILLED: dict[Any, Any] = {np.zeros_like: 0.0, np.ones_like: 1.0, np.full_like: None}


class _Looks(threading.local):
    """How often Lazy arrays were asked for their values, in each thread."""

    count = 0


looks = _Looks()


class Lazy(np.lib.mixins.NDArrayOperatorsMixin):
    """An array that notes how it is to be computed; looked at, it computes itself.

    Attributes:
        node: the expression so far.
        shape, dtype: those of the result.
    """

    __slots__ = "dtype", "node", "shape"
    __array_priority__ = 900  # above arrays, below Tensor

    def __init__(self, node: Node, shape: tuple[int, ...]) -> None:
        self.node, self.shape, self.dtype = node, shape, node.dtype

    @classmethod
    def of(cls, array: Any) -> Lazy:
        """Start an expression with an array; one of a single value is a number in it.

        A number of NumPy's is a constant: it was not read from an array, or that was noticed.
        What lies on a card stays there: to look at it would mean to wait for the card.
        """
        if array.size == 1 and not is_on_card(array):
            source = None if isinstance(array, np.generic) else array
            return cls(Node("number", array.dtype, (), array.item(), source), array.shape)
        return cls(Node("array", array.dtype, value=array), array.shape)

    def compute(self) -> Array:
        """Compute the array, and from now on be just that."""
        looks.count += 1
        if self.node.name != "array":
            evaluate = compiler_for(self.node).evaluate
            self.node = Node("array", self.dtype, value=evaluate(self.node, self.shape))
        array: Array = self.node.value
        return array

    # --- what can be noted -----------------------------------------------------------------

    def __cupy_override_elementwise_kernel__(
        self, kernel: Any, *inputs: Any, **settings: Any
    ) -> Any:
        """Take over from CuPy, whose arrays are asked before if they stand first."""
        ufunc = getattr(np, kernel.name.removeprefix("cupy_"))
        return self.__array_ufunc__(ufunc, "__call__", *inputs, **settings)

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = (), **settings: Any
    ) -> Any:
        name = ufunc.__name__
        noted = None
        if name == "power" and isinstance(inputs[1], (int, float)) and inputs[1] in SHORT_POWERS:
            noted = SHORT_POWERS[inputs[1]](inputs[0])
        elif method == "__call__" and not settings and name in STEPS:
            noted = _noted(ufunc, inputs)
        if noted is None:
            call = getattr(ufunc, method)
            noted = call(*map(computed, inputs), **{k: computed(v) for k, v in settings.items()})
        if not out:
            return noted
        return _written(noted, out[0])

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function is np.where and len(args) == 3 and (noted := _chosen(*args)) is not None:
            return noted
        if function is np.clip and len(args) == 3 and not kwargs:
            x, low, high = args
            x = x if low is None else np.maximum(x, low)
            return x if high is None else np.minimum(x, high)
        if function in FILLED and isinstance(args[0], Lazy) and not kwargs:
            value = FILLED[function] if len(args) == 1 else args[1]
            return Lazy(Node("number", args[0].dtype, (args[0].node,), value), args[0].shape)
        return function(*_all_computed(args), **_all_computed(kwargs))

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        """Return the values in another element type."""
        if np.dtype(dtype) == self.dtype:
            return self
        if self.node.name == "cast" and has_kind(np.dtype(dtype), "h"):
            inner = self.node.arguments[0]
            if inner.dtype == dtype:  # it was just widened
                return Lazy(inner, self.shape)
        on_card = is_on_card(an_array_of(self.node))
        if has_kind(np.dtype(dtype), "fbh" if on_card else "fb"):
            return Lazy(_cast(self.node, np.dtype(dtype)), self.shape)
        return self.compute().astype(dtype, copy=False)

    def view(self, dtype: Any) -> Any:
        """Return booleans as the numbers 0 and 1 of an integer type; else look at the memory."""
        if self.dtype == bool and dtype is np.int8:
            return Lazy(_cast(self.node, np.dtype(np.int8)), self.shape)
        return self.compute().view(dtype)

    def copy(self) -> Lazy:
        """Return an array that can be changed in place without changing this one."""
        return Lazy(self.node, self.shape)

    # --- what cannot -----------------------------------------------------------------------

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__array_"):
            raise AttributeError(name)
        return getattr(self.compute(), name)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(self.compute(), dtype)

    def __getitem__(self, index: Any) -> Any:
        return self.compute()[computed(index)]

    def __len__(self) -> int:
        return len(self.compute())

    def __bool__(self) -> bool:
        return bool(self.compute())

    def __float__(self) -> float:
        return float(self.compute())


def compiler_for(node: Node) -> Any:
    """Return the module that computes expressions where the arrays of this one lie."""
    if is_on_card(an_array_of(node)):
        from minicnn_kernels.cuda import pointwise as cuda

        return cuda
    from minicnn_kernels.cpu import pointwise as cpu  # only now: it imports Numba

    return cpu


def is_array(value: Any) -> bool:
    """Say whether this is an array, or a number of NumPy's."""
    return isinstance(value, (np.ndarray, np.generic)) or is_on_card(value)


def computed(value: Any) -> Any:
    """Return a Lazy array as the array it stands for; anything else unchanged."""
    return value.compute() if isinstance(value, Lazy) else value


def _all_computed(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return type(value)(_all_computed(part) for part in value)
    if isinstance(value, dict):
        return {key: _all_computed(part) for key, part in value.items()}
    return computed(value)


def _noted(ufunc: np.ufunc, inputs: tuple[Any, ...]) -> Lazy | None:
    """Return ufunc(*inputs) as an expression, or None where the types are not among the kinds."""
    nodes, shapes, types = [], [], []
    for value in inputs:
        if isinstance(value, (bool, int, float)) and not isinstance(value, np.generic):
            nodes.append(Node("number", None, value=value))
            types.append(np.dtype(bool) if isinstance(value, bool) else type(value))
            continue
        if not isinstance(value, Lazy):
            if not is_array(value) or not has_kind(value.dtype, "fbi"):
                return None
            value = Lazy.of(value)
        nodes.append(value.node)
        shapes.append(value.shape)
        types.append(value.dtype)
    operands, result = _types(ufunc, tuple(types))
    if not all(has_kind(dtype, STEPS[ufunc.__name__].kinds) for dtype in operands):
        return None
    arguments = tuple(map(_cast, nodes, operands))
    return Lazy(Node(ufunc.__name__, result, arguments), _common(shapes))


def _chosen(condition: Any, a: Any, b: Any) -> Lazy | None:
    """Return np.where(condition, a, b) as an expression, or None."""
    same = _noted(np.maximum, (a, b)) if any(isinstance(v, Lazy) for v in (a, b)) else None
    if same is None or not (hasattr(condition, "dtype") and condition.dtype == bool):
        return None
    condition = condition if isinstance(condition, Lazy) else Lazy.of(condition)
    shape = _common([condition.shape, same.shape])
    return Lazy(Node("where", same.dtype, (condition.node, *same.node.arguments)), shape)


def _common(shapes: list[Any]) -> tuple[int, ...]:
    """Return the shape after broadcasting."""
    first = shapes[0]
    return first if all(s == first for s in shapes) else np.broadcast_shapes(*shapes)


@cache
def _types(ufunc: np.ufunc, types: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
    """Return the types in which a NumPy function computes, of its operands and of its result."""
    *operands, result = ufunc.resolve_dtypes((*types, None))
    return tuple(operands), result


@cache  # NumPy takes microseconds to name a type
def has_kind(dtype: np.dtype[Any], kinds: str) -> bool:
    """Say whether an element type is of one of the kinds f, b and i of `STEPS`."""
    return any(dtype.name in KINDS[kind] for kind in kinds)


def _cast(node: Node, dtype: np.dtype[Any]) -> Node:
    if node.name == "number":  # its own type may be None, that of a Python number
        return Node("number", dtype, node.arguments, node.value, node.source)
    if node.dtype == dtype:
        return node
    return Node("cast", dtype, (node,))


def _written(result: Any, out: Any) -> Any:
    """Write a result to the `out` of a call, in the type of that."""
    if isinstance(out, Lazy):
        lazy = result if isinstance(result, Lazy) else Lazy.of(np.asarray(result))
        out.node = _cast(lazy.node, out.dtype)
    else:
        out[...] = computed(result)
    return out


# --- which formulas are recorded ------------------------------------------------------------------


def one_step(name: str) -> Callable[[F], F]:
    """Let a NumPy formula of one array be a single step, of this name, where it is recorded."""

    def decorate(formula: F) -> F:
        @wraps(formula)
        def step(x: Any) -> Any:
            if isinstance(x, Lazy) and has_kind(x.dtype, STEPS[name].kinds):
                return Lazy(Node(name, x.dtype, (x.node,)), x.shape)
            return formula(x)

        return step  # type: ignore[return-value]

    return decorate


def can_change_in_one_pass(*members: Sequence[Any]) -> bool:
    """Say whether `changes_in_one_pass` serves arrays to be changed: the first members are large.

    The arrays of a member lie in memory alike, and all are of one type.
    """
    first = members[0][0]
    on_card = is_on_card(first)
    return (
        (type(first) is np.ndarray or on_card)
        and first.size >= least_size(on_card)
        and has_kind(first.dtype, "f")
        and all(_are_alike(member, first.dtype) for member in members)
        and (on_card or can_compile())
    )


def _are_alike(arrays: Sequence[Any], dtype: Any) -> bool:
    first = arrays[0]
    dense = first.flags.c_contiguous or first.transpose(memory_order(first)).flags.c_contiguous
    return dense and all(x.dtype == dtype and x.strides == first.strides for x in arrays)


def changes_in_one_pass(*members: dict[str, Array]) -> Iterator[dict[str, Any]]:
    """Give arrays to the body of a loop, which runs once and changes some of them in place.

    What it does to those of the first member is recorded, and done afterwards, in one pass over
    each, to those of all members; nothing is done if the body leaves the loop by `break`.
    """
    first = members[0]
    lazy = {name: Lazy.of(array) for name, array in first.items()}
    yield dict(lazy)
    changed = {
        name: lazy[name].node for name, array in first.items() if lazy[name].node.value is not array
    }
    if changed:
        compiler_for(Node("array", None, value=next(iter(first.values())))).change(members, changed)


def change_all(arrays: Sequence[Array], change: Callable[[Any], None]) -> None:
    """Let `change` change each array in place; those of a type in one pass where that is possible.

    Besides the array it may read others of a single value.
    """
    alike: defaultdict[Any, list[Array]] = defaultdict(list)
    for array in sorted(arrays, key=lambda array: -array.size):
        alike[array.dtype].append(array)
    for members in alike.values():
        if can_change_in_one_pass(*([array] for array in members)):
            for lazy in changes_in_one_pass(*({"x": array} for array in members)):
                change(lazy["x"])
            continue
        with np.errstate(all="ignore"):  # Inf and NaN are values here
            for array in members:
                change(array)


def least_size(on_card: bool) -> int:
    """Return of how many values formulas are recorded."""
    least = _least.get()
    return (1 if on_card else LEAST) if least is None else least


@contextmanager
def record_from(least: int) -> Iterator[None]:
    """Record formulas of at least so many values inside a `with` block, for tests."""
    token = _least.set(least)
    try:
        yield
    finally:
        _least.reset(token)
