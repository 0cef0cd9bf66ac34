"""When tiles should walk over padded lines, in `minicnn_kernels.cpu.lines`.

The readable version of what is computed there is im2col.  A window's cells of a line must be
neighbours: groups and dilation along the lines are not served.
"""

from __future__ import annotations

from math import prod
from typing import Any

from minicnn_kernels.arrays import Array
from minicnn_kernels.geometry import Sides, Windows
from minicnn_kernels.reference.convolution import conv, conv_input, conv_weight, serves_floats
from minicnn_kernels.tiles import cycles_of_term, merged_results, seen_by

# --- what a call costs, in estimated nanoseconds on two cores -------------------------------------


def _nanoseconds(cycles: float, *moved: float) -> float:
    """Count 6 cycles in a nanosecond, 8 values moved, and the way there."""
    return 42_000 + cycles / 6 + sum(moved) / 8


IN_CACHE = 2**19
"""So many weights stay in the second-level cache from line to line."""


def _read(weights: int, images: int, lines: float) -> float:
    """Count the weights read: a few times to be put in order, then anew for each image or line."""
    return weights * (4 + images * (1 if weights <= IN_CACHE else lines))


def _cost(x: Array, w: Array, *, stride: Sides, padding: Sides, dilation: Sides, **_: Any) -> float:
    """Lines of each image meet all filters."""
    filters, channels, *kernel = w.shape
    *lines, width = Windows(x.shape[2:], w.shape[2:], stride, padding, dilation).output
    m = merged_results(filters, kernel[-1], stride[-1], width)
    terms = channels * prod(kernel[:-1]) * seen_by(kernel[-1], stride[-1], m, False)
    cycles = len(x) * prod(lines) * terms * cycles_of_term(width // m, m * filters)
    return _nanoseconds(cycles, x.size, _read(w.size, len(x), prod(lines)))


def _input_cost(dy: Array, w: Array, *, size: Sides, stride: Sides, **_: Any) -> float:
    filters, channels, *kernel = w.shape
    m = merged_results(channels, kernel[-1], stride[-1], size[-1], transposed=True)
    lines = prod(size[:-1]) / prod(stride[:-1])
    terms = filters * prod(kernel[:-1]) * seen_by(kernel[-1], stride[-1], m, True)
    cycles = len(dy) * lines * terms * cycles_of_term(size[-1] // m, m * channels)
    return _nanoseconds(cycles, dy.size, _read(w.size, len(dy), lines))


def _weight_cost(x: Array, dy: Array, *, size: Sides, stride: Sides, **_: Any) -> float:
    filters, channels, width = dy.shape[1], x.shape[1], dy.shape[-1]
    m = merged_results(filters, size[-1], stride[-1], width)
    run = channels * seen_by(size[-1], stride[-1], m, False)
    pixels = len(dy) * prod(dy.shape[2:]) // m
    cycles = pixels * prod(size[:-1]) * cycles_of_term(run, m * filters)
    weights = filters * channels * prod(size)
    return _nanoseconds(cycles, x.size, _read(weights, len(x), prod(dy.shape[2:-1])))


# --- which calls are served -----------------------------------------------------------------------
#
# Windows of one pixel are the pixels themselves: implicit GEMM does not copy them either.


def _serves(
    a: Array, b: Array, kernel: Sides, *, dilation: Sides, groups: int, **settings: Any
) -> bool:
    able = a.size > 0 and b.size > 0 and prod(kernel) > 1 and groups == 1 and dilation[-1] == 1
    return able and serves_floats(a, b)


def _serves_input(dy: Array, w: Array, *, size: Sides, stride: Sides, **settings: Any) -> bool:
    able = merged_results(w.shape[1], w.shape[-1], stride[-1], size[-1], transposed=True) > 0
    return able and _serves(dy, w, w.shape[2:], **settings)


conv.compiled(
    "padded_lines", "lines.conv",
    "y[i,o] = sum_ae line[a, i*s*C + e] * w[a,e,o]: tiles walk over lines of x.",
    cost=_cost, serves=lambda x, w, **settings: _serves(x, w, w.shape[2:], **settings),
    extras=("bias", "add", "relu"),
)  # fmt: skip
conv_input.compiled(
    "padded_lines", "lines.conv_input",
    "dx[k,c] = sum_ae line[a, k*O + e] * w[a,e,c]: tiles walk over lines of dy.",
    cost=_input_cost, serves=_serves_input,
)  # fmt: skip
conv_weight.compiled(
    "padded_lines", "lines.conv_weight",
    "dw[a,e,o] = sum_i line[a, i*s*C + e] * dy[i,o]: tiles walk over lines of x.",
    cost=_weight_cost,
    serves=lambda x, dy, *, size, **settings: _serves(x, dy, size, **settings),
)  # fmt: skip
