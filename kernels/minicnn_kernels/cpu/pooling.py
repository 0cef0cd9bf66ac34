"""Pooling over windows and bins: one walk over all windows, for every way of pooling and both ways.

The pixels that windows see are given as tables, one a side: which pixel the cell a of window i is,
or -1 in the padding.  So windows with any stride and dilation, and bins of uneven size, are the
same here.  A row of windows is visited for one cell of the kernel after the other, and it stays
in the cache; channels that lie side by side in memory are computed together.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.cpu.jit import jit
from minicnn_kernels.geometry import Bins, Sides, Windows
from minicnn_kernels.threads import parallel

AnyWindows = Windows | Bins

GRAIN = 2**15  # pixels seen by windows that are worth a thread

LARGEST, TAKE, SUM, ROUTE, SPREAD = range(5)  # what a walk does; the last two write to the image


def max_winners(x: Array, *, windows: AnyWindows) -> tuple[Array, Array]:
    """Return y[n,c,i,j] = max_ab x[n, c, i*s + a*d - p, j*s + b*d - p] and which a*KW + b it was.

    The cells come in turn from the last to the first, and win if none so far was larger.
    """
    numbers = np.uint8 if windows.cells <= 256 else np.int32
    y = images_like(x, windows.output, x.dtype)
    winner = images_like(x, windows.output, numbers)
    walk(LARGEST, x, y, winner, windows)
    return y, winner


def take_winners(x: Array, winner: Array, *, windows: AnyWindows) -> Array:
    """y[n,c,i,j] = the pixel of x that won window [i,j]."""
    y = images_like(x, windows.output, x.dtype)
    walk(TAKE, x, y, winner, windows)
    return y


def route_to_winners(dy: Array, winner: Array, *, windows: AnyWindows) -> Array:
    """dx[n, c, winning pixel] += dy[n,c,i,j]."""
    dx = images_like(winner, windows.image, dy.dtype)
    walk(ROUTE, dx, dy, winner, windows)
    return dx


def window_sum(x: Array, *, windows: AnyWindows) -> Array:
    """y[n,c,i,j] = sum_ab x[n, c, i*s + a*d - p, j*s + b*d - p]."""
    y = images_like(x, windows.output, x.dtype)
    walk(SUM, x, y, NOBODY, windows)
    return y


def window_spread(dy: Array, *, windows: AnyWindows) -> Array:
    """dx[n, c, i*s + a*d - p, j*s + b*d - p] += dy[n,c,i,j]."""
    dx = images_like(dy, windows.image, dy.dtype)
    walk(SPREAD, dx, dy, NOBODY, windows)
    return dx


NOBODY = np.zeros((0, 0, 0), np.uint8)  # the winner where there is none


# --- memory ---------------------------------------------------------------------------------------


def channels_last(x: Array) -> bool:
    """Say whether the channels of images lie side by side in memory."""
    return x.shape[1] > 1 and x.strides[1] == x.itemsize and x.strides[-1] != x.itemsize


def images_like(x: Array, size: Sides, dtype: Any) -> Array:
    """Return room for images of `size`, channels last in memory if those of x are."""
    n, c = x.shape[:2]
    if channels_last(x):
        return np.moveaxis(np.empty((n, *size, c), dtype), -1, 1)
    return np.empty((n, c, *size), dtype)


def in_rows(x: Array, last: bool) -> Array:
    """See images as (N, D, H, W * C), their channels last; or as (N * C, D, H, W)."""
    x = np.require(np.moveaxis(x, 1, -1) if last else x, requirements=["C", "W"])
    images, sides, row = prod(x.shape[:2]), x.shape[2:], x.shape[-1]
    if last:
        images, sides, row = len(x), x.shape[1:-1], prod(x.shape[-2:])
    return x.reshape(images, *[1] * (3 - len(sides)), *sides[:-1], row)


@lru_cache(maxsize=256)
def tables(windows: AnyWindows) -> list[Array]:
    """Return for each of three sides which pixels the windows see, or -1: (O, K)."""
    missing = [np.zeros((1, 1), np.int32)] * (3 - windows.ndim)
    return missing + [np.array(side, np.int32) for side in windows.places]


# --- the walk -------------------------------------------------------------------------------------


def walk(what: int, x: Array, y: Array, winner: Array, windows: AnyWindows) -> None:
    """Visit all windows y over the pixels x, on all threads: rows of windows, or whole images."""
    last = channels_last(y)
    pixels, seeing = in_rows(x, last), in_rows(y, last)
    winners = np.empty(seeing.shape, np.uint8) if winner is NOBODY else in_rows(winner, last)
    images, *rows, row = seeing.shape
    unit = prod(rows) if what in (ROUTE, SPREAD) else 1  # rows of windows share pixels
    parallel(
        visit_rows, images * prod(rows) // unit, unit, what, pixels, seeing, winners,
        *tables(windows), x.shape[1] if last else 1,
        grain=-(-GRAIN // (unit * row * windows.cells)),
    )  # fmt: skip


@jit()
def visit_rows(
    begin: int, end: int, unit: int, what: int, x: Array, y: Array, winner: Array,
    depth: Array, height: Array, width: Array, channels: int,
) -> None:  # fmt: skip
    """Visit rows of windows, from the last cell of the kernel to the first."""
    rows, cells = y.shape[1] * y.shape[2], depth.shape[1] * height.shape[1] * width.shape[1]
    for row in range(begin * unit, end * unit):
        image = row // rows
        i, j = row % rows // y.shape[2], row % y.shape[2]
        windows, winners = y[image, i, j], winner[image, i, j]
        if what == LARGEST:
            windows[:] = -np.inf
            winners[:] = 0
        elif what in (TAKE, SUM):
            windows[:] = 0
        elif row % rows == 0:
            x[image] = 0
        for number in range(cells - 1, -1, -1):
            d = depth[i, number // (height.shape[1] * width.shape[1])]
            h = height[j, number // width.shape[1] % height.shape[1]]
            if d >= 0 and h >= 0:
                pixels, places = x[image, d, h], width[:, number % width.shape[1]]
                if channels == 1:
                    visit_plane(what, number, pixels, places, windows, winners)
                else:
                    for k in range(len(places)):
                        if places[k] >= 0:
                            here, there = k * channels, places[k] * channels
                            visit_channels(
                                what, number, pixels[there : there + channels],
                                windows[here : here + channels], winners[here : here + channels],
                            )  # fmt: skip


@jit()
def visit_channels(what: int, number: int, x: Array, y: Array, winner: Array) -> None:
    """Visit the windows of all channels at one place: each sees its pixel through cell `number`."""
    if what == LARGEST:
        for c in range(y.size):
            wins = (x[c] >= y[c]) | (x[c] != x[c])  # NaN, too
            y[c] = x[c] if wins else y[c]
            winner[c] = number if wins else winner[c]
    elif what == TAKE:
        for c in range(y.size):
            y[c] = x[c] if winner[c] == number else y[c]
    elif what == SUM:
        for c in range(y.size):
            y[c] += x[c]
    elif what == ROUTE:
        for c in range(y.size):
            x[c] += y[c] if winner[c] == number else x.dtype.type(0)
    else:
        for c in range(y.size):
            x[c] += y[c]


@jit()
def visit_plane(what: int, number: int, x: Array, places: Array, y: Array, winner: Array) -> None:
    """Visit a row of windows: each sees the pixel at its place through cell `number`."""
    for i in range(y.size):
        place = places[i]
        if place < 0:
            continue
        if what == LARGEST:
            if x[place] >= y[i] or x[place] != x[place]:  # NaN, too
                y[i] = x[place]
                winner[i] = number
        elif what == TAKE:
            if winner[i] == number:
                y[i] = x[place]
        elif what == SUM:
            y[i] += x[place]
        elif what == ROUTE:
            if winner[i] == number:
                x[place] += y[i]
        else:
            x[place] += y[i]
