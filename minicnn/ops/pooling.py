"""Pooling over windows or over bins, for images of one, two and three sides.

Maximum, minimum and median remember which pixel won, and are linear once the winners are known; so
is the mean.  Each comes as a pair of adjoints.  The formulas are those of two sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import prod
from typing import Any

import numpy as np

import minicnn_kernels as kernels
from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.ops.arithmetic import div
from minicnn.ops.indexing import index
from minicnn.ops.resample import Taps, resample
from minicnn.ops.shape import view_as
from minicnn.tensor import values_of
from minicnn_kernels.arrays import is_floating
from minicnn_kernels.geometry import Sides, Windows

# --- maximum, minimum, median: remember who won, pass the gradient to the winner ------------------


def max_pool(x: Any, windows: Windows) -> tuple[Any, Array]:
    """Return y[n,c,i,j] = max_ab x[n, c, i*s + a*d - p, j*s + b*d - p] and the winning cells.

    The padding counts as -inf, and the first maximum wins.
    """
    best, winner = kernels.max_winners(values_of(x), windows=windows)
    return take_winners(x, winner, windows, best), winner


def min_pool(x: Any, windows: Windows) -> Any:
    """Return y[n,c,i,j] = min_ab x[n, c, i*s + a*d - p, j*s + b*d - p]; the padding is +inf."""
    _, winner = kernels.max_winners(-values_of(x), windows=windows)
    return take_winners(x, winner, windows)


def median_pool(x: Any, windows: Windows) -> Any:
    """Return y[n,c,i,j] = median_ab x[n, c, i*s + a*d - p, j*s + b*d - p]; padding never counts.

    Of an even number of pixels it is the lower of the two in the middle, as in PyTorch's median.
    """
    return take_winners(x, kernels.median_winners(values_of(x), windows=windows), windows)


@differentiable
def take_winners(x: Array, /, winner: Array, windows: Windows, best: Array | None = None) -> Array:
    """y[n,c,i,j] = the pixel of x that won window [i,j]; `best` is y, if the caller has it."""
    return kernels.take_winners(x, winner, windows=windows) if best is None else best


@take_winners.gradient(saves="")
def _(
    dy: Array, y: Array, x: Array, *, winner: Array, windows: Windows, best: Array | None
) -> Gradients:
    return lambda: route_to_winners(dy, winner, windows)


@differentiable
def route_to_winners(dy: Array, /, winner: Array, windows: Windows) -> Array:
    """dx[n, c, winning pixel] += dy[n,c,i,j]."""
    return kernels.route_to_winners(dy, winner, windows=windows)


@route_to_winners.gradient(saves="")
def _(ddx: Array, y: Array, dy: Array, *, winner: Array, windows: Windows) -> Gradients:
    return lambda: take_winners(ddx, winner, windows)


def winning_pixels(winner: Array, windows: Windows) -> Array:
    """Return where each winning cell lies in the image, counted in reading order."""
    cells = np.unravel_index(winner, windows.kernel)
    pixels = np.zeros(winner.shape, np.int64)
    for side, n in enumerate(windows.image):
        first = np.arange(windows.output[side]) * windows.stride[side] - windows.padding[side]
        first = first.reshape(-1, *[1] * (windows.ndim - side - 1))
        position = first + cells[side] * windows.dilation[side]
        pixels = pixels * n + np.clip(position, 0, n - 1)  # of a window that sees no pixel
    return pixels


# --- back to where the winners came from ----------------------------------------------------------


@differentiable
def unpool(x: Array, /, pixels: Array, size: Sides) -> Array:
    """y[n, c, pixels[n,c,i,j]] = x[n,c,i,j], and 0 elsewhere: the partial inverse of max_pool."""
    y = np.zeros_like(x, shape=(*x.shape[:2], prod(size)))
    np.put_along_axis(y, _flat(pixels), _flat(x), axis=2)
    return y.reshape(*x.shape[:2], *size)


@unpool.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, pixels: Array, size: Sides) -> Gradients:
    return lambda: take_pixels(dy, pixels)


def take_pixels(x: Any, pixels: Array) -> Any:
    """Return y[n,c,i,j] = x[n, c, pixels[n,c,i,j]], where pixels counts in reading order."""
    n, c = np.ogrid[: x.shape[0], : x.shape[1]]
    flat = view_as(x, (*x.shape[:2], prod(x.shape[2:])))
    return view_as(index(flat, (n[..., None], c[..., None], _flat(pixels))), pixels.shape)


def _flat(array: Array) -> Array:
    """See (N, C, ...) as (N, C, M)."""
    return array.reshape(*array.shape[:2], prod(array.shape[2:]))


# --- mean: a sum over each window, divided by how many pixels count -------------------------------


def avg_pool(
    x: Any, windows: Windows, count_include_pad: bool = True, divisor: int | None = None
) -> Any:
    """Return y[n,c,i,j] = sum_ab x[n, c, i*s + a - p, j*s + b - p] / divisor.

    Of integers, the quotient is rounded towards zero.
    """
    count = divisor or pixels_per_window(windows, count_include_pad)
    if not is_floating(x.dtype):
        return div(window_sum(x, windows), np.asarray(count, x.dtype), rounding_mode="trunc")
    return window_sum(x, windows) * np.asarray(1 / count, dtype=x.dtype)


def pixels_per_window(windows: Windows, count_include_pad: bool) -> Any:
    """Count the pixels of each window (OH, OW), with or without those of the padding.

    What `ceil_mode` adds beyond the padding never counts.
    """
    sides = []
    for n, k, s, p, count in zip(
        windows.image, windows.kernel, windows.stride, windows.padding, windows.output, strict=True
    ):
        first = np.arange(count) * s - p
        low, high = (-p, n + p) if count_include_pad else (0, n)
        sides.append(np.minimum(first + k, high) - np.maximum(first, low))
    return reduce(np.multiply.outer, sides)


@differentiable
def window_sum(x: Array, /, windows: Windows) -> Array:
    """y[n,c,i,j] = sum_ab x[n, c, i*s + a - p, j*s + b - p]."""
    return kernels.window_sum(x, windows=windows)


@window_sum.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, windows: Windows) -> Gradients:
    return lambda: window_spread(dy, windows)


@differentiable
def window_spread(dy: Array, /, windows: Windows) -> Array:
    """dx[n, c, i*s + a - p, j*s + b - p] += dy[n,c,i,j]."""
    return kernels.window_spread(dy, windows=windows)


@window_spread.gradient(saves="")
def _(ddx: Array, y: Array, dy: Array, *, windows: Windows) -> Gradients:
    return lambda: window_sum(ddx, windows)


# --- to a given size: bins instead of windows -----------------------------------------------------


def bins(n: int, m: int) -> list[tuple[int, int]]:
    """Return (first, end) of m bins over n pixels: floor(i*n/m) and ceil((i+1)*n/m).

    >>> bins(5, 2), bins(2, 3)
    ([(0, 3), (2, 5)], [(0, 1), (0, 2), (1, 2)])
    """
    return [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]


def adaptive_avg_pool(x: Any, size: Sequence[int]) -> Any:
    """Return y[n,c] = R x[n,c] C^T, with the rows of R and C averaging one bin each."""
    for side, m in enumerate(size, start=2):
        x = resample(x, averaging_taps(x.shape[side], m), side)
    return x


def averaging_taps(n: int, m: int) -> Taps:
    """Return the weights that average n pixels into m bins.

    >>> resample(np.array([1.0, 3.0, 5.0]), averaging_taps(3, 2), dim=0).tolist()
    [2.0, 4.0]
    """
    places = _padded_bins(n, m)
    copies = (places[:, :, None] == places[:, None, :]).sum(axis=2)  # that share one weight
    lengths = np.array([end - first for first, end in bins(n, m)]).reshape(m, 1)
    return Taps(places.T, (1 / (lengths * copies)).T, n)


def adaptive_max_pool(x: Any, size: Sequence[int]) -> tuple[Any, Array]:
    """Return y[n,c,i,j] = max of x[n,c] over bin [i,j], and where the first maximum lies."""
    pixels = largest_pixels(values_of(x), size)
    return take_pixels(x, pixels), pixels


def largest_pixels(x: Array, size: Sequence[int]) -> Array:
    """Return where the largest pixel of each bin lies in the image, counted in reading order."""
    ndim = len(size)
    rows = [_padded_bins(n, m) for n, m in zip(x.shape[2:], size, strict=True)]
    grid = np.ix_(*(row.ravel() for row in rows))
    split = (*x.shape[:2], *(length for row in rows for length in row.shape))
    order = (0, 1, *range(2, 2 + 2 * ndim, 2), *range(3, 3 + 2 * ndim, 2))
    values = x[(slice(None), slice(None), *grid)].reshape(split).transpose(order)
    cells = tuple(row.shape[1] for row in rows)
    winner = values.reshape(*values.shape[: 2 + ndim], prod(cells)).argmax(axis=-1)
    pixels = np.zeros(winner.shape, np.int64)
    for side, (row, cell) in enumerate(zip(rows, np.unravel_index(winner, cells), strict=True)):
        bin_number = np.arange(len(row)).reshape(-1, *[1] * (ndim - side - 1))
        pixels = pixels * x.shape[2 + side] + row[bin_number, cell]
    return pixels


def _padded_bins(n: int, m: int) -> Array:
    """Return (m, longest bin): the pixels of each bin, the last one repeated in shorter bins."""
    edges = np.array(bins(n, m), dtype=np.int64).reshape(m, 2)
    longest = int((edges[:, 1] - edges[:, 0]).max(initial=1))
    return np.minimum(edges[:, :1] + np.arange(longest), edges[:, 1:] - 1)
