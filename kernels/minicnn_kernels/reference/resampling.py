"""Weighted sums of a few values along one dimension, by a table of places and weights."""

from __future__ import annotations

from math import prod

import numpy as np

from minicnn_kernels.arrays import Array, at_hand
from minicnn_kernels.registry import BOTH, Kernel

PASS_BYTES = 2**19  # of the result: what one pass needs then stays in the processor's cache
ENOUGH = 2**15  # products from which on a compiled loop is worth its start

weighted_sums = Kernel("weighted_sums")


@weighted_sums.algorithm("numpy", devices=BOTH, cost=lambda x, places, weights, dim: 2)
def weighted_sums_numpy(x: Array, places: Array, weights: Array, *, dim: int) -> Array:
    """y[..,i,..] = sum_k weights[k,i] * x[.., places[k,i], ..] along one dimension."""
    before, after, count = prod(x.shape[:dim]), prod(x.shape[dim + 1 :]), places.shape[1]
    lines = x.reshape(before, x.shape[dim], after)
    y = np.zeros_like(x, shape=(before, count, after), order="C")
    step = max(1, PASS_BYTES // max(1, count * after * x.itemsize)) if at_hand(x) else before
    for first in range(0, before, max(1, step)):
        part, total = lines[first : first + step], y[first : first + step]
        for place, weight in zip(places, weights, strict=True):
            total += part.take(place, axis=1) * weight[:, None]
    return y.reshape(*x.shape[:dim], count, *x.shape[dim + 1 :])


def _serves(x: Array, places: Array, weights: Array, *, dim: int) -> bool:
    return x.dtype == weights.dtype and x.dtype in (np.float32, np.float64)


def _cost(x: Array, places: Array, weights: Array, *, dim: int) -> float:
    products = x.size // max(1, x.shape[dim]) * places.size
    return 1 if products >= ENOUGH else 4


weighted_sums.compiled(
    "lines",
    "resampling.weighted_sums",
    "y[..,i,..] = sum_k weights[k,i] * x[.., places[k,i], ..], in the memory order of x.",
    cost=_cost,
    serves=_serves,
)
weighted_sums.compiled(
    "cuda",
    "gather.weighted_sums",
    "y[..,i,..] = sum_k weights[k,i] * x[.., places[k,i], ..], a thread for each.",
    device="cuda",
    cost=lambda x, places, weights, dim: 0,
    serves=_serves,
)
