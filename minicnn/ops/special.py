"""Special functions: the error function, the gamma function's family, and a few products.

What one needs that NumPy has not is in `minicnn_kernels.reference.special`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.errors import ArgumentError, DTypeError
from minicnn.ops.arithmetic import clamp, where
from minicnn.ops.broadcast import unbroadcast
from minicnn.ops.comparison import eq, ge, le
from minicnn.ops.elementwise import cos, exp, floating, log, log1p
from minicnn.pointwise import pointwise
from minicnn.tensor import values_of
from minicnn_kernels.reference import special as kernels

__all__ = [
    "digamma", "erf", "erfc", "erfinv", "lgamma", "logit", "polygamma", "sinc", "xlogy",
]  # fmt: skip

# --- the error function ---------------------------------------------------------------------------


@pointwise
def erf(x: Array, /) -> Array:
    """y = 2 / sqrt(pi) * integral of e^(-t^2) dt from 0 to x."""
    return kernels.erf(floating(x))


@erf.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * (exp(-x * x) * (2 / math.sqrt(math.pi)))


@pointwise
def erfc(x: Array, /) -> Array:
    """y = 1 - erf(x), exact where that is small too."""
    return kernels.erfc(floating(x))


@erfc.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * (exp(-x * x) * (-2 / math.sqrt(math.pi)))


@pointwise
def erfinv(x: Array, /) -> Array:
    """y = the number with erf(y) = x; infinite at -1 and 1, NaN beyond."""
    return kernels.erfinv(floating(x))


@erfinv.gradient(saves="y")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * (exp(y * y) * (math.sqrt(math.pi) / 2))


@pointwise
def normal_cdf(x: Array, /) -> Array:
    """y = erfc(-x / sqrt(2)) / 2: the probability that a normal value is below x."""
    return kernels.normal_cdf(floating(x))


@normal_cdf.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * (exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi)))


# --- the gamma function ---------------------------------------------------------------------------


@pointwise
def lgamma(x: Array, /) -> Array:
    """y = ln |Gamma(x)|; infinite at 0, -1, -2, ..."""
    return kernels.lgamma(floating(x))


@lgamma.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * digamma(x)


@differentiable
def digamma(x: Array, /) -> Array:
    """y = d/dx ln Gamma(x); infinite at 0, NaN at -1, -2, ..."""
    return kernels.digamma(floating(x))


@digamma.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * derivative_of_digamma(x, 1)


@differentiable
def derivative_of_digamma(x: Array, /, n: int) -> Array:
    """y = d^n/dx^n digamma(x)."""
    return kernels.polygamma(n, floating(x))


@derivative_of_digamma.gradient(saves="x")
def _(dy: Array, y: Array, x: Array, *, n: int) -> Gradients:
    return lambda: dy * derivative_of_digamma(x, n + 1)


def polygamma(n: int, input: Any) -> Any:
    """Return the n-th derivative of the digamma function; n stands first, as in mathematics.

    y = d^n/dx^n digamma(x)

    Raises:
        DTypeError: n is no integer.
        ArgumentError: n is negative.
    """
    if not isinstance(n, int):
        raise DTypeError(f"polygamma: n must be an integer, got {type(n).__name__}")
    if n < 0:
        raise ArgumentError(f"polygamma: n must be at least 0, got {n}")
    return derivative_of_digamma(input, n)


# --- quotients and products with a gap ------------------------------------------------------------


@pointwise
def sinc(x: Array, /) -> Array:
    """y = sin(pi x) / (pi x), and 1 at 0."""
    return np.sinc(floating(x))


@sinc.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    at_0 = eq(x, 0)
    divisor = where(at_0, 1.0, x)
    return lambda: dy * where(at_0, 0.0, (cos(divisor * math.pi) - sinc(divisor)) / divisor)


@pointwise
def xlogy(a: Array, b: Array, /) -> Array:
    """y = a ln b, and 0 where a is 0."""
    a, b = floating(a), floating(b)
    y = np.where(np.equal(a, 0) & ~np.isnan(b), 0, a * np.log(b))
    return y.astype(np.result_type(a, b), copy=False)  # the logarithm of a number is float64


@xlogy.gradient(saves="a b")
def _(dy: Array, y: Array, a: Array, b: Array) -> Gradients:
    gap = np.equal(values_of(a), 0) & np.less_equal(values_of(b), 0)
    return (
        lambda: unbroadcast(dy * xlogy((~gap).astype(dy.dtype), b), a),
        lambda: unbroadcast(dy * a / b, b),
    )


def logit(input: Any, eps: float | None = None) -> Any:
    """Return the logarithm of the odds; `eps` keeps the input within [eps, 1 - eps].

    y = ln(x / (1 - x)); NaN outside of [0, 1], and so is the gradient
    """
    return log_odds(input if eps is None else clamp(input, eps, 1 - eps))


@pointwise
def log_odds(x: Array, /) -> Array:
    """y = ln(x / (1 - x)); NaN outside of [0, 1]."""
    x = floating(x)
    return np.where((x >= 0) & (x <= 1), log(x) - log1p(-x), np.nan)


@log_odds.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: where(ge(x, 0) & le(x, 1), dy / (x * (1 - x)), np.nan)
