"""Comparisons, logic and bits: no result has a gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.differentiable import Array, differentiable
from minicnn.errors import DTypeError
from minicnn.tensor import values_of
from minicnn_kernels.arrays import is_floating

__all__ = [
    "allclose", "bitwise_and", "bitwise_left_shift", "bitwise_not", "bitwise_or",
    "bitwise_right_shift", "bitwise_xor", "eq", "equal", "ge", "gt", "isclose", "isfinite", "isinf",
    "isnan", "isneginf", "isposinf", "le", "logical_and", "logical_not", "logical_or",
    "logical_xor", "lt", "ne", "signbit",
]  # fmt: skip

# --- comparison -----------------------------------------------------------------------------------


@differentiable
def eq(a: Array, b: Array, /) -> Array:
    """y = (a == b)."""
    return np.equal(a, b)


@differentiable
def ne(a: Array, b: Array, /) -> Array:
    """y = (a != b)."""
    return np.not_equal(a, b)


def equals(a: Any, b: Any) -> Any:
    """Return a == b for the operator: other than with `eq`, anything may stand on the right."""
    return eq(a, b) if _is_operand(b) else NotImplemented


def differs(a: Any, b: Any) -> Any:
    """Return a != b for the operator: other than with `ne`, anything may stand on the right."""
    return ne(a, b) if _is_operand(b) else NotImplemented


def _is_operand(value: Any) -> bool:
    return hasattr(value, "dtype") or isinstance(value, (int, float))


@differentiable
def lt(a: Array, b: Array, /) -> Array:
    """y = (a < b)."""
    return np.less(a, b)


@differentiable
def le(a: Array, b: Array, /) -> Array:
    """y = (a <= b)."""
    return np.less_equal(a, b)


@differentiable
def gt(a: Array, b: Array, /) -> Array:
    """y = (a > b)."""
    return np.greater(a, b)


@differentiable
def ge(a: Array, b: Array, /) -> Array:
    """y = (a >= b)."""
    return np.greater_equal(a, b)


def equal(input: Any, other: Any) -> bool:
    """Say whether two tensors have the same shape and the same values."""
    return np.array_equal(values_of(input), values_of(other))


@differentiable
def isclose(
    a: Array, b: Array, /, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Array:
    """y = (|a - b| <= atol + rtol |b|); equal infinities are close."""
    return np.isclose(a, b, rtol, atol, equal_nan)


def allclose(
    input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Say whether all values are close, as `isclose` means it.

    >>> import minicnn
    >>> minicnn.allclose(minicnn.tensor([1.0]), minicnn.tensor([1.0 + 1e-6]))
    True

    Raises:
        DTypeError: the two have different types.
    """
    if input.dtype != other.dtype:
        raise DTypeError(f"allclose: {input.dtype} and {other.dtype} differ; convert one first")
    return bool(values_of(isclose(input, other, rtol, atol, equal_nan)).all())


# --- special values -------------------------------------------------------------------------------


@differentiable
def isnan(x: Array, /) -> Array:
    """y = (x is not a number)."""
    return np.isnan(x)


@differentiable
def isinf(x: Array, /) -> Array:
    """y = (x is inf or -inf)."""
    return np.isinf(x)


@differentiable
def isposinf(x: Array, /) -> Array:
    """y = (x is inf)."""
    return np.isposinf(x)


@differentiable
def isneginf(x: Array, /) -> Array:
    """y = (x is -inf)."""
    return np.isneginf(x)


@differentiable
def isfinite(x: Array, /) -> Array:
    """y = (x is neither infinite nor NaN)."""
    return np.isfinite(x)


@differentiable
def signbit(x: Array, /) -> Array:
    """y = (x has a minus sign), so that -0.0 has one too."""
    return np.signbit(x) if is_floating(x.dtype) else x < 0


# --- logic: comparing with 0 is quicker than the logical functions of NumPy -----------------------


@differentiable
def logical_not(x: Array, /) -> Array:
    """y = not x."""
    return np.equal(x, 0)


@differentiable
def logical_and(a: Array, b: Array, /) -> Array:
    """y = a and b."""
    return np.not_equal(a, 0) & np.not_equal(b, 0)


@differentiable
def logical_or(a: Array, b: Array, /) -> Array:
    """y = a or b."""
    return np.not_equal(a, 0) | np.not_equal(b, 0)


@differentiable
def logical_xor(a: Array, b: Array, /) -> Array:
    """y = either a or b."""
    return np.not_equal(a, 0) ^ np.not_equal(b, 0)


# --- bits -----------------------------------------------------------------------------------------


@differentiable
def bitwise_not(x: Array, /) -> Array:
    """y = ~x, bit by bit for integers."""
    return np.invert(x)


@differentiable
def bitwise_and(a: Array, b: Array, /) -> Array:
    """y = a & b, bit by bit for integers."""
    return np.bitwise_and(a, b)


@differentiable
def bitwise_or(a: Array, b: Array, /) -> Array:
    """y = a | b, bit by bit for integers."""
    return np.bitwise_or(a, b)


@differentiable
def bitwise_xor(a: Array, b: Array, /) -> Array:
    """y = a ^ b, bit by bit for integers."""
    return np.bitwise_xor(a, b)


@differentiable
def bitwise_left_shift(a: Array, b: Array, /) -> Array:
    """y = a << b = a * 2^b."""
    return np.left_shift(a, b)


@differentiable
def bitwise_right_shift(a: Array, b: Array, /) -> Array:
    """y = a >> b = floor(a / 2^b)."""
    return np.right_shift(a, b)
