"""Activation functions."""

from __future__ import annotations

import numpy as np

from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.ops.arithmetic import exp
from minicnn.ops.indexing import dimension
from minicnn.ops.reduce import only_floating, sum

__all__ = ["log_softmax", "relu", "sigmoid", "softmax", "tanh"]


@differentiable
def relu(x: Array, /) -> Array:
    """y = max(x, 0); the gradient at 0 is 0."""
    return np.maximum(x, 0)


@relu.gradient(saves="y")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * (y > 0)


@differentiable
def sigmoid(x: Array, /) -> Array:
    """y = 1 / (1 + e^-x), as (1 + tanh(x/2)) / 2, which cannot overflow."""
    return np.tanh(x * 0.5) * 0.5 + 0.5


@sigmoid.gradient(saves="y")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * y * (1 - y)


@differentiable
def tanh(x: Array, /) -> Array:
    """y = (e^x - e^-x) / (e^x + e^-x)."""
    return np.tanh(x)


@tanh.gradient(saves="y")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * (1 - y * y)


@differentiable
def softmax(x: Array, /, dim: int) -> Array:
    """y[i] = e^x[i] / sum_j e^x[j], shifted by the maximum so that nothing overflows."""
    e = np.exp(_shifted("softmax", x, dim))
    return e / e.sum(axis=dim, keepdims=True)


@softmax.gradient(saves="y")
def _(dy: Array, y: Array, x: Array, *, dim: int) -> Gradients:
    return lambda: y * (dy - sum(dy * y, dim, keepdim=True))


@differentiable
def log_softmax(x: Array, /, dim: int) -> Array:
    """y[i] = x[i] - ln sum_j e^x[j], shifted by the maximum so that nothing overflows."""
    shifted = _shifted("log_softmax", x, dim)
    return shifted - np.log(np.exp(shifted).sum(axis=dim, keepdims=True))


@log_softmax.gradient(saves="y")
def _(dy: Array, y: Array, x: Array, *, dim: int) -> Gradients:
    return lambda: dy - exp(y) * sum(dy, dim, keepdim=True)


def _shifted(op: str, x: Array, dim: int) -> Array:
    only_floating(op, x)
    return x - x.max(axis=dimension(op, dim, x.ndim), keepdims=True, initial=-np.inf)
