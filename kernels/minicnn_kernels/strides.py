"""How arrays lie in memory, and arrays seen as the matrices that kernels go over."""

from __future__ import annotations

from math import prod
from typing import Any

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


def result_of(arrays: list[Array], shape: tuple[int, ...], dtype: Any) -> Array:
    """Make room for what is computed of arrays, laid out in memory like the first of its shape."""
    like = next((x for x in arrays if x.shape == shape), None)
    if like is not None:
        return np.empty_like(like, dtype)
    return np.empty(shape, dtype, like=arrays[0] if arrays else None)


def strides_like(x: Array, y: Array) -> tuple[int, ...]:
    """Return the strides of x, in values, when it is repeated to the shape of y."""
    missing = y.ndim - x.ndim
    own = (s // x.itemsize if n > 1 else 0 for n, s in zip(x.shape, x.strides, strict=True))
    return (0,) * missing + tuple(own)


def joined_sides(
    y: Array, arrays: list[Array], order: tuple[int, ...]
) -> list[tuple[int, tuple[int, ...]]]:
    """Return (size, the arrays' strides) for the sides of y, the outermost in memory first.

    Neighbouring sides are one where every array moves through them as through one.
    """
    strides = [strides_like(x, y) for x in arrays]
    sides: list[tuple[int, tuple[int, ...]]] = []
    for axis in order:
        size, steps = y.shape[axis], tuple(s[axis] for s in strides)
        if size == 1 and sides:
            continue
        if sides and sides[-1][1] == tuple(size * step for step in steps):
            sides[-1] = (sides[-1][0] * size, steps)
        else:
            sides.append((size, steps))
    if not sides:  # a single value, without dimensions
        return [(1, (0,) * len(arrays))]
    return sides if sides[0][0] > 1 or len(sides) == 1 else sides[1:]


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
