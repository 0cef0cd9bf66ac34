"""Losses, element by element, that have a gradient of their own, and what all losses end with.

A loss is here where its own gradient is simpler or faster than that of its parts; all others are
spelled with the operations of the other files, in `minicnn.nn.functional`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import minicnn_kernels as kernels
from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.errors import ArgumentError
from minicnn.ops.activation import logsigmoid, sigmoid, softmax
from minicnn.ops.arithmetic import clamp
from minicnn.ops.broadcast import unbroadcast
from minicnn.ops.elementwise import exp, floating, log, log1p, sign
from minicnn.ops.indexing import index_sum
from minicnn.ops.reduce import mean, sum
from minicnn.ops.shape import unsqueeze
from minicnn.pointwise import pointwise
from minicnn.tensor import Tensor, values_of
from minicnn_kernels.arrays import as_array, filled
from minicnn_kernels.reference.softmax import places


def reduced(losses: Any, reduction: str) -> Any:
    """Return the losses as they are ("none"), or their "mean" or "sum"."""
    if reduction not in ("none", "mean", "sum"):
        raise ArgumentError(f'reduction must be "none", "mean" or "sum", got {reduction!r}')
    if reduction == "none":
        return losses
    return mean(losses) if reduction == "mean" else sum(losses)


# --- of numbers -----------------------------------------------------------------------------------


@pointwise
def absolute_error(a: Array, b: Array, /) -> Array:
    """y = |a - b|; the gradient at 0 is 0."""
    return np.abs(a - b)


@absolute_error.gradient(saves="a b")
def _(dy: Array, y: Array, a: Array, b: Array) -> Gradients:
    return (
        lambda: unbroadcast(dy * sign(a - b), a),
        lambda: unbroadcast(dy * sign(b - a), b),
    )


@pointwise
def squared_error(a: Array, b: Array, /) -> Array:
    """y = (a - b)^2."""
    return np.square(a - b)


@squared_error.gradient(saves="a b")
def _(dy: Array, y: Array, a: Array, b: Array) -> Gradients:
    return (
        lambda: unbroadcast(dy * (2 * (a - b)), a),
        lambda: unbroadcast(dy * (2 * (b - a)), b),
    )


@pointwise
def huber(a: Array, b: Array, /, delta: float, scale: float = 1.0) -> Array:
    """y = scale * c * (|a - b| - c / 2), c = min(|a - b|, delta): a parabola, then a line."""
    distance = np.abs(floating(a - b))
    near = np.minimum(distance, delta)
    return (distance - near / 2) * near * scale


@huber.gradient(saves="a b")
def _(dy: Array, y: Array, a: Array, b: Array, *, delta: float, scale: float) -> Gradients:
    da = dy * clamp(a - b, -delta, delta) * scale
    return lambda: unbroadcast(da, a), lambda: unbroadcast(-da, b)


@pointwise
def poisson_loss(x: Array, t: Array, /) -> Array:
    """y = e^x - t * x."""
    return exp(x) - t * x


@poisson_loss.gradient(saves="x t")
def _(dy: Array, y: Array, x: Array, t: Array) -> Gradients:
    return lambda: unbroadcast(dy * (exp(x) - t), x), lambda: unbroadcast(-dy * x, t)


@pointwise
def logistic_loss(x: Array, t: Array, /) -> Array:
    """y = ln(1 + e^(-t * x))."""
    return -logsigmoid(t * x)


@logistic_loss.gradient(saves="x t")
def _(dy: Array, y: Array, x: Array, t: Array) -> Gradients:
    slope = -dy * sigmoid(-t * x)
    return lambda: unbroadcast(slope * t, x), lambda: unbroadcast(slope * x, t)


# --- of probabilities -----------------------------------------------------------------------------


@pointwise
def log_loss(x: Array, t: Array, /) -> Array:
    """y = -t * max(ln x, -100) - (1 - t) * max(ln(1 - x), -100)."""
    return (t - 1) * np.maximum(log1p(-x), -100) - t * np.maximum(np.log(x), -100)


@log_loss.gradient(saves="x t")
def _(dy: Array, y: Array, x: Array, t: Array) -> Gradients:
    def dt() -> Any:
        return dy * (clamp(log1p(-x), -100) - clamp(log(x), -100))

    return lambda: dy * (x - t) / clamp(x * (1 - x), 1e-12), dt


@pointwise
def log_loss_of_logits(x: Array, t: Array, /) -> Array:
    """y = (1 - t) * x + ln(1 + e^-x)."""
    return (1 - t) * x - logsigmoid(x)


@log_loss_of_logits.gradient(saves="x t")
def _(dy: Array, y: Array, x: Array, t: Array) -> Gradients:
    return lambda: unbroadcast(dy * (sigmoid(x) - t), x), lambda: unbroadcast(-dy * x, t)


# --- of classes -----------------------------------------------------------------------------------


@differentiable
def softmax_cross_entropy(x: Array, /, labels: Array, dim: int) -> Array:
    """y[n,..] = -ln softmax(x)[n,t,..] = ln sum_c e^x[n,c,..] - x[n,t,..], t = labels[n,..]."""
    return as_array(kernels.cross_entropy(x, labels, dim=dim))


@softmax_cross_entropy.gradient(saves="x")
def _(dy: Array, y: Array, x: Array, *, labels: Array, dim: int) -> Gradients:
    if isinstance(dy, Tensor):
        return lambda: _slopes(dy, x, labels, dim)
    return lambda: kernels.cross_entropy_gradient(dy, x, labels, dim=dim)


def _slopes(dy: Any, x: Any, labels: Array, dim: int) -> Any:
    """Return dy * (softmax(x) - 1 at the label), recorded: the softmax is a function of x."""
    one_hot = np.zeros_like(values_of(x))
    one_hot[places(labels, dim)] = filled(one_hot, 1)
    return (softmax(x, dim) - one_hot) * unsqueeze(dy, dim)


@differentiable
def mean_cross_entropy(x: Array, /, labels: Array, dim: int, ignore: int, count: Array) -> Array:
    """y = sum_n -ln softmax(x)[n,t,..] / count, over the labels that are not `ignore`.

    `count`, an array of no dimension, is filled with how many there are.
    """
    return kernels.mean_cross_entropy(x, labels, count, dim=dim, ignore=ignore)


@mean_cross_entropy.gradient(saves="x")
def _(
    dy: Array, y: Array, x: Array, *, labels: Array, dim: int, ignore: int, count: Array
) -> Gradients:
    if isinstance(dy, Tensor):
        used = labels != ignore
        share = np.where(used, 1 / count, 0).astype(x.dtype)
        return lambda: _slopes(dy * share, x, np.where(used, labels, 0), dim)
    return lambda: kernels.cross_entropy_gradient(dy, x, labels, count, dim=dim, ignore=ignore)


@differentiable
def weighted_total(x: Array, /, weights: Array, labels: Array) -> Array:
    """y = sum_n weights[n] * x[n,t], t = labels[n]."""
    return as_array((weights * x[places(labels, 1)]).sum())


@weighted_total.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, weights: Array, labels: Array) -> Gradients:
    return lambda: index_sum(dy * weights, places(labels, 1), x.shape)
