"""Convolution of images of few channels, and its gradient by w: launchers of few_channels.cu.

Images of one side are images of one row.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from minicnn_kernels.arrays import Array, as_channels_first
from minicnn_kernels.cuda.launch import SHARED_BYTES, launch
from minicnn_kernels.cuda.layout import channels_last, transposed, two_sides
from minicnn_kernels.cuda.packs import PACK, SUFFIX, pack_of
from minicnn_kernels.cuda.splits import add_parts
from minicnn_kernels.geometry import Sides, Windows

THREADS = 256
PIXELS, TERMS = 8, 5  # of a thread: results of the convolution, and sums of the gradient
COLUMNS = 64  # of a run of results whose share of the gradient is computed at once, at most
BLOCKS = 512  # that share out the sums of the gradient: enough for the largest cards

# Filters of a block, with the threads among which they are divided and how good a use is made of
# them: four filters of a thread are read for each 32 products, eight for 64.
FILTERS = {64: (8, 1.0), 32: (8, 0.8), 16: (4, 0.8), 8: (2, 0.7)}

FIELDS = (
    *("images", "height", "width", "channels", "out_height", "out_width", "filters"),
    *("kernel_height", "kernel_width", "stride_y", "stride_x", "padding_y", "padding_x"),
    *("dilation_y", "tile_width", "lanes", "vectors", "relu"),
)
SHAPE = np.dtype([(name, np.int32) for name in FIELDS])
"""The structure that kernels are given."""


class Problem(NamedTuple):
    """What a plan depends on: y (N, OH, OW, O) of x (N, H, W, C)."""

    type: str  # as in names of kernels
    images: int
    x: Sides  # H, W, C
    y: Sides  # OH, OW, O
    kernel: Sides
    stride: Sides
    padding: Sides
    dilation: int  # of rows; that of columns is 1
    vectors: bool = False
    relu: bool = False

    @property
    def row(self) -> int:
        """Terms of one row of a filter."""
        return self.kernel[1] * self.x[2]

    def line(self, columns: int) -> int:
        """Count the values of a line of the image that windows side by side see."""
        return (columns - 1) * self.stride[1] * self.x[2] + self.row


class Plan(NamedTuple):
    """A launch: kernel, grid, bytes of shared memory, and what the kernel is given by value."""

    kernel: str
    grid: tuple[int, ...]
    shared: int
    shape: Array


@lru_cache(1024)
def plan(problem: Problem) -> Plan:
    """Choose filters and tile of a block: those that compute least for nothing, if they fit."""
    able = [
        (together, 2**k)
        for together, (groups, _) in FILTERS.items()
        for k in range((THREADS // groups).bit_length())
        if _forward_bytes(problem, together, 2**k) <= SHARED_BYTES
    ]
    together, columns = min(able, key=lambda block: (_work(problem, *block), -block[1]))
    return Plan(
        f"few_channels_{problem.type}_{together}",
        (_tiles(problem, together, columns), -(-problem.y[2] // together)),
        _forward_bytes(problem, together, columns),
        _shape(problem, columns, 0),
    )


def _rows(together: int, columns: int) -> int:
    """Return the rows of a tile."""
    return PIXELS * THREADS // FILTERS[together][0] // columns


def _tiles(problem: Problem, together: int, columns: int) -> int:
    height, width, _ = problem.y
    return problem.images * -(-height // _rows(together, columns)) * -(-width // columns)


def _work(problem: Problem, together: int, columns: int) -> float:
    """Count the results of all tiles, in the time of one that makes the best use."""
    groups, use = FILTERS[together]
    blocks = _tiles(problem, together, columns) * -(-problem.y[2] // together)
    return blocks * PIXELS * THREADS // groups * together / use


def _forward_bytes(problem: Problem, together: int, columns: int) -> int:
    lines = _rows(together, columns) * problem.line(columns)
    return 4 * (problem.row * together + lines)


@lru_cache(1024)
def plan_weight(problem: Problem) -> Plan:
    """Divide filters and terms among blocks; the first side of the grid is the number of parts."""
    height, width, filters = problem.y
    together = min(FILTERS, key=lambda n: -(-filters // n) * n / FILTERS[n][1])
    groups, _ = FILTERS[together]
    terms = problem.kernel[0] * problem.row
    layers = -(-terms * groups // (TERMS * THREADS))
    lanes = 2 ** (-(-terms // (layers * TERMS)) - 1).bit_length()
    rows = min(problem.kernel[0], -(-TERMS * lanes // problem.row) + 1)  # that terms lie in
    runs = -(-width // COLUMNS)
    while _weight_bytes(problem, together, rows, -(-width // runs)) > SHARED_BYTES:
        runs += 1
    columns = -(-width // runs)
    across = -(-filters // together)
    parts = min(problem.images * height * runs, -(-BLOCKS // (across * layers)))
    sums = THREADS // groups * TERMS * (together + 1) * 4
    return Plan(
        f"few_channels_weight_{problem.type}_{together}",
        (parts, across, layers),
        max(sums, _weight_bytes(problem, together, rows, columns)),
        _shape(problem, columns, lanes),
    )


def _weight_bytes(problem: Problem, together: int, rows: int, columns: int) -> int:
    return 4 * (columns * together + rows * problem.line(columns))


def _shape(problem: Problem, tile_width: int, lanes: int) -> Array:
    numbers = (
        problem.images, *problem.x, *problem.y, *problem.kernel, *problem.stride, *problem.padding,
        problem.dilation, tile_width, lanes, problem.vectors, problem.relu,
    )  # fmt: skip
    return np.array(numbers, SHAPE)


# --- launchers ------------------------------------------------------------------------------------


def conv(
    x: Array, w: Array, *, bias: Array | None = None, add: Array | None = None, relu: bool = False,
    stride: Sides, padding: Sides, dilation: Sides, groups: int,
) -> Array:  # fmt: skip
    """y[n,o,i,j] = sum_cab x[n, c, i*s + a*d - p, j*s + b - p] * w[o,c,a,b]."""
    windows = Windows(x.shape[2:], w.shape[2:], stride, padding, dilation)
    y: Array = np.empty((len(x), *windows.output, len(w)), x.dtype, like=x)
    added = None if add is None else channels_last(add)
    vectors = pack_of(len(w), *(a for a in (y, added) if a is not None)) == PACK
    chosen = plan(_problem(x.dtype, x.shape, len(w), windows)._replace(vectors=vectors, relu=relu))
    turned = transposed(channels_last(w), len(w), w.size // len(w))
    _launch(chosen, channels_last(x), turned, bias, added, y)
    return as_channels_first(y)


def conv_weight(
    x: Array, dy: Array, *, size: Sides, stride: Sides, padding: Sides, dilation: Sides, groups: int
) -> Array:
    """dw[o,c,a,b] = sum_nij x[n, c, i*s + a*d - p, j*s + b - p] * dy[n,o,i,j]."""
    windows = Windows(x.shape[2:], size, stride, padding, dilation)
    chosen = plan_weight(_problem(x.dtype, x.shape, dy.shape[1], windows))
    shape = chosen.grid[0], dy.shape[1], *size, x.shape[1]
    parts: Array = np.empty(shape, np.float32, like=x)
    _launch(chosen, channels_last(x), channels_last(dy), parts)
    return as_channels_first(add_parts(parts, x.dtype))


def _problem(
    dtype: np.dtype[Any], x_shape: tuple[int, ...], filters: int, windows: Windows
) -> Problem:
    return Problem(
        SUFFIX[dtype.name], x_shape[0], (*two_sides(windows.image, 1), x_shape[1]),
        (*two_sides(windows.output, 1), filters), two_sides(windows.kernel, 1),
        two_sides(windows.stride, 1), two_sides(windows.padding, 0),
        two_sides(windows.dilation, 1)[0],
    )  # fmt: skip


def _launch(chosen: Plan, *arrays: Array | None) -> None:
    launch(
        "few_channels.cu", chosen.kernel, chosen.grid, (THREADS,), (*arrays, chosen.shape),
        shared=chosen.shared,
    )  # fmt: skip
