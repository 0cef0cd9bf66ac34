"""Softmax and what belongs to it, in one pass over memory.

x is seen as P matrices of n rows and Q columns, and the sums go down the columns; rows of channels
that lie side by side, Q = 1, have kernels of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.cpu.jit import SUMS, jit
from minicnn_kernels.cpu.mathematics import exp_below_0, log, maximum
from minicnn_kernels.strides import (
    as_matrices,
    in_row,
    lying_like,
    memory_order,
    without_gaps,
)
from minicnn_kernels.threads import parallel

GRAIN = 2**13  # values that are worth a thread
BLOCK = 256  # columns that are computed together


def softmax(x: Array, scale: Array | None = None, *, dim: int) -> Array:
    """y[i] = e^x[i] / sum_j e^x[j], times scale."""
    x = without_gaps(x)
    y = np.empty_like(x)
    factor = np.ones_like(one_each(x, dim)) if scale is None else lying_so(scale, x, dim)
    over(softmax_of_rows, softmax_of_columns, dim, (x, y), (factor,), False)
    return y


def log_softmax(x: Array, *, dim: int) -> Array:
    """y[i] = x[i] - ln sum_j e^x[j]."""
    x = without_gaps(x)
    y = np.empty_like(x)
    over(softmax_of_rows, softmax_of_columns, dim, (x, y), (one_each(x, dim),), True)
    return y


def softmax_gradient(dy: Array, y: Array, *, dim: int) -> Array:
    """dx[i] = y[i] * (dy[i] - sum_j dy[j] * y[j])."""
    return _gradient(dy, y, dim, False)


def log_softmax_gradient(dy: Array, y: Array, *, dim: int) -> Array:
    """dx[i] = dy[i] - e^y[i] * sum_j dy[j]."""
    return _gradient(dy, y, dim, True)


def _gradient(dy: Array, y: Array, dim: int, logarithm: bool) -> Array:
    y = without_gaps(y)
    dx = np.empty_like(y)
    over(gradient_of_rows, gradient_of_columns, dim, (y, lying_like(dy, y), dx), (), logarithm)
    return dx


def log_total(x: Array, *, dim: int) -> tuple[Array, Array]:
    """Return top = max_i x[i] and ln sum_i e^(x[i] - top); both keep the dimension, of size 1."""
    x = without_gaps(x)
    top, total = one_each(x, dim), one_each(x, dim)
    over(total_of_rows, total_of_columns, dim, (x,), (top, total))
    return top, total


# --- memory ---------------------------------------------------------------------------------------


def one_each(x: Array, dim: int) -> Array:
    """Return room for one number for each sum, lying in memory as x does."""
    return np.empty_like(x, shape=tuple(1 if i == dim else n for i, n in enumerate(x.shape)))


def lying_so(v: Array, x: Array, dim: int) -> Array:
    """Return numbers, one for each sum, lying in memory as x does."""
    numbers = one_each(x, dim)
    numbers[...] = v
    return numbers


def over(
    rows: Any, columns: Any, dim: int, arrays: tuple[Array, ...], numbers: tuple[Array, ...],
    *settings: Any,
) -> None:  # fmt: skip
    """Run the kernel for rows or for columns on all threads."""
    matrices = as_matrices(arrays[0], (dim,))
    assert matrices is not None  # one dimension alone has nothing in between
    p, n, q = matrices
    seen = [in_row(v) for v in arrays]
    if q == 1:
        seen = [v.reshape(p, n) for v in seen]
        kernel, count, size = rows, p, n
    else:
        seen = [v.reshape(p, n, q) for v in seen]
        kernel, count, size = columns, p * -(-q // BLOCK), n * min(q, BLOCK)
    order = memory_order(arrays[0])
    each = (v.transpose(order).reshape(p, *[q] * (q > 1)) for v in numbers)
    parallel(kernel, count, *seen, *each, *settings, grain=-(-GRAIN // size))


# --- rows -----------------------------------------------------------------------------------------


@jit()
def less(x: float, top: float, rest: float) -> float:
    """Return x - top - rest in this order: top may be large, and rest is small."""
    return (x - top) - rest


@jit()
def top_of(x: Array) -> Any:
    """Return the largest number of x; NaN if there is one."""
    top = x.dtype.type(-np.inf)
    for i in range(x.size):
        top = maximum(top, x[i])
    return top


@jit(SUMS)
def softmax_of_rows(
    begin: int, end: int, x: Array, y: Array, scale: Array, logarithm: bool
) -> None:
    """Write e^x[p] / sum of e^x[p] * scale[p] to y[p], or the logarithm without scale."""
    for p in range(begin, end):
        source, target = x[p], y[p]
        top, total = top_of(source), x.dtype.type(0)
        if logarithm:
            for i in range(source.size):
                total += exp_below_0(source[i] - top)
            rest = log(total)
            for i in range(source.size):
                target[i] = less(source[i], top, rest)
        else:
            for i in range(source.size):
                power = exp_below_0(source[i] - top)
                target[i] = power
                total += power
            factor = scale[p] / total
            for i in range(source.size):
                target[i] *= factor


@jit(SUMS)
def gradient_of_rows(begin: int, end: int, y: Array, dy: Array, dx: Array, logarithm: bool) -> None:
    """Write the gradient of each row to dx[p]."""
    for p in range(begin, end):
        values, slopes, target = y[p], dy[p], dx[p]
        total = y.dtype.type(0)
        if logarithm:
            for i in range(values.size):
                total += slopes[i]
            for i in range(values.size):
                target[i] = slopes[i] - exp_below_0(values[i]) * total
        else:
            for i in range(values.size):
                total += slopes[i] * values[i]
            for i in range(values.size):
                target[i] = values[i] * (slopes[i] - total)


@jit(SUMS)
def total_of_rows(begin: int, end: int, x: Array, top: Array, log_total: Array) -> None:
    """Write the largest number of each row, and the logarithm of its sum of exponentials."""
    for p in range(begin, end):
        source = x[p]
        largest, total = top_of(source), x.dtype.type(0)
        for i in range(source.size):
            total += exp_below_0(source[i] - largest)
        top[p] = largest
        log_total[p] = log(total)


# --- columns --------------------------------------------------------------------------------------


@jit()
def tops_of(x: Array, first: int, top: Array) -> None:
    """Write the largest number of each column of x from `first` on."""
    top[:] = -np.inf
    for i in range(x.shape[0]):
        row = x[i][first : first + top.size]
        for q in range(top.size):
            top[q] = maximum(top[q], row[q])


@jit(SUMS)
def softmax_of_columns(
    begin: int, end: int, x: Array, y: Array, scale: Array, logarithm: bool
) -> None:
    """Write the softmax of the columns of each x[p], BLOCK columns at a time; see the rows."""
    blocks = -(-x.shape[2] // BLOCK)
    tops, totals = np.empty(BLOCK, x.dtype), np.empty(BLOCK, x.dtype)
    for block in range(begin, end):
        p, first = block // blocks, block % blocks * BLOCK
        last = min(first + BLOCK, x.shape[2])
        top, total = tops[: last - first], totals[: last - first]
        tops_of(x[p], first, top)
        total[:] = 0
        for i in range(x.shape[1]):
            source, target = x[p, i][first:last], y[p, i][first:last]
            if logarithm:
                for q in range(total.size):
                    total[q] += exp_below_0(source[q] - top[q])
            else:
                for q in range(total.size):
                    power = exp_below_0(source[q] - top[q])
                    target[q] = power
                    total[q] += power
        for q in range(total.size):
            total[q] = log(total[q]) if logarithm else scale[p, first + q] / total[q]
        for i in range(x.shape[1]):
            source, target = x[p, i][first:last], y[p, i][first:last]
            if logarithm:
                for q in range(total.size):
                    target[q] = less(source[q], top[q], total[q])
            else:
                for q in range(total.size):
                    target[q] *= total[q]


@jit(SUMS)
def gradient_of_columns(
    begin: int, end: int, y: Array, dy: Array, dx: Array, logarithm: bool
) -> None:
    """Write the gradient of the columns of each y[p], BLOCK columns at a time."""
    blocks = -(-y.shape[2] // BLOCK)
    totals = np.empty(BLOCK, y.dtype)
    for block in range(begin, end):
        p, first = block // blocks, block % blocks * BLOCK
        last = min(first + BLOCK, y.shape[2])
        total = totals[: last - first]
        total[:] = 0
        for i in range(y.shape[1]):
            values, slopes = y[p, i][first:last], dy[p, i][first:last]
            if logarithm:
                for q in range(total.size):
                    total[q] += slopes[q]
            else:
                for q in range(total.size):
                    total[q] += slopes[q] * values[q]
        for i in range(y.shape[1]):
            values, slopes, target = y[p, i][first:last], dy[p, i][first:last], dx[p, i][first:last]
            if logarithm:
                for q in range(total.size):
                    target[q] = slopes[q] - exp_below_0(values[q]) * total[q]
            else:
                for q in range(total.size):
                    target[q] = values[q] * (slopes[q] - total[q])


@jit(SUMS)
def total_of_columns(begin: int, end: int, x: Array, top: Array, log_total: Array) -> None:
    """Write `total_of_rows` of the columns of each x[p], BLOCK columns at a time."""
    blocks = -(-x.shape[2] // BLOCK)
    totals = np.empty(BLOCK, x.dtype)
    for block in range(begin, end):
        p, first = block // blocks, block % blocks * BLOCK
        last = min(first + BLOCK, x.shape[2])
        total, largest = totals[: last - first], top[p][first:last]
        tops_of(x[p], first, largest)
        total[:] = 0
        for i in range(x.shape[1]):
            source = x[p, i][first:last]
            for q in range(total.size):
                total[q] += exp_below_0(source[q] - largest[q])
        results = log_total[p][first:last]
        for q in range(total.size):
            results[q] = log(total[q])
