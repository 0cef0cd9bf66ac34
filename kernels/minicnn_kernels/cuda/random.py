"""Random masks drawn on the card: the launcher of random.cu."""

from __future__ import annotations

from math import prod

import numpy as np

from minicnn_kernels.arrays import Array, as_channels_last
from minicnn_kernels.cuda import replay
from minicnn_kernels.cuda.launch import launch

THREADS = 256
WORDS = 8  # that a thread draws


def keep_mask(like: Array, key: Array, shape: tuple[int, ...], p: float) -> Array:
    """Draw a mask, which lies in memory like an array of its shape if channels are last there."""
    kept: Array = np.empty(shape, bool, like=like)
    channels, pixels = 1, max(1, kept.size)
    if like.shape == shape and _has_channels_last(like):
        kept = np.empty_like(like, bool)
        channels, pixels = shape[1], prod(shape[2:])
    sizes = map(np.int64, (kept.size, channels, pixels))
    arguments = replay.numbers(key), np.uint64(round(p * 2**32)), *sizes, kept
    if kept.size:
        launch(
            "random.cu", "keep_mask", (-(-kept.size // (THREADS * WORDS)),), (THREADS,), arguments
        )
    return kept


def _has_channels_last(x: Array) -> bool:
    in_order = x.ndim < 3 or x.flags.c_contiguous
    return not in_order and as_channels_last(x).flags.c_contiguous
