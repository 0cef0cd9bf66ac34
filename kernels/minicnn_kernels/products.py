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
from math import inf
from typing import Any, NamedTuple

import numpy as np

from minicnn_kernels import cards
from minicnn_kernels.arrays import Array, device_of
from minicnn_kernels.precision import math_mode
from minicnn_kernels.registry import Kernel, can_compile
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


def matmul(a: Array, b: Array, bias: Array | None = None) -> Array:
    """c[i,j] = sum_k a[i,k] * b[k,j] (+ bias[j]), also over broadcast batches of matrices."""
    if type(a) is not np.ndarray:
        chosen = _matmul.choose(a, b)
        of_columns = bias is not None and bias.shape == b.shape[1:] and a.ndim == b.ndim == 2
        if of_columns and "bias" in chosen.extras:
            done: Array = chosen.compute(a, b, bias=bias)
            return done
        c: Array = chosen.compute(a, b)
    else:
        c = _product(a, b)
    if bias is not None:
        c += bias
    return c


def _product(a: Array, b: Array) -> Array:
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


# --- on cards, whose tensor cores trade digits for time -------------------------------------------


class OnCard(NamedTuple):
    """How many products a large card computes in a nanosecond, and for which modes they will do."""

    rate: float
    modes: tuple[str, ...]


ON_CARDS = {
    "simt": OnCard(20_000, ("fp32", "tf32", "bf16")),
    "tf32x3": OnCard(40_000, ("fp32", "tf32", "bf16")),
    "tf32": OnCard(100_000, ("tf32", "bf16")),
    "bf16": OnCard(120_000, ("bf16",)),
}


def on_card_cost(a: Array, products: float, math: str) -> float:
    """Estimate a start and the products; what is less exact than asked for is never taken."""
    rate, modes = ON_CARDS[math]
    if a.dtype == np.float32 and math_mode.get() not in modes:
        return inf
    return 5_000 + products / rate


def on_card_serves(a: Array, b: Array, math: str) -> bool:
    """Say whether there are kernels for these types, and this card runs them."""
    types = ("float32", "bfloat16") if math == "bf16" else ("float32",)
    return (
        a.dtype == b.dtype
        and a.dtype.name in types
        and (math == "simt" or device_of(a) == "cpu" or cards.compute_capability() >= (8, 0))
    )


_matmul = Kernel("matmul")


@_matmul.algorithm("blas", devices=("cpu", "cuda"), cost=lambda a, b: inf)  # where no other serves
def _by_blas(a: Array, b: Array) -> Array:
    """c[i,j] = sum_k a[i,k] * b[k,j], by NumPy's BLAS or CuPy's, which cannot be captured."""
    product: Array = np.matmul(a, b)
    return product


for _math in ON_CARDS:
    _matmul.compiled(
        _math, f"gemm.product_{_math}",
        "c[i,j] = sum_k a[i,k] * b[k,j]: a block of threads for each tile of c.",
        device="cuda", extras=("bias",),
        cost=lambda a, b, math=_math: on_card_cost(a, a.size * b.shape[-1], math),
        serves=lambda a, b, math=_math: on_card_serves(a, b, math),
    )  # fmt: skip


# --- on the CPU -----------------------------------------------------------------------------------


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
