"""Compiled: taking values out along a dimension by position, and adding them in.

Arrays are seen as (I, N, K), where N is the size along the dimension.  Threads share out the
columns (i, k): two equal positions of one column are met by the same thread, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.cpu.jit import jit
from minicnn_kernels.threads import get_num_threads, parallel

VALUES_A_PART = 2**15


@jit(inline=True)
def columns(part: int, parts: int, size: int) -> tuple[int, Any, Any]:
    """Return i and the range of k of one part, when each i is cut into `parts` ranges of k.

    The bounds are unsigned: an index that cannot be negative leaves a loop fit for vectors.
    """
    i, cut = part // parts, part % parts
    return i, np.uintp(size * cut // parts), np.uintp(size * (cut + 1) // parts)


@jit()
def _take_along(begin: int, end: int, parts: int, y: Array, x: Array, chosen: Array) -> None:
    for part in range(begin, end):
        i, first, last = columns(part, parts, y.shape[2])
        for j in range(y.shape[1]):
            for k in range(first, last):
                y[i, j, k] = x[i, chosen[i, j, k], k]


@jit()
def _take_lines(begin: int, end: int, y: Array, x: Array, chosen: Array) -> None:
    for line in range(begin, end):
        i, j = line // y.shape[1], line % y.shape[1]
        n = chosen[j]
        for k in range(y.shape[2]):
            y[i, j, k] = x[i, n, k]


@jit()
def _add_along(begin: int, end: int, parts: int, y: Array, values: Array, chosen: Array) -> None:
    for part in range(begin, end):
        i, first, last = columns(part, parts, y.shape[2])
        for j in range(values.shape[1]):
            for k in range(first, last):
                y[i, chosen[i, j, k], k] += values[i, j, k]


@jit()
def _add_lines(begin: int, end: int, parts: int, y: Array, values: Array, chosen: Array) -> None:
    for part in range(begin, end):
        i, first, last = columns(part, parts, y.shape[2])
        for j in range(values.shape[1]):
            n = chosen[j]
            for k in range(first, last):
                y[i, n, k] += values[i, j, k]


def take_along(x: Array, chosen: Array, *, dim: int) -> Array:
    """y[i,j] = x[chosen[i,j],j] (dim 0), the columns j shared out among the threads."""
    y = np.empty(chosen.shape, x.dtype)
    work = seen(chosen, dim)
    for_columns(_take_along, work, seen(y, dim), seen(x, dim), work)
    return y


def take_lines(x: Array, chosen: Array, *, dim: int) -> Array:
    """y[i,j,k] = x[i,chosen[j],k] (dim 1), the lines i, j shared out among the threads."""
    y = np.empty((*x.shape[:dim], len(chosen), *x.shape[dim + 1 :]), x.dtype)
    lines = seen(y, dim)
    count, size = lines.shape[0] * lines.shape[1], lines.shape[2]
    grain = 1 + VALUES_A_PART // max(1, size)
    parallel(_take_lines, count, lines, seen(x, dim), np.ascontiguousarray(chosen), grain=grain)
    return y


def add_along(y: Array, values: Array, chosen: Array, *, dim: int) -> None:
    """y[chosen[i,j],j] += values[i,j] (dim 0), each column j by one thread."""
    work = seen(values, dim)
    for_columns(_add_along, work, seen(y, dim), work, seen(chosen, dim))


def add_lines(y: Array, values: Array, chosen: Array, *, dim: int) -> None:
    """y[i,chosen[j],k] += values[i,j,k] (dim 1), each column i, k by one thread."""
    work = seen(values, dim)
    for_columns(_add_lines, work, seen(y, dim), work, np.ascontiguousarray(chosen))


def seen(x: Array, dim: int) -> Array:
    """See an array as (I, N, K), N along the dimension; copy it if it is not in reading order."""
    shape = prod(x.shape[:dim]), x.shape[dim], prod(x.shape[dim + 1 :])
    return np.ascontiguousarray(x).reshape(shape)


def for_columns(kernel: Callable[..., None], work: Array, y: Array, *arrays: Array) -> None:
    """Run a kernel for all columns; where I is small, K is cut into parts.

    `work` is the array that has one value for each step of the kernel.
    """
    count, _, size = y.shape
    threads = get_num_threads()
    parts = 1 if count >= 4 * threads else max(1, min(threads, size // 16))
    grain = 1 + VALUES_A_PART * count * parts // max(1, work.size)
    parallel(kernel, count * parts, parts, y, *arrays, grain=grain)
