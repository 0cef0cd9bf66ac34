"""Loss functions over classes: one of them is right, or several are."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minicnn.errors import (
    ArgumentError,
    DTypeError,
    GradientError,
    IndexOutOfRange,
    ShapeError,
)
from minicnn.nn.functional._checks import as_for_a_loss, check_floating
from minicnn.nn.functional._loss import check_broadcast, check_same_shape
from minicnn.ops.activation import log_softmax, relu
from minicnn.ops.arithmetic import where
from minicnn.ops.indexing import Along, gather, index, index_sum, values_at
from minicnn.ops.loss import (
    log_loss_of_logits,
    mean_cross_entropy,
    reduced,
    softmax_cross_entropy,
    weighted_total,
)
from minicnn.ops.reduce import sum
from minicnn.ops.shape import squeeze, unsqueeze, view_as
from minicnn.tensor import Tensor, values_of
from minicnn_kernels.arrays import Array, as_array, at_hand, filled, is_floating
from minicnn_kernels.one_pass import in_one_pass
from minicnn_kernels.reference.scan import accumulated

__all__ = [
    "cross_entropy", "multi_margin_loss", "multilabel_margin_loss", "multilabel_soft_margin_loss",
    "nll_loss",
]  # fmt: skip

# --- one class is right ---------------------------------------------------------------------------


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """Return the cross-entropy of softmax(input) against class labels or class probabilities.

    y[n] = -weight[t] * ln softmax(input)[n,t], t = target[n]

    For probabilities q it is y[n] = -sum_c q[n,c] * weight[c] * ln softmax(input)[n,c].
    Label smoothing e takes for q the label with 1 - e plus every class with e / C.  The mean is
    divided by the sum of the weights of the labels, for probabilities by the number of samples.

    Shapes: input (N, C) or (N, C, d1, ...), or (C) for one sample; target (N) or (N, d1, ...)
    or () of class indices, or as input of probabilities; weight (C).

    Raises:
        ShapeError, DTypeError, IndexOutOfRange: target or weight does not fit the input.
        ArgumentError: label_smoothing is not in [0, 1].

    Paper of label smoothing: Szegedy et al. 2016, arXiv:1512.00567.
    """
    op = "cross_entropy"
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(f"{op}: label_smoothing must be in [0, 1], got {label_smoothing}")
    check_floating(op, "input", input)
    input, dim = as_for_a_loss(input), _class_dim(op, input)
    by_class = _class_weights(op, weight, input, dim)
    share = label_smoothing / max(input.shape[dim], 1)
    if _holds_probabilities(op, input, target, ignore_index):
        smoothed = target if hasattr(target, "dtype") else np.asarray(target, input.dtype)
        if label_smoothing:
            smoothed = smoothed * (1 - label_smoothing) + share
        log_probability = _of_class(log_softmax(input, dim), by_class, dim)
        return reduced(-sum(log_probability * smoothed, dim), reduction)
    given = _given_labels(op, input, target, dim, ignore_index)
    if reduction == "mean" and by_class is None and not label_smoothing:
        count = np.empty((), np.result_type(input.dtype, np.float32), like=values_of(input))
        return mean_cross_entropy(input, given, dim, ignore_index, count)
    labels = _labels(given, input, by_class, dim, ignore_index)
    if not label_smoothing:
        losses = labels.weigh(softmax_cross_entropy(input, labels.classes, dim))
    else:
        log_probability = log_softmax(input, dim)
        of_label = labels.weigh(_of_label(log_probability, labels, dim))
        of_all = sum(_of_class(log_probability, by_class, dim), dim)
        losses = -(of_label * (1 - label_smoothing) + of_all * share)
    return _reduced_over_labels(losses, labels, reduction)


def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Any:
    """Return the negative logarithm of the probability of the labels, given all logarithms.

    y[n] = -weight[t] * input[n,t], t = target[n]

    The mean is divided by the sum of the weights of the labels.

    Shapes: input (N, C) or (N, C, d1, ...), target (N) or (N, d1, ...) of class indices; or, for
    one sample, (C) and (); weight (C).

    Raises:
        ShapeError, DTypeError, IndexOutOfRange: target or weight does not fit the input.
    """
    op = "nll_loss"
    check_floating(op, "input", input)
    input, dim = as_for_a_loss(input), _class_dim(op, input)
    by_class = _class_weights(op, weight, input, dim)
    given = _given_labels(op, input, target, dim, ignore_index)
    labels = _labels(given, input, by_class, dim, ignore_index)
    if reduction in ("mean", "sum") and labels.used is None and labels.classes.ndim == 1:
        total = labels.total_weight() or float("nan") if reduction == "mean" else 1
        weights = labels.weigh(np.full(labels.classes.shape, -1 / total, input.dtype))
        return weighted_total(input, weights, labels.classes)
    losses = labels.weigh(-_of_label(input, labels, dim))
    return _reduced_over_labels(losses, labels, reduction)


class Labels(NamedTuple):
    """Class labels, checked.

    Attributes:
        classes: the class of each sample; 0 where it is ignored.
        used: where it is not ignored; None if it nowhere is.
        weights: the weight of its class; None if all weigh the same.
    """

    classes: Array
    used: Array | None
    weights: Array | None

    def weigh(self, losses: Any) -> Any:
        """Return the losses times the weights."""
        return losses if self.weights is None else losses * self.weights

    def total_weight(self) -> Any:
        """Add up the weights of what is not ignored: a number, on a card an array of one value."""
        if self.weights is not None and not at_hand(self.classes):
            return self.weights.sum()
        counted = self.classes if self.weights is None else self.weights
        if self.used is not None:
            counted = counted[self.used]
        return counted.size if self.weights is None else float(counted.sum())


def _class_dim(op: str, input: Any) -> int:
    """Return where the classes are: 1 of a batch, 0 of one sample."""
    if input.ndim == 0:
        raise ShapeError(f"{op}: input must be (N, C, ...) or (C), got a single number")
    return 1 if input.ndim > 1 else 0


def _of_class(x: Any, by_class: Array | None, dim: int) -> Any:
    """Return x[n,c,..] times the weight of class c."""
    return x if by_class is None else x * by_class.reshape(-1, *[1] * (x.ndim - dim - 1))


def _holds_probabilities(op: str, input: Any, target: Any, ignore_index: int) -> bool:
    """Say whether the target holds class probabilities; it does if it has the input's shape."""
    values = as_array(values_of(target))
    if values.shape != input.shape:
        return False
    if not is_floating(values.dtype):
        raise DTypeError(
            f"{op}: a target of the shape of input, {input.shape}, holds class probabilities and "
            f"must be floating-point, got {values.dtype}"
        )
    if ignore_index >= 0:
        raise ArgumentError(
            f"{op}: ignore_index={ignore_index} needs class labels, the target holds probabilities"
        )
    return True


