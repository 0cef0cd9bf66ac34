"""Loss functions of numbers and of probabilities, element by element."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from minicnn.errors import ArgumentError, ShapeError
from minicnn.nn.functional._checks import check_floating
from minicnn.ops.activation import logsigmoid
from minicnn.ops.arithmetic import clamp, where
from minicnn.ops.comparison import gt, ne
from minicnn.ops.elementwise import exp, log, square
from minicnn.ops.loss import (
    absolute_error,
    huber,
    log_loss,
    log_loss_of_logits,
    logistic_loss,
    poisson_loss,
    reduced,
    squared_error,
)
from minicnn.ops.reduce import sum
from minicnn.ops.shape import unsqueeze
from minicnn.ops.special import xlogy
from minicnn.tensor import values_of
from minicnn_kernels.arrays import at_hand, is_floating

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "gaussian_nll_loss",
    "hinge_embedding_loss", "huber_loss", "kl_div", "l1_loss", "margin_ranking_loss", "mse_loss",
    "poisson_nll_loss", "smooth_l1_loss", "soft_margin_loss",
]  # fmt: skip


def check_broadcast(op: str, **values: Any) -> None:
    """Refuse shapes that do not broadcast with each other.

    Raises:
        ShapeError: names them all.
    """
    shapes = {name: np.shape(values_of(value)) for name, value in values.items()}
    try:
        np.broadcast_shapes(*shapes.values())
    except ValueError:
        named = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ShapeError(f"{op}: the shapes do not broadcast: {named}") from None


def check_broadcast_to(op: str, shape: tuple[int, ...], name: str, value: Any) -> None:
    """Refuse a value that cannot be repeated until it has `shape`.

    Raises:
        ShapeError: names both shapes.
    """
    try:
        fits = np.broadcast_shapes(shape, value.shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"{op}: {name} {value.shape} does not broadcast to input {shape}")


def raised_to(x: Any, least: float) -> Any:
    """Return max(x, least) with the gradient of x, so that a value below can still recover."""
    return x + np.maximum(least - values_of(x), 0)


def check_same_shape(op: str, input: Any, target: Any) -> None:
    """Refuse a target of another shape.

    Raises:
        ShapeError: they differ.
    """
    if input.shape != target.shape:
        raise ShapeError(f"{op}: input {input.shape} and target {target.shape} must agree")


# --- distances of numbers -------------------------------------------------------------------------


def l1_loss(input: Any, target: Any, *, reduction: str = "mean", weight: Any = None) -> Any:
    """Return the absolute error.

    y[i] = |input[i] - target[i]|

    Args:
        weight: one factor per element; then "mean" divides by their sum.
    """
    _check_distance("l1_loss", input, target, weight)
    return _weighted_mean(absolute_error(input, target), weight, reduction)


def mse_loss(input: Any, target: Any, *, reduction: str = "mean", weight: Any = None) -> Any:
    """Return the squared error.

    y[i] = (input[i] - target[i])^2

    Args:
        weight: one factor per element; then "mean" divides by their sum.
    """
    _check_distance("mse_loss", input, target, weight)
    return _weighted_mean(squared_error(input, target), weight, reduction)


def smooth_l1_loss(input: Any, target: Any, *, reduction: str = "mean", beta: float = 1.0) -> Any:
    """Return the absolute error, rounded off where it is below beta.

    y[i] = d[i]^2 / (2 beta) if d[i] < beta, else d[i] - beta / 2, d = |input - target|

    Paper: Girshick 2015, "Fast R-CNN".
    """
    _check_distance("smooth_l1_loss", input, target)
    if beta < 0:
        raise ArgumentError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    if beta == 0:
        return reduced(absolute_error(input, target), reduction)
    return reduced(huber(input, target, beta, 1 / beta), reduction)


def huber_loss(
    input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None
) -> Any:
    """Return half of the squared error, continued as a line where the error is beyond delta.

    y[i] = d[i]^2 / 2 if d[i] <= delta, else delta * (d[i] - delta / 2), d = |input - target|

    Args:
        weight: one factor per element; "mean" divides by the number of elements all the same.

    Paper: Huber 1964.
    """
    _check_distance("huber_loss", input, target, weight)
    if delta <= 0:
        raise ArgumentError(f"huber_loss: delta must be positive, got {delta}")
    losses = huber(input, target, delta)
    return reduced(losses if weight is None else losses * weight, reduction)


def _check_distance(op: str, input: Any, target: Any, weight: Any = None) -> None:
    """Refuse shapes that do not fit; warn, as PyTorch does, where one is repeated to fit."""
    check_broadcast(op, input=input, target=target)
    if weight is not None and weight.shape != input.shape:
        raise ShapeError(f"{op}: weight {weight.shape} and input {input.shape} must agree")
    if input.shape != target.shape:
        warnings.warn(
            f"{op}: target {target.shape} has another shape than input {input.shape} and is "
            f"broadcast with it, which is seldom meant; give both one shape",
            stacklevel=3,
        )


def _weighted_mean(losses: Any, weight: Any, reduction: str) -> Any:
    """Reduce losses with weights; their mean is divided by the sum of the weights."""
    if weight is None:
        return reduced(losses, reduction)
    if reduction == "mean":
        return sum(losses * weight) / sum(weight)
    return reduced(losses * weight, reduction)


# --- of probabilities -----------------------------------------------------------------------------


def binary_cross_entropy(
    input: Any, target: Any, weight: Any = None, *, reduction: str = "mean"
) -> Any:
    """Return the cross-entropy of probabilities against the truth, with ln x taken as >= -100.

    y[i] = -weight[i] * (target[i] * ln input[i] + (1 - target[i]) * ln(1 - input[i]))

    Shapes: target as input; weight broadcasts to it.

    Raises:
        ArgumentError: a value of input or target is not in [0, 1].
    """
    op = "binary_cross_entropy"
    _check_truth(op, input, target, weight=weight)
    for name, values in (("input", values_of(input)), ("target", values_of(target))):
        outside = ~((values >= 0) & (values <= 1))
        if at_hand(outside) and outside.any():
            raise ArgumentError(
                f"{op}: {name} must lie in [0, 1], got {values[outside][0]}; for logits use "
                f"binary_cross_entropy_with_logits"
            )
    losses = log_loss(input, target)
    return reduced(losses if weight is None else losses * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Any,
    target: Any,
    weight: Any = None,
    *,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Any:
    """Return the cross-entropy of the sigmoid of logits against the truth, for logits of any size.

    y[i] = -weight[i] * (pos_weight[i] * target[i] * ln p[i] + (1 - target[i]) * ln(1 - p[i]))

    p is the sigmoid of the input.
    Shapes: target as input; weight and pos_weight broadcast to it.
    """
    op = "binary_cross_entropy_with_logits"
    _check_truth(op, input, target, weight=weight, pos_weight=pos_weight)
    if pos_weight is None:
        losses = log_loss_of_logits(input, target)
    else:
        losses = (1 - target) * input - (1 + (pos_weight - 1) * target) * logsigmoid(input)
    return reduced(losses if weight is None else losses * weight, reduction)


def _check_truth(op: str, input: Any, target: Any, **weights: Any) -> None:
    check_same_shape(op, input, target)
    check_floating(op, "input", input)
    check_floating(op, "target", target)
    for name, weight in weights.items():
        if weight is not None:
            check_broadcast_to(op, input.shape, name, weight)


def kl_div(input: Any, target: Any, *, reduction: str = "mean", log_target: bool = False) -> Any:
    """Return the divergence of the probabilities e^input from the probabilities `target`.

    y[i] = target[i] * (ln target[i] - input[i])

    Args:
        reduction: besides the usual ones "batchmean", the sum divided by the size of the batch,
            which is what the mathematical definition says; "mean" divides by all elements.
        log_target: whether `target` holds logarithms of probabilities.

    Paper: Kullback, Leibler 1951.
    """
    check_broadcast("kl_div", input=input, target=target)
    check_floating("kl_div", "input", input)
    check_floating("kl_div", "target", target)
    if log_target:
        losses = exp(target) * (target - input)
    else:
        losses = xlogy(target, target) - target * input
    if reduction == "batchmean":
        total = sum(losses)
        return total / (input.shape[0] or math.nan) if input.ndim else total
    return reduced(losses, reduction)


def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    *,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Any:
    """Return the negative logarithm of the probability of counts under a Poisson distribution.

    y[i] = e^input[i] - target[i] * input[i]

    Args:
        log_input: whether `input` is the logarithm of the expected count; if not, the loss is
            input - target * ln(input + eps).
        full: add Stirling's approximation of ln(target!) where target > 1.
    """
    check_broadcast("poisson_nll_loss", input=input, target=target)
    if log_input:
        losses = poisson_loss(input, target)
    else:
        losses = input - target * log(input + eps)
    if full:
        many = gt(target, 1)
        count = where(many, target, 1.0)
        stirling = count * log(count) - count + 0.5 * log(2 * math.pi * count)
        losses = losses + where(many, stirling, 0.0)
    return reduced(losses, reduction)


def gaussian_nll_loss(
    input: Any,
    target: Any,
    var: Any,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Any:
    """Return the negative logarithm of the density of a normal distribution.

    y[i] = (ln v[i] + (input[i] - target[i])^2 / v[i]) / 2, v = max(var, eps)

    Args:
        input: the mean.
        var: the variance: a float, as input, without the last dimension, or with a 1 in place of
            one dimension.  Its gradient is that of v, even below eps.
        full: add the constant ln(2 pi) / 2.

    Raises:
        ArgumentError: a variance is negative.

    Paper: Nix, Weigend 1994.
    """
    op = "gaussian_nll_loss"
    if isinstance(var, float):
        dtype = input.dtype if is_floating(input.dtype) else np.float32
        var = np.full_like(values_of(input), var, dtype)
    check_broadcast(op, input=input, target=target)
    check_floating(op, "var", var)
    if at_hand(values_of(var)) and (values_of(var) < 0).any():
        raise ArgumentError(f"{op}: var must not be negative, got {values_of(var).min()}")
    if var.shape == input.shape[:-1] and var.shape != input.shape:
        var = unsqueeze(var, -1)
    elif not _differs_by_a_single_one(input.shape, var.shape):
        raise ShapeError(
            f"{op}: var {var.shape} must have the shape of input {input.shape}, or lack the last "
            f"dimension, or have a 1 in one place"
        )
    var = raised_to(var, eps)
    losses = (log(var) + square(input - target) / var) * 0.5
    if full:
        losses = losses + 0.5 * math.log(2 * math.pi)
    return reduced(losses, reduction)


def _differs_by_a_single_one(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    if len(shape) != len(other):
        return False
    different = [m for n, m in zip(shape, other, strict=True) if n != m]
    return different in ([], [1])


# --- of a sign, 1 or -1 ---------------------------------------------------------------------------


def soft_margin_loss(input: Any, target: Any, *, reduction: str = "mean") -> Any:
    """Return the logistic loss of scores whose sign shall be that of the target, 1 or -1.

    y[i] = ln(1 + e^(-target[i] * input[i]))
    """
    check_floating("soft_margin_loss", "input", input)
    check_broadcast_to("soft_margin_loss", input.shape, "target", target)
    return reduced(logistic_loss(input, target), reduction)


def hinge_embedding_loss(
    input: Any, target: Any, margin: float = 1.0, *, reduction: str = "mean"
) -> Any:
    """Return a loss of distances: of equal pairs (target 1) small, of others (-1) above the margin.

    y[i] = input[i] if target[i] == 1, else max(0, margin - input[i])
    """
    check_broadcast("hinge_embedding_loss", input=input, target=target)
    of_equals = where(ne(target, -1), input, 0)
    of_others = where(ne(target, 1), clamp(margin - input, 0), 0)
    return reduced(of_equals + of_others, reduction)


def margin_ranking_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0, *, reduction: str = "mean"
) -> Any:
    """Return a loss of pairs of scores: the first shall be higher (target 1) or lower (-1).

    y[i] = max(0, -target[i] * (input1[i] - input2[i]) + margin)
    """
    op = "margin_ranking_loss"
    if not input1.ndim == input2.ndim == target.ndim:
        raise ShapeError(
            f"{op}: input1 {input1.shape}, input2 {input2.shape} and target {target.shape} must "
            f"have the same number of dimensions"
        )
    check_broadcast(op, input1=input1, input2=input2, target=target)
    return reduced(clamp(-target * (input1 - input2) + float(margin), 0), reduction)
