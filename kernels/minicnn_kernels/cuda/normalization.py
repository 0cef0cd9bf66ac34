"""Normalisation on a card: sums over chunks of rows, put together to groups, then the result.

x is seen as columns, of which one or a few neighbouring ones are a group, or as rows, which are
groups, as in layer normalisation.  Columns take three kernels each way: moments of chunks, moments
of groups, result; sums of chunks, terms of groups with dgamma and dbeta, dx.  A row is computed by
a warp or by a block at once.  See normalization.cu and row_normalization.cu.
"""

from __future__ import annotations

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.cuda.columns import (
    THREADS,
    WARP,
    Axes,
    Matrices,
    best_order,
    blocks_of_warps,
    matrices,
    matrices_of,
    plan,
)
from minicnn_kernels.cuda.launch import launch
from minicnn_kernels.cuda.packs import SUFFIX, pack_of

FILE = "normalization.cu"
OF_ROWS = "row_normalization.cu"
LONG = 1024  # values of a row that are worth a block

TYPES = (("float32", "float32"), ("bfloat16", "bfloat16"), ("bfloat16", "float32"))
"""Of x and of weights."""

NOBODY, FROM_X, FROM_Y = range(3)  # who says where y was rectified


def serves(x: Array, gamma: Array, axes: Axes, plain: bool) -> bool:
    """Say whether x forms matrices, of values that the kernels take, counted in 31 bits.

    Args:
        plain: whether nothing is added, nor rectified, which rows know nothing of.
    """
    types = x.dtype.name, gamma.dtype.name
    if types not in TYPES or not 0 < x.size < 2**31:
        return False
    found = matrices(x.shape, best_order(x.shape, gamma.shape, axes), gamma.shape, axes)
    return found is not None and (found.group > 0 or plain)


# --- forward --------------------------------------------------------------------------------------


def normalize(
    x: Array, gamma: Array, beta: Array, add: Array | None, mean: Array, var: Array, *,
    axes: Axes, eps: float, centered: bool = True, relu: bool = False,
) -> Array:  # fmt: skip
    """Return gamma * (x - mean) / sqrt(var + eps) + beta + add; write mean and var."""
    seen = matrices_of(x, gamma.shape, axes)
    x = seen.see(x)
    if not seen.group:
        return normalize_rows(x, seen, gamma, beta, mean, var, eps, centered)
    chosen = plan(seen, pack_of(seen.columns, x))
    found = np.empty(3 * chosen.found, np.float32, like=x)
    launch(
        FILE, f"moments_{SUFFIX[x.dtype.name]}_{chosen.pack}", (chosen.blocks,), (THREADS,),
        (x, found, np.int32(centered), chosen.columns),
    )  # fmt: skip
    launch(
        FILE, "finish_moments", blocks_of_warps(mean.size), (THREADS,),
        (found, mean, var, chosen.columns),
    )  # fmt: skip
    return scale(x, seen, gamma, beta, add, mean, var, eps, relu)


def rescale(
    x: Array, gamma: Array, beta: Array, add: Array | None, mean: Array, var: Array, *,
    eps: float, relu: bool = False,
) -> Array:  # fmt: skip
    """Return gamma * (x - mean) / sqrt(var + eps) + beta + add with given statistics."""
    axes = tuple(i for i, n in enumerate(mean.shape) if n == 1)
    seen = matrices_of(x, gamma.shape, axes)
    if mean.dtype.name == "bfloat16":
        mean, var = mean.astype(np.float32), var.astype(np.float32)
    return scale(seen.see(x), seen, gamma, beta, add, mean, var, eps, relu)


def scale(
    x: Array, seen: Matrices, gamma: Array, beta: Array, add: Array | None, mean: Array,
    var: Array, eps: float, relu: bool,
) -> Array:  # fmt: skip
    """Return the result, of moments that are known; x lies as it is seen."""
    y = np.empty_like(x)
    add = None if add is None else seen.see(add)
    chosen = plan(seen, pack_of(seen.columns, x, y, *(() if add is None else (add,))))
    variant = "_".join(SUFFIX[v.dtype.name] for v in (x, gamma, mean))
    launch(
        FILE, f"scale_{variant}_{chosen.pack}", (chosen.blocks,), (THREADS,),
        (x, seen.weight(gamma), seen.weight(beta), add, mean, var, y, np.float32(eps),
         np.int32(relu), chosen.columns),
    )  # fmt: skip
    return seen.back(y)


