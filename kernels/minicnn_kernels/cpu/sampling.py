"""Compiled: weighted sums of a few rows each, and the adjoints."""

from __future__ import annotations

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.cpu.jit import SUMS, jit
from minicnn_kernels.threads import parallel

PRODUCTS_A_PART = 2**14


@jit()
def _sample(begin: int, end: int, y: Array, x: Array, w: Array, pixels: Array) -> None:
    for p in range(begin, end):
        for c in range(y.shape[1]):
            y[p, c] = 0
        for k in range(pixels.shape[0]):
            pixel, weight = pixels[k, p], w[k, p]
            if pixel >= 0:
                for c in range(y.shape[1]):
                    y[p, c] += weight * x[pixel, c]


@jit()
def _spread_samples(begin: int, end: int, dx: Array, dy: Array, w: Array, pixels: Array) -> None:
    for p in range(dy.shape[0]):
        for k in range(pixels.shape[0]):
            pixel, weight = pixels[k, p], w[k, p]
            if pixel >= 0:
                for c in range(np.uintp(begin), np.uintp(end)):  # unsigned: fit for vectors
                    dx[pixel, c] += weight * dy[p, c]


@jit(SUMS)
def _match_samples(begin: int, end: int, dw: Array, x: Array, dy: Array, pixels: Array) -> None:
    for p in range(begin, end):
        for k in range(pixels.shape[0]):
            pixel, total = pixels[k, p], dw.dtype.type(0)
            if pixel >= 0:
                for c in range(dy.shape[1]):
                    total += x[pixel, c] * dy[p, c]
            dw[k, p] = total


def sample(x: Array, w: Array, *, pixels: Array) -> Array:
    """y[p,c] = sum_k w[k,p] * x[pixels[k,p],c], row by row."""
    x, w, pixels = map(np.ascontiguousarray, (x, w, pixels))
    y = np.empty((pixels.shape[1], x.shape[1]), x.dtype)
    parallel(_sample, len(y), y, x, w, pixels, grain=_grain(len(pixels) * x.shape[1]))
    return y


def spread_samples(dy: Array, w: Array, *, pixels: Array, size: int) -> Array:
    """dx[pixels[k,p],c] += w[k,p] * dy[p,c], each thread with channels of its own."""
    dy, w, pixels = map(np.ascontiguousarray, (dy, w, pixels))
    dx = np.zeros((size, dy.shape[1]), dy.dtype)
    # 16 channels: some lines of the cache, so that threads do not write to the same
    parallel(_spread_samples, dy.shape[1], dx, dy, w, pixels, grain=16, pieces=1)
    return dx


def match_samples(x: Array, dy: Array, *, pixels: Array) -> Array:
    """dw[k,p] = sum_c x[pixels[k,p],c] * dy[p,c], row by row."""
    x, dy, pixels = map(np.ascontiguousarray, (x, dy, pixels))
    dw = np.empty(pixels.shape, x.dtype)
    grain = _grain(len(pixels) * x.shape[1])
    parallel(_match_samples, pixels.shape[1], dw, x, dy, pixels, grain=grain)
    return dw


def _grain(products_a_point: int) -> int:
    return 1 + PRODUCTS_A_PART // max(1, products_a_point)
