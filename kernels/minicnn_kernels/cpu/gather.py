"""Compiled: taking values out along a dimension by position, and adding them in.

Arrays are seen as (I, N, K), where N is the size along the dimension.  Threads share out the
columns (i, k): two equal positions of one column are met by the same thread, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.cpu.jit import jit
from minicnn_kernels.threads import get_num_threads, parallel

VALUES_A_PART = 2**15


@jit(inline=True)
def columns(part: int, parts: int, size: int) -> tuple[int, int, int]:
    """Return i and the range of k of one part, when each i is cut into `parts` ranges of k."""
    i, cut = part // parts, part % parts
    return i, size * cut // parts, size * (cut + 1) // parts


@jit()
def _take_along(begin: int, end: int, parts: int, y: Array, x: Array, chosen: Array) -> None:
    for part in range(begin, end):
        i, first, last = columns(part, parts, y.shape[2])
        for j in range(y.shape[1]):
            for k in range(first, last):
                y[i, j, k] = x[i, chosen[i, j, k], k]


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
    for_columns(_take_along, seen(y, dim), seen(x, dim), seen(chosen, dim))
    return y


def add_along(y: Array, values: Array, chosen: Array, *, dim: int) -> None:
    """y[chosen[i,j],j] += values[i,j] (dim 0), each column j by one thread."""
    for_columns(_add_along, seen(y, dim), seen(values, dim), seen(chosen, dim))


def add_lines(y: Array, values: Array, chosen: Array, *, dim: int) -> None:
    """y[i,chosen[j],k] += values[i,j,k] (dim 1), each column i, k by one thread."""
    for_columns(_add_lines, seen(y, dim), seen(values, dim), np.ascontiguousarray(chosen))


def seen(x: Array, dim: int) -> Array:
    """See an array as (I, N, K), N along the dimension; copy it if it is not in reading order."""
    shape = prod(x.shape[:dim]), x.shape[dim], prod(x.shape[dim + 1 :])
    return np.ascontiguousarray(x).reshape(shape)


def for_columns(kernel: Callable[..., None], y: Array, other: Array, chosen: Array) -> None:
    """Run a kernel for all columns of y; where I is small, K is cut into parts."""
    count, _, size = y.shape
    threads = get_num_threads()
    parts = 1 if count >= 4 * threads else max(1, min(threads, size // 16))
    values_a_part = chosen.size if chosen.ndim == 3 else other.size
    grain = 1 + VALUES_A_PART * count * parts // max(1, values_a_part)
    parallel(kernel, count * parts, parts, y, other, chosen, grain=grain)
