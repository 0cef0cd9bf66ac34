"""Loss functions, spelled with the operations of the other files."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.differentiable import Array
from minicnn.errors import ArgumentError, DTypeError, GradientError, IndexOutOfRange, ShapeError
from minicnn.ops.activation import log_softmax
from minicnn.ops.arithmetic import where
from minicnn.ops.indexing import gather
from minicnn.ops.reduce import mean, sum
from minicnn.ops.shape import squeeze
from minicnn.tensor import Tensor, values_of


def reduced(losses: Any, reduction: str) -> Any:
    """Return the losses as they are ("none"), or their "mean" or "sum"."""
    if reduction not in ("none", "mean", "sum"):
        raise ArgumentError(f'reduction must be "none", "mean" or "sum", got {reduction!r}')
    if reduction == "none":
        return losses
    return mean(losses) if reduction == "mean" else sum(losses)


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """Return the mean of (input[i] - target[i])^2."""
    if input.shape != target.shape:
        raise ShapeError(f"mse_loss: input {input.shape} and target {target.shape} must agree")
    return reduced((input - target) ** 2, reduction)


def nll_loss(
    input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
) -> Any:
    """Return the mean of -weight[t] * input[n, t], t = target[n], over log-probabilities.

    Shapes: input (N, C) or (N, C, d1, ...), target (N) or (N, d1, ...) of class indices; or, for
    one sample, (C) and ().  "mean" divides by the sum of the weights used, as in PyTorch.

    Raises:
        ShapeError, DTypeError, IndexOutOfRange: target or weight does not fit the input.
    """
    return _nll("nll_loss", input, target, weight, ignore_index, reduction)


def _nll(
    op: str,
    log_probability: Any,
    target: Any,
    weight: Any,
    ignore_index: int,
    reduction: str,
    label_smoothing: float = 0.0,
) -> Any:
    labels = _class_labels(op, log_probability, target, ignore_index)
    dim = 1 if log_probability.ndim > 1 else 0
    classes, dtype = log_probability.shape[dim], log_probability.dtype
    used = labels != ignore_index
    positions = np.where(used, labels, 0)
    by_class = _class_weights(op, weight, classes)
    weights = by_class[positions]
    losses = -squeeze(gather(log_probability, dim, np.expand_dims(positions, dim)), dim)
    if weight is not None:
        losses = losses * weights.astype(dtype)
    if label_smoothing:
        column = by_class.astype(dtype).reshape(-1, *[1] * (log_probability.ndim - dim - 1))
        of_all_classes = -sum(log_probability * column, dim)
        losses = losses * (1 - label_smoothing) + of_all_classes * (label_smoothing / classes)
    if not used.all():
        losses = where(used, losses, 0.0)
    if reduction != "mean":
        return reduced(losses, reduction)
    return sum(losses) / (weights[used].sum().item() or float("nan"))


def _class_labels(op: str, input: Any, target: Any, ignore_index: int) -> Array:
    """Return the target as an array of class indices that fit the input."""
    labels = np.asarray(values_of(target))
    if labels.dtype.kind not in "iu":
        raise DTypeError(
            f"{op}: target must hold class indices (integers), got {labels.dtype}; "
            f"convert it with .to(minicnn.int64)"
        )
    dim = 1 if input.ndim > 1 else 0
    expected = input.shape[:dim] + input.shape[dim + 1 :]
    if labels.shape != expected:
        raise ShapeError(
            f"{op}: for input {input.shape} the target must have shape {expected}, "
            f"got {labels.shape}"
        )
    classes = input.shape[dim]
    wrong = labels[(labels != ignore_index) & ((labels < 0) | (labels >= classes))]
    if wrong.size:
        raise IndexOutOfRange(f"{op}: target {wrong[0]} is not in [0, {classes})")
    return labels.astype(np.int64, copy=False)


def _class_weights(op: str, weight: Any, classes: int) -> Array:
    """Return one weight per class; ones if there are none."""
    if weight is None:
        return np.ones(classes)
    if isinstance(weight, Tensor) and weight.requires_grad:
        raise GradientError(f"{op}: no gradient flows to weight; use .detach()")
    if weight.shape != (classes,):
        raise ShapeError(f"{op}: weight must have shape ({classes},), got {weight.shape}")
    return np.asarray(values_of(weight))


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """Return the mean of -ln softmax(input)[n, target[n]] over logits.

    With label smoothing e the target is 1 - e on the label plus e / C on every class.
    Shapes: as for `nll_loss`.
    """
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(
            f"cross_entropy: label_smoothing must be in [0, 1], got {label_smoothing}"
        )
    log_probability = log_softmax(input, 1 if input.ndim > 1 else 0)
    return _nll(
        "cross_entropy", log_probability, target, weight, ignore_index, reduction, label_smoothing
    )
