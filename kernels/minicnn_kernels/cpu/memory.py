"""How arrays lie in memory, and arrays seen as the matrices that kernels go over."""

from __future__ import annotations

from math import prod

import numpy as np

from minicnn_kernels.arrays import Array


def memory_order(x: Array) -> tuple[int, ...]:
    """Return the dimensions of x, the outermost in memory first."""
    return tuple(sorted(range(x.ndim), key=x.strides.__getitem__, reverse=True))


def without_gaps(x: Array) -> Array:
    """Return x, or a copy if its values do not lie side by side, forwards."""
    dense = x.flags.c_contiguous or x.transpose(memory_order(x)).flags.c_contiguous
    return x if dense else np.ascontiguousarray(x)


def lying_like(x: Array, other: Array) -> Array:
    """Return x, or a copy if it does not lie in memory as `other` does."""
    same = all(a == b or n == 1 for n, a, b in zip(x.shape, x.strides, other.strides, strict=True))
    if same:
        return x
    copy = np.empty_like(other)
    copy[...] = x
    return copy


def as_matrices(x: Array, axes: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Return (P, n, Q) if x, which has no gaps, is P matrices with `axes` along their n rows.

    None if other dimensions lie in between in memory.
    """
    order = [i for i in memory_order(x) if x.shape[i] > 1]
    summed = [i in axes for i in order]
    if True not in summed:
        return x.size, 1, 1
    first, count = summed.index(True), sum(summed)
    if not all(summed[first : first + count]):
        return None
    sizes = [x.shape[i] for i in order]
    outer, inner = sizes[:first], sizes[first + count :]
    return prod(outer), prod(sizes[first : first + count]), prod(inner)


def in_row(x: Array) -> Array:
    """See x, which has no gaps, as its values in the order of memory."""
    return x.transpose(memory_order(x)).reshape(-1)
