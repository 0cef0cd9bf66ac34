"""Sums down columns on a card, as a bias has for its gradient; see sums.cu."""

from __future__ import annotations

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.cuda.columns import (
    THREADS,
    Axes,
    blocks_of_warps,
    matrices,
    matrices_of,
    plan,
)
from minicnn_kernels.cuda.launch import launch
from minicnn_kernels.cuda.packs import SUFFIX, pack_of

FILE = "sums.cu"


def serves(x: Array, axes: Axes) -> bool:
    """Say whether x has columns to go down; rows, and everything, are CuPy's matter."""
    order = tuple(sorted(range(x.ndim), key=lambda i: (-x.strides[i], i)))
    if x.dtype.name not in ("float32", "bfloat16") or not 0 < x.size < 2**31:
        return False
    if not x.transpose(order).flags.c_contiguous:
        return False
    found = matrices(x.shape, order, (1,) * x.ndim, axes)
    return found is not None and found.rows > 1 and found.columns > found.group


def total(x: Array, *, axes: Axes) -> Array:
    """y = sum_i x[i], over dimensions that stay there with size 1."""
    seen = matrices_of(x, (1,) * x.ndim, axes)
    kept = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    x = seen.see(x)
    chosen = plan(seen, pack_of(seen.columns, x))
    y = np.empty(kept, x.dtype, like=x)
    is_done = chosen.found == y.size and x.dtype == np.float32  # nothing is left to add up
    found = y if is_done else np.empty(chosen.found, np.float32, like=x)
    launch(
        FILE, f"column_sums_{SUFFIX[x.dtype.name]}_{chosen.pack}", (chosen.blocks,), (THREADS,),
        (x, found, chosen.columns),
    )  # fmt: skip
    if not is_done:
        launch(
            FILE, f"finish_sums_{SUFFIX[x.dtype.name]}", blocks_of_warps(y.size), (THREADS,),
            (found, y, chosen.columns),
        )  # fmt: skip
    return y
