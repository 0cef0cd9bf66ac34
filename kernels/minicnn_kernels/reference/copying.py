"""Copies by NumPy on all threads: it lets go of the interpreter's lock while it copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module

import numpy as np

from minicnn_kernels.arrays import Array, at_hand
from minicnn_kernels.registry import can_compile
from minicnn_kernels.threads import parallel

PART_BYTES = 2**20
"""What one thread copies about as fast as another wakes up; less is not worth a part."""

FEW = 4


def in_parts(compute: Callable[[slice], None], count: int, nbytes: int) -> None:
    """Call compute(part) for parts of range(count) on all threads; nbytes is the work of all."""

    def run(begin: int, end: int) -> None:
        with np.errstate(all="ignore"):  # each thread has its own
            compute(slice(begin, end))

    parallel(run, count, grain=1 + PART_BYTES * count // max(1, nbytes))


def assign(y: Array, x: Array) -> None:
    """Do y[...] = x; they must not overlap.

    A last dimension of a few values is no loop worth starting for each: then the loop runs along
    the others, once for each of the few.
    """
    if y.nbytes < PART_BYTES or y.ndim == 0 or not at_hand(y):
        y[...] = x
        return
    x = np.broadcast_to(x, y.shape)
    if y.ndim > 1 and 1 < y.shape[-1] <= FEW and x.strides[-1] != x.itemsize:
        for k in range(y.shape[-1]):
            assign(y[..., k], x[..., k])
        return
    outer = outermost(y)
    lines, values = y.swapaxes(0, outer), x.swapaxes(0, outer)

    def copy(part: slice) -> None:
        lines[part] = values[part]

    in_parts(copy, len(lines), y.nbytes)


def copied(x: Array) -> Array:
    """Return a copy of x in reading order."""
    if x.nbytes < PART_BYTES or not at_hand(x):
        return x.copy()
    images = np.moveaxis(x, -1, 1) if x.ndim > 2 else x
    if images.flags.c_contiguous and not x.flags.c_contiguous and can_compile():
        turned: Array = import_module("minicnn_kernels.cpu.layout").channels_last(images)
        return turned
    y = np.empty(x.shape, x.dtype)
    assign(y, x)
    return y


def concatenated(arrays: Sequence[Array], dim: int) -> Array:
    """y = the arrays one after the other along a dimension, in the memory order of the first."""
    if not at_hand(arrays[0]):
        return _concatenated_on_card(arrays, dim)
    nbytes = sum(array.nbytes for array in arrays)
    if nbytes < 2 * PART_BYTES or len({array.dtype for array in arrays}) > 1:
        return np.concatenate(arrays, dim)
    sizes = [array.shape[dim] for array in arrays]
    shape = (*arrays[0].shape[:dim], sum(sizes), *arrays[0].shape[dim + 1 :])
    y = np.empty_like(arrays[0], shape=shape)
    outer = outermost(y)
    if outer == dim:
        ends = np.cumsum(sizes)[:-1]
        for lines, array in zip(np.split(y, ends, dim), arrays, strict=True):
            assign(lines, array)
        return y
    before = (slice(None),) * outer

    def join(part: slice) -> None:
        np.concatenate([array[*before, part] for array in arrays], dim, out=y[*before, part])

    in_parts(join, y.shape[outer], nbytes)
    return y


def _concatenated_on_card(arrays: Sequence[Array], dim: int) -> Array:
    """See all arrays in the memory order of the first, in which CuPy makes a result.

    More than eight at once it joins by a table of their addresses, which the host would copy.
    """
    if len(arrays) > 8:
        groups = range(0, len(arrays), 8)
        arrays = [_concatenated_on_card(arrays[i : i + 8], dim) for i in groups]
        return _concatenated_on_card(arrays, dim)
    order = sorted(range(arrays[0].ndim), key=lambda i: -abs(arrays[0].strides[i]))
    if arrays[0].flags.c_contiguous or len({array.ndim for array in arrays}) > 1:
        return np.concatenate(arrays, dim)
    seen = [array.transpose(order) for array in arrays]
    return np.concatenate(seen, order.index(dim)).transpose(np.argsort(order).tolist())


def outermost(x: Array) -> int:
    """Return the dimension whose neighbours lie farthest apart; it has more than one value."""
    return max(range(x.ndim), key=lambda i: (x.shape[i] > 1, abs(x.strides[i])))
