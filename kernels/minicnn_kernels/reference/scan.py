"""Running sums, products and extremes along a dimension."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from minicnn_kernels.arrays import Array, at_hand


def accumulated(step: np.ufunc, x: Array, dim: int) -> Array:
    """Return y[i] = step(y[i-1], x[i]), y[0] = x[0].

    >>> accumulated(np.maximum, np.array([1, 3, 2]), 0).tolist()
    [1, 3, 3]
    """
    if not at_hand(x) and step not in (np.add, np.multiply):
        return _by_doubling(step, x, dim)
    if not at_hand(x) or x.size < 1024 * x.shape[dim]:
        found: Array = step.accumulate(x, dim, x.dtype)
        return found
    y = x.copy("K")  # slice by slice, as they are long
    lines = np.moveaxis(y, dim, 0)
    for before, now in pairwise(lines):
        step(before, now, out=now)
    return y


def _by_doubling(step: np.ufunc, x: Array, dim: int) -> Array:
    """Combine each value with what is 1, 2, 4, ... before it: few steps over whole arrays."""
    y = x.copy()
    lines, distance = np.moveaxis(y, dim, 0), 1
    while distance < len(lines):
        lines[distance:] = step(lines[:-distance], lines[distance:])
        distance *= 2
    return y
