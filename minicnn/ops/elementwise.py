"""Functions of one operand, element by element; each gradient right below its formula.

Integers and booleans become float32 where the result is no whole number.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.errors import DTypeError
from minicnn.ops.comparison import isfinite
from minicnn.pointwise import pointwise
from minicnn.tensor import values_of
from minicnn_kernels.arrays import is_floating
from minicnn_kernels.reference import elementwise as kernels

__all__ = [
    "abs", "absolute", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh",
    "deg2rad", "exp", "exp2", "expm1", "floor", "frac", "log", "log1p", "log2", "log10",
    "nan_to_num", "neg", "negative", "positive", "rad2deg", "reciprocal", "round", "rsqrt", "sgn",
    "sign", "sin", "sinh", "sqrt", "square", "tan", "trunc",
]  # fmt: skip


def floating(x: Array) -> Array:
    """Return integers and booleans as float32, anything else as it is."""
    whole = hasattr(x, "dtype") and not is_floating(x.dtype)
    return x.astype(np.float32) if whole else x


@differentiable
def cast(x: Array, /, dtype: Any) -> Array:
    """y = x in another element type."""
    return x.astype(dtype, copy=False)


@cast.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, dtype: Any) -> Gradients:
    return lambda: cast(dy, x.dtype)


# --- signs ----------------------------------------------------------------------------------------


@pointwise
def neg(x: Array, /) -> Array:
    """y = -x."""
    if x.dtype == bool:
        raise DTypeError("neg: a boolean tensor has no negative; use ~x or logical_not(x)")
    return -x


@neg.gradient(saves="")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: -dy


def positive(input: Any) -> Any:
    """Return the tensor itself: +x.

    Raises:
        DTypeError: the tensor is boolean.
    """
    if input.dtype == bool:
        raise DTypeError("positive: + is not defined for a boolean tensor; use .to(dtype) first")
    return input


@pointwise
def abs(x: Array, /) -> Array:
    """y = |x|; the gradient at 0 is 0."""
    return np.abs(x)


@abs.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * signs(values_of(x))


@pointwise
def sign(x: Array, /) -> Array:
    """y = 1, 0 or -1 for x above, at or below 0, and 0 for NaN; the gradient is 0."""
    return x.copy() if x.dtype == bool else signs(x)


@sign.gradient(saves="")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: no_slope(dy, x)


def signs(x: Array) -> Array:
    """Return 1, 0 or -1 for values above, at or below 0; unlike for NumPy, NaN is neither."""
    return ((x > 0).view(np.int8) - (x < 0).view(np.int8)).astype(x.dtype)


def no_slope(dy: Any, x: Any) -> Array:
    """Return the gradient of a step function: zeros like x, where dy lies."""
    return np.zeros_like(values_of(dy), x.dtype, shape=x.shape)


# --- rounding: the gradient is 0 ------------------------------------------------------------------


@pointwise
def floor(x: Array, /) -> Array:
    """y = the largest whole number <= x."""
    return np.floor(x) if is_floating(x.dtype) else x.copy()


@floor.gradient(saves="")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: no_slope(dy, x)


@pointwise
def ceil(x: Array, /) -> Array:
    """y = the smallest whole number >= x."""
    return np.ceil(x) if is_floating(x.dtype) else x.copy()


@ceil.gradient(saves="")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: no_slope(dy, x)


@pointwise
def trunc(x: Array, /) -> Array:
    """y = x without its fraction: rounded towards 0."""
    return np.trunc(x) if is_floating(x.dtype) else x.copy()


@trunc.gradient(saves="")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: no_slope(dy, x)


@pointwise
def round(x: Array, /, *, decimals: int = 0) -> Array:
    """y = x rounded to a number of decimals, a half to the even neighbour."""
    if x.dtype == bool or decimals:
        return x.copy() if x.dtype == bool else np.round(x, decimals)
    return np.rint(x) if is_floating(x.dtype) else x.copy()


@round.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, decimals: int) -> Gradients:
    return lambda: no_slope(dy, x)


@pointwise
def frac(x: Array, /) -> Array:
    """y = x - trunc(x): the fraction, with the sign of the number."""
    return x - trunc(x)


@frac.gradient(saves="")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy


# --- powers and roots -----------------------------------------------------------------------------


@pointwise
def square(x: Array, /) -> Array:
    """y = x^2."""
    x = x.astype(np.int64) if x.dtype == bool else x
    return x * x


@square.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * (2 * x)


@pointwise
def sqrt(x: Array, /) -> Array:
    """y = x^(1/2); NaN below 0."""
    return np.sqrt(floating(x))


@sqrt.gradient(saves="y")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy / (2 * y)


@pointwise
def rsqrt(x: Array, /) -> Array:
    """y = x^(-1/2); NaN below 0."""
    return 1 / np.sqrt(floating(x))


@rsqrt.gradient(saves="y")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * (y * y * y * -0.5)


@pointwise
def reciprocal(x: Array, /) -> Array:
    """y = 1 / x."""
    return 1 / floating(x)


@reciprocal.gradient(saves="y")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: -dy * y * y


# --- exponentials and logarithms ------------------------------------------------------------------


@pointwise
def exp(x: Array, /) -> Array:
    """y = e^x."""
    return np.exp(floating(x))


@exp.gradient(saves="y")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * y


@pointwise
def exp2(x: Array, /) -> Array:
    """y = 2^x."""
    return np.exp2(floating(x))


@exp2.gradient(saves="y")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * y * math.log(2)


@pointwise
def expm1(x: Array, /) -> Array:
    """y = e^x - 1, exact near 0 too."""
    return kernels.expm1(floating(x))


@expm1.gradient(saves="y")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * (y + 1)


@pointwise
def log(x: Array, /) -> Array:
    """y = ln x; -inf at 0 and NaN below."""
    return np.log(floating(x))


@log.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy / x


@pointwise
def log2(x: Array, /) -> Array:
    """y = ln x / ln 2."""
    return np.log2(floating(x))


@log2.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy / (x * math.log(2))


@pointwise
def log10(x: Array, /) -> Array:
    """y = ln x / ln 10."""
    return np.log10(floating(x))


@log10.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy / (x * math.log(10))


@pointwise
def log1p(x: Array, /) -> Array:
    """y = ln(1 + x), exact near 0 too."""
    return kernels.log1p(floating(x))


@log1p.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy / (1 + x)


# --- trigonometric functions and their inverses ---------------------------------------------------


@pointwise
def sin(x: Array, /) -> Array:
    """y = sin x."""
    return np.sin(floating(x))


@sin.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * cos(x)


@pointwise
def cos(x: Array, /) -> Array:
    """y = cos x."""
    return np.cos(floating(x))


@cos.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: -dy * sin(x)


@pointwise
def tan(x: Array, /) -> Array:
    """y = sin x / cos x."""
    return kernels.tan(floating(x))


@tan.gradient(saves="y")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * (1 + y * y)


@pointwise
def asin(x: Array, /) -> Array:
    """y = the angle in [-pi/2, pi/2] with sin y = x; NaN outside [-1, 1]."""
    return np.arcsin(floating(x))


@asin.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * rsqrt(1 - x * x)


@pointwise
def acos(x: Array, /) -> Array:
    """y = the angle in [0, pi] with cos y = x; NaN outside [-1, 1]."""
    return np.arccos(floating(x))


@acos.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: -dy * rsqrt(1 - x * x)


@pointwise
def atan(x: Array, /) -> Array:
    """y = the angle in (-pi/2, pi/2) with tan y = x."""
    return np.arctan(floating(x))


@atan.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy / (1 + x * x)


def deg2rad(input: Any) -> Any:
    """Turn degrees into radians.

    y = x * pi / 180
    """
    return input * (math.pi / 180)


def rad2deg(input: Any) -> Any:
    """Turn radians into degrees.

    y = x * 180 / pi
    """
    return input * (180 / math.pi)


# --- hyperbolic functions and their inverses ------------------------------------------------------


@pointwise
def sinh(x: Array, /) -> Array:
    """y = (e^x - e^-x) / 2."""
    return kernels.sinh(floating(x))


@sinh.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * cosh(x)


@pointwise
def cosh(x: Array, /) -> Array:
    """y = (e^x + e^-x) / 2."""
    return kernels.cosh(floating(x))


@cosh.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * sinh(x)


@pointwise
def asinh(x: Array, /) -> Array:
    """y = ln(x + sqrt(x^2 + 1))."""
    return np.arcsinh(floating(x))


@asinh.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * rsqrt(x * x + 1)


@pointwise
def acosh(x: Array, /) -> Array:
    """y = ln(x + sqrt(x^2 - 1)); NaN below 1."""
    return np.arccosh(floating(x))


@acosh.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * rsqrt(x * x - 1)


@pointwise
def atanh(x: Array, /) -> Array:
    """y = ln((1 + x) / (1 - x)) / 2; NaN outside [-1, 1]."""
    return kernels.atanh(floating(x))


@atanh.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy / (1 - x * x)


# --- NaN and infinity -----------------------------------------------------------------------------


@pointwise
def nan_to_num(
    x: Array, /, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Array:
    """y = x, but numbers for NaN, inf and -inf (the largest and lowest ones by default)."""
    if not is_floating(x.dtype):
        return x.copy()
    largest = float(np.finfo(x.dtype).max)
    y = np.where(np.isnan(x), nan, x)
    y = np.where(x == np.inf, largest if posinf is None else posinf, y)
    return np.where(x == -np.inf, -largest if neginf is None else neginf, y)


@nan_to_num.gradient(saves="x")
def _(
    dy: Array, y: Array, x: Array, *, nan: float, posinf: float | None, neginf: float | None
) -> Gradients:
    return lambda: dy * isfinite(x)


# PyTorch has each of these under a second name.
absolute = abs
negative = neg
sgn = sign