def _given_labels(op: str, input: Any, target: Any, dim: int, ignore_index: int) -> Array:
    """Return the target as class labels that fit the input.  Those on a card are not looked at."""
    labels = as_array(values_of(target))
    expected = input.shape[:dim] + input.shape[dim + 1 :]
    if dim == 0 and labels.shape == (1,):
        labels = labels[0]
    if labels.shape != expected:
        raise ShapeError(
            f"{op}: for input {input.shape} the target must have shape {expected}, "
            f"got {labels.shape}"
        )
    if labels.dtype.kind not in "iu":
        raise DTypeError(
            f"{op}: target must hold class indices (integers), got {labels.dtype}; "
            f"convert it with .to(minicnn.int64)"
        )
    classes = input.shape[dim]
    if at_hand(labels) and not _all_inside(labels, classes):
        outside = (labels < 0) | (labels >= classes)
        wrong = np.extract(outside & (labels != ignore_index) if classes else outside, labels)
        if wrong.size:
            raise IndexOutOfRange(f"{op}: target {wrong[0]} is not in [0, {classes})")
    return labels.astype(np.int64, copy=False)


def _all_inside(labels: Array, classes: int) -> bool:
    return labels.size == 0 or bool(labels.min() >= 0 and labels.max() < classes)


def _labels(
    labels: Array, input: Any, by_class: Array | None, dim: int, ignore_index: int
) -> Labels:
    """Return labels with their weights.  On a card, one that is no class weighs NaN."""
    classes = input.shape[dim]
    if at_hand(labels):
        if _all_inside(labels, classes) and not 0 <= ignore_index < classes:
            return Labels(labels, None, None if by_class is None else by_class[labels])
        used = labels != ignore_index
        positions = np.where(used, labels, 0)
        return Labels(positions, used, None if by_class is None else by_class[positions])
    used, inside = labels != ignore_index, (labels >= 0) & (labels < classes)
    positions = np.where(used & inside, labels, 0)
    weights = np.ones_like(labels, input.dtype) if by_class is None else by_class[positions]
    weights = np.where(used, np.where(inside, weights, np.nan), 0)
    return Labels(positions, used, weights.astype(input.dtype, copy=False))  # bfloat16 is widened


