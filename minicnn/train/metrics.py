"""How well predictions agree with labels.

Logits are (N, K): a score for each of K classes, for each of N examples. Labels and
predictions are (N,): class numbers from 0 to K - 1. Arrays and Tensors are both taken.
"""

from __future__ import annotations

import numpy as np

from minicnn.errors import ArgumentError, DTypeError, IndexOutOfRange, ShapeError
from minicnn.tensor import Tensor
from minicnn_kernels.arrays import Array


def accuracy(logits_or_predictions: Array | Tensor, labels: Array | Tensor) -> float:
    """Return the share of examples whose predicted class is the label, from 0 to 1.

    accuracy = sum_n [prediction[n] == label[n]] / N, with prediction[n] = argmax_k logits[n,k].
    The first of equal logits wins, an example with a NaN logit counts as wrong, and the
    accuracy over no example is NaN.

    Shapes:
        logits (N, K) or predictions (N,); labels (N,).

    Raises:
        ShapeError: the two do not belong to the same examples.
        DTypeError: labels or predictions are not integers.
        IndexOutOfRange: a label that is no class of the logits.

    >>> accuracy(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    0.5
    >>> accuracy(np.array([1, 0, 2, 2]), np.array([1, 0, 2, 0]))
    0.75
    """
    predictions = _numpy(logits_or_predictions)
    if predictions.ndim == 2:
        return top_k_accuracy(predictions, labels, k=1)
    truth = _class_numbers("accuracy", "labels", labels)
    predictions = _class_numbers("accuracy", "predictions", predictions)
    _check_same_examples("accuracy", "predictions", predictions, truth)
    return _share(predictions == truth)


def top_k_accuracy(logits: Array | Tensor, labels: Array | Tensor, k: int) -> float:
    """Return the share of examples whose label is among the `k` highest logits, from 0 to 1.

    The class with the lower number is ahead of one with an equal logit, as in argmax; an
    example with a NaN logit counts as wrong, and the accuracy over no example is NaN.

    Shapes:
        logits (N, K); labels (N,).

    Raises:
        ShapeError, DTypeError, IndexOutOfRange: as in `accuracy`.
        ArgumentError: `k` is not in 1..K.

    >>> logits = np.array([[0.1, 0.5, 0.4], [0.6, 0.3, 0.1]])
    >>> top_k_accuracy(logits, np.array([2, 2]), k=2)
    0.5
    """
    scores = _numpy(logits)
    if scores.ndim != 2:
        raise ShapeError(f"top_k_accuracy: logits have shape {scores.shape}; give (N, K)")
    truth = _class_numbers("top_k_accuracy", "labels", labels)
    _check_same_examples("top_k_accuracy", "logits", scores, truth)
    num_classes = scores.shape[1]
    if not 1 <= k <= num_classes:
        raise ArgumentError(f"top_k_accuracy: k is {k}; choose one from 1 to {num_classes}")
    _check_classes("top_k_accuracy", "labels", truth, num_classes)

    label = truth[:, np.newaxis]
    label_score = np.take_along_axis(scores, label, axis=1)
    wins_tie = np.arange(num_classes) < label
    ahead = (scores > label_score) | ((scores == label_score) & wins_tie)
    return _share((ahead.sum(axis=1) < k) & ~np.isnan(scores).any(axis=1))


def confusion_matrix(
    labels: Array | Tensor, predictions: Array | Tensor, num_classes: int
) -> Array:
    """Count how often each class was taken for each other one.

    matrix[i,j] = sum_n [labels[n] == i and predictions[n] == j]: a row is a true class, a
    column a predicted one, the diagonal what is right.

    Shapes:
        labels (N,); predictions (N,); returns (num_classes, num_classes), int64.

    Raises:
        ShapeError: labels and predictions differ in shape.
        DTypeError: one of them is not of integers.
        IndexOutOfRange: a class number outside 0..num_classes - 1.

    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), num_classes=2)
    array([[1, 1],
           [0, 1]])
    """
    truth = _class_numbers("confusion_matrix", "labels", labels)
    predicted = _class_numbers("confusion_matrix", "predictions", predictions)
    _check_same_examples("confusion_matrix", "predictions", predicted, truth)
    _check_classes("confusion_matrix", "labels", truth, num_classes)
    _check_classes("confusion_matrix", "predictions", predicted, num_classes)
    cells = np.bincount(truth * num_classes + predicted, minlength=num_classes**2)
    return cells.astype(np.int64).reshape(num_classes, num_classes)


def _numpy(values: Array | Tensor) -> Array:
    return values.detach().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _share(correct: Array) -> float:
    return float(correct.mean()) if correct.size else float("nan")


def _class_numbers(function: str, argument: str, values: Array | Tensor) -> Array:
    """Return `values` as (N,) int64, so that no small or unsigned type overflows later."""
    numbers = _numpy(values)
    if numbers.ndim != 1:
        raise ShapeError(f"{function}: {argument} have shape {numbers.shape}; give (N,)")
    if numbers.dtype.kind not in "iu":
        raise DTypeError(
            f"{function}: {argument} are {numbers.dtype}; give class numbers as integers"
        )
    return numbers.astype(np.int64)


def _check_same_examples(function: str, argument: str, values: Array, labels: Array) -> None:
    if len(values) != len(labels):
        raise ShapeError(
            f"{function}: {argument} are of {len(values)} examples and labels of {len(labels)}; "
            "give both for the same examples"
        )


def _check_classes(function: str, argument: str, numbers: Array, num_classes: int) -> None:
    outside = numbers[(numbers < 0) | (numbers >= num_classes)]
    if outside.size:
        raise IndexOutOfRange(
            f"{function}: {argument} hold the class number {outside[0]}, outside 0 to "
            f"{num_classes - 1}; check the labels or the number of classes"
        )
