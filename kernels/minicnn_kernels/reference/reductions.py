"""Reductions of floating-point numbers over some dimensions, which stay there with size 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn_kernels.arrays import Array, as_array, at_hand
from minicnn_kernels.registry import Kernel

total = Kernel("total")
product = Kernel("product")
largest = Kernel("largest")
smallest = Kernel("smallest")
norm_of_all = Kernel("norm_of_all")

Axes = tuple[int, ...]
BOTH = ("cpu", "cuda")
FLOATS = (np.float32, np.float64)


def _cost(x: Array, *, axes: Axes) -> float:
    """Estimate nanoseconds."""
    return 5_000 + 0.5 * x.size


def _compiled_cost(x: Array, *, axes: Axes) -> float:
    return 30_000 + 0.1 * x.size


def _compiled_serves(x: Array, *, axes: Axes) -> bool:
    return bool(axes) and x.size > 0 and x.dtype in (np.float32, np.float64)


for _kernel, _formula in {
    total: "y = sum_i x[i], in one pass on all threads.",
    product: "y = x[0] * x[1] * ..., in one pass on all threads.",
    largest: "y = max_i x[i], in one pass on all threads; NaN if there is one.",
    smallest: "y = min_i x[i], in one pass on all threads; NaN if there is one.",
}.items():
    _kernel.compiled(
        "compiled", f"reductions.{_kernel.name}", _formula,
        cost=_compiled_cost, serves=_compiled_serves,
    )  # fmt: skip


def _down_columns(x: Array, *, axes: Axes) -> bool:
    from minicnn_kernels.cuda.sums import serves  # loaded where there is a card

    return serves(x, axes)


total.compiled(
    "cuda", "sums.total", "y = sum_i x[i], chunk after chunk down the columns.",
    device="cuda", cost=lambda x, *, axes: 1.0, serves=_down_columns,
)  # fmt: skip


@product.algorithm("numpy", devices=BOTH, cost=_cost)
def product_by_numpy(x: Array, *, axes: Axes) -> Array:
    """y = x[0] * x[1] * ..."""
    return as_array(np.prod(x, axis=axes, keepdims=True))


@largest.algorithm("numpy", devices=BOTH, cost=_cost)
def largest_by_numpy(x: Array, *, axes: Axes) -> Array:
    """y = max_i x[i]; NaN if there is one."""
    return as_array(np.max(x, axis=axes, keepdims=True))


@smallest.algorithm("numpy", devices=BOTH, cost=_cost)
def smallest_by_numpy(x: Array, *, axes: Axes) -> Array:
    """y = min_i x[i]; NaN if there is one."""
    return as_array(np.min(x, axis=axes, keepdims=True))


def inner(a: Array, b: Array) -> Array:
    """y[..] = sum_i a[..,i] * b[..,i]."""
    y: Array = np.vecdot(a, b) if at_hand(a) else (a * b).sum(axis=-1)
    return y


@total.algorithm("numpy", devices=BOTH, cost=_cost)
def total_by_numpy(x: Array, *, axes: Axes) -> Array:
    """y = sum_i x[i]; BLAS adds up what lies side by side: three to ten times as fast as np.sum.

    It is a product with ones: x as a matrix whose rows lie in memory one after the other.
    """
    if not at_hand(x):
        return as_array(np.sum(x, axis=axes, keepdims=True))
    order = sorted(range(x.ndim), key=lambda i: -x.strides[i])
    in_memory: Any = x.transpose(order) if x.size > 4096 else x
    length = in_memory.shape[-1] if x.ndim else 0
    if (
        in_memory is x
        or not (in_memory.flags.c_contiguous and order[-1] in axes and 1 < length <= 1024)
        or x.dtype not in (np.float32, np.float64)
    ):
        return as_array(np.sum(x, axis=axes, keepdims=True))
    rows = in_memory.reshape(-1, length) @ np.ones(length, x.dtype)
    partial = rows.reshape(*in_memory.shape[:-1], 1).transpose(np.argsort(order))
    return as_array(np.sum(partial, axis=axes, keepdims=True))


# --- of several arrays ----------------------------------------------------------------------------


def _norm_cost(*arrays: Array, order: float) -> float:
    return sum(array.size for array in arrays)


def _norm_on_card_serves(*arrays: Array, order: float) -> bool:
    return order > 0 and len({x.dtype for x in arrays}) == 1 and arrays[0].dtype in FLOATS


@norm_of_all.algorithm("numpy", devices=BOTH, cost=_norm_cost)
def norm_of_all_by_numpy(*arrays: Array, order: float) -> Any:
    """y = (sum_i |x[i]|^order)^(1 / order) over the values of all arrays."""
    return np.linalg.norm(np.stack([np.linalg.norm(x.ravel(), order) for x in arrays]), order)


norm_of_all.compiled(
    "two_launches", "norm.norm_of_all", "the same of all arrays at once, in a fixed order.",
    device="cuda", cost=lambda *arrays, order: 0, serves=_norm_on_card_serves,
)  # fmt: skip