def _class_weights(op: str, weight: Any, input: Any, dim: int) -> Array | None:
    """Return one weight per class, in the type of the input, or None if there are none."""
    classes = input.shape[dim]
    if weight is None:
        return None
    if isinstance(weight, Tensor) and weight.requires_grad:
        raise GradientError(f"{op}: no gradient flows to weight; use .detach()")
    if weight.shape != (classes,):
        raise ShapeError(f"{op}: weight must have shape ({classes},), got {weight.shape}")
    return as_array(values_of(weight)).astype(input.dtype)


def _of_label(input: Any, labels: Labels, dim: int) -> Any:
    """Return input[n,t,..], t the class of sample n."""
    shape = labels.classes.shape
    if len(shape) == 1:
        return values_at(input, (np.arange(shape[0], like=labels.classes), labels.classes))
    column = labels.classes.reshape(*shape[:dim], 1, *shape[dim:])
    return view_as(values_at(input, Along(column, dim)), shape)


def _reduced_over_labels(losses: Any, labels: Labels, reduction: str) -> Any:
    """Reduce losses, without those that are ignored; the mean is weighted.

    The mean of none is NaN; its gradient is 0 if all labels are ignored, as PyTorch's.
    """
    if labels.used is not None:
        losses = where(labels.used, losses, 0.0)
    if reduction != "mean":
        return reduced(losses, reduction)
    total = labels.total_weight()
    if not at_hand(total):
        return sum(losses) / _divisor(total) + _nan_if_zero(total)
    if labels.used is not None and not labels.used.any():
        return sum(losses) + float("nan")
    return sum(losses) / (total or float("nan"))


@in_one_pass
def _divisor(total: Any) -> Any:
    return np.where(total == 0, 1.0, total)


@in_one_pass
def _nan_if_zero(total: Any) -> Any:
    return np.where(total == 0, np.nan, 0 * total)


def multi_margin_loss(
    input: Any,
    target: Any,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    *,
    reduction: str = "mean",
) -> Any:
    """Return the hinge loss of scores, of which that of the label shall be highest by the margin.

    y[n] = sum_(c != t) weight[t] * max(0, margin - input[n,t] + input[n,c])^p / C, t = target[n]

    Shapes: input (N, C), target (N) of class indices; or, for one sample, (C) and (); weight (C).

    Raises:
        ArgumentError: p is neither 1 nor 2, or a label is not a class.
        ShapeError, DTypeError: target or weight does not fit the input.

    Paper: Crammer, Singer 2001.
    """
    op = "multi_margin_loss"
    if p not in (1, 2):
        raise ArgumentError(f"{op}: p must be 1 or 2, got {p}")
    rows, labels = _rows_with_labels(op, input, target)
    if labels.ndim > 1 or labels.size != rows.shape[0]:
        raise ShapeError(
            f"{op}: for input {input.shape} the target must have shape {input.shape[:-1]}, "
            f"got {labels.shape}"
        )
    classes = rows.shape[1]
    _check_classes(op, labels, 0, classes)
    by_class = _class_weights(op, weight, rows, 1)
    column = labels.reshape(-1, 1)
    excess = relu(rows - gather(rows, 1, column) + margin) ** p
    losses = sum(where(np.arange(classes, like=column) != column, excess, 0.0), 1) / classes
    if by_class is not None:
        losses = losses * by_class[labels.reshape(-1)]
    return reduced(view_as(losses, labels.shape), reduction)


