"""Arithmetic of two operands and more, element by element, with broadcasting.

Each gradient stands right below its formula.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.errors import ArgumentError, DTypeError
from minicnn.ops.broadcast import unbroadcast
from minicnn.ops.comparison import eq, ge, gt, isnan, lt
from minicnn.ops.elementwise import cast, exp, floating, floor, log, no_slope, trunc
from minicnn.ops.indexing import nonzero
from minicnn.pointwise import pointwise
from minicnn.tensor import Tensor, values_of
from minicnn_kernels.arrays import as_array, is_floating
from minicnn_kernels.pointwise import Lazy, computed
from minicnn_kernels.reference import elementwise as kernels
from minicnn_kernels.reference.blockwise import choose

__all__ = [
    "add", "addcdiv", "addcmul", "atan2", "clamp", "clip", "copysign", "div", "divide",
    "floor_divide", "fmax", "fmin", "fmod", "heaviside", "hypot", "lerp", "logaddexp", "maximum",
    "minimum", "mul", "multiply", "pow", "remainder", "sub", "subtract", "true_divide", "where",
]  # fmt: skip

# --- the four operations --------------------------------------------------------------------------


@pointwise
def add(a: Array, b: Array, /, *, alpha: float = 1) -> Array:
    """y = a + alpha * b."""
    return a + _scaled("add", alpha, b)


@add.gradient(saves="")
def _(dy: Array, y: Array, a: Array, b: Array, *, alpha: float) -> Gradients:
    return (
        lambda: unbroadcast(dy, a),
        lambda: unbroadcast(dy if alpha == 1 else dy * alpha, b),
    )


@pointwise
def sub(a: Array, b: Array, /, *, alpha: float = 1) -> Array:
    """y = a - alpha * b."""
    if any(_is_boolean(operand) for operand in (a, b)):
        raise DTypeError("sub: booleans have no difference; use ^, ~ or logical_not")
    return a - _scaled("sub", alpha, b)


@sub.gradient(saves="")
def _(dy: Array, y: Array, a: Array, b: Array, *, alpha: float) -> Gradients:
    return lambda: unbroadcast(dy, a), lambda: unbroadcast(dy * -alpha, b)


def _scaled(op: str, alpha: float, b: Any) -> Any:
    """Return alpha * b in the type of b."""
    if alpha == 1:
        return b
    if not hasattr(b, "dtype"):
        return b * alpha
    if isinstance(alpha, float) and not is_floating(b.dtype):
        raise ArgumentError(f"{op}: alpha={alpha} must be an integer for {b.dtype}")
    return b * b.dtype.type(alpha)


@pointwise
def mul(a: Array, b: Array, /) -> Array:
    """y = a * b."""
    return a * b


@mul.gradient(saves="a b")
def _(dy: Array, y: Array, a: Array, b: Array) -> Gradients:
    return lambda: unbroadcast(dy * b, a), lambda: unbroadcast(dy * a, b)


@pointwise
def div(a: Array, b: Array, /, *, rounding_mode: str | None = None) -> Array:
    """y = a / b; rounded down ("floor") or towards 0 ("trunc") it has no slope."""
    if rounding_mode is None:
        return np.true_divide(a, b)
    if rounding_mode not in ("floor", "trunc"):
        raise ArgumentError(
            f'div: rounding_mode must be None, "floor" or "trunc", got {rounding_mode!r}'
        )
    _no_division_by_0("div", a, b)
    if rounding_mode == "floor":
        return np.floor_divide(a, b)
    quotient = np.true_divide(a, b) if _is_float(a, b) else (a - np.fmod(a, b)) // b
    return trunc(quotient)


@div.gradient(saves="a b")
def _(dy: Array, y: Array, a: Array, b: Array, *, rounding_mode: str | None) -> Gradients:
    if rounding_mode is not None:
        return lambda: no_slope(dy, a), lambda: no_slope(dy, b)
    return lambda: unbroadcast(dy / b, a), lambda: unbroadcast(-dy * a / (b * b), b)


def floor_divide(input: Any, other: Any) -> Any:
    """Divide and round down: input // other.

    y = floor(a / b)

    Raises:
        ArgumentError: an integer is divided by 0.
    """
    return div(input, other, rounding_mode="floor")


@differentiable
def remainder(a: Array, b: Array, /) -> Array:
    """y = a - b * floor(a / b): what Python's a % b leaves, with the sign of b."""
    _no_division_by_0("remainder", a, b)
    return kernels.remainder(a, b)


