"""Convolution in small groups and its gradients, depthwise above all: launchers of depthwise.cu.

Images of one side are images of one row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from minicnn_kernels.arrays import Array, as_channels_first
from minicnn_kernels.cuda.launch import SHARED_BYTES, launch
from minicnn_kernels.cuda.layout import channels_last, two_sides
from minicnn_kernels.cuda.packs import PACK, SUFFIX, pack_of
from minicnn_kernels.cuda.splits import add_parts
from minicnn_kernels.geometry import Sides, Windows

THREADS = 256
LANES = 32  # threads beside each other in the channels, at most
COLUMNS = 4  # of a strip, unless named here
BLOCKS = 512  # that share out the sums of the gradient by w: enough for the largest cards

# (type, channels of a group, kernel width, stride) that have a kernel of their own, with the rows
# and columns of a strip, and the filter rows that the gradient by w keeps in registers
ROWS = {
    ("f32", 1, 3, 1): (2, 4, 3),
    ("f32", 1, 3, 2): (1, 4, 3),
    ("f32", 1, 5, 1): (2, 4, 2),
    ("f32", 1, 5, 2): (1, 2, 2),
    ("f32", 1, 7, 1): (2, 4, 1),
    ("f32", 4, 3, 1): (2, 4, 1),
    ("f32", 4, 3, 2): (1, 4, 1),
    ("bf16", 1, 3, 1): (2, 4, 3),
    ("bf16", 1, 3, 2): (1, 4, 3),
}
TERMS = 4  # of the sum for a filter, that the gradient by w keeps in registers where none of those

FIELDS = (
    *("images", "in_height", "in_width", "in_channels", "out_height", "out_width", "out_channels"),
    *("kernel_height", "kernel_width", "inputs", "outputs", "stride_y", "stride_x"),
    *("padding_y", "padding_x", "dilation_y", "dilation_x", "lanes", "turned", "relu"),
)
SHAPE = np.dtype([(name, np.int32) for name in FIELDS])
"""The structure that kernels are given."""


class Problem(NamedTuple):
    """What a plan depends on: y (N, OH, OW, O) of x (N, H, W, C), as the kernels see them.

    The gradient by x at stride 1 is such a problem, too, with the filters turned; at other strides
    `x` is dy and `y` is dx, and stride and padding are those of the convolution.
    """

    type: str  # as in names of kernels
    images: int
    x: Sides  # H, W, C
    y: Sides  # OH, OW, O
    kernel: Sides
    groups: int
    stride: Sides
    padding: Sides
    dilation: Sides
    turned: bool = False
    relu: bool = False
    aligned: bool = True
    """Whether all arrays begin where a vector of four may."""

    @property
    def inputs(self) -> int:
        """Channels of x in a group."""
        return self.x[2] // self.groups

    @property
    def outputs(self) -> int:
        """Channels of y in a group."""
        return self.y[2] // self.groups


class Plan(NamedTuple):
    """A launch: kernel, grid, bytes of shared memory, and what the kernel is given by value."""

    kernel: str
    grid: tuple[int, ...]
    shared: int
    shape: Array


@lru_cache(1024)
def plan(problem: Problem) -> Plan:
    """Plan the convolution, or its gradient by x at stride 1."""
    ways = _ways(problem)
    width = 4 if ways else _width(problem)
    rows, columns, _ = ways or (1, COLUMNS, 0)
    kernel = _name("by", problem) if ways else f"by_cells_{problem.type}_{width}"
    strips = problem.images * -(-problem.y[0] // rows) * -(-problem.y[1] // columns)
    return _planned(kernel, problem, width, strips)


@lru_cache(1024)
def plan_phases(problem: Problem) -> Plan:
    """Plan the gradient by x at any stride."""
    width = _width(problem)
    across = -(-problem.y[1] // (problem.stride[1] * COLUMNS)) * problem.stride[1]
    strips = problem.images * problem.y[0] * across
    return _planned(f"by_phases_{problem.type}_{width}", problem, width, strips)


@lru_cache(1024)
def plan_weight(problem: Problem) -> Plan:
    """Plan the gradient by w: the first side of the grid is the number of parts."""
    ways = _ways(problem)
    width = 4 if ways else _width(problem)
    lanes = _evenly(problem.y[2] // width)
    if ways:
        kernel, strips = _name("weight_by", problem), -(-problem.y[1] // COLUMNS)
        layers, terms = (
            -(-problem.kernel[0] // ways[2]),
            ways[2] * problem.kernel[1] * problem.inputs,
        )
    else:
        kernel, strips = f"weight_by_cells_{problem.type}_{width}", problem.y[1]
        layers, terms = -(-prod(problem.kernel) * problem.inputs // TERMS), TERMS
    strips *= problem.images * problem.y[0]
    across, threads = -(-problem.y[2] // (lanes * width)), THREADS // lanes
    parts = min(-(-strips // threads), -(-BLOCKS // (across * layers)))
    return Plan(
        kernel, (parts, across, layers), threads * lanes * width * terms * 4, _shape(problem, lanes)
    )


def fits(kernel: Sides, inputs: int, filters: int = 1) -> bool:
    """Say whether so many filters fit the shared memory of a block."""
    return filters * _filter_bytes(kernel, inputs) <= SHARED_BYTES


def _filter_bytes(kernel: Sides, inputs: int) -> int:
    return prod(kernel) * inputs * 4


def _planned(kernel: str, problem: Problem, width: int, strips: int) -> Plan:
    """Let as many threads lie side by side in the channels as their filters fit."""
    of_thread = width * _filter_bytes(problem.kernel, problem.inputs)
    lanes = min(_evenly(problem.y[2] // width), SHARED_BYTES // of_thread)
    blocks, across = -(-strips // (THREADS // lanes)), -(-problem.y[2] // (lanes * width))
    return Plan(kernel, (blocks, across, 1), of_thread * lanes, _shape(problem, lanes))


def _ways(problem: Problem) -> tuple[int, int, int] | None:
    """Return what ROWS has for the problem."""
    s = problem.stride[1]
    alike = problem.aligned and problem.inputs == problem.outputs and problem.y[2] % 4 == 0
    regular = problem.stride == (s, s) and problem.dilation == (1, 1)
    if alike and regular and fits(problem.kernel, problem.inputs, 4):
        return ROWS.get((problem.type, problem.inputs, problem.kernel[1], s))
    return None


def _width(problem: Problem) -> int:
    """Return how many channels a thread has in the kernels for any geometry."""
    alone = problem.inputs == problem.outputs == 1 and problem.y[2] % 4 == 0
    return 4 if alone and problem.aligned and fits(problem.kernel, 1, 4) else 1


def _evenly(threads: int) -> int:
    """Divide threads evenly into blocks of LANES at most."""
    return -(-threads // -(-threads // LANES))


def _name(what: str, problem: Problem) -> str:
    way = f"r{problem.inputs}_k{problem.kernel[1]}_s{problem.stride[1]}"
    return f"{what}_rows_{problem.type}_{way}"


def _shape(problem: Problem, lanes: int) -> Array:
    numbers = (
        problem.images, *problem.x, *problem.y, *problem.kernel, problem.inputs, problem.outputs,
        *problem.stride, *problem.padding, *problem.dilation, lanes, problem.turned, problem.relu,
    )  # fmt: skip
    return np.array(numbers, SHAPE)


# --- launchers ------------------------------------------------------------------------------------


def conv(
    x: Array, w: Array, *, bias: Array | None = None, add: Array | None = None, relu: bool = False,
    stride: Sides, padding: Sides, dilation: Sides, groups: int,
) -> Array:  # fmt: skip
    """y[n,o,i,j] = sum_rab x[n, r of o's group, i*s + a*d - p, j*s + b*d - p] * w[o,r,a,b]."""
    windows = Windows(x.shape[2:], w.shape[2:], stride, padding, dilation)
    problem = _problem(x.dtype, x.shape, len(w), windows, groups)._replace(relu=relu)
    more = bias, add if add is None else channels_last(add)
    return _images(plan, problem, (len(x), *windows.output, len(w)), x, w, *more)


def conv_input(
    dy: Array, w: Array, *, size: Sides, stride: Sides, padding: Sides, dilation: Sides, groups: int
) -> Array:
    """dx[n,c,h,w] = sum_tab dy[n, t of c's group, i, j] * w[t,c,a,b] over i*s + a*d - p = h."""
    windows = Windows(size, w.shape[2:], stride, padding, dilation)
    shape = len(dy), *size, w.shape[1] * groups
    forward = _problem(dy.dtype, (len(dy), shape[-1], *size), len(w), windows, groups)
    problem = forward._replace(x=forward.y, y=forward.x, turned=True)
    if max(stride) > 1:
        return _images(plan_phases, problem, shape, dy, w)
    geometry = zip(problem.kernel, problem.dilation, problem.padding, strict=True)
    padding = tuple(d * (k - 1) - p for k, d, p in geometry)
    return _images(plan, problem._replace(padding=padding), shape, dy, w, None, None)


def conv_weight(
    x: Array, dy: Array, *, size: Sides, stride: Sides, padding: Sides, dilation: Sides, groups: int
) -> Array:
    """dw[o,r,a,b] = sum_nij x[n, r of o's group, i*s + a*d - p, j*s + b*d - p] * dy[n,o,i,j]."""
    windows = Windows(x.shape[2:], size, stride, padding, dilation)
    problem = _problem(x.dtype, x.shape, dy.shape[1], windows, groups)
    shape = dy.shape[1], *size, x.shape[1] // groups
    arrays = channels_last(x), channels_last(dy)
    chosen = plan_weight(problem._replace(aligned=_are_aligned(arrays)))
    parts: Array = np.empty((chosen.grid[0], *shape), np.float32, like=x)
    _launch(chosen, *arrays, parts)
    return as_channels_first(add_parts(parts, x.dtype))


def _problem(
    dtype: np.dtype[Any], x_shape: tuple[int, ...], filters: int, windows: Windows, groups: int
) -> Problem:
    return Problem(
        SUFFIX[dtype.name], x_shape[0],
        (*two_sides(windows.image, 1), x_shape[1]), (*two_sides(windows.output, 1), filters),
        two_sides(windows.kernel, 1), groups, two_sides(windows.stride, 1),
        two_sides(windows.padding, 0), two_sides(windows.dilation, 1),
    )  # fmt: skip


def _images(
    planned: Callable[[Problem], Plan], problem: Problem, shape: tuple[int, ...],
    x: Array, w: Array, *more: Array | None,
) -> Array:  # fmt: skip
    """Compute images of a shape (N, ..., O) from x, w and what is added to them, if any."""
    y: Array = np.empty(shape, x.dtype, like=x)
    arrays = channels_last(x), channels_last(w), *more, y
    chosen = planned(problem._replace(aligned=_are_aligned(arrays)))
    _launch(chosen, *arrays)
    return as_channels_first(y)


def _are_aligned(arrays: Iterable[Array | None]) -> bool:
    return pack_of(PACK, *(a for a in arrays if a is not None)) == PACK


def _launch(chosen: Plan, *arrays: Array | None) -> None:
    launch(
        "depthwise.cu", chosen.kernel, chosen.grid, (THREADS,), (*arrays, chosen.shape),
        shared=chosen.shared,
    )  # fmt: skip
