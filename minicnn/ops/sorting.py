"""Sorting, the k-th value, and searching in sorted values.

Positions are found without a gradient; the values are then taken from there, so that gradients go
back to where each value stood.  NaN counts as larger than every number.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.differentiable import Array
from minicnn.errors import ArgumentError, DTypeError, IndexOutOfRange, ShapeError
from minicnn.ops.indexing import (
    Along,
    ValuesAndIndices,
    dimension,
    gather,
    there_is,
    values_at,
)
from minicnn.ops.shape import squeeze
from minicnn.tensor import Tensor, values_of
from minicnn_kernels.arrays import as_array, at_hand, beside
from minicnn_kernels.reference.sorting import foremost, order

__all__ = [
    "argsort", "bincount", "bucketize", "kthvalue", "msort", "searchsorted", "sort", "topk",
    "unique",
]  # fmt: skip


def sort(
    input: Any, dim: int = -1, descending: bool = False, *, stable: bool = False
) -> ValuesAndIndices:
    """Return the values along `dim` in order, and the positions where they stood.

    y[i] = x[indices[i]]; equal values keep their order, whether `stable` or not.

    >>> import minicnn
    >>> minicnn.sort(minicnn.tensor([3.0, 1.0, 2.0])).indices
    tensor([1, 2, 0])
    """
    position = dimension("sort", dim, input.ndim)
    return _taken(input, position, _order(values_of(input), position, descending))


def argsort(input: Any, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Tensor:
    """Return the positions of the values along `dim` in order, as `sort` does.

    sort(x).values = x[argsort(x)]
    """
    position = dimension("argsort", dim, input.ndim)
    return Tensor(_order(values_of(input), position, descending))


def msort(input: Any) -> Any:
    """Return the values in order along the first dimension.

    y[i] = x[indices[i]]
    """
    return sort(input, 0).values


def _order(x: Array, dim: int, descending: bool) -> Array:
    return order(x, dim, descending) if x.ndim else np.zeros((), np.int64, like=x)


def _taken(x: Any, dim: int, indices: Array) -> ValuesAndIndices:
    if x.ndim == 0:
        return ValuesAndIndices(gather(x, 0, indices), Tensor(indices))
    # the caller may change the indices that are returned; the gradient needs those of now
    return ValuesAndIndices(values_at(x, Along(indices.copy(), dim)), Tensor(indices))


def topk(
    input: Any, k: int, dim: int | None = None, largest: bool = True, sorted: bool = True
) -> ValuesAndIndices:
    """Return the k largest values along `dim`, or the smallest, and where they stand.

    y[i] = x[indices[i]], the largest first; `dim` is the last unless it is given.

    Raises:
        ArgumentError: there are less than k values.
        DTypeError: the values are boolean.
    """
    position, values = dimension("topk", -1 if dim is None else dim, input.ndim), values_of(input)
    size = (*input.shape, 1)[position]
    if values.dtype == bool:
        raise DTypeError("topk: needs numbers, got bool; use .to(dtype) first")
    if not 0 <= k <= size:
        raise ArgumentError(f"topk: k must be in [0, {size}], got {k}")
    if input.ndim == 0:
        return _taken(input, position, np.zeros((), np.int64, like=values_of(input)))
    found = foremost(values, k, position, largest)
    if sorted:
        chosen = np.take_along_axis(values, found, position)
        found = np.take_along_axis(found, _order(chosen, position, largest), position)
    return _taken(input, position, found)


def kthvalue(input: Any, k: int, dim: int | None = None, keepdim: bool = False) -> ValuesAndIndices:
    """Return the k-th smallest value along `dim`, counted from 1, and where it stands.

    y = sort(x).values[k - 1]; `dim` is the last unless it is given.

    Raises:
        ArgumentError: there is no k-th value.
        IndexOutOfRange: there is no value at all, or no such dimension.
    """
    position = dimension("kthvalue", -1 if dim is None else dim, input.ndim)
    size = (*input.shape, 1)[position]
    if size == 0:
        raise IndexOutOfRange(f"kthvalue: dimension {position} of {input.shape} has no values")
    if not 1 <= k <= size:
        raise ArgumentError(f"kthvalue: k must be in [1, {size}], got {k}")
    if input.ndim == 0:
        return _taken(input, position, np.zeros((), np.int64, like=values_of(input)))
    rows = values_of(input)
    if at_hand(rows):
        found = np.argpartition(rows, k - 1, position)
    else:  # CuPy's argpartition would sort, too, and wait
        found = np.argsort(rows, position)
    values, indices = _taken(input, position, found[(slice(None),) * position + (slice(k - 1, k),)])
    if keepdim:
        return ValuesAndIndices(values, indices)
    return ValuesAndIndices(squeeze(values, position), squeeze(indices, position))


# --- in sorted values -----------------------------------------------------------------------------


def searchsorted(
    sorted_sequence: Any,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Any = None,
) -> Tensor:
    """Return where in a sorted sequence each value belongs: left of equal ones, or `right` of them.

    y[i] = the number of values in the sequence that are < input[i], or with `right` <= input[i]

    The sequence is a vector, or has one row for each row of the input.  `sorter` is the order of
    a sequence that is not sorted.

    Raises:
        ShapeError: the rows of sequence and input, or sequence and sorter, do not fit.
        ArgumentError: `side` is neither "left" nor "right", or contradicts `right`.
        IndexOutOfRange: `sorter` names a position that is not there.
    """
    if side not in (None, "left", "right"):
        raise ArgumentError(f'searchsorted: side must be "left" or "right", got {side!r}')
    if right and side == "left":
        raise ArgumentError('searchsorted: side "left" contradicts right=True')
    sequence = values_of(sorted_sequence)
    values = beside(sequence, as_array(values_of(input)))
    if sequence.ndim == 0 or (sequence.ndim > 1 and sequence.shape[:-1] != values.shape[:-1]):
        raise ShapeError(
            f"searchsorted: the sequence must be a vector, or have a row for each row of the input "
            f"{values.shape}, got {sequence.shape}"
        )
    if sorter is not None:
        sequence = _sorted_by(sequence, values_of(sorter))
    from_right = right or side == "right"
    if sequence.ndim == 1:
        found = np.searchsorted(sequence, values, "right" if from_right else "left")
    else:
        found = _ranks(sequence, values, from_right)
    return Tensor(as_array(found).astype(np.int32 if out_int32 else np.int64, copy=False))


def _sorted_by(sequence: Array, sorter: Array) -> Array:
    if sorter.shape != sequence.shape:
        raise ShapeError(f"searchsorted: sorter {sorter.shape} must have shape {sequence.shape}")
    if at_hand(sorter) and sorter.size and (sorter.min() < 0 or sorter.max() >= sequence.shape[-1]):
        raise ArgumentError(f"searchsorted: sorter must be in [0, {sequence.shape[-1]})")
    return np.take_along_axis(sequence, sorter, -1)


def _ranks(sequence: Array, values: Array, from_right: bool) -> Array:
    """Return for each value how many of its row of the sequence come before it.

    Both are sorted together, with the values first or last among equals; the steps counted on the
    way are those of the sequence.
    """
    length, count = sequence.shape[-1], values.shape[-1]
    together = [sequence, values] if from_right else [values, sequence]
    order = np.argsort(np.concatenate(together, -1), -1, kind="stable")
    of_sequence = order < length if from_right else order >= count
    before = np.cumsum(of_sequence, -1)
    place = np.empty_like(order)  # of each in the order
    steps = np.broadcast_to(np.arange(length + count, like=order), order.shape)
    np.put_along_axis(place, order, steps, -1)
    return np.take_along_axis(before, place[..., length:] if from_right else place[..., :count], -1)


def bucketize(
    input: Any, boundaries: Any, *, out_int32: bool = False, right: bool = False
) -> Tensor:
    """Return for each value the number of its bucket between sorted boundaries.

    y[i] = the number of boundaries that are < input[i], or with `right` <= input[i]

    Raises:
        ShapeError: the boundaries are no vector.
    """
    if boundaries.ndim != 1:
        raise ShapeError(f"bucketize: boundaries must be a vector, got shape {boundaries.shape}")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


# --- counting -------------------------------------------------------------------------------------


def bincount(input: Any, weights: Any = None, minlength: int = 0) -> Tensor:
    """Return how often each of the numbers 0, 1, 2, ... occurs, or the sum of its weights.

    y[k] = sum over i with x[i] = k of weights[i], or of 1

    Raises:
        DTypeError: the input does not hold integers.
        ShapeError: it is no vector of numbers >= 0, or the weights do not fit.
        ArgumentError: `minlength` is negative.
    """
    numbers = values_of(input)
    if numbers.dtype.kind not in "iu":
        raise DTypeError(f"bincount: needs integers, got {numbers.dtype}")
    if numbers.ndim != 1 or (numbers.size and numbers.min() < 0):
        raise ShapeError(f"bincount: needs a vector of numbers >= 0, got shape {numbers.shape}")
    if minlength < 0:
        raise ArgumentError(f"bincount: minlength must not be negative, got {minlength}")
    if weights is None or (numbers.size == 0 and weights.shape == numbers.shape):
        return Tensor(np.bincount(numbers, minlength=minlength))
    if weights.shape != numbers.shape:
        raise ShapeError(f"bincount: weights {weights.shape} must have shape {numbers.shape}")
    sums = np.bincount(numbers, values_of(weights), minlength)
    return Tensor(sums.astype(np.float32 if weights.dtype == np.float32 else np.float64))


def unique(
    input: Any,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """Return the different values, or slices along `dim`, in order; they have no gradient.

    x = y[inverse] with return_inverse; return_counts adds how often each occurs.

    >>> import minicnn
    >>> minicnn.unique(minicnn.tensor([3, 1, 3]), return_counts=True)
    (tensor([1, 3]), tensor([1, 2]))

    Raises:
        IndexOutOfRange: there is no such dimension.
        ShapeError: the slices have no values to compare.
    """
    axis = None if dim is None else there_is("unique", dim, input)
    if axis is not None and input.shape[axis] and 0 in input.shape:
        raise ShapeError(f"unique: slices along dimension {dim} of {input.shape} have no values")
    values = values_of(input)
    numbers = values.view(np.uint8) if values.dtype == bool else values  # CuPy subtracts them
    found: Any = np.unique(  # type: ignore[call-overload]
        numbers, return_inverse=return_inverse, return_counts=return_counts, axis=axis,
        equal_nan=False,
    )  # fmt: skip
    different, *others = found if isinstance(found, tuple) else (found,)
    results = Tensor(different.view(values.dtype)), *map(Tensor, others)
    return results if isinstance(found, tuple) else results[0]
