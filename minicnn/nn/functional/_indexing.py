"""Labels as vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.errors import ArgumentError, DTypeError
from minicnn.tensor import Tensor, values_of
from minicnn_kernels.arrays import as_array, at_hand

__all__ = ["one_hot"]


def one_hot(input: Any, num_classes: int = -1) -> Tensor:
    """Return for each label a vector that is 1 at the label and 0 elsewhere.

    y[...,c] = 1 if input[...] == c else 0

    `num_classes` is the largest label plus 1 unless it is given.

    >>> import minicnn
    >>> one_hot(minicnn.tensor([0, 2]))
    tensor([[1, 0, 0],
            [0, 0, 1]])

    Raises:
        DTypeError: the labels are not of int64.
        ArgumentError: a label is negative, or not less than `num_classes`.
    """
    labels = as_array(values_of(input))
    if labels.dtype != np.int64:
        raise DTypeError(f"one_hot: labels must be int64, got {labels.dtype}; use .long()")
    if labels.size == 0 and num_classes <= 0:
        raise ArgumentError("one_hot: without labels, num_classes must be given")
    if at_hand(labels) and labels.size and labels.min() < 0:
        raise ArgumentError(f"one_hot: labels must not be negative, got {labels.min()}")
    if num_classes == -1:
        num_classes = int(labels.max()) + 1
    if at_hand(labels) and labels.size and labels.max() >= num_classes:
        raise ArgumentError(f"one_hot: label {labels.max()} is not in [0, {num_classes})")
    hot = labels[..., None] == np.arange(num_classes, like=labels)
    return Tensor(hot.astype(np.int64))
