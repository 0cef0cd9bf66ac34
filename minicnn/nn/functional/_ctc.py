"""The loss of label sequences whose timing is not known."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.errors import ArgumentError, DTypeError, IndexOutOfRange, ShapeError
from minicnn.nn.functional._checks import check_floating
from minicnn.ops.arithmetic import where
from minicnn.ops.ctc import ctc
from minicnn.ops.loss import reduced
from minicnn.ops.shape import squeeze, unsqueeze
from minicnn.tensor import values_of
from minicnn_kernels.arrays import Array, as_array, taken_to, to_device

__all__ = ["ctc_loss"]


def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Any:
    """Return -ln of the probability that symbols drawn at each time step spell the target.

    y[n] = -ln sum_paths prod_t e^log_probs[t,n,path[t]]

    A path spells what is left of it when repeated symbols are merged and blanks dropped.  "mean"
    divides each loss by the length of its target before it averages.

    Args:
        log_probs: logarithms of probabilities, as from `log_softmax(x, 2)`.
        targets: class indices without blanks: padded to one length, or all sequences in a row.
        input_lengths, target_lengths: a tuple or tensor with one number per sequence.
        zero_infinity: count a target that is too long for its input, whose loss is infinite, as 0.

    Shapes: log_probs (T, N, C), targets (N, S) or (sum of the lengths); or, for one sequence,
    (T, C) and (S).

    Raises:
        ShapeError, DTypeError, ArgumentError: the arguments do not fit each other.
        IndexOutOfRange: a target is not a class.
        GradientError: the gradient is asked to be differentiable itself.

    Paper: Graves, Fernandez, Gomez, Schmidhuber 2006.
    """
    op = "ctc_loss"
    check_floating(op, "log_probs", log_probs)
    if log_probs.ndim not in (2, 3) or 0 in log_probs.shape:
        raise ShapeError(
            f"{op}: log_probs must be (T, N, C) or (T, C), none of them 0, got {log_probs.shape}"
        )
    batch = log_probs if log_probs.ndim == 3 else unsqueeze(log_probs, 1)
    steps, count, classes = batch.shape
    if not 0 <= blank < classes:
        raise ArgumentError(f"{op}: blank {blank} is not in [0, {classes})")
    times = _lengths(op, "input_lengths", input_lengths, count)
    if times.max() > steps:
        raise ArgumentError(f"{op}: input_lengths has {times.max()}, log_probs {steps} time steps")
    lengths = _lengths(op, "target_lengths", target_lengths, count)
    labels = _padded(op, targets, lengths)
    used = np.arange(labels.shape[1]) < lengths[:, None]
    wrong = labels[used & ((labels < 0) | (labels >= classes))]
    if wrong.size:
        raise IndexOutOfRange(f"{op}: target {wrong[0]} is not in [0, {classes})")
    losses = ctc(batch, np.where(used, labels, blank), lengths, times, blank)
    if zero_infinity:
        losses = where(np.isposinf(values_of(losses)), 0.0, losses)
    if reduction == "mean":
        losses = losses / taken_to(values_of(losses), np.maximum(lengths, 1))
    return reduced(losses if log_probs.ndim == 3 else squeeze(losses, 0), reduction)


def _lengths(op: str, name: str, value: Any, count: int) -> Array:
    """Return one length per sequence as an array of integers."""
    lengths = np.atleast_1d(to_device(as_array(values_of(value)), "cpu"))
    if lengths.dtype.kind not in "iu":
        raise DTypeError(f"{op}: {name} must be integers, got {lengths.dtype}")
    if lengths.shape != (count,):
        raise ShapeError(
            f"{op}: {name} must have one number for each of {count} sequences, "
            f"got shape {lengths.shape}"
        )
    if lengths.min() < 0:
        raise ArgumentError(f"{op}: {name} must not be negative, got {lengths.min()}")
    return lengths.astype(np.int64)


def _padded(op: str, targets: Any, lengths: Array) -> Array:
    """Return the targets as (N, S), S the largest length."""
    labels: Array = to_device(as_array(values_of(targets)), "cpu")
    if labels.dtype.kind not in "iu":
        raise DTypeError(f"{op}: targets must hold class indices (integers), got {labels.dtype}")
    shape = len(lengths), int(lengths.max())
    if labels.ndim == 2 and len(labels) == shape[0] and labels.shape[1] >= shape[1]:
        return labels[:, : shape[1]].astype(np.int64)
    if labels.shape != (lengths.sum(),):
        raise ShapeError(
            f"{op}: for target_lengths {lengths.tolist()} the targets must have shape {shape} or "
            f"({lengths.sum()},), got {labels.shape}"
        )
    padded = np.zeros(shape, np.int64)
    padded[np.arange(shape[1]) < lengths[:, None]] = labels
    return padded
