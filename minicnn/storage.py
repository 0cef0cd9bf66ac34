"""16-bit floating-point numbers are for storage: an operation computes in float32 and rounds.

float16 has 11 bits and reaches to 65,504; bfloat16 has 8 bits and float32's range.  Sums of such
numbers would lose most of their digits, so matrix units of cards add up in float32, and so does
everything here.  NumPy has no bfloat16: `ml_dtypes` brings it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from minicnn.errors import DTypeError
from minicnn_kernels import cards
from minicnn_kernels.arrays import is_floating, is_on_card

if TYPE_CHECKING:
    from minicnn.differentiable import Op

AS_THEY_ARE = frozenset({"broadcast_to", "cast", "diagonal_of", "index", "permute_dims", "view_as"})
"""Operations whose result may look at the memory of their input: they must not get a copy."""

ON_CARDS = frozenset({
    "affine", "conv", "conv_bias", "conv_input", "conv_weight", "matrix_product",
    "normalize_groups", "normalize_relu", "rescale_groups", "rescale_relu",
    "route_to_winners", "softmax_cross_entropy", "take_winners", "window_spread", "window_sum",
})  # fmt: skip
"""Operations for which cards have kernels that read and write bfloat16."""

WITH_WEIGHTS = frozenset({"normalize_groups", "normalize_relu", "rescale_groups", "rescale_relu"})
"""Operations that take 16-bit values with weights in float32."""


@cache
def bfloat16() -> Any:
    """Return the element type bfloat16.

    Raises:
        DTypeError: ml_dtypes is not installed.
    """
    try:
        from ml_dtypes import bfloat16 as found
    except ImportError:
        raise DTypeError(
            "bfloat16: NumPy has no such type, and ml_dtypes, which brings it, is not installed: "
            "pip install ml_dtypes; or use float16"
        ) from None
    return np.dtype(found)


def is_half_type(dtype: Any) -> bool:
    """Say whether this is float16 or bfloat16."""
    return dtype.itemsize == 2 and is_floating(dtype)


def is_half(value: Any) -> bool:
    """Say whether something has, or had, values of float16 or bfloat16."""
    dtype = getattr(value, "dtype", None)
    return dtype is not None and is_half_type(dtype)


def may_mix(op: Op[Any], dtypes: Sequence[Any]) -> bool:
    """Say whether an operation takes these floating-point types together."""
    fits = (dtype == np.float32 or is_half_type(dtype) for dtype in dtypes)
    return op.name in WITH_WEIGHTS and len(dtypes) == 2 and all(fits)


def eps(dtype: Any) -> float:
    """Return the distance from 1 to the next number."""
    found = np.dtype(dtype)
    return float(np.finfo(found).eps) if found.kind == "f" else 2.0**-7


def widened(op: Op[Any], arrays: Sequence[Any]) -> Sequence[Any]:
    """Return what an operation is to compute with: float32 in place of 16-bit numbers."""
    for array in arrays:  # written out: every call comes by here
        if hasattr(array, "dtype") and array.dtype.itemsize == 2:
            return arrays if op.name in AS_THEY_ARE else _wide(op, arrays)
    return arrays


def thunks(op: Op[Any], dy: Any, saved: Sequence[Any], settings: dict[str, Any]) -> Any:
    """Call an operation's gradient; if dy has 16 bits in float32, and what it returns is rounded.

    A recorded gradient is made of operations, of which each rounds by itself.
    """
    assert op.gradient_function is not None  # guards.usable has seen to it
    values = (dy, *saved)
    wide = _wide(op, values) if is_half(dy) and _is_array(dy) else values
    found = op.gradient_function(*wide, **settings)
    if wide is values:
        return found
    several = found if isinstance(found, tuple) else (found,)
    return tuple(_rounded(*pair) for pair in zip(several, saved[1:], strict=True))


def _wide(op: Op[Any], values: Sequence[Any]) -> Sequence[Any]:
    halves = [value for value in values if is_half(value) and _is_array(value)]
    if op.reads_halves and all(map(is_on_card, halves)):
        return values
    if op.name in ON_CARDS and all(map(_is_for_a_card, halves)):
        return values
    return [v.astype(np.float32) if is_half(v) and _is_array(v) else v for v in values]


def _is_for_a_card(array: Any) -> bool:
    """Say whether kernels of the present card take this array as it is."""
    if isinstance(array, np.ndarray) or array.dtype.name != "bfloat16" or array.ndim > 4:
        return False
    return cards.compute_capability() >= (8, 0)


def _is_array(value: Any) -> bool:
    """Say whether there are values to convert, not only their type."""
    return hasattr(value, "astype")


def _rounded(thunk: Callable[[], Any], like: Any) -> Callable[[], Any]:
    def compute() -> Any:
        dx = thunk()
        return dx.astype(like.dtype) if is_half(like) else dx

    return compute
