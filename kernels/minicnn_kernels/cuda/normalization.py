"""Normalisation on a card: sums over chunks of rows, put together to groups, then the result.

x is seen as it lies in memory, as one of two kinds:

* columns (P, R, C): groups are one or a few neighbouring columns of each piece, as in images with
  their channels last; a weight belongs to a column, or to all;
* rows (P, L): a group is a row, and each place in it has a weight, as in layer normalisation.

Arrays that lie otherwise are copied.  Columns take three kernels each way: moments of chunks,
moments of groups, result; sums of chunks, terms of groups with dgamma and dbeta, dx.  A row is
computed by a warp or by a block at once.  See normalization.cu and row_normalization.cu.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import gcd, prod
from typing import NamedTuple

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.cuda.launch import launch
from minicnn_kernels.cuda.layout import channels_last
from minicnn_kernels.cuda.packs import PACK, SUFFIX, pack_of

Axes = tuple[int, ...]

FILE = "normalization.cu"
OF_ROWS = "row_normalization.cu"
THREADS, WARP = 256, 32
LANES = 64  # threads beside each other, at most
LEAST = 8  # rows of a thread that are worth a chunk
BLOCKS = 512  # that fill a card
LONG = 1024  # values of a row that are worth a block

COLUMNS = np.dtype([(name, np.int32) for name in (
    "pieces", "rows", "columns", "group", "weight", "chunk", "chunks", "lanes", "tiles",
)])  # fmt: skip
TYPES = (("float32", "float32"), ("bfloat16", "bfloat16"), ("bfloat16", "float32"))
"""Of x and of weights."""

KINDS = (r"(g*)()()(A+)", r"(g*)(a*)(G*)(A*)", r"(g*)(a*)(g*)(a*)")
"""What dimensions may be, the outermost first: of groups (g) or added up (a), weighted (G, A)."""

NOBODY, FROM_X, FROM_Y = range(3)  # who says where y was rectified


# --- matrices -------------------------------------------------------------------------------------


class Matrices(NamedTuple):
    """How an array is seen: `pieces` matrices of rows and columns.

    Attributes:
        order: its dimensions as they lie in memory, the outermost first.
        group: how many neighbouring columns share their moments; 0: a row does.
        weights: the shape of weights, in memory's order.
    """

    order: Axes
    pieces: int
    rows: int
    columns: int
    group: int
    weights: Axes

    def see(self, x: Array) -> Array:
        """Return x as it is to lie in memory; a copy if it does not."""
        seen = x.transpose(self.order)
        if seen.flags.c_contiguous:
            return seen
        is_channels_last = self.order == (0, *range(2, x.ndim), 1)
        return channels_last(x) if is_channels_last else seen.copy()

    def back(self, seen: Array) -> Array:
        """Return what lies in memory's order in the order of the dimensions."""
        return seen.transpose(np.argsort(self.order).tolist())

    def weight(self, gamma: Array) -> Array:
        """Return weights as they lie beside rows."""
        return gamma.transpose(self.order).reshape(-1)


def matrices_of(x: Array, gamma: Array, axes: Axes) -> Matrices:
    """See x, which the kernels serve, as it lies in memory, or as it is best copied."""
    order = tuple(sorted(range(x.ndim), key=lambda i: (-x.strides[i], i)))
    dense = x.transpose(order).flags.c_contiguous
    found = matrices(x.shape, order, gamma.shape, axes) if dense else None
    found = found or matrices(x.shape, best_order(x.shape, gamma.shape, axes), gamma.shape, axes)
    assert found is not None
    return found


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


def best_order(shape: Axes, weights: Axes, axes: Axes) -> Axes:
    """Return the order of dimensions in which they form matrices: groups and weights innermost.

    >>> best_order((8, 3, 5, 5), (1, 3, 1, 1), axes=(0, 2, 3))  # batch normalisation
    (0, 2, 3, 1)
    """
    return tuple(sorted(range(len(shape)), key=lambda i: (weights[i] > 1, i in axes, i)))


@lru_cache(maxsize=1024)
def matrices(shape: Axes, order: Axes, weights: Axes, axes: Axes) -> Matrices | None:
    """See an array of this shape and order in memory as matrices.

    >>> matrices((8, 3, 5, 5), (0, 2, 3, 1), (1, 3, 1, 1), axes=(0, 2, 3))[1:5]
    (1, 200, 3, 1)
    >>> matrices((8, 2, 3, 5, 5), (0, 3, 4, 1, 2), (1, 2, 3, 1, 1), axes=(2, 3, 4))[1:5]
    (8, 25, 6, 3)
    >>> matrices((8, 7, 64), (0, 1, 2), (1, 1, 64), axes=(2,))[1:5]  # layer normalisation
    (56, 1, 64, 0)
    """
    outer = [i for i in order if shape[i] > 1]
    if (kept := [i for i in outer if i not in axes]) != sorted(kept):
        return None  # groups would not lie in the order of their indices
    kinds = ["a" if i in axes else "g" for i in outer]
    kinds = [kind.upper() if weights[i] > 1 else kind for i, kind in zip(outer, kinds, strict=True)]
    found = next(filter(None, (re.fullmatch(kind, "".join(kinds)) for kind in KINDS)), None)
    if found is None:
        return None
    pieces, rows, groups, within = (
        prod(shape[i] for i in outer[slice(*found.span(k))]) for k in (1, 2, 3, 4)
    )
    beside = tuple(weights[i] for i in order)
    if found.re.pattern == KINDS[0]:
        return Matrices(order, pieces, 1, within, 0, beside)
    if groups * within == 1:  # some of what is added up may as well lie side by side
        within = gcd(rows, PACK * LANES)
        rows //= within
    return Matrices(order, pieces, rows, groups * within, within, beside)


