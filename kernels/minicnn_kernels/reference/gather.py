"""Taking values out along a dimension by position, and adding them in.

Positions are counted from the front and inside: the caller has checked them.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from minicnn_kernels.arrays import Array, at_hand, is_floating
from minicnn_kernels.registry import BOTH, Kernel

take_along = Kernel("take_along")
take_lines = Kernel("take_lines")
add_along = Kernel("add_along")
add_lines = Kernel("add_lines")


@take_along.algorithm("numpy", devices=BOTH, cost=lambda x, chosen, dim: 6 * chosen.size)
def take_along_numpy(x: Array, chosen: Array, *, dim: int) -> Array:
    """y[i,j] = x[chosen[i,j],j] (dim 0); `chosen` may be smaller than x in other dimensions."""
    return np.take_along_axis(x[within(chosen.shape, dim)], chosen, dim)


@take_lines.algorithm("numpy", devices=BOTH, cost=lambda x, chosen, dim: 1)
def take_lines_numpy(x: Array, chosen: Array, *, dim: int) -> Array:
    """y[i,j,k] = x[i,chosen[j],k] (dim 1)."""
    return x.take(chosen, dim)


@add_along.algorithm("numpy", devices=BOTH, cost=lambda y, values, chosen, dim: 12 * chosen.size)
def add_along_numpy(y: Array, values: Array, chosen: Array, *, dim: int) -> None:
    """Do y[chosen[i,j],j] += values[i,j] (dim 0) in y, an array in reading order."""
    places: Any = 0
    for axis, (n, size) in enumerate(zip(chosen.shape, y.shape, strict=True)):
        steps = np.arange(n, like=chosen).reshape(-1, *[1] * (y.ndim - axis - 1))
        places = places * size + (chosen if axis == dim else steps)
    add_at(y.reshape(-1), places.reshape(-1), values.reshape(-1))


@add_lines.algorithm("numpy", devices=BOTH, cost=lambda y, values, chosen, dim: 5 * values.size)
def add_lines_numpy(y: Array, values: Array, chosen: Array, *, dim: int) -> None:
    """Do y[i,chosen[j],k] += values[i,j,k] (dim 1) in y, an array in reading order."""
    rounds = turns(chosen) if at_hand(chosen) else []
    if 0 < 4096 * len(rounds) <= values.size:  # enough to do in each
        lines, slices = np.moveaxis(y, dim, 0), np.moveaxis(values, dim, 0)
        for now in rounds:
            lines[chosen[now]] += slices[now]
    else:
        places = np.arange(y.size, like=y).reshape(y.shape).take(chosen, dim)
        add_at(y.reshape(-1), places.reshape(-1), values.reshape(-1))


def add_at(y: Array, places: Array, values: Array) -> None:
    """Do y[places] += values; all are vectors."""
    if not values.size:
        return
    if not at_hand(y) and y.dtype in COMPILED:
        add_lines(y, values, places, dim=0)
    elif at_hand(y) or is_floating(y.dtype):
        np.add.at(y, places, values)
    else:  # whole numbers without a sign are all that cards add so
        total = np.zeros(y.shape, np.uint64, like=y)
        np.add.at(total, places, values.astype(np.int64).view(np.uint64))
        y += total.view(np.int64).astype(y.dtype)


def combine_at(step: np.ufunc, y: Array, places: Array, values: Array) -> None:
    """Do y[places] = step(y[places], values); all are vectors.

    On a card, values of one place are brought side by side and combined by doubling.
    """
    if at_hand(y):
        step.at(y, places, values)
        return
    order = np.argsort(places, kind="stable")
    places, values = places[order], values[order].astype(y.dtype)
    distance = 1
    while distance < len(values):
        same = places[distance:] == places[:-distance]
        combined = step(values[distance:], values[:-distance])
        values[distance:] = np.where(same, combined, values[distance:])
        distance *= 2
    is_last = np.ones_like(places, bool)
    is_last[:-1] = places[1:] != places[:-1]
    touched, found = np.zeros_like(y, bool, shape=len(y) + 1), np.zeros_like(y, shape=len(y) + 1)
    last = np.where(is_last, places, len(y))  # the others go behind the end
    touched[last], found[last] = is_last, values
    y[...] = np.where(touched[:-1], step(y, found[:-1]), y)


def turns(chosen: Array) -> list[Array]:
    """Split the places of a vector of positions so that no part names a position twice.

    >>> [now.tolist() for now in turns(np.array([7, 3, 7]))]
    [[1, 0], [2]]
    """
    order = np.argsort(chosen, stable=True)
    starts = np.flatnonzero(np.diff(chosen[order], prepend=-1))
    sizes = np.diff(starts, append=len(order))
    turn = np.arange(len(order)) - np.repeat(starts, sizes)
    return [order[turn == k] for k in range(sizes.max(initial=0))]


def within(sizes: tuple[int, ...], dim: int) -> tuple[slice, ...]:
    """Return the part of an array that an index of these sizes looks at: all of `dim`."""
    return tuple(slice(None if i == dim else n) for i, n in enumerate(sizes))


# --- compiled -------------------------------------------------------------------------------------

ENOUGH = 2**14
"""Values from which on a compiled kernel is worth its start."""

COMPILED = (np.float32, np.float64)


def _fits(x: Array, chosen: Array, dim: int) -> bool:
    sizes = (*x.shape[:dim], chosen.shape[dim], *x.shape[dim + 1 :])
    return chosen.size >= ENOUGH and x.dtype in COMPILED and chosen.shape == sizes


def _serves_lines(x: Array, chosen: Array, *, dim: int) -> bool:
    values = x.size // max(1, x.shape[dim]) * chosen.size
    has_lines = x.flags.c_contiguous and prod(x.shape[dim + 1 :]) >= 16
    return has_lines and values >= ENOUGH and x.dtype in COMPILED


take_along.compiled(
    "columns",
    "gather.take_along",
    "y[i,j] = x[chosen[i,j],j] (dim 0), the columns j shared out among the threads.",
    cost=lambda x, chosen, dim: chosen.size,
    serves=_fits,
)
take_lines.compiled(
    "lines",
    "gather.take_lines",
    "y[i,j,k] = x[i,chosen[j],k] (dim 1), the lines i, j shared out among the threads.",
    cost=lambda x, chosen, dim: 0.5,
    serves=_serves_lines,
)
add_along.compiled(
    "columns",
    "gather.add_along",
    "y[chosen[i,j],j] += values[i,j] (dim 0), each column j by one thread.",
    cost=lambda y, values, chosen, dim: values.size,
    serves=lambda y, values, chosen, dim: _fits(y, chosen, dim),
)
add_lines.compiled(
    "columns",
    "gather.add_lines",
    "y[i,chosen[j],k] += values[i,j,k] (dim 1), each column i, k by one thread.",
    cost=lambda y, values, chosen, dim: values.size / 4,
    serves=lambda y, values, chosen, dim: values.size >= ENOUGH and y.dtype in COMPILED,
)


# --- on cards -------------------------------------------------------------------------------------

add_along.compiled(
    "cuda",
    "gather.add_along",
    "y[chosen[i,j],j] += values[i,j] (dim 0), all values of a place by one thread, in order.",
    device="cuda",
    cost=lambda y, values, chosen, dim: -1,  # also where there is nothing to add
    serves=lambda y, values, chosen, dim: y.dtype in COMPILED,
)
add_lines.compiled(
    "cuda",
    "gather.add_lines",
    "y[i,chosen[j],k] += values[i,j,k] (dim 1), all values of a place by one thread, in order.",
    device="cuda",
    cost=lambda y, values, chosen, dim: -1,  # also where there is nothing to add
    serves=lambda y, values, chosen, dim: y.dtype in COMPILED,
)
