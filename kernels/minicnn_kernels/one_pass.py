"""Which formulas are recorded, and how a recording is used again.

The first call with arrays of certain shapes, layouts and types records the formula, see
`minicnn_kernels.pointwise`.  If it did not ask for their values, it would record the same again: so
later calls run the loop at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from math import prod
from typing import Any, NamedTuple, TypeVar

import numpy as np

from minicnn_kernels.arrays import Array, is_on_card
from minicnn_kernels.pointwise import Lazy, compiler_for, computed, has_kind, least_size, looks
from minicnn_kernels.registry import can_compile

F = TypeVar("F", bound=Callable[..., Any])

MOST_KINDS = 256  # of calls of one formula, whose settings may be others every time


def in_one_pass(formula: F) -> F:
    """Let a formula of arrays be computed in one pass, where they are large or on a card.

    The formula may return an array, or functions that do, as the gradient of an operation does.
    It may do to arrays what NumPy can; otherwise it depends on nothing but its arguments.
    """
    known: dict[Any, _Results] = {}
    in_float32 = _in_float32(formula)

    @wraps(formula)
    def record(*arrays: Any, **settings: Any) -> Any:
        if _are_small_on_cpu(arrays):
            return formula(*arrays, **settings)
        inputs = (*arrays, *settings.values())
        if not _worth_it(arrays, inputs):
            return in_float32(*arrays, **settings)
        places = [id(value) for value in inputs]
        key = (*map(_signature, inputs), *map(places.index, places))  # and which are the same
        if key not in known:
            if len(known) >= MOST_KINDS:
                known.clear()
            known[key] = _Results()
        return known[key].of(_Call(in_float32, arrays, settings), inputs)

    return record  # type: ignore[return-value]


def _in_float32(formula: F) -> F:
    """Let a formula of arrays of 16 bits on a card compute in float32, and round what it returns.

    Recorded, that is a part of it: the kernel reads and writes 16 bits.
    """

    @wraps(formula)
    def compute(*arrays: Any, **settings: Any) -> Any:
        half = next((value.dtype for value in arrays if _is_half(value)), None)
        if half is None:
            return formula(*arrays, **settings)
        wide = {name: _widened(value) for name, value in settings.items()}
        return _rounded(formula(*map(_widened, arrays), **wide), half)

    return compute  # type: ignore[return-value]


def _is_half(value: Any) -> bool:
    return (isinstance(value, Lazy) or is_on_card(value)) and has_kind(value.dtype, "h")


def _widened(value: Any) -> Any:
    return value.astype(np.float32) if _is_half(value) else value


def _rounded(result: Any, half: Any) -> Any:
    """Round an array, or what functions return."""
    if isinstance(result, tuple):
        return tuple(_rounded(part, half) for part in result)
    if callable(result):
        return lambda: _rounded(result(), half)
    return result.astype(half) if result.dtype == np.float32 else result


class _Call:
    """A call of a formula with Lazy arrays, made when its result is asked for, and at most once."""

    def __init__(self, formula: Callable[..., Any], arrays: Any, settings: dict[str, Any]) -> None:
        self.formula, self.arrays, self.settings = formula, arrays, settings
        self.done = False

    def result(self) -> Any:
        """Return what the formula does, and note whether it looked at values."""
        if not self.done:
            before = looks.count
            settings = {name: _lazy(value) for name, value in self.settings.items()}
            self._result = self.formula(*map(_lazy, self.arrays), **settings)
            self.done, self.looked = True, looks.count > before
        return self._result

    def function(self, i: int | None = None) -> Any:
        """Call the function that the formula has returned, or number i of them."""
        return self.result()() if i is None else self.result()[i]()


class _Results:
    """The results of all calls of a formula with arguments of one kind.

    Attributes:
        form: "functions" if it returns several, "function", or "array"; None: not yet known.
        plans: of each result; False where there is none, None where that is not yet known.
    """

    def __init__(self) -> None:
        self.form: str | None = None
        self.plans: list[Any] = [None]

    def of(self, call: _Call, inputs: tuple[Any, ...]) -> Any:
        """Return what the formula would: an array, or functions."""
        if self.form is None:
            result = call.result()
            if isinstance(result, tuple):
                self.form, self.plans = "functions", [None] * len(result)
            else:
                self.form = "function" if callable(result) else "array"
        if self.form == "array":
            return self._array(0, call.result, call, inputs)
        if self.form == "function":
            return partial(self._array, 0, call.function, call, inputs)
        return tuple(
            partial(self._array, i, partial(call.function, i), call, inputs)
            for i in range(len(self.plans))
        )

    def _array(
        self, i: int, result: Callable[[], Any], call: _Call, inputs: tuple[Any, ...]
    ) -> Any:
        """Compute result number i by its plan; without one record it, and make one if possible."""
        if self.plans[i]:
            return self.plans[i].run(inputs)
        before = looks.count
        lazy = result()
        if self.plans[i] is None:
            self.plans[i] = False
            if isinstance(lazy, Lazy) and not call.looked and looks.count == before:
                self.plans[i] = _plan_of(lazy, inputs) or False
                if self.plans[i]:
                    return self.plans[i].run(inputs)
        return computed(lazy)


class _Argument(NamedTuple):
    """The plan of a result that is an argument itself, as dy is in the gradient of a sum."""

    place: int

    def run(self, inputs: tuple[Any, ...]) -> Any:
        """Return that argument."""
        return inputs[self.place]


def _plan_of(lazy: Lazy, inputs: tuple[Any, ...]) -> Any:
    """Return how to compute the same of other inputs; None if it cannot be said."""
    if lazy.node.name == "array":
        places = [place for place, value in enumerate(inputs) if value is lazy.node.value]
        return _Argument(places[0]) if places else None
    return compiler_for(lazy.node).plan_of(lazy.node, lazy.shape, inputs)


def _are_small_on_cpu(arrays: tuple[Any, ...]) -> bool:
    """Say whether all arrays are NumPy's, and so small that nothing else has to be looked at."""
    size = 1  # of all of them, multiplied: it bounds what broadcasting makes of them
    for value in arrays:
        if type(value) is np.ndarray:
            size *= value.size
        elif hasattr(type(value), "__array_function__"):  # of a card, or recorded
            return False
    return size < least_size(False)


