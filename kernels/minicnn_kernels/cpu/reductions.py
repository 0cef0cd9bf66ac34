"""Sums, products and extremes over dimensions, on all threads.

One pass reduces the innermost of the dimensions to reduce: along rows whose values lie side by
side, or down the columns of matrices.  Long rows and columns are cut into chunks.  NumPy reduces
what is left: the results of chunks, and other dimensions.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd, prod
from typing import Any, NamedTuple

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.cpu.jit import SUMS, jit
from minicnn_kernels.cpu.mathematics import maximum, minimum
from minicnn_kernels.strides import without_gaps
from minicnn_kernels.threads import parallel

Axes = tuple[int, ...]

GRAIN = 2**15  # values that are worth a thread
CHUNK = 2**13  # values of a row that are reduced at once
WIDE = 128  # values of a row that are as fast as more
ROWS = 64  # rows of a matrix that are reduced at once

TOTAL, PRODUCT, LARGEST, SMALLEST = range(4)


def total(x: Array, *, axes: Axes) -> Array:
    """y = sum_i x[i]."""
    return reduced(TOTAL, np.add, x, axes)


def product(x: Array, *, axes: Axes) -> Array:
    """y = x[0] * x[1] * ..."""
    return reduced(PRODUCT, np.multiply, x, axes)


def largest(x: Array, *, axes: Axes) -> Array:
    """y = max_i x[i]; NaN if there is one."""
    return reduced(LARGEST, np.maximum, x, axes)


def smallest(x: Array, *, axes: Axes) -> Array:
    """y = min_i x[i]; NaN if there is one."""
    return reduced(SMALLEST, np.minimum, x, axes)


class Plan(NamedTuple):
    """How one pass goes over an array: as over P matrices with n rows to reduce and Q columns.

    Attributes:
        order: the dimensions, the outermost in memory first; `back` undoes it.
        kept: the shape in that order, with 1 where the pass reduces.
        rest: the axes that are left to reduce.
    """

    order: Axes
    matrices: tuple[int, int, int]
    kept: Axes
    back: Axes
    rest: Axes


@lru_cache(maxsize=1024)
def plan_of(shape: Axes, strides: Axes, axes: Axes) -> Plan:
    """Plan the pass over an array without gaps."""
    order = tuple(sorted(range(len(shape)), key=strides.__getitem__, reverse=True))
    outer = [i for i in order if shape[i] > 1]
    inner, run = list[int](), list[int]()
    while outer and outer[-1] not in axes:
        inner.append(outer.pop())
    while outer and outer[-1] in axes:
        run.append(outer.pop())
    p, n, q = (prod(shape[i] for i in dims) for dims in (outer, run, inner))
    kept = tuple(1 if i in run else shape[i] for i in order)
    back = tuple(map(order.index, range(len(order))))
    rest = tuple(i for i in axes if shape[i] > 1 and i not in run)
    return Plan(order, (p, n, q), kept, back, rest)


def reduced(what: int, rest: np.ufunc, x: Array, axes: Axes) -> Array:
    """Reduce x over `axes`, which stay there with size 1; `rest` is the same on NumPy's arrays."""
    x = without_gaps(x)
    plan = plan_of(x.shape, x.strides, axes)
    p, n, q = plan.matrices
    flat = x.transpose(plan.order).reshape(p, n, q)
    if q == 1:
        chunks = -(-n // CHUNK)
        partial = np.empty((p, chunks, 1))
        grain = -(-GRAIN // min(n, CHUNK))
        parallel(reduce_rows, p * chunks, what, flat[:, :, 0], partial[:, :, 0], grain=grain)
    else:
        together = gcd(n, max(1, WIDE // q))  # short rows are taken several at a time
        flat = flat.reshape(p, n // together, together * q)
        chunks = -(-flat.shape[1] // ROWS)
        partial = np.empty((p, chunks, together * q))
        grain = -(-GRAIN // (min(flat.shape[1], ROWS) * together * q))
        parallel(reduce_columns, p * chunks, what, flat, partial, grain=grain)
        chunks *= together
        partial = partial.reshape(p, chunks, q)
    if chunks > 1:
        partial = rest.reduce(partial, axis=1)
    y = partial.reshape(plan.kept).transpose(plan.back)
    if plan.rest:
        y = rest.reduce(y, axis=plan.rest, keepdims=True)
    return y.astype(x.dtype)


@jit()
def reduce_rows(begin: int, end: int, what: int, x: Array, y: Array) -> None:
    """Write what each chunk of each row x[p] is reduced to."""
    for part in range(begin, end):
        p, chunk = part // y.shape[1], part % y.shape[1]
        row = x[p][chunk * CHUNK : (chunk + 1) * CHUNK]
        found = row[0]
        for i in range(1, row.size):
            found = joined(what, found, row[i])
        y[p, chunk] = found


@jit()
def reduce_columns(begin: int, end: int, what: int, x: Array, y: Array) -> None:
    """Write what the columns of each chunk of rows of each x[p] are reduced to."""
    columns = np.empty(x.shape[2], x.dtype)
    for part in range(begin, end):
        p, chunk = part // y.shape[1], part % y.shape[1]
        rows = x[p][chunk * ROWS : (chunk + 1) * ROWS]
        for i in range(columns.size):  # `columns[:] = rows[0]` takes two seconds to compile
            columns[i] = rows[0, i]
        for k in range(1, rows.shape[0]):
            row = rows[k]
            for i in range(row.size):
                columns[i] = joined(what, columns[i], row[i])
        results = y[p, chunk]
        for i in range(columns.size):
            results[i] = columns[i]


@jit(SUMS)
def joined(what: int, a: Any, b: Any) -> Any:
    """Return the sum, the product, or the larger or the smaller of two numbers; NaN stays."""
    if what == TOTAL:
        return a + b
    if what == PRODUCT:
        return a * b
    return maximum(a, b) if what == LARGEST else minimum(a, b)