# --- plans ----------------------------------------------------------------------------------------


class Plan(NamedTuple):
    """How blocks share out the columns of matrices.

    Attributes:
        pack: how many columns a thread reads at once.
        blocks: how many go over all columns.
        columns: the structure that tells kernels.
        found: how many columns of chunks there are.
    """

    pack: int
    blocks: int
    columns: Array
    found: int


@lru_cache(maxsize=1024)
def plan(seen: Matrices, pack: int) -> Plan:
    """Share out columns: wide blocks for many, tall ones for few, and chunks to fill a card."""
    across = seen.columns // pack
    widest = min(LANES, 1 << (across - 1).bit_length())
    lanes = min(
        {widest, *(n for n in (16, 32) if n < widest)}, key=lambda n: (-(-across // n) * n, -n)
    )
    tiles, height = -(-across // lanes), THREADS // lanes
    most = -(-BLOCKS // (seen.pieces * tiles))
    chunk = height * max(-(-seen.rows // (height * most)), LEAST)
    chunks = -(-seen.rows // chunk)
    weight = 1 if prod(seen.weights) > 1 else seen.columns
    numbers = *seen[1:5], weight, chunk, chunks, lanes, tiles
    found = seen.pieces * chunks * seen.columns
    return Plan(pack, seen.pieces * chunks * tiles, np.array(numbers, COLUMNS), found)


def blocks_of_warps(count: int) -> tuple[int]:
    """Return how many blocks have so many warps."""
    return (-(-count // (THREADS // WARP)),)


# --- forward --------------------------------------------------------------------------------------


def normalize(
    x: Array, gamma: Array, beta: Array, add: Array | None, mean: Array, var: Array, *,
    axes: Axes, eps: float, centered: bool = True, relu: bool = False,
) -> Array:  # fmt: skip
    """Return gamma * (x - mean) / sqrt(var + eps) + beta + add; write mean and var."""
    seen = matrices_of(x, gamma, axes)
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
    seen = matrices_of(x, gamma, axes)
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


# --- backward -------------------------------------------------------------------------------------


def normalize_gradients(
    dy: Array, x: Array, gamma: Array, beta: Array | None, y: Array | None, mean: Array,
    var: Array, *, axes: Axes, eps: float, centered: bool = True,
) -> tuple[Array, Array, Array, Array | None]:  # fmt: skip
    """Return dx, dgamma, dbeta and dadd of `normalize`, which has filled mean and var."""
    seen = matrices_of(x, gamma, axes)
    x, dy = seen.see(x), seen.see(dy)
    if not seen.group:
        return *gradients_of_rows(dy, x, seen, gamma, mean, var, eps, centered), None
    dx, dadd, told_by = np.empty_like(x), None, NOBODY if y is None else FROM_X
    read = [x, dy, dx]
    if y is not None and beta is None:
        y, dadd, told_by = seen.see(y), np.empty_like(x), FROM_Y
        read += [y, dadd]
    chosen = plan(seen, pack_of(seen.columns, *read))
    weight = seen.weight(gamma)
    shift = weight if beta is None else seen.weight(beta)
    found = np.empty(2 * chosen.found, np.float32, like=x)
    terms = np.empty(2 * mean.size, np.float32, like=x)
    dgamma, dbeta = np.empty((2, seen.columns), gamma.dtype, like=x)
    variant = f"{SUFFIX[x.dtype.name]}_{SUFFIX[gamma.dtype.name]}_{chosen.pack}"
    grid, close_to_0 = (chosen.blocks,), np.float32(eps)
    launch(
        FILE, f"products_{variant}", grid, (THREADS,),
        (dy, x, weight, shift, y, mean, var, found, dadd, close_to_0, np.int32(told_by),
         chosen.columns),
    )  # fmt: skip
    launch(
        FILE, f"finish_products_{SUFFIX[gamma.dtype.name]}",
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
        dgamma, dbeta = dgamma.sum(), dbeta.sum()
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
    dgamma, dbeta = np.empty((2, *seen.weights), gamma.dtype, like=x)
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
