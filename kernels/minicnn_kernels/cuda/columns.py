"""Arrays seen as matrices whose columns the threads of a block go down; see columns.cuh.

x is seen as it lies in memory, as one of two kinds:

* columns (P, R, C): what is added up are the rows of each piece, and one or a few neighbouring
  columns, as in images with their channels last; a weight belongs to a column, or to all;
* rows (P, L): a row is added up, and each place in it has a weight.

Arrays that lie otherwise are copied.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import gcd, prod
from typing import NamedTuple

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.cuda.layout import channels_last
from minicnn_kernels.cuda.packs import PACK

Axes = tuple[int, ...]

THREADS, WARP = 256, 32
LANES = 64  # threads beside each other, at most
LEAST = 8  # rows of a thread that are worth a chunk
BLOCKS = 512  # that fill a card

COLUMNS = np.dtype([(name, np.int32) for name in (
    "pieces", "rows", "columns", "group", "weight", "chunk", "chunks", "lanes", "tiles",
)])  # fmt: skip

KINDS = (r"(g*)()()(A+)", r"(g*)(a*)(G*)(A*)", r"(g*)(a*)(g*)(a*)")
"""What dimensions may be, the outermost first: of groups (g) or added up (a), weighted (G, A)."""


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


def matrices_of(x: Array, weights: Axes, axes: Axes) -> Matrices:
    """See x, of which `matrices` knows how, as it lies in memory, or as it is best copied."""
    order = tuple(sorted(range(x.ndim), key=lambda i: (-x.strides[i], i)))
    dense = x.transpose(order).flags.c_contiguous
    found = matrices(x.shape, order, weights, axes) if dense else None
    found = found or matrices(x.shape, best_order(x.shape, weights, axes), weights, axes)
    assert found is not None
    return found


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