@remainder.gradient(saves="a b")
def _(dy: Array, y: Array, a: Array, b: Array) -> Gradients:
    return lambda: unbroadcast(dy, a), lambda: unbroadcast(-dy * floor(div(a, b)), b)


@differentiable
def fmod(a: Array, b: Array, /) -> Array:
    """y = a - b * trunc(a / b): what C's fmod leaves, with the sign of a."""
    _no_division_by_0("fmod", a, b)
    return kernels.fmod(a, b)


@fmod.gradient(saves="a b")
def _(dy: Array, y: Array, a: Array, b: Array) -> Gradients:
    return lambda: unbroadcast(dy, a), lambda: unbroadcast(-dy * trunc(div(a, b)), b)


def _is_boolean(operand: Any) -> bool:
    return hasattr(operand, "dtype") and operand.dtype == bool


def _is_float(*operands: Any) -> bool:
    return any(
        is_floating(value.dtype) if hasattr(value, "dtype") else isinstance(value, float)
        for value in operands
    )


def _no_division_by_0(op: str, a: Any, b: Any) -> None:
    if not _is_float(a, b) and np.any(np.equal(b, 0)):
        raise ArgumentError(f"{op}: an integer cannot be divided by 0; use floating-point numbers")


# --- powers and logarithms ------------------------------------------------------------------------


@pointwise
def pow(a: Array, b: Array, /) -> Array:
    """y = a ** b."""
    a = a.astype(np.int64) if _is_boolean(a) else a
    if _is_float(a) and not hasattr(b, "dtype") and b == 3:
        return a * a * a  # NumPy has a short way to the square only
    return a**b


@pow.gradient(saves="y a b")
def _(dy: Array, y: Array, a: Array, b: Array) -> Gradients:
    return (
        lambda: unbroadcast(dy * (b * a ** _lowered(b)), a),
        lambda: unbroadcast(dy * y * _log_of_base(a, b), b),
    )


def _lowered(b: Any) -> Any:
    """Return b - 1, but 1 at b == 0, where the derivative 0 * a^-1 must be 0 at a == 0 too."""
    if hasattr(b, "shape"):
        return where(eq(b, 0), 1.0, b - 1)
    return b - 1 if b else 1


def _log_of_base(a: Any, b: Any) -> Any:
    """Return ln a, but 0 where a == 0 <= b, as a^b stays 0 for every b > 0; NaN below 0."""
    if hasattr(a, "shape"):
        return log(where(eq(a, 0) & ge(b, 0), 1.0, a))
    if a == 0:
        return np.where(values_of(b) >= 0, 0.0, -np.inf).astype(b.dtype)
    return math.log(a) if a > 0 else math.nan


@pointwise
def logaddexp(a: Array, b: Array, /) -> Array:
    """y = ln(e^a + e^b), without overflow."""
    return np.logaddexp(a, b)


@logaddexp.gradient(saves="y a b")
def _(dy: Array, y: Array, a: Array, b: Array) -> Gradients:
    return lambda: unbroadcast(dy * exp(a - y), a), lambda: unbroadcast(dy * exp(b - y), b)


# --- in the plane ---------------------------------------------------------------------------------


@pointwise
def atan2(a: Array, b: Array, /) -> Array:
    """y = the angle in [-pi, pi] of the point with abscissa b, ordinate a; gradient 0 at (0, 0)."""
    return np.arctan2(floating(a), floating(b))


@atan2.gradient(saves="a b")
def _(dy: Array, y: Array, a: Array, b: Array) -> Gradients:
    squared = a * a + b * b
    scaled = dy / where(eq(squared, 0), 1.0, squared)
    return lambda: unbroadcast(scaled * b, a), lambda: unbroadcast(-scaled * a, b)


