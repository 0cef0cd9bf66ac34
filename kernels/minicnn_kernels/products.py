"""Products of large matrices on the threads of the kernels, instead of those of NumPy's BLAS.

After a product, OpenBLAS's threads wait for the next one, busily, for some 0.1 s.  A convolution
that comes meanwhile lacks a core: one dense layer made the whole training step of a network
take twice as long.  So each of our threads lets BLAS compute a part of the result on one thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.registry import can_compile
from minicnn_kernels.threads import parallel

ALONE = 2**18
"""Below so many multiply-adds OpenBLAS itself takes only one thread."""

PART = 2**21
"""So many multiply-adds are worth waking a thread for."""

FEW_ROWS = 16
"""So few rows, but more than one, do not pay for the copy of b that BLAS makes..."""

LARGE = 2**18
"""... if that has at least so many values."""

_lock = threading.Lock()
_limited = 0  # how many products are being computed
_before: list[int] = []  # the threads that each BLAS had


def matmul(a: Array, b: Array) -> Array:
    """c[i,j] = sum_k a[i,k] * b[k,j], also over broadcast batches of matrices."""
    if not (_is_large(a, b) and can_compile()):
        product: Array = np.matmul(a, b)
        return product
    in_order = b.flags.c_contiguous or b.flags.f_contiguous
    if 1 < len(a) <= FEW_ROWS and b.size >= LARGE and in_order:
        from minicnn_kernels.cpu import few_rows  # only now: it imports Numba

        found: Array = few_rows.product(a, b)
        return found
    c = np.empty((a.shape[0], b.shape[1]), a.dtype)
    kernel, count = (_rows, len(c)) if len(c) >= c.shape[1] else (_columns, c.shape[1])
    grain = -(-PART * count // (c.size * a.shape[1]))
    with one_blas_thread():
        parallel(kernel, count, a, b, c, grain=grain)
    return c


def _is_large(a: Array, b: Array) -> bool:
    return (
        type(a) is type(b) is np.ndarray
        and a.ndim == b.ndim == 2
        and a.shape[1] == b.shape[0]
        and a.dtype == b.dtype
        and a.dtype in (np.float32, np.float64)
        and a.size * b.shape[1] > ALONE
    )


def _rows(begin: int, end: int, a: Array, b: Array, c: Array) -> None:
    np.matmul(a[begin:end], b, out=c[begin:end])


def _columns(begin: int, end: int, a: Array, b: Array, c: Array) -> None:
    np.matmul(a, b[:, begin:end], out=c[:, begin:end])


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let NumPy's BLAS compute on the thread that calls it; afterwards it has its own again."""
    global _limited
    with _lock:
        if not _limited:
            _before[:] = [library.num_threads for library in _blas()]
            for library in _blas():
                library.set_num_threads(1)
        _limited += 1
    try:
        yield
    finally:
        with _lock:
            _limited -= 1
            if not _limited:
                for library, number in zip(_blas(), _before, strict=True):
                    library.set_num_threads(number)


@cache
def _blas() -> list[Any]:
    """Return the BLAS libraries that are loaded."""
    from threadpoolctl import ThreadpoolController

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)
