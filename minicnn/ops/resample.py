"""Resampling: each new value is a weighted sum of a few old ones, one dimension at a time.

Nearest, linear, cubic, smoothed or not: the methods differ in a table of places and weights, which
is a sparse matrix R; two sides make y = R x C^T.  The gradient is the transposed table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil
from typing import Any

import numpy as np

import minicnn_kernels as kernels
from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.tensor import Tensor, values_of
from minicnn_kernels.arrays import beside


@dataclass(frozen=True, eq=False)
class Taps:
    """A sparse matrix from `size` values to others: y[i] = sum_k weights[k,i] * x[places[k,i]].

    >>> halves = Taps(np.array([[0, 2], [1, 3]]), np.full((2, 2), 0.5), size=4)
    >>> weighted_sums(np.array([1.0, 3.0, 5.0, 9.0]), halves, dim=0).tolist()
    [2.0, 7.0]
    """

    places: Array
    weights: Array
    size: int

    def transposed(self) -> Taps:
        """Return the table of the adjoint, in which each place is named once for each i."""
        count = self.places.shape[1]
        pairs, entry = np.unique(self.places * count + np.arange(count), return_inverse=True)
        sums = np.bincount(entry.ravel(), self.weights.ravel())
        place, i = np.divmod(pairs[sums != 0], count)
        k = np.arange(len(place)) - np.searchsorted(place, place)
        # an unused entry has weight 0, and a place near by, so that 0 * inf = NaN does not go far
        places = np.tile(np.arange(self.size) * count // self.size, (k.max(initial=-1) + 1, 1))
        weights = np.zeros(places.shape, self.weights.dtype)
        places[k, place], weights[k, place] = i, sums[sums != 0]
        return Taps(places, weights, count)


@differentiable
def weighted_sums(x: Array, /, taps: Taps, dim: int) -> Array:
    """y[..,i,..] = sum_k weights[k,i] * x[.., places[k,i], ..] along one dimension."""
    places, weights = beside(x, taps.places), beside(x, taps.weights)
    return kernels.weighted_sums(x, places, weights, dim=dim)


@weighted_sums.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, taps: Taps, dim: int) -> Gradients:
    return lambda: weighted_sums(dy, taps.transposed(), dim)


def resample(x: Any, taps: Taps, dim: int) -> Any:
    """Return the weighted sums along one dimension; those of bytes are rounded to bytes."""
    if x.dtype == np.uint8 and len(taps.weights) > 1:  # not the nearest
        return weighted_sums_of_bytes(x, taps, dim)
    return weighted_sums(x, replace(taps, weights=taps.weights.astype(x.dtype)), dim)


# --- the tables: n old values, m new ones, `step` old values from one new value to the next -------


def step_between(n: int, m: int, scale: float | None, align_corners: bool, number: Any) -> Any:
    """Return how many old values lie between two new ones, as a `number` of NumPy.

    With `align_corners` the first and the last values lie upon each other, else the outer edges.
    """
    if align_corners:
        return number(n - 1) / number(m - 1) if m > 1 else number(0)
    return number(1 / scale) if scale else number(n) / number(m)


def _middles(m: int, step: Any) -> Array:
    """Return where the middles of the new pixels lie, the first old pixel being [0, 1]."""
    return step * (np.arange(m, dtype=step.dtype) + 0.5)


def _floor(position: Array) -> Array:
    """Return the whole number below; PyTorch rounds to float32 before, so a hair is no matter."""
    return np.floor(position.astype(np.float32)).astype(np.intp)


def nearest_taps(n: int, m: int, step: Any, exact: bool) -> Taps:
    """Take the old value whose pixel holds the new pixel's middle, or (not exact) its left edge."""
    position = _middles(m, step) if exact else step * np.arange(m, dtype=step.dtype)
    return Taps(np.minimum(_floor(position), n - 1)[None], np.ones((1, m), step.dtype), n)


def linear_taps(n: int, m: int, step: Any, align_corners: bool) -> Taps:
    """Weigh the two old values around a new one by its distances from them."""
    if n == m:
        return _unchanged(n, step)
    position = _positions(m, step, align_corners)
    return _around(n, np.maximum(position, 0), (0, 1), linear_weights)


def cubic_taps(n: int, m: int, step: Any, align_corners: bool) -> Taps:
    """Weigh the four old values around a new one by cubic convolution."""
    return _around(n, _positions(m, step, align_corners), (-1, 0, 1, 2), cubic_weights)


def _unchanged(n: int, step: Any) -> Taps:
    """Take every value as it is, also where a scale that is not quite 1 gives the same size."""
    return Taps(np.arange(n)[None], np.ones((1, n), step.dtype), n)


