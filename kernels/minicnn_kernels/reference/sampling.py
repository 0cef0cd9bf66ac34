"""Weighted sums of a few pixels each, and the adjoints.

An image is a matrix with a row for each pixel and a column for each channel.  Where pixels[k,p] is
negative, point p has no such pixel: there the image is 0.
"""

from __future__ import annotations

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.reference.gather import add_at
from minicnn_kernels.registry import BOTH, Kernel

sample = Kernel("sample")
spread_samples = Kernel("spread_samples")
match_samples = Kernel("match_samples")

ENOUGH = 2**14
"""Products from which on a compiled kernel is worth its start."""


def _products(x: Array, pixels: Array) -> int:
    products: int = pixels.size * x.shape[1]
    return products


@sample.algorithm("numpy", devices=BOTH, cost=lambda x, w, pixels: 2 * _products(x, pixels))
def sample_numpy(x: Array, w: Array, *, pixels: Array) -> Array:
    """y[p,c] = sum_k w[k,p] * x[pixels[k,p],c]."""
    rows = np.concatenate([x, np.zeros_like(x, shape=(1, x.shape[1]))])  # row -1 is 0
    y = np.zeros_like(x, shape=(pixels.shape[1], x.shape[1]))
    for pixel, weight in zip(pixels, w, strict=True):
        y += rows[pixel] * weight[:, None]
    return y


@spread_samples.algorithm(
    "numpy", devices=BOTH, cost=lambda dy, w, pixels, size: 9 * _products(dy, pixels)
)
def spread_samples_numpy(dy: Array, w: Array, *, pixels: Array, size: int) -> Array:
    """dx[pixels[k,p],c] += w[k,p] * dy[p,c]."""
    channels = dy.shape[1]
    dx = np.zeros_like(dy, shape=(size + 1) * channels)  # row -1 is left out
    for pixel, weight in zip(pixels % (size + 1), w, strict=True):
        places = pixel[:, None] * channels + np.arange(channels, like=pixel)
        add_at(dx, places.ravel(), (dy * weight[:, None]).ravel())
    return dx.reshape(size + 1, channels)[:size]


@match_samples.algorithm("numpy", devices=BOTH, cost=lambda x, dy, pixels: 2 * _products(x, pixels))
def match_samples_numpy(x: Array, dy: Array, *, pixels: Array) -> Array:
    """dw[k,p] = sum_c x[pixels[k,p],c] * dy[p,c]."""
    rows = np.concatenate([x, np.zeros_like(x, shape=(1, x.shape[1]))])
    dw = np.zeros_like(x, shape=pixels.shape)
    for pixel, line in zip(pixels, dw, strict=True):
        np.sum(rows[pixel] * dy, axis=1, out=line)
    return dw


def _is_enough(x: Array, other: Array, pixels: Array, size: int = 0) -> bool:
    return _products(x, pixels) >= ENOUGH and x.dtype in (np.float32, np.float64)


sample.compiled(
    "rows",
    "sampling.sample",
    "y[p,c] = sum_k w[k,p] * x[pixels[k,p],c], row by row.",
    cost=lambda x, w, pixels: _products(x, pixels) / 4,
    serves=_is_enough,
)
spread_samples.compiled(
    "rows",
    "sampling.spread_samples",
    "dx[pixels[k,p],c] += w[k,p] * dy[p,c], each thread with channels of its own.",
    cost=lambda dy, w, pixels, size: _products(dy, pixels) / 4,
    serves=_is_enough,
)
match_samples.compiled(
    "rows",
    "sampling.match_samples",
    "dw[k,p] = sum_c x[pixels[k,p],c] * dy[p,c], row by row.",
    cost=lambda x, dy, pixels: _products(x, pixels) / 4,
    serves=_is_enough,
)


# --- on cards -------------------------------------------------------------------------------------

sample.compiled(
    "cuda",
    "gather.sample",
    "y[p,c] = sum_k w[k,p] * x[pixels[k,p],c], a thread for each.",
    device="cuda",
    cost=lambda x, w, pixels: 0,
    serves=lambda x, w, pixels: x.dtype in (np.float32, np.float64),
)
spread_samples.compiled(
    "cuda",
    "gather.spread_samples",
    "dx[pixels[k,p],c] += w[k,p] * dy[p,c], all of a pixel by one thread, in order.",
    device="cuda",
    cost=lambda dy, w, pixels, size: 0,
    serves=lambda dy, w, pixels, size: dy.dtype in (np.float32, np.float64),
)
match_samples.compiled(
    "cuda",
    "gather.match_samples",
    "dw[k,p] = sum_c x[pixels[k,p],c] * dy[p,c], a warp for each.",
    device="cuda",
    cost=lambda x, dy, pixels: 0,
    serves=lambda x, dy, pixels: x.dtype in (np.float32, np.float64),
)
