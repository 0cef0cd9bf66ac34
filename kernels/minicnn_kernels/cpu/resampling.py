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
    places = places.astype(np.uintp)  # known to count from the front, and so cheaper to follow
    if after == 1:
        parallel(
            _sum_lines, before, x.reshape(before, x.shape[dim]), places, weights,
            y.reshape(before, count), grain=1 + GRAIN // (1 + count * terms),
        )  # fmt: skip
    else:
        parallel(
            _add_lines, before * count, x.reshape(before, x.shape[dim], after), places, weights,
            y.reshape(-1, after), grain=1 + GRAIN // (1 + after * terms),
        )  # fmt: skip
    return y.transpose(np.argsort(order))


@jit()
def _sum_lines(begin, end, x, places, weights, y):
    """Compute lines along which the sums are taken."""
    for line in range(begin, end):
        old, new = x[line], y[line]
        for i in range(new.size):
            new[i] = 0
        for k in range(places.shape[0]):
            place, weight = places[k], weights[k]
            for i in range(new.size):
                new[i] += weight[i] * old[place[i]]


@jit()
def _add_lines(begin, end, x, places, weights, y):
    """Compute lines across the sums: all values of a line have the same places and weights."""
    count = places.shape[1]
    for line in range(begin, end):
        image, new = x[line // count], y[line]
        for j in range(new.size):
            new[j] = 0
        for k in range(places.shape[0]):
            weight, old = weights[k, line % count], image[places[k, line % count]]
            for j in range(new.size):
                new[j] += weight * old[j]
