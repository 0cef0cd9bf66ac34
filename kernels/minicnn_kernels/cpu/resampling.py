"""Weighted sums along one dimension, compiled: the lines of the result shared among threads."""

from __future__ import annotations

from math import prod

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.cpu.jit import jit
from minicnn_kernels.threads import parallel

GRAIN = 2**14  # products that are worth a thread


def weighted_sums(x: Array, places: Array, weights: Array, *, dim: int) -> Array:
    """y[..,i,..] = sum_k weights[k,i] * x[.., places[k,i], ..], in the memory order of x."""
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
    x = np.ascontiguousarray(x.transpose(order))
    dim = order.index(dim)
    before, after = prod(x.shape[:dim]), prod(x.shape[dim + 1 :])
    terms, count = places.shape
    y = np.empty((*x.shape[:dim], count, *x.shape[dim + 1 :]), x.dtype)
    parallel(
        _add_lines, before * count, x.reshape(before, x.shape[dim], after),
        np.ascontiguousarray(places.T), np.ascontiguousarray(weights.T), y.reshape(-1, after),
        grain=1 + GRAIN // (1 + after * terms),
    )  # fmt: skip
    return y.transpose(np.argsort(order))


@jit()
def _add_lines(begin, end, x, places, weights, y):
    """Compute lines of the result; all values of a line have the same places and weights."""
    count = places.shape[0]
    for line in range(begin, end):
        image, row = x[line // count], y[line]
        place, weight = places[line % count], weights[line % count]
        if row.size == 1:
            total = y.dtype.type(0)
            for k in range(place.size):
                total += weight[k] * image[place[k], 0]
            row[0] = total
            continue
        for j in range(row.size):
            row[j] = 0
        for k in range(place.size):
            w, old = weight[k], image[place[k]]
            for j in range(row.size):
                row[j] += w * old[j]
