"""Images with their channels last in memory, as kernels want them, whatever order they come in."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from minicnn_kernels.arrays import Array, as_channels_last
from minicnn_kernels.cards import cupy
from minicnn_kernels.cuda.launch import launch
from minicnn_kernels.geometry import Sides

THREADS = 256
TILE = 1024  # values, at most
SIDE = 32  # of a square tile; more rows or columns need more than one
BANKS = 32  # of shared memory
WIDTHS = (2, 4, 8)  # bytes of a value


class Plan(NamedTuple):
    """How many blocks turn matrices, the tile of each, and how far apart its lines are."""

    blocks: int
    rows: int
    columns: int
    pitch: int


def channels_last(x: Array) -> Array:
    """Return images (N, C, ...) as a contiguous array (N, ..., C); a copy if they are no such."""
    images = as_channels_last(x)
    if images.flags.c_contiguous:
        return images
    if not x.flags.c_contiguous or x.dtype.itemsize not in WIDTHS:
        copied: Array = cupy().ascontiguousarray(images)
        return copied
    return transposed(x, x.shape[1], prod(x.shape[2:])).reshape(images.shape)


def channels_first(x: Array) -> Array:
    """Return images (N, C, ...) as a contiguous array of that shape; a copy if they are no such."""
    if x.flags.c_contiguous:
        return x
    images = as_channels_last(x)
    if not images.flags.c_contiguous or x.dtype.itemsize not in WIDTHS:
        copied: Array = cupy().ascontiguousarray(x)
        return copied
    return transposed(images, prod(x.shape[2:]), x.shape[1]).reshape(x.shape)


def plan(matrices: int, rows: int, columns: int) -> Plan:
    """Choose the tiles for so many matrices.

    Few rows are read from banks ceil(32 / rows) apart: a warp writes neighbours in a column, for
    several columns, and so meets each bank once.

    >>> plan(matrices=10, rows=3, columns=224 * 224)  # images of three channels
    Plan(blocks=1570, rows=3, columns=320, pitch=331)
    >>> plan(matrices=1, rows=64, columns=64)
    Plan(blocks=4, rows=32, columns=32, pitch=33)
    """
    if rows <= SIDE:
        down, across = rows, TILE // rows // SIDE * SIDE
        pitch = across + -(-BANKS // rows)
    elif columns <= SIDE:
        down, across = TILE // columns // SIDE * SIDE, columns
        pitch = across | 1
    else:
        down, across, pitch = SIDE, SIDE, SIDE + 1
    return Plan(matrices * -(-rows // down) * -(-columns // across), down, across, pitch)


def two_sides(numbers: Sides, missing: int) -> Sides:
    """See an image of one side as one of a single row.

    >>> two_sides((7,), missing=1), two_sides((5, 7), missing=1)
    ((1, 7), (5, 7))
    """
    return (missing,) * (2 - len(numbers)) + numbers


def transposed(x: Array, rows: int, columns: int) -> Array:
    """Return x, matrices in reading order, with rows and columns exchanged, as one long array."""
    y: Array = np.empty(x.size, x.dtype, like=x)
    if x.size:
        chosen = plan(x.size // (rows * columns), rows, columns)
        width = x.dtype.itemsize
        numbers = map(np.int32, (rows, columns, chosen.rows, chosen.columns, chosen.pitch))
        launch(
            "layout.cu", f"transpose_{width}", (chosen.blocks,), (THREADS,), (x, y, *numbers),
            shared=chosen.rows * chosen.pitch * width,
        )  # fmt: skip
    return y
