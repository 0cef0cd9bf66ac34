"""Softmax and what belongs to it on a card: a warp, a block or a thread for each sum.

x is seen as P matrices of n rows and Q columns, and the sums go down the columns; see softmax.cu.
What has one number for each sum lies in the order of x's other dimensions.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.cuda.launch import launch
from minicnn_kernels.cuda.packs import SUFFIX

FILE = "softmax.cu"
THREADS, WARP = 256, 32
LONG = 1024  # values that are worth a block

ROWS = np.dtype([(name, np.int32) for name in ("count", "length", "beside")])


def softmax(x: Array, scale: Array | None = None, *, dim: int) -> Array:
    """y[i] = e^x[i] / sum_j e^x[j], times scale."""
    rows = rows_of(x, dim)
    x = rows.see(x)
    y = np.empty_like(x)
    run("softmax", rows, x, *each_of(scale), y, np.int32(False))
    return rows.back(y)


def log_softmax(x: Array, *, dim: int) -> Array:
    """y[i] = x[i] - ln sum_j e^x[j]."""
    rows = rows_of(x, dim)
    x = rows.see(x)
    y = np.empty_like(x)
    run("softmax", rows, x, *each_of(None), y, np.int32(True))
    return rows.back(y)


def softmax_gradient(dy: Array, y: Array, *, dim: int) -> Array:
    """dx[i] = y[i] * (dy[i] - sum_j dy[j] * y[j])."""
    return _gradient(dy, y, dim, logarithm=False)


def log_softmax_gradient(dy: Array, y: Array, *, dim: int) -> Array:
    """dx[i] = dy[i] - e^y[i] * sum_j dy[j]."""
    return _gradient(dy, y, dim, logarithm=True)


def _gradient(dy: Array, y: Array, dim: int, *, logarithm: bool) -> Array:
    rows = rows_of(y, dim)
    dy, y = rows.see(dy), rows.see(y)
    dx = np.empty_like(y)
    run("softmax_gradient", rows, dy, y, dx, np.int32(logarithm))
    return rows.back(dx)


def log_total(x: Array, *, dim: int) -> tuple[Array, Array]:
    """Return top = max_i x[i] and ln sum_i e^(x[i] - top); both keep the dimension, of size 1."""
    rows = rows_of(x, dim)
    top, total = np.empty((2, *x.shape[:dim], 1, *x.shape[dim + 1 :]), x.dtype, like=x)
    run("log_total", rows, rows.see(x), top, total)
    return top, total


def cross_entropy(x: Array, labels: Array, *, dim: int) -> Array:
    """y[n,..] = ln sum_c e^x[n,c,..] - x[n,t,..], t = labels[n,..]; NaN for what is no label."""
    rows = rows_of(x, dim)
    y = np.empty(labels.shape, x.dtype, like=x)
    run("cross_entropy", rows, rows.see(x), _int64(labels), y)
    return y


def mean_cross_entropy(x: Array, labels: Array, count: Array, *, dim: int, ignore: int) -> Array:
    """y = sum of cross_entropy / count, over labels that are not `ignore`; write their count."""
    rows = rows_of(x, dim)
    y, found = np.empty(1, x.dtype, like=x), np.empty(2 * rows.blocks, np.float32, like=x)
    run("sum_cross_entropy", rows, rows.see(x), _int64(labels), found, np.int64(ignore))
    launch(
        FILE, f"finish_mean_{SUFFIX[x.dtype.name]}", (1,), (THREADS,),
        (found, y, count, np.int32(rows.blocks)),
    )  # fmt: skip
    return y.reshape(())


def cross_entropy_gradient(
    dy: Array, x: Array, labels: Array, count: Array | None = None, *, dim: int,
    ignore: int | None = None,
) -> Array:  # fmt: skip
    """dx[n,c,..] = dy[n,..] * (softmax(x)[n,c,..] - (c == t)) / count, t = labels[n,..]."""
    rows = rows_of(x, dim)
    x = rows.see(x)
    dx = np.empty_like(x)
    run("cross_entropy_gradient", rows, x, *each_of(dy), _int64(labels), count, dx,
        np.int64(ignore or 0))  # fmt: skip
    return rows.back(dx)


# --- memory ---------------------------------------------------------------------------------------


class Rows(NamedTuple):
    """How x is seen: the order of its dimensions in memory, and P * Q sums of n values, Q apart."""

    order: tuple[int, ...]
    sums: int
    length: int
    beside: int

    @property
    def team(self) -> int:
        """How many threads have a sum."""
        return 1 if self.beside > 1 else WARP if self.length <= LONG else THREADS

    @property
    def blocks(self) -> int:
        """How many blocks have all sums."""
        return -(-self.sums * self.team // THREADS)

    def see(self, x: Array) -> Array:
        """Return x as it is to lie in memory; a copy if it does not."""
        seen = x.transpose(self.order)
        return seen if seen.flags.c_contiguous else seen.copy()

    def back(self, seen: Array) -> Array:
        """Return what lies in memory's order in the order of the dimensions."""
        return seen.transpose(np.argsort(self.order).tolist())


def rows_of(x: Array, dim: int) -> Rows:
    """See x as it lies in memory, if the dimensions beside `dim` lie there in their order."""
    order = tuple(sorted(range(x.ndim), key=lambda i: (-x.strides[i], i)))
    others = [i for i in order if i != dim and x.shape[i] > 1]
    if others != sorted(others) or not x.transpose(order).flags.c_contiguous:
        order = tuple(range(x.ndim))
    beside = prod(x.shape[i] for i in order[order.index(dim) + 1 :])
    return Rows(order, x.size // x.shape[dim], x.shape[dim], beside)


def each_of(numbers: Array | None) -> tuple[Array | None, Any]:
    """Return one number for each sum side by side, and 1; or one for all, and 0."""
    if numbers is None or not any(numbers.strides):
        return numbers, np.int32(0)
    return (numbers if numbers.flags.c_contiguous else numbers.copy()), np.int32(1)


def _int64(labels: Array) -> Array:
    numbers = labels.astype(np.int64, copy=False)
    return numbers if numbers.flags.c_contiguous else numbers.copy()


def run(name: str, rows: Rows, x: Array, *arguments: Any) -> None:
    """Launch the kernel with a team for each sum."""
    launch(
        FILE, f"{name}_{SUFFIX[x.dtype.name]}_{rows.team}", (rows.blocks,), (THREADS,),
        (x, *arguments, np.array(rows[1:], ROWS)),
    )  # fmt: skip