# --- several classes are right --------------------------------------------------------------------


def multilabel_margin_loss(input: Any, target: Any, *, reduction: str = "mean") -> Any:
    """Return the hinge loss of scores, of which those of all labels shall be 1 above the others.

    y[n] = sum_(j in labels, c not in labels) max(0, 1 - input[n,j] + input[n,c]) / C

    Shapes: input (N, C) or (C); target likewise, of class indices: the labels come first, and a
    -1 ends them.

    Raises:
        ShapeError, DTypeError, ArgumentError: the target does not fit the input.
    """
    op = "multilabel_margin_loss"
    rows, labels = _rows_with_labels(op, input, target)
    check_same_shape(op, input, labels)
    classes = rows.shape[1]
    _check_classes(op, labels, -1, classes)
    labels = labels.reshape(rows.shape)
    listed = accumulated(np.logical_and, labels >= 0, 1)
    sample, place = np.nonzero(listed)
    label = labels[sample, place]
    is_label = np.zeros_like(listed)
    is_label[sample, label] = filled(listed, True)
    of_label = unsqueeze(index(rows, (sample, label)), 1)
    excess = relu(index(rows, sample) - of_label + 1)  # a row for each pair of a sample and a label
    of_pair = sum(where(is_label[sample], 0.0, excess), 1)
    losses = index_sum(of_pair, sample, rows.shape[:1]) / classes
    return reduced(losses if input.ndim == 2 else squeeze(losses, 0), reduction)


def multilabel_soft_margin_loss(
    input: Any, target: Any, weight: Any = None, *, reduction: str = "mean"
) -> Any:
    """Return the mean over the classes of yes-or-no losses, one for each class.

    y[n] = -sum_c weight[c] * (t[n,c] * ln s(x[n,c]) + (1 - t[n,c]) * ln s(-x[n,c])) / C

    x is the input, t the target, 1 or 0, and s the sigmoid.
    Shapes: input (..., C), target as input, weight (C).
    """
    op = "multilabel_soft_margin_loss"
    if input.ndim == 0:
        raise IndexOutOfRange(f"{op}: input must be (..., C), got a single number")
    check_broadcast(op, input=input, target=target)
    check_floating(op, "input", input)
    losses = log_loss_of_logits(input, target)
    if weight is not None:
        check_broadcast(op, input=input, weight=weight)
        losses = losses * weight
    return reduced(sum(losses, input.ndim - 1) / (input.shape[-1] or float("nan")), reduction)


def _rows_with_labels(op: str, input: Any, target: Any) -> tuple[Any, Array]:
    """Return input as (N, C), N = 1 for one sample, and target as an array of integers.

    Raises:
        ShapeError: there are more dimensions, or no classes.
        DTypeError: the labels are not integers.
    """
    check_floating(op, "input", input)
    if input.ndim > 2 or 0 in input.shape[-1:]:
        raise ShapeError(f"{op}: input must be (N, C) or (C), C > 0, got {input.shape}")
    labels = as_array(values_of(target))
    if labels.dtype.kind not in "iu":
        raise DTypeError(f"{op}: target must hold class indices (integers), got {labels.dtype}")
    rows = input if input.ndim == 2 else view_as(input, (1, int(np.prod(input.shape))))
    return rows, labels


def _check_classes(op: str, labels: Array, least: int, classes: int) -> None:
    if not at_hand(labels):
        return
    wrong = labels[(labels < least) | (labels >= classes)]
    if wrong.size:
        raise ArgumentError(f"{op}: target {wrong[0]} is not in [{least}, {classes})")
