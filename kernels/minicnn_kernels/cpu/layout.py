"""Images with their channels last in memory, as kernels want them, whatever order they come in.

A copy goes square by square: rows of a register's length are read, turned by shuffles within
registers, and written as such rows again.
"""

from __future__ import annotations

from math import prod

import numpy as np

from minicnn_kernels.arrays import Array, aligned_empty, as_channels_last
from minicnn_kernels.cpu.gemm import transpose
from minicnn_kernels.cpu.jit import jit
from minicnn_kernels.threads import parallel

GRAIN = 2**14  # values that are worth a thread
PIXELS = 64  # that are turned at once


def channels_last(x: Array) -> Array:
    """Return images (N, C, ...) as a contiguous array (N, ..., C); a copy if they are no such."""
    images = as_channels_last(x)
    if images.flags.c_contiguous:
        return images
    y = aligned_empty(images.shape, x.dtype)
    n, channels, pixels = *x.shape[:2], prod(x.shape[2:])
    if x.flags.c_contiguous and x.flags.writeable and x.dtype in (np.float32, np.float64):
        blocks = -(-pixels // PIXELS)
        parallel(
            _turn, n * blocks, x.reshape(-1), channels, pixels, y.reshape(-1),
            grain=-(-GRAIN // (PIXELS * channels)),
        )  # fmt: skip
    else:
        parallel(_copy, n, y, images, grain=1 + GRAIN * n // max(1, x.size))
    return y


@jit()
def _turn(begin, end, x, channels, pixels, y):
    """Copy blocks of pixels, of which every image has the same number."""
    blocks = -(-pixels // PIXELS)
    for part in range(begin, end):
        image, first = part // blocks * channels * pixels, part % blocks * PIXELS
        transpose(
            x, image + first, pixels, channels, min(PIXELS, pixels - first),
            y, image + first * channels, channels,
        )  # fmt: skip


def _copy(begin: int, end: int, y: Array, x: Array) -> None:
    """Copy images; NumPy lets go of the interpreter's lock."""
    y[begin:end] = x[begin:end]