def _worth_it(arrays: tuple[Any, ...], inputs: tuple[Any, ...]) -> bool:
    """Say whether some array is large, and all are of the types that loops are made for.

    On a card any size will do: to start a kernel takes longer than what it computes.
    """
    on_cards = [value for value in arrays if is_on_card(value)]
    on_card = bool(on_cards)
    if not _are_large(on_cards or [x for x in arrays if type(x) is np.ndarray], on_card):
        return False
    for value in inputs:
        if isinstance(value, np.ndarray) or is_on_card(value):
            kinds = "fbh" if on_card else "fb"
            if is_on_card(value) != on_card or not has_kind(value.dtype, kinds):
                return False
        elif isinstance(value, Lazy) or hasattr(value, "requires_grad"):
            return False  # already recorded, for one pass or for a second derivative
    return on_card or can_compile()


def _are_large(arrays: list[Array], on_card: bool) -> bool:
    """Say whether the arrays have enough values after broadcasting."""
    least = least_size(on_card)
    sizes = [array.size for array in arrays]
    if not arrays or prod(sizes) < least:  # their product bounds what broadcasting makes of them
        return False
    return max(sizes) >= least or _size([array.shape for array in arrays]) >= least


def _size(shapes: list[Any]) -> int:
    """Return how many values there are after broadcasting; 0 where the shapes do not fit."""
    try:
        return prod(np.broadcast_shapes(*shapes))
    except ValueError:
        return 0


def _lazy(value: Any) -> Any:
    return Lazy.of(value) if isinstance(value, np.ndarray) or is_on_card(value) else value


def _signature(value: Any) -> Any:
    """Return all of an argument on which a recording depends; of what is no key, a new one."""
    if isinstance(value, np.ndarray) or is_on_card(value):
        return value.shape, value.strides, value.dtype.num, type(value)
    try:
        hash(value)
    except TypeError:
        return object()
    return type(value), value
