"""The order of values and the foremost of them, row by row, on all threads.

NumPy sorts whole numbers some five times as fast as it finds the stable order of float32.  So a
value and its position become one number of 64 bits: the value above, in a form that compares like
it, the position below.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from minicnn_kernels.arrays import Array, at_hand, contiguous
from minicnn_kernels.reference.copying import in_parts

COPIES = 16
"""To sort a value takes about the time of copying it so many times."""


def order(x: Array, dim: int, descending: bool = False) -> Array:
    """Return the positions of the values along `dim` in order; equal ones keep theirs.

    NaN counts as larger than every number.

    >>> order(np.array([3.0, np.nan, 1.0, 3.0]), 0, descending=True).tolist()
    [1, 0, 3, 2]
    """

    def find(rows: Array) -> Array:
        if at_hand(x) and x.dtype == np.float32 and x.shape[dim] < 2**31:
            return _order_by_keys(rows, descending)
        if not descending:
            return np.argsort(rows, -1, kind="stable")
        # turned round twice, so that of equal values the first stays the first
        found: Array = np.argsort(rows[:, ::-1], -1, kind="stable")[:, ::-1]
        np.subtract(rows.shape[1] - 1, found, out=found)
        return found

    return _row_by_row(find, x, dim, x.shape[dim])


def foremost(x: Array, k: int, dim: int, largest: bool) -> Array:
    """Return the positions of the k largest values along `dim`, or of the smallest, in any order.

    >>> sorted(foremost(np.array([3, 9, 1, 4]), 2, 0, largest=True).tolist())
    [1, 3]
    """
    size = x.shape[dim]
    part = slice(size - k, size) if largest else slice(0, k)

    def find(rows: Array) -> Array:
        if not 0 < k < size or not at_hand(rows):  # CuPy would sort, too, and wait
            return np.argsort(rows, -1)[:, part]
        return np.argpartition(rows, size - k if largest else k - 1, -1)[:, part]

    return _row_by_row(find, x, dim, k)


def _row_by_row(find: Callable[[Array], Array], x: Array, dim: int, count: int) -> Array:
    """Return what `find` says of the rows along a dimension: `count` positions for each."""
    moved = np.moveaxis(x, dim, -1)
    outer = moved.shape[:-1]
    rows = moved.reshape(prod(outer), x.shape[dim])
    if not at_hand(x):
        return contiguous(np.moveaxis(find(rows).reshape(*outer, count), -1, dim))
    found = np.empty((len(rows), count), np.int64)

    def fill(part: slice) -> None:
        found[part] = find(rows[part])

    in_parts(fill, len(rows), COPIES * rows.nbytes)
    return np.ascontiguousarray(np.moveaxis(found.reshape(*outer, count), -1, dim))


def _order_by_keys(rows: Array, descending: bool) -> Array:
    bits = (rows + np.float32(0)).view(np.int32)  # + 0 makes 0 of -0
    bits ^= (bits >> 31) & 0x7FFFFFFF  # of negative numbers all bits but the sign turn round
    bits[rows != rows] = np.iinfo(np.int32).max
    keys = (~bits if descending else bits).astype(np.int64)
    keys <<= 32
    keys |= np.arange(rows.shape[1])
    keys.sort(axis=1)
    keys &= 0xFFFFFFFF
    return keys
