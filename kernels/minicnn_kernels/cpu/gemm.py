"""The matrix product c[i,j] = sum_k a[i,k] * b[k,j], in blocks that fit the caches.

A tile's rows of a, DEPTH terms of the sum, stay in the first-level cache while b streams past them
from the second level: so a, which may be large, comes from memory once, and what comes next can be
fetched meanwhile.  What is read again and again, a block of ROW_BLOCK rows of a and as much of b as
stays in the cache, is copied ("packed") into the order in which `tile_product` reads it: b in
panels,

    packed[panel, k, j] = b[k, panel * tile_columns + j]

and a as rows, or, where rows are neighbours in memory, as columns: the tile takes both.

Matrices are given here as flat arrays, with the place of the first value and the steps from one
row, column or term of the sum to the next.  Other kernels call the same functions.

Paper: Goto, van de Geijn 2008, "Anatomy of high-performance matrix multiplication".
"""

from __future__ import annotations

import numpy as np

from minicnn_kernels.arrays import Array, aligned_empty
from minicnn_kernels.cpu.jit import jit
from minicnn_kernels.cpu.vector import (
    LOW_ROWS,
    ROWS,
    VECTOR_BYTES,
    VECTORS,
    address,
    clear,
    copy,
    copy_row,
    half_tile_product,
    low_tile_product,
    tile_product,
    transpose_square,
)
from minicnn_kernels.cpu.workspace import workspace
from minicnn_kernels.threads import get_num_threads, parallel

DEPTH_BYTES = 1024
"""Terms of the sum in a packed block, in bytes."""

ROW_BLOCK = 224 // ROWS * ROWS
"""Rows of a packed block of a: 224 KiB."""

COLUMN_STEP = ROW_BLOCK + 16
"""From one packed column of a to the next."""

ROW_BYTES = DEPTH_BYTES + 64
"""From one packed row of a to the next; a power of two would crowd a few places of the cache."""

IN_PLACE_BYTES = 4096
"""Terms of the sum in a block of a that is read where it is, in bytes."""

AHEAD_BYTES = 2**15
"""How much of such an a a block has at least; the next block is fetched meanwhile."""

B_BYTES = 2**20
"""How much of b is read again and again: half of a core's second-level cache."""

PACKED_BYTES = 32 * 2**20
"""How much of b is packed at a time."""


@jit(inline=True)
def tile_columns(c):
    """Return how many columns a tile has, for values as those of c."""
    return VECTORS * VECTOR_BYTES // c.itemsize