@pointwise
def hypot(a: Array, b: Array, /) -> Array:
    """y = sqrt(a^2 + b^2), without overflow."""
    return np.hypot(a, b)


@hypot.gradient(saves="y a b")
def _(dy: Array, y: Array, a: Array, b: Array) -> Gradients:
    return lambda: unbroadcast(dy * (a / y), a), lambda: unbroadcast(dy * (b / y), b)


# --- combinations ---------------------------------------------------------------------------------


def lerp(input: Any, end: Any, weight: Any) -> Any:
    """Go the part `weight`, a number or a tensor, of the way from input to end.

    y = input + weight * (end - input)
    """
    return interpolation(input, end, weight)


@pointwise
def interpolation(a: Array, b: Array, weight: Array, /) -> Array:
    """y = a + weight * (b - a)."""
    return a + weight * (b - a)


@interpolation.gradient(saves="a b weight")
def _(dy: Array, y: Array, a: Array, b: Array, weight: Array) -> Gradients:
    return (
        lambda: unbroadcast(dy * (1 - weight), a),
        lambda: unbroadcast(dy * weight, b),
        lambda: unbroadcast(dy * (b - a), weight),
    )


def addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Any:
    """Add a product.

    y = input + value * tensor1 * tensor2
    """
    return add_product(input, tensor1, tensor2, value)


@pointwise
def add_product(x: Array, a: Array, b: Array, /, value: float) -> Array:
    """y = x + value * a * b."""
    return x + (a * b if value == 1 else a * b * value)


@add_product.gradient(saves="a b")
def _(dy: Array, y: Array, x: Array, a: Array, b: Array, *, value: float) -> Gradients:
    return (
        lambda: unbroadcast(dy, x),
        lambda: unbroadcast(dy * b * value, a),
        lambda: unbroadcast(dy * a * value, b),
    )


def addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Any:
    """Add a quotient.

    y = input + value * tensor1 / tensor2

    Raises:
        DTypeError: both are integers, whose quotient would have to be rounded.
    """
    if not _is_float(tensor1, tensor2):
        raise DTypeError(
            f"addcdiv: {tensor1.dtype} / {tensor2.dtype} must not be two integers; convert one "
            f"with .to(dtype)"
        )
    quotient = tensor1 / tensor2
    return input + (quotient if value == 1 else quotient * value)


# --- choosing -------------------------------------------------------------------------------------


@pointwise
def select(a: Array, b: Array, /, condition: Array) -> Array:
    """y = a where the condition holds, else b."""
    return choose(condition, a, b)


@select.gradient(saves="")
def _(dy: Array, y: Array, a: Array, b: Array, *, condition: Array) -> Gradients:
    return (
        lambda: unbroadcast(dy * condition, a),
        lambda: unbroadcast(dy * ~condition, b),
    )


def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """Return values of input where the condition holds, else of other: tensors or numbers.

    y[i] = input[i] if condition[i] else other[i]

    Without input and other, the positions where the condition holds, one tensor per dimension.

    >>> import minicnn
    >>> minicnn.where(minicnn.tensor([True, False]), minicnn.tensor([1.0, 2.0]), 0.0)
    tensor([1., 0.])

    Raises:
        DTypeError: the condition is not boolean.
        ArgumentError: one of input and other is missing.
    """
    if input is None and other is None:
        return nonzero(condition, as_tuple=True)
    if input is None or other is None:
        raise ArgumentError("where: input and other are needed, or neither of them")
    holds = values_of(condition)
    if not isinstance(holds, Lazy):
        holds = as_array(holds).copy("K")  # the condition may be changed before backward
    if holds.dtype not in (bool, np.uint8):
        raise DTypeError(f"where: condition must be boolean, got {holds.dtype}; compare it first")
    if isinstance(condition, Tensor) and not any(isinstance(x, Tensor) for x in (input, other)):
        dtype = np.float32 if isinstance(input, float) else as_array(input).dtype
        if not hasattr(input, "shape"):
            number, input = input, np.empty((), dtype, like=computed(holds))
            input[...] = number
        input = Tensor(input)
    return select(input, other, condition=holds.astype(bool, copy=False))


