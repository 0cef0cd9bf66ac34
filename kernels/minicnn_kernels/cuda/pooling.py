"""Pooling on a card: each window, or on the way back each pixel, is a thread for a few channels.

Images lie with their channels last; others are copied.  See pooling.cu.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from minicnn_kernels.arrays import Array, as_channels_first
from minicnn_kernels.cuda.launch import launch
from minicnn_kernels.cuda.layout import channels_last
from minicnn_kernels.cuda.packs import SUFFIX, pack_of
from minicnn_kernels.geometry import Bins, Sides, Windows

AnyWindows = Windows | Bins

THREADS = 256

SIDE = np.dtype([(name, np.int32) for name in (
    "image", "output", "kernel", "stride", "padding", "dilation",
)])  # fmt: skip
IMAGES = np.dtype([
    ("depth", SIDE), ("rows", SIDE), ("columns", SIDE), ("channels", np.int32),
    ("items", np.uint32),
])  # fmt: skip
ONE = (1, 1, 1, 1, 0, 1)  # a side that images do not have


def max_winners(x: Array, *, windows: AnyWindows) -> tuple[Array, Array]:
    """Return y[n,c,i,j] = max_ab x[n, c, i*s + a*d - p, j*s + b*d - p] and the winning a*KW + b."""
    x = channels_last(x)
    y = images_like(x, windows.output, x.dtype)
    winner = images_like(x, windows.output, np.uint8 if windows.cells <= 256 else np.int32)
    run("max_winners", windows, y, x, y, winner)
    return as_channels_first(y), as_channels_first(winner)


def take_winners(x: Array, winner: Array, *, windows: AnyWindows) -> Array:
    """y[n,c,i,j] = the pixel of x that won window [i,j]."""
    x, winner = channels_last(x), _numbers(winner)
    y = images_like(x, windows.output, x.dtype)
    run("take_winners", windows, y, x, winner, y, together=1)
    return as_channels_first(y)


def route_to_winners(dy: Array, winner: Array, *, windows: AnyWindows) -> Array:
    """dx[n, c, winning pixel] += dy[n,c,i,j]."""
    dy, winner = channels_last(dy), _numbers(winner)
    dx = images_like(dy, windows.image, dy.dtype)
    run("route_to_winners", windows, dx, dy, winner, dx)
    return as_channels_first(dx)


def window_sum(x: Array, *, windows: Windows) -> Array:
    """y[n,c,i,j] = sum_ab x[n, c, i*s + a*d - p, j*s + b*d - p]."""
    x = channels_last(x)
    y = images_like(x, windows.output, x.dtype)
    run("window_sum", windows, y, x, y)
    return as_channels_first(y)


def window_spread(dy: Array, *, windows: Windows) -> Array:
    """dx[n, c, i*s + a*d - p, j*s + b*d - p] += dy[n,c,i,j]."""
    dy = channels_last(dy)
    dx = images_like(dy, windows.image, dy.dtype)
    run("window_spread", windows, dx, dy, dx)
    return as_channels_first(dx)


def images_like(x: Array, size: Sides, dtype: Any) -> Array:
    """Return room for images (N, *size, C), as many as x of that layout has."""
    return np.empty((len(x), *size, x.shape[-1]), dtype, like=x)


def _numbers(winner: Array) -> Array:
    """Return winners with their channels last, as numbers that the kernels take."""
    narrow = winner if winner.dtype == np.uint8 else winner.astype(np.int32, copy=False)
    return channels_last(narrow)


def run(
    name: str, windows: AnyWindows, result: Array, *arrays: Array, together: int | None = None
) -> None:
    """Launch the kernel with a thread for so many channels `together` of each value of `result`."""
    together = together or pack_of(result.shape[-1], *arrays)
    items = result.size // together
    kinds = dict.fromkeys(SUFFIX[v.dtype.name] for v in arrays)
    variant = "_".join([name, *kinds, str(together)])
    images = images_of(windows, result.shape[-1], items)
    launch("pooling.cu", variant, (-(-items // THREADS),), (THREADS,), (*arrays, images))


@lru_cache(maxsize=1024)
def images_of(windows: AnyWindows, channels: int, items: int) -> Array:
    """Return the structure that tells a kernel its geometry."""
    if isinstance(windows, Bins):
        nothing = (0,) * windows.ndim
        geometry = (windows.image, windows.output, windows.kernel, nothing, nothing, nothing)
    else:
        geometry = (
            windows.image, windows.output, windows.kernel, windows.stride, windows.padding,
            windows.dilation,
        )  # fmt: skip
    sides = [ONE] * (3 - windows.ndim) + list(zip(*geometry, strict=True))
    return np.array((*sides, channels, items), IMAGES)