def move_averages(
    running_mean: Array, running_var: Array, mean: Array, var: Array, *, momentum: float,
    unbiased: float,
) -> None:  # fmt: skip
    """r = (1 - momentum) r + momentum b, in place, of b = mean and b = var * unbiased."""
    factors = map(np.float32, (1 - momentum, momentum, unbiased))
    launch(
        FILE, "move_averages", (-(-mean.size // THREADS),), (THREADS,),
        (running_mean, running_var, mean, var, *factors, np.int32(mean.size)),
    )  # fmt: skip


# --- backward -------------------------------------------------------------------------------------


def normalize_gradients(
    dy: Array, x: Array, gamma: Array, beta: Array | None, y: Array | None, mean: Array,
    var: Array, *, axes: Axes, eps: float, centered: bool = True,
) -> tuple[Array, Array, Array, Array | None]:  # fmt: skip
    """Return dx, dgamma, dbeta and dadd of `normalize`, which has filled mean and var."""
    seen = matrices_of(x, gamma.shape, axes)
    x, dy = seen.see(x), seen.see(dy)
    if not seen.group:
        return *gradients_of_rows(dy, x, seen, gamma, mean, var, eps, centered), None
    dx, dadd, told_by = np.empty_like(x), None, NOBODY if y is None else FROM_X
    read = [x, dy, dx]
    if y is not None and beta is None:
        y, dadd, told_by = seen.see(y), np.empty_like(x), FROM_Y
        read += [y, dadd]
    chosen = plan(seen, pack_of(seen.columns, *read))
    dtype = np.dtype(np.float32) if gamma.size == 1 else gamma.dtype  # of sums to be added up
    weight = seen.weight(gamma).astype(dtype, copy=False)
    shift = weight if beta is None else seen.weight(beta).astype(dtype, copy=False)
    found = np.empty(2 * chosen.found, np.float32, like=x)
    terms = np.empty(2 * mean.size, np.float32, like=x)
    dgamma, dbeta = (np.empty(seen.columns, dtype, like=x) for _ in range(2))
    variant = f"{SUFFIX[x.dtype.name]}_{SUFFIX[dtype.name]}_{chosen.pack}"
    grid, close_to_0 = (chosen.blocks,), np.float32(eps)
    launch(
        FILE, f"products_{variant}", grid, (THREADS,),
        (dy, x, weight, shift, y, mean, var, found, dadd, close_to_0, np.int32(told_by),
         chosen.columns),
    )  # fmt: skip
    launch(
        FILE, f"finish_products_{SUFFIX[dtype.name]}",
        blocks_of_warps(mean.size + seen.columns), (THREADS,),
        (found, weight, mean, var, terms, dgamma, dbeta, close_to_0, np.int32(centered),
         chosen.columns),
    )  # fmt: skip
    launch(
        FILE, f"combine_{variant}", grid, (THREADS,),
        (dy if dadd is None else dadd, x, weight, shift, mean, var, terms, dx, close_to_0,
         np.int32(told_by == FROM_X), chosen.columns),
    )  # fmt: skip
    if gamma.size == 1:
        dgamma, dbeta = (v.sum().astype(gamma.dtype) for v in (dgamma, dbeta))
    dgamma, dbeta = (seen.back(v.reshape(seen.weights)) for v in (dgamma, dbeta))
    return seen.back(dx), dgamma, dbeta, None if dadd is None else seen.back(dadd)


# --- rows -----------------------------------------------------------------------------------------


def normalize_rows(
    x: Array, seen: Matrices, gamma: Array, beta: Array, mean: Array, var: Array, eps: float,
    centered: bool,
) -> Array:  # fmt: skip
    """Return the result for rows; write mean and var."""
    y = np.empty_like(x)
    weight, shift = seen.weight(gamma), seen.weight(beta)
    pack = pack_of(seen.columns, x, y, weight, shift)
    variant = f"{SUFFIX[x.dtype.name]}_{SUFFIX[gamma.dtype.name]}_{pack}"
    over_rows(f"normalize_rows_{variant}", seen, eps, centered, x, weight, shift, y, mean, var)
    return seen.back(y)


def gradients_of_rows(
    dy: Array, x: Array, seen: Matrices, gamma: Array, mean: Array, var: Array, eps: float,
    centered: bool,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Return dx, dgamma and dbeta for rows."""
    dx, weight = np.empty_like(x), seen.weight(gamma)
    pack = pack_of(seen.columns, x, dy, dx, weight)
    variant = f"{SUFFIX[x.dtype.name]}_{SUFFIX[gamma.dtype.name]}_{pack}"
    over_rows(f"row_gradients_{variant}", seen, eps, centered, dy, x, weight, mean, var, dx)
    down = seen._replace(pieces=1, rows=seen.pieces, group=1)
    chosen = plan(down, pack)
    found = np.empty(2 * chosen.found, np.float32, like=x)
    launch(
        OF_ROWS, f"row_products_{SUFFIX[x.dtype.name]}_{pack}", (chosen.blocks,), (THREADS,),
        (dy, x, mean, var, found, np.float32(eps), chosen.columns),
    )  # fmt: skip
    dgamma, dbeta = (np.empty(seen.weights, gamma.dtype, like=x) for _ in range(2))
    launch(
        OF_ROWS, f"finish_rows_{SUFFIX[gamma.dtype.name]}", blocks_of_warps(seen.columns),
        (THREADS,), (found, dgamma, dbeta, np.int32(seen.columns), chosen.columns["chunks"][()]),
    )  # fmt: skip
    return seen.back(dx), seen.back(dgamma), seen.back(dbeta)


def over_rows(name: str, seen: Matrices, eps: float, centered: bool, *arrays: Array) -> None:
    """Launch a kernel of which a warp, or for long rows a block, has a row."""
    lanes = THREADS if seen.columns > LONG else WARP
    launch(
        OF_ROWS, f"{name}_{lanes}", (-(-seen.pieces * lanes // THREADS),), (THREADS,),
        (*arrays, np.float32(eps), np.int32(centered), np.int32(seen.pieces),
         np.int32(seen.columns)),
    )  # fmt: skip