def _positions(m: int, step: Any, align_corners: bool) -> Array:
    """Return where the new values lie among the old ones, which lie at 0, 1, 2, ..."""
    return step * np.arange(m, dtype=step.dtype) if align_corners else _middles(m, step) - 0.5


def _around(n: int, position: Array, neighbours: tuple[int, ...], weights_at: Any) -> Taps:
    first = _floor(position)
    fraction = np.clip(position - first.astype(position.dtype), 0, 1)
    places = np.clip(first + np.array(neighbours)[:, None], 0, n - 1)
    return Taps(places, np.stack(weights_at(fraction)), n)


def smoothed_taps(n: int, m: int, step: Any, kernel: Callable[[Array], Array], reach: int) -> Taps:
    """Average over all old values under a kernel, stretched to cover `step` values if more than 1.

    w[k,i] = kernel((place[k,i] - middle[i]) / stretch) / (sum of these over k)
    """
    if n == m:
        return _unchanged(n, step)
    stretch = max(step, step.dtype.type(1))
    middle = _middles(m, step)
    first = np.maximum((middle - reach * stretch + 0.5).astype(np.intp), 0)
    end = np.minimum((middle + reach * stretch + 0.5).astype(np.intp), n)
    places = first + np.arange(ceil(reach * stretch) * 2 + 1)[:, None]
    weights = kernel(np.abs(places + step.dtype.type(0.5) - middle) / stretch) * (places < end)
    return Taps(np.minimum(places, n - 1), weights / weights.sum(axis=0), n)


@lru_cache(maxsize=256)
def mean_taps(n: int, m: int) -> Taps:
    """Average over m bins as even as they can be: from floor(i*n/m) to ceil((i+1)*n/m).

    A bin shorter than the longest, by one, names its last value twice, with half the weight each.
    """
    i = np.arange(m)
    first, end = i * n // m, -(-(i + 1) * n // m)
    lengths = end - first
    longest = lengths.max(initial=0)
    places = np.minimum(first + np.arange(longest)[:, None], end - 1)
    weights = np.tile(1 / lengths, (longest, 1))
    weights[-2:, lengths < longest] /= 2
    return Taps(places, weights, n)


# --- the weights ----------------------------------------------------------------------------------


def linear_weights(t: Any) -> list[Any]:
    """Return the weights of the values at 0 and 1, for a point t between them."""
    return [1 - t, t]


def cubic_weights(t: Any, a: float = -0.75) -> list[Any]:
    """Return the weights of the values at -1, 0, 1 and 2, for a point t between 0 and 1."""
    return [_cubic_far(t + 1, a), _cubic_near(t, a), _cubic_near(1 - t, a), _cubic_far(2 - t, a)]


def _cubic_near(d: Any, a: float) -> Any:
    return ((a + 2) * d - (a + 3)) * d * d + 1


def _cubic_far(d: Any, a: float) -> Any:
    return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a


def triangle(d: Array) -> Array:
    """w(d) = max(1 - d, 0), at distance d >= 0: linear interpolation."""
    return np.maximum(1 - d, 0)


def cubic(d: Array, a: float = -0.5) -> Array:
    """w(d) = (a+2) d^3 - (a+3) d^2 + 1 up to 1, a d^3 - 5a d^2 + 8a d - 4a up to 2 (Keys, 1981)."""
    return np.where(d < 1, _cubic_near(d, a), np.where(d < 2, _cubic_far(d, a), 0))


def lanczos(d: Array) -> Array:
    """w(d) = sinc(d) * sinc(d/3) up to 3, with sinc(d) = sin(pi d) / (pi d)."""
    return np.sinc(d) * np.sinc(d / 3) * (d < 3)


# --- bytes ----------------------------------------------------------------------------------------


def weighted_sums_of_bytes(x: Any, taps: Taps, dim: int) -> Any:
    """Return floor(1/2 + sum_k w x), limited to 0...255, with weights of 15 bits as in PyTorch."""
    if taps.size == taps.places.shape[1]:
        return x
    merged = taps.transposed().transposed()  # every place once
    bits = 0
    while bits < 22 and int(merged.weights.max() * 2 ** (bits + 1) + 0.5) < 2**15:
        bits += 1
    scaled = merged.weights * 2.0**bits
    whole = Taps(merged.places, np.trunc(scaled + np.copysign(0.5, scaled)).astype(int), taps.size)
    sums = weighted_sums(values_of(x).astype(int), whole, dim)
    y = np.clip((sums + 2**bits // 2) >> bits, 0, 255).astype(np.uint8)
    return Tensor(y) if isinstance(x, Tensor) else y
