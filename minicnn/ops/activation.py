"""Activation functions: the bent lines, the smooth ones, and those over several values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minicnn import random
from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.errors import ArgumentError, DTypeError, ShapeError
from minicnn.ops.arithmetic import limit, maximum, where
from minicnn.ops.broadcast import unbroadcast
from minicnn.ops.comparison import gt, le, lt
from minicnn.ops.elementwise import abs, cast, exp, floating, square
from minicnn.ops.indexing import dimension
from minicnn.ops.reduce import only_floating, sum
from minicnn.ops.shape import reshape
from minicnn.ops.special import normal_cdf
from minicnn.pointwise import pointwise
from minicnn.tensor import Tensor, values_of
from minicnn_kernels.arrays import drawn
from minicnn_kernels.reference import elementwise as kernels
from minicnn_kernels.reference import softmax as softmaxes

__all__ = [
    "celu", "hardshrink", "log_softmax", "prelu", "relu", "rrelu", "selu", "sigmoid", "softmax",
    "tanh", "threshold",
]  # fmt: skip

# --- bent lines -----------------------------------------------------------------------------------


@pointwise
def relu(x: Array, /) -> Array:
    """y = max(x, 0); the gradient at 0 is 0."""
    if x.dtype == bool:
        raise DTypeError("relu: does not take booleans; use .to(dtype) first")
    return np.maximum(x, 0)


@relu.gradient(saves="y")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * (y != 0)


@pointwise
def hardtanh(x: Array, /, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """y = min(max(x, min_val), max_val); the gradient at both bounds is 0."""
    if x.dtype.kind == "b" or (x.dtype.kind == "u" and int(min_val) < 0):
        raise DTypeError(f"hardtanh: {x.dtype} does not reach from {min_val} to {max_val}")
    return np.clip(x, *(np.asarray(bound).astype(x.dtype)[()] for bound in (min_val, max_val)))


@hardtanh.gradient(saves="y")
def _(dy: Array, y: Array, x: Array, *, min_val: float, max_val: float) -> Gradients:
    return lambda: dy * ((y != min_val) & (y != max_val))


@pointwise
def leaky_relu(x: Array, slope: Array, /) -> Array:
    """y = x where x > 0, else slope * x."""
    x = floating(x)
    return np.where(x > 0, x, x * slope)


@leaky_relu.gradient(saves="x slope")
def _(dy: Array, y: Array, x: Array, slope: Array) -> Gradients:
    return (
        lambda: unbroadcast(where(gt(x, 0), dy, dy * slope), x),
        lambda: unbroadcast(where(gt(x, 0), 0.0, dy * x), slope),
    )


def prelu(input: Any, weight: Any) -> Any:
    """Return the input where it is positive, else weight * input: He et al. 2015.

    y[n,c,i,j] = max(x[n,c,i,j], 0) + weight[c] * min(x[n,c,i,j], 0)

    `weight` holds one value, or one for each channel (dimension 1).

    Raises:
        ShapeError: `weight` is neither.
    """
    channels = input.shape[1] if input.ndim > 1 else 1
    if weight.ndim > 1 or math.prod(weight.shape) not in (1, channels):
        raise ShapeError(
            f"prelu: weight must hold 1 value or 1 for each of the {channels} channels of input "
            f"{input.shape}, got shape {weight.shape}"
        )
    beside_channels = (-1, *[1] * (input.ndim - 2)) if input.ndim > 1 else ()
    return leaky_relu(input, reshape(weight, beside_channels))


def rrelu(input: Any, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False) -> Any:
    """Return the input where it is positive, else a random part of it: Xu et al. 2015.

    y = x if x > 0 else slope * x

    In training each slope is drawn from [lower, upper) by the global generator, in inference it
    is their mean.

    Raises:
        ArgumentError: `lower` is above `upper`.
    """
    if lower > upper:
        raise ArgumentError(f"rrelu: lower={lower} must not be above upper={upper}")
    if not training:
        return leaky_relu(input, (lower + upper) / 2)
    only_floating("rrelu", input)

    def draw() -> Array:
        slopes = random.default.numpy_generator().uniform(lower, upper, input.shape)
        return slopes.astype(input.dtype)

    return leaky_relu(input, drawn(values_of(input), draw))


@pointwise
def threshold(x: Array, /, threshold: float, value: float) -> Array:
    """y = x where x > threshold, else value."""
    return np.where(x <= threshold, np.asarray(value).astype(x.dtype).item(), x).astype(x.dtype)


@threshold.gradient(saves="x")
def _(dy: Array, y: Array, x: Array, *, threshold: float, value: float) -> Gradients:
    return lambda: where(le(x, threshold), 0.0, dy)


@pointwise
def hardshrink(x: Array, /, lambd: float = 0.5) -> Array:
    """y = x where |x| > lambd, else 0."""
    return x * ~(np.abs(x) <= lambd)


@hardshrink.gradient(saves="x")
def _(dy: Array, y: Array, x: Array, *, lambd: float) -> Gradients:
    return lambda: where(le(abs(x), lambd), 0.0, dy)


@pointwise
def softshrink(x: Array, /, lambd: float = 0.5) -> Array:
    """y = x - min(max(x, -lambd), lambd): nearer to 0 by lambd, but not beyond."""
    return x - np.clip(x, -lambd, lambd)


@softshrink.gradient(saves="x")
def _(dy: Array, y: Array, x: Array, *, lambd: float) -> Gradients:
    return lambda: where(le(abs(x), lambd), 0.0, dy)


# --- exponentials on one side ---------------------------------------------------------------------


@pointwise
def elu(x: Array, /, alpha: float = 1.0, scale: float = 1.0, rate: float = 1.0) -> Array:
    """y = scale * x where x > 0, else scale * alpha * (e^(rate * x) - 1)."""
    return kernels.elu(floating(x), alpha, scale, rate)


@elu.gradient(saves="x")
def _(dy: Array, y: Array, x: Array, *, alpha: float, scale: float, rate: float) -> Gradients:
    below_0 = -float(np.finfo(x.dtype).tiny)  # at 0 itself the curvature is the line's, 0
    slope = exp(limit(x, None, below_0) * rate) * scale
    if alpha * rate == 1:  # then there is no kink at 0
        return lambda: dy * slope
    below = (values_of(x) <= 0).astype(x.dtype)
    return lambda: dy * slope * (1 + (alpha * rate - 1) * below)


def celu(input: Any, alpha: float = 1.0) -> Any:
    """Return an ELU whose slope is 1 at 0 from both sides: Barron 2017.

    y = x if x > 0 else alpha * (e^(x / alpha) - 1)

    Raises:
        ArgumentError: alpha is 0.
    """
    if alpha == 0:
        raise ArgumentError("celu: alpha must not be 0")
    return elu(input, alpha, 1.0, 1 / alpha)


SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def selu(input: Any) -> Any:
    """Return the ELU that keeps mean 0 and variance 1 from layer to layer: Klambauer et al. 2017.

    y = 1.0507 * (x if x > 0 else 1.6733 * (e^x - 1))
    """
    return elu(input, SELU_ALPHA, SELU_SCALE)


@pointwise
def softplus(x: Array, /, beta: float = 1.0, threshold: float = 20.0) -> Array:
    """y = ln(1 + e^(beta * x)) / beta; x itself where beta * x > threshold."""
    x = floating(x)
    scaled = x * beta
    y = kernels.softplus(scaled)
    y /= beta
    return np.where(scaled > threshold, x, y)


@softplus.gradient(saves="x")
def _(dy: Array, y: Array, x: Array, *, beta: float, threshold: float) -> Gradients:
    scaled = x * beta
    return lambda: dy * maximum(sigmoid(scaled), gt(scaled, threshold))


@pointwise
def logsigmoid(x: Array, /) -> Array:
    """y = ln(1 / (1 + e^-x)) = -ln(1 + e^-x)."""
    return -kernels.softplus(-floating(x))


@logsigmoid.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * sigmoid(-x)


# --- smooth steps, and gates made of them ---------------------------------------------------------


@pointwise
def sigmoid(x: Array, /) -> Array:
    """y = 1 / (1 + e^-x)."""
    y = np.exp(-floating(x))
    y += 1
    return 1 / y


@sigmoid.gradient(saves="y")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * y * (1 - y)


@pointwise
def tanh(x: Array, /) -> Array:
    """y = (e^x - e^-x) / (e^x + e^-x)."""
    return np.tanh(floating(x))


@tanh.gradient(saves="y")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * (1 - y * y)


@pointwise
def silu(x: Array, /) -> Array:
    """y = x / (1 + e^-x)."""
    return floating(x) * sigmoid(x)


@silu.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    s = sigmoid(x)
    return lambda: dy * (s * (1 + x * (1 - s)))


@pointwise
def gated(a: Array, b: Array, /) -> Array:
    """y = a / (1 + e^-b)."""
    return a * sigmoid(b)


@gated.gradient(saves="a b")
def _(dy: Array, y: Array, a: Array, b: Array) -> Gradients:
    s = sigmoid(b)
    return lambda: dy * s, lambda: dy * a * (s * (1 - s))


@pointwise
def mish(x: Array, /) -> Array:
    """y = x * tanh(ln(1 + e^x))."""
    return floating(x) * tanh(softplus(x))


@mish.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    t = tanh(softplus(x))
    return lambda: dy * (t + x * sigmoid(x) * (1 - t * t))


@pointwise
def gelu(x: Array, /) -> Array:
    """y = x * P(a normal value < x)."""
    return floating(x) * normal_cdf(x)


@gelu.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    density = exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi))
    return lambda: dy * (normal_cdf(x) + x * density)


TANH_SCALE, TANH_CUBIC = math.sqrt(2 / math.pi), 0.044715


@pointwise
def gelu_by_tanh(x: Array, /) -> Array:
    """y = x * (1 + tanh(u)) / 2 with u = sqrt(2 / pi) * (x + 0.044715 x^3).

    (1 + tanh(u)) / 2 is the sigmoid of 2u, which keeps its digits where it is small.
    """
    return floating(x) * sigmoid(2 * TANH_SCALE * x * (1 + TANH_CUBIC * x * x))


@gelu_by_tanh.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    s = sigmoid(2 * TANH_SCALE * x * (1 + TANH_CUBIC * x * x))
    slope = 2 * TANH_SCALE * x * (1 + 3 * TANH_CUBIC * x * x)  # x times that of the exponent
    return lambda: dy * (s + slope * s * (1 - s))


@pointwise
def tanhshrink(x: Array, /) -> Array:
    """y = x - tanh(x)."""
    return floating(x) - tanh(x)


@tanhshrink.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * square(tanh(x))


@pointwise
def softsign(x: Array, /) -> Array:
    """y = x / (1 + |x|)."""
    return x / (1 + np.abs(x))


@softsign.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy / square(1 + abs(x))


@pointwise
def hardsigmoid(x: Array, /) -> Array:
    """y = min(max(x + 3, 0), 6) / 6."""
    return np.clip(x + 3, 0, 6) / 6


@hardsigmoid.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: where(lt(abs(x), 3), dy / 6, 0.0)


@pointwise
def hardswish(x: Array, /) -> Array:
    """y = x * min(max(x + 3, 0), 6) / 6."""
    return x * (np.clip(x + 3, 0, 6) / 6)


@hardswish.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    slope = where(le(x, -3), 0.0, where(lt(x, 3), x / 3 + 0.5, 1.0))
    return lambda: dy * slope


# --- over several values --------------------------------------------------------------------------


@differentiable
def softmax(x: Array, /, dim: int, dtype: Any = None) -> Array:
    """y[i] = e^x[i] / sum_j e^x[j], shifted by the maximum so that nothing overflows."""
    return softmaxes.softmax(_given("softmax", x, dtype), dim=dimension("softmax", dim, x.ndim))


@softmax.gradient(saves="y")
def _(dy: Array, y: Array, x: Array, *, dim: int, dtype: Any) -> Gradients:
    if not isinstance(dy, Tensor):
        dim = dimension("softmax", dim, x.ndim)
        return lambda: _in_type_of(x, softmaxes.softmax_gradient(dy, y, dim=dim))
    return lambda: _in_type_of(x, y * (dy - sum(dy * y, dim, keepdim=True)))


@differentiable
def log_softmax(x: Array, /, dim: int, dtype: Any = None) -> Array:
    """y[i] = x[i] - ln sum_j e^x[j], shifted by the maximum so that nothing overflows."""
    dim = dimension("log_softmax", dim, x.ndim)
    return softmaxes.log_softmax(_given("log_softmax", x, dtype), dim=dim)


@log_softmax.gradient(saves="y")
def _(dy: Array, y: Array, x: Array, *, dim: int, dtype: Any) -> Gradients:
    if not isinstance(dy, Tensor):
        dim = dimension("log_softmax", dim, x.ndim)
        return lambda: _in_type_of(x, softmaxes.log_softmax_gradient(dy, y, dim=dim))
    return lambda: _in_type_of(x, dy - exp(y) * sum(dy, dim, keepdim=True))


def _given(op: str, x: Array, dtype: Any) -> Array:
    x = x if dtype is None else x.astype(dtype)
    only_floating(op, x)
    return x


def _in_type_of(x: Any, dx: Any) -> Any:
    return dx if dx.dtype == x.dtype else cast(dx, x.dtype)
