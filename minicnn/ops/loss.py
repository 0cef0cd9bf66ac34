"""Losses, element by element, that have a gradient of their own, and what all losses end with.

A loss is here where its own gradient is simpler or faster than that of its parts; all others are
spelled with the operations of the other files, in `minicnn.nn.functional`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.errors import ArgumentError
from minicnn.ops.activation import logsigmoid, sigmoid, softmax
from minicnn.ops.arithmetic import clamp
from minicnn.ops.broadcast import unbroadcast
from minicnn.ops.elementwise import floating, log, log1p
from minicnn.ops.reduce import mean, sum
from minicnn.ops.shape import unsqueeze
from minicnn.pointwise import pointwise
from minicnn.tensor import Tensor, values_of


def reduced(losses: Any, reduction: str) -> Any:
    """Return the losses as they are ("none"), or their "mean" or "sum"."""
    if reduction not in ("none", "mean", "sum"):
        raise ArgumentError(f'reduction must be "none", "mean" or "sum", got {reduction!r}')
    if reduction == "none":
        return losses
    return mean(losses) if reduction == "mean" else sum(losses)


# --- of numbers -----------------------------------------------------------------------------------


@pointwise
def huber(a: Array, b: Array, /, delta: float) -> Array:
    """y = c * (|a - b| - c / 2), c = min(|a - b|, delta): a parabola that goes on as a line."""
    distance = np.abs(floating(a - b))
    near = np.minimum(distance, delta)
    distance -= near / 2
    return distance * near


@huber.gradient(saves="a b")
def _(dy: Array, y: Array, a: Array, b: Array, *, delta: float) -> Gradients:
    da = dy * clamp(a - b, -delta, delta)
    return lambda: unbroadcast(da, a), lambda: unbroadcast(-da, b)


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


class Exponentials(NamedTuple):
    """Of logits x, along the dimension of the classes: their maximum, e^(x - maximum), its sum."""

    maximum: Array
    values: Array
    total: Array


@differentiable
def softmax_loss(x: Array, /, labels: Array, dim: int, exponentials: Exponentials) -> Array:
    """y[n,..] = ln sum_c e^x[n,c,..] - x[n,t,..], t = labels[n,..].

    `exponentials` are those of this very x, computed by the caller, who thereby spares the
    gradient a second pass.
    """
    of_label = np.take_along_axis(x, np.expand_dims(labels, dim), dim)
    losses = np.log(exponentials.total) - (of_label - exponentials.maximum)
    return losses.squeeze(dim)


@softmax_loss.gradient(saves="x")
def _(
    dy: Array, y: Array, x: Array, *, labels: Array, dim: int, exponentials: Exponentials
) -> Gradients:
    of_label = np.expand_dims(labels, dim)

    def dx() -> Any:
        if isinstance(dy, Tensor):  # recorded: the softmax is a function of x
            one_hot = np.zeros(x.shape, x.dtype)
            np.put_along_axis(one_hot, of_label, 1, dim)
            return (softmax(x, dim) - one_hot) * unsqueeze(dy, dim)
        column = np.expand_dims(dy, dim)
        dx = exponentials.values * (column / exponentials.total)
        hit = np.take_along_axis(dx, of_label, dim)
        np.put_along_axis(dx, of_label, hit - column, dim)
        return dx

    return dx


def softmax_cross_entropy(x: Any, labels: Array, dim: int) -> Any:
    """Return -ln softmax(x)[n,t,..], t = labels[n,..], over the classes along `dim`."""
    values = values_of(x)
    with np.errstate(all="ignore"):
        maximum = values.max(axis=dim, keepdims=True, initial=-np.inf)
        powers = values - maximum
        np.exp(powers, out=powers)
        exponentials = Exponentials(maximum, powers, powers.sum(axis=dim, keepdims=True))
        return softmax_loss(x, labels, dim, exponentials)
