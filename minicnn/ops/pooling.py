"""Pooling over windows or over bins, for images of one, two and three sides.

Maximum, minimum and median remember which pixel won, and are linear once the winners are known; so
is the mean.  Each comes as a pair of adjoints.  The formulas are those of two sides.
"""

from __future__ import annotations

from functools import reduce
from math import prod
from typing import Any

import numpy as np

import minicnn_kernels as kernels
from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.ops.arithmetic import div
from minicnn.ops.indexing import index
from minicnn.ops.resample import mean_taps, resample
from minicnn.ops.shape import view_as
from minicnn.tensor import values_of
from minicnn_kernels.arrays import beside, is_floating
from minicnn_kernels.geometry import Bins, Sides, Windows

AnyWindows = Windows | Bins

# --- maximum, minimum, median: remember who won, pass the gradient to the winner ------------------


def max_pool(x: Any, windows: AnyWindows) -> tuple[Any, Array]:
    """Return y[n,c,i,j] = max_ab x[n, c, i*s + a*d - p, j*s + b*d - p] and the winning cells.

    The padding counts as -inf, and the first maximum wins.
    """
    best, winner = kernels.max_winners(values_of(x), windows=windows)
    return take_winners(x, winner, windows, best), winner


def min_pool(x: Any, windows: AnyWindows) -> Any:
    """Return y[n,c,i,j] = min_ab x[n, c, i*s + a*d - p, j*s + b*d - p]; the padding is +inf."""
    _, winner = kernels.max_winners(-values_of(x), windows=windows)
    return take_winners(x, winner, windows)


def median_pool(x: Any, windows: AnyWindows) -> Any:
    """Return y[n,c,i,j] = median_ab x[n, c, i*s + a*d - p, j*s + b*d - p]; padding never counts.

    Of an even number of pixels it is the lower of the two in the middle, as in PyTorch's median.
    """
    return take_winners(x, kernels.median_winners(values_of(x), windows=windows), windows)


@differentiable
def take_winners(
    x: Array, /, winner: Array, windows: AnyWindows, best: Array | None = None
) -> Array:
    """y[n,c,i,j] = the pixel of x that won window [i,j]; `best` is y, if the caller has it."""
    return kernels.take_winners(x, winner, windows=windows) if best is None else best


@take_winners.gradient(saves="")
def _(
    dy: Array, y: Array, x: Array, *, winner: Array, windows: AnyWindows, best: Array | None
) -> Gradients:
    return lambda: route_to_winners(dy, winner, windows)


@differentiable
def route_to_winners(dy: Array, /, winner: Array, windows: AnyWindows) -> Array:
    """dx[n, c, winning pixel] += dy[n,c,i,j]."""
    return kernels.route_to_winners(dy, winner, windows=windows)


@route_to_winners.gradient(saves="")
def _(ddx: Array, y: Array, dy: Array, *, winner: Array, windows: AnyWindows) -> Gradients:
    return lambda: take_winners(ddx, winner, windows)


def winning_pixels(winner: Array, windows: AnyWindows) -> Array:
    """Return where each winning cell lies in the image, counted in reading order."""
    rest, cells = winner, list[Array]()
    for size in reversed(windows.kernel):
        rest, cell = np.divmod(rest, size)
        cells.insert(0, cell)
    pixels = np.zeros_like(winner, np.int64)
    for side, (n, places) in enumerate(zip(windows.image, windows.places, strict=True)):
        table = np.array(places, np.int64).reshape(windows.output[side], windows.kernel[side])
        window = np.arange(len(table)).reshape(-1, *[1] * (windows.ndim - side - 1))
        table, window = (beside(winner, t) for t in (table.clip(0), window))  # 0: it sees no pixel
        pixels = pixels * n + table[window, cells[side]]
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
    n, c = (beside(pixels, places) for places in np.ogrid[: x.shape[0], : x.shape[1]])
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
        number = beside(values_of(x), np.asarray(count, x.dtype))
        return div(window_sum(x, windows), number, rounding_mode="trunc")
    return window_sum(x, windows) * beside(values_of(x), np.asarray(1 / count, dtype=x.dtype))


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


def adaptive_avg_pool(x: Any, size: Sides) -> Any:
    """Return y[n,c,i,j] = mean of x[n,c] over bin [i,j], one side after the other."""
    for dim, (n, m) in enumerate(zip(x.shape[2:], size, strict=True), 2):
        if n != m:
            x = resample(x, mean_taps(n, m), dim)
    return x


def adaptive_max_pool(x: Any, size: Sides) -> tuple[Any, Array]:
    """Return y[n,c,i,j] = max of x[n,c] over bin [i,j], and where the first maximum lies."""
    bins = Bins(x.shape[2:], size)
    y, winner = max_pool(x, bins)
    return y, winning_pixels(winner, bins)