@pointwise
def maximum(a: Array, b: Array, /) -> Array:
    """y = max(a, b); where both are equal each receives half of the gradient."""
    return np.maximum(a, b)


@maximum.gradient(saves="a b")
def _(dy: Array, y: Array, a: Array, b: Array) -> Gradients:
    return (
        lambda: unbroadcast(_share(dy, lt(a, b), eq(a, b)), a),
        lambda: unbroadcast(_share(dy, lt(b, a), eq(a, b)), b),
    )


@pointwise
def minimum(a: Array, b: Array, /) -> Array:
    """y = min(a, b); where both are equal each receives half of the gradient."""
    return np.minimum(a, b)


@minimum.gradient(saves="a b")
def _(dy: Array, y: Array, a: Array, b: Array) -> Gradients:
    return (
        lambda: unbroadcast(_share(dy, gt(a, b), eq(a, b)), a),
        lambda: unbroadcast(_share(dy, gt(b, a), eq(a, b)), b),
    )


def _share(dy: Any, loses: Any, tie: Any) -> Any:
    """Return 0 for a value that loses against the other, dy / 2 at a tie, else dy."""
    return where(loses, 0.0, where(tie, dy / 2, dy))


def fmax(input: Any, other: Any) -> Any:
    """Return the larger value, and beside a NaN the other value; at a tie the first.

    y = max(a, b)
    """
    return where(ge(input, other) | isnan(other), input, other)


def fmin(input: Any, other: Any) -> Any:
    """Return the smaller value, and beside a NaN the other value; at a tie the first.

    y = min(a, b)
    """
    return where(ge(other, input) | isnan(other), input, other)


@pointwise
def limit(x: Array, /, min: float | None, max: float | None) -> Array:
    """y = x, but at least min and at most max; the gradient is 0 outside and 1 at the bounds."""
    return np.clip(x.astype(np.int64) if x.dtype == bool else x, min, max)


@limit.gradient(saves="x")
def _(dy: Array, y: Array, x: Array, *, min: float | None, max: float | None) -> Gradients:
    values = values_of(x)
    inside = ~np.isnan(values)
    if min is not None:
        inside &= values >= min
    if max is not None:
        inside &= values <= max
    return lambda: dy * inside


def clamp(input: Any, min: Any = None, max: Any = None) -> Any:
    """Keep the input between min and max, numbers or tensors; either may be left out.

    y = min(max(input, min), max)

    Raises:
        ArgumentError: both bounds are missing.
        DTypeError: one is a number, the other a tensor.
    """
    given = [hasattr(bound, "shape") for bound in (min, max) if bound is not None]
    if not given:
        raise ArgumentError("clamp: at least one of min and max is needed")
    if len(set(given)) > 1:
        raise DTypeError("clamp: min and max must be two numbers or two tensors, got one of each")
    if not any(given):
        return limit(input, min, max)
    x = input
    if min is not None:  # not maximum(x, min): at a tie all of the gradient is x's
        x = where(lt(x, min), min, x)
    return x if max is None else where(gt(x, max), max, x)


@pointwise
def copysign(a: Array, b: Array, /) -> Array:
    """y = |a| with the sign of b, which may be that of -0.0."""
    return np.copysign(a, b)


@copysign.gradient(saves="y a")
def _(dy: Array, y: Array, a: Array, b: Array) -> Gradients:
    kept = np.sign(values_of(y)) * np.sign(values_of(a))  # 1 or -1, and 0 at 0
    return lambda: unbroadcast(dy * kept, a), lambda: no_slope(dy, b)


def heaviside(input: Any, values: Any) -> Any:
    """Return the unit step; `values` stands where the input is 0.

    y = 1 if x > 0 else values if x == 0 else 0
    """
    return where(eq(input, 0), values, cast(gt(input, 0), input.dtype))


# PyTorch has each of these under a second name.
clip = clamp
divide = true_divide = div
multiply = mul
subtract = sub