@jit(inline=True)
def scratch(c):
    """Return room for a packed block of a, and for a tile, of values as those of c."""
    block = np.empty((ROW_BLOCK + ROWS) * ROW_BYTES // c.itemsize, c.dtype)
    return block, np.empty(ROWS * tile_columns(c), c.dtype)


@jit()
def pack_a(a, at, row_step, depth_step, rows, depth, packed):
    """Copy a block of a; return the steps between its rows and terms in `packed`.

    packed[i * row_step + k * depth_step] = a[i,k]
    """
    if row_step == 1 and depth_step != 1:
        for k in range(depth):
            copy(a, at + k * depth_step, packed, k * COLUMN_STEP, rows)
            clear(packed, k * COLUMN_STEP + rows, -rows % ROWS)
        return 1, COLUMN_STEP
    step = max(ROW_BYTES, depth * a.itemsize + 64) // a.itemsize
    for i in range(rows):
        copy(a, at + i * row_step, packed, i * step, depth)
    clear_rest(packed, rows, step, depth)
    return step, 1


@jit(inline=True)
def clear_rest(packed, rows, row_step, depth):
    """Set rows that only fill the last tile to 0: denormal numbers would take their time."""
    for i in range(rows, rows - rows % -ROWS):
        clear(packed, i * row_step, depth)


@jit()
def pack_b(b, at, depth_step, column_step, depth, columns, packed, at_packed):
    """Copy a panel of b, zeros beyond its columns: packed[k, j] = b[k, j]; one step must be 1."""
    width = tile_columns(b)
    target = packed[at_packed : at_packed + depth * width]
    if columns < width:
        target[:] = 0
    if column_step == 1 and columns == width:
        for k in range(depth):
            copy_row(b, at + k * depth_step, target, k * width)
    elif column_step == 1:
        for k in range(depth):
            copy(b, at + k * depth_step, target, k * width, columns)
    else:
        transpose(b, at, column_step, columns, depth, target, 0, width)


@jit()
def transpose(source, at_source, source_step, rows, columns, target, at_target, target_step):
    """target[j, i] = source[i, j], rows being as far apart as the steps say."""
    lanes = VECTOR_BYTES // source.itemsize
    for i in range(0, rows, lanes):
        for j in range(0, columns, lanes):
            here = at_source + i * source_step + j
            there = at_target + j * target_step + i
            if i + lanes <= rows and j + lanes <= columns:
                transpose_square(source, here, source_step, target, there, target_step)
            else:
                for m in range(min(lanes, rows - i)):
                    for n in range(min(lanes, columns - j)):
                        target[there + n * target_step + m] = source[here + m * source_step + n]


@jit(inline=True)
def rows_in_place(row_bytes):
    """Return how many rows of a to take at a time where they are read in place."""
    return min(ROW_BLOCK, -(-AHEAD_BYTES // max(1, row_bytes * ROWS)) * ROWS)


@jit(inline=True)
def columns_in_cache(c, depth):
    """Return of how many columns b stays in the cache, for values as those of c."""
    width = tile_columns(c)
    return max(1, B_BYTES // max(1, depth * width * c.itemsize)) * width


@jit(inline=True)
def even_parts(count, largest):
    """Return the size of parts that are as even as can be, and none larger than `largest`."""
    return -(-count // -(-count // largest))


@jit()
def multiply_block(
    a, at_a, row_step, depth_step, rows, depth, b, at_b, panel_step, columns, c, at_c, c_step,
    accumulate, tile, b_step=0, ahead=0, ahead_bytes=0,
):  # fmt: skip
    """c[i,j] (+)= sum_k a[i,k] * b[k,j], with b packed in panels `panel_step` apart.

    Args:
        a: readable up to a multiple of ROWS rows, whatever is in the last ones.
        accumulate: whether to add to c.
        tile: scratch memory for a tile, ROWS * tile_columns values.
        b_step: where b is not packed, from one term to the next; readable up to a whole panel.
        ahead: the address of memory that will be needed next, fetched into the cache meanwhile.
        ahead_bytes: how much of it.
    """
    width = tile_columns(c)
    b_step = b_step or width
    tiles = -(-rows // ROWS) * -(-columns // width)
    ahead = ahead or address(a, at_a)
    ahead_step = -(-ahead_bytes // max(1, tiles * depth))
    wide = columns_in_cache(c, depth)
    for first in range(0, columns, wide):
        for i in range(0, rows, ROWS):
            start, height = at_a + i * row_step, min(ROWS, rows - i)
            for j in range(first, min(columns, first + wide), width):
                panel, count = at_b + j // width * panel_step, min(width, columns - j)
                place = at_c + i * c_step + j
                half = 2 * count <= width
                low = height <= LOW_ROWS and not half
                whole = height == (LOW_ROWS if low else ROWS) and count * (1 + half) == width
                out, step = (address(c, place), c_step) if whole else (address(tile, 0), width)
                add = accumulate and whole
                if half:
                    half_tile_product(
                        depth, a, start, row_step, depth_step, b, panel, b_step, out, step, add,
                        ahead, ahead_step,
                    )  # fmt: skip
                elif low:
                    low_tile_product(
                        depth, a, start, row_step, depth_step, b, panel, b_step, out, step, add,
                        ahead, ahead_step,
                    )  # fmt: skip
                else:
                    tile_product(
                        depth, a, start, row_step, depth_step, b, panel, b_step, out, step, add,
                        ahead, ahead_step,
                    )  # fmt: skip
                ahead += depth * ahead_step
                if not whole:
                    _store_part(tile, width, height, count, c, place, c_step, accumulate)


@jit()
def _store_part(tile, width, rows, columns, c, at_c, c_step, accumulate):
    """Store the part of a tile that lies in c, or add it to c."""
    for i in range(rows):
        source = tile[i * width : i * width + columns]
        target = c[at_c + i * c_step : at_c + i * c_step + columns]
        if accumulate:
            for j in range(columns):
                target[j] += source[j]
        else:
            for j in range(columns):
                target[j] = source[j]


# --- the product of two matrices ------------------------------------------------------------------


def matmul(a: Array, b: Array) -> Array:
    """c[i,j] = sum_k a[i,k] * b[k,j], of two matrices with any strides."""
    (rows, depth), columns = a.shape, b.shape[1]
    c = aligned_empty((rows, columns), a.dtype)
    if depth == 0:
        c[...] = 0
    section = max(1, PACKED_BYTES // (b.itemsize * max(1, columns)))
    for k in range(0, depth, section):
        _add_product(a[:, k : k + section], b[k : k + section], c, k > 0)
    return c


def _add_product(a: Array, b: Array, c: Array, accumulate: bool) -> None:
    (rows, depth), columns = a.shape, b.shape[1]
    width = VECTORS * VECTOR_BYTES // c.itemsize
    tiles, panels = -(-rows // ROWS), -(-columns // width)
    packed = workspace("gemm b", panels * width * depth, c.dtype)
    grain = max(1, 2**16 // (width * max(1, depth)))
    parallel(_pack_panels, panels, *_flat(b), depth, columns, packed, grain=grain)
    by_columns = tiles < min(panels, 4 * get_num_threads())
    count = panels if by_columns else tiles
    grain = max(1, 2**20 * count // max(1, rows * depth * columns))
    arguments = (*_flat(a), rows, depth, packed, columns, c.reshape(-1), accumulate, by_columns)
    parallel(_multiply_rows, count, *arguments, grain=grain)


def _flat(a: Array) -> tuple[Array, int, int]:
    """Return a matrix as a flat array, and the steps between its rows and its columns."""
    if a.flags.f_contiguous and not a.flags.c_contiguous:
        return a.T.reshape(-1), 1, a.shape[0]
    return np.ascontiguousarray(a).reshape(-1), a.shape[1], 1


@jit()
def _pack_panels(begin, end, b, depth_step, column_step, depth, columns, packed):
    """Pack some panels of b."""
    width = tile_columns(b)
    for panel in range(begin, end):
        j = panel * width
        pack_b(
            b, j * column_step, depth_step, column_step, depth, min(width, columns - j),
            packed, j * depth,
        )  # fmt: skip


@jit()
def _multiply_rows(
    begin, end, a, row_step, depth_step, rows, depth, packed, columns, c, accumulate, by_columns
):
    """Compute the part of c from one tile of rows, or panel of columns, to another."""
    width = tile_columns(c)
    block, tile = scratch(c)
    first_row, last_row, first, last = begin * ROWS, min(end * ROWS, rows), 0, columns
    if by_columns:
        first_row, last_row, first, last = 0, rows, begin * width, min(end * width, columns)
    block_rows, terms, wide = ROW_BLOCK, DEPTH_BYTES // c.itemsize, last - first
    in_place = depth_step == 1
    if in_place:
        block_rows = rows_in_place(row_step * a.itemsize)
        terms = even_parts(depth, IN_PLACE_BYTES // a.itemsize)
        wide = columns_in_cache(c, depth)
    for j in range(first, last, wide):
        for i in range(first_row, last_row, block_rows):
            height = min(block_rows, last_row - i)
            for k in range(0, depth, terms):
                deep = min(terms, depth - k)
                a_, start, steps = a, i * row_step + k * depth_step, (row_step, depth_step)
                soon, soon_bytes = 0, 0
                if in_place and (i - height // -ROWS * ROWS) * row_step <= a.size:
                    soon = address(a, start + height * row_step)
                    soon_bytes = height * deep * a.itemsize
                else:
                    steps = pack_a(a, start, row_step, depth_step, height, deep, block)
                    a_, start = block, 0
                multiply_block(
                    a_, start, steps[0], steps[1], height, deep,
                    packed, j * depth + k * width, depth * width, min(wide, last - j),
                    c, i * columns + j, columns, accumulate or k > 0, tile, 0, soon, soon_bytes,
                )  # fmt: skip
