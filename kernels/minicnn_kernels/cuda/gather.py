"""Values added by position, and weighted sums of values by position: launchers of gather.cu."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from minicnn_kernels.arrays import Array, as_channels_first
from minicnn_kernels.cards import cupy
from minicnn_kernels.cuda.launch import launch
from minicnn_kernels.cuda.layout import channels_last
from minicnn_kernels.cuda.packs import SUFFIX

THREADS = 256
SCANNED = 2**14
"""Positions up to which each looks for its next itself; more are sorted, which is not captured."""


class Links(NamedTuple):
    """Positions (B, J, K); for each the next j of the same place, or -1, and whether it is one."""

    chosen: Array
    next: Array
    later: Array


def links(chosen: Array) -> Links:
    """Find out which positions (B, J, K) are the same in a column."""
    chosen = cupy().ascontiguousarray(chosen, np.int64)
    _, lines, after = chosen.shape
    if lines > SCANNED:
        return _sorted(chosen)
    found: Array = np.empty(chosen.shape, np.int32, like=chosen)
    later: Array = np.zeros(chosen.shape, np.uint8, like=chosen)
    numbers = np.int32(lines), np.int32(after), np.int64(chosen.size)
    _run("link_equal", chosen.size, chosen, found, later, *numbers)
    return Links(chosen, found, later)


def _sorted(chosen: Array) -> Links:
    """Bring equal positions of a column side by side."""
    before, lines, after = chosen.shape
    by_column = chosen.transpose(0, 2, 1).reshape(before * after, lines)
    order = np.argsort(by_column, axis=1, kind="stable")
    places = np.take_along_axis(by_column, order, 1)
    same = places[:, 1:] == places[:, :-1]
    found: Array = np.full_like(by_column, -1, np.int32)
    later: Array = np.zeros(by_column.shape, np.uint8, like=chosen)
    columns = np.arange(before * after, like=chosen)[:, None]
    found[columns, order[:, :-1]] = np.where(same, order[:, 1:], -1)
    later[columns, order[:, 1:]] = same
    laid = [
        cupy().ascontiguousarray(a.reshape(before, after, lines).transpose(0, 2, 1))
        for a in (found, later)
    ]
    return Links(chosen, *laid)


def add_along(y: Array, values: Array, chosen: Array, *, dim: int) -> None:
    """Do y[chosen[i,j],j] += values[i,j] (dim 0) in y, an array in reading order."""
    sizes = (*chosen.shape[:dim], y.shape[dim], *chosen.shape[dim + 1 :])
    part = y if sizes == y.shape else cupy().ascontiguousarray(y[tuple(map(slice, sizes))])
    before, after = prod(chosen.shape[:dim]), prod(chosen.shape[dim + 1 :])
    found = links(chosen.reshape(before, chosen.shape[dim], after))
    _add(part, values, found, y.shape[dim], after, shared=False)
    if part is not y:
        y[tuple(map(slice, sizes))] = part


def add_lines(y: Array, values: Array, chosen: Array, *, dim: int) -> None:
    """Do y[i,chosen[j],k] += values[i,j,k] (dim 1) in y, an array in reading order."""
    found = links(chosen.reshape(1, -1, 1))
    _add(y, values, found, y.shape[dim], prod(y.shape[dim + 1 :]), shared=True)


def spread_samples(dy: Array, w: Array, *, pixels: Array, size: int) -> Array:
    """dx[pixels[k,p],c] += w[k,p] * dy[p,c], in the order of k and then p."""
    dx: Array = np.zeros((size, dy.shape[1]), dy.dtype, like=dy)
    found = links(pixels.reshape(1, -1, 1))
    weights = cupy().ascontiguousarray(w, dy.dtype)
    _add(dx, dy, found, size, dy.shape[1], shared=True, weights=weights)
    return dx


def _add(
    y: Array, values: Array, found: Links, y_lines: int, after: int, *, shared: bool,
    weights: Array | None = None,
) -> None:  # fmt: skip
    values = cupy().ascontiguousarray(values, y.dtype)
    lines = found.chosen.shape[1]
    count = values.size if weights is None else found.chosen.size * after
    value_lines = lines if weights is None else len(values)
    numbers = (*map(np.int32, (lines, value_lines, y_lines, after)), np.int64(count))
    _run(
        f"add_linked_{SUFFIX[y.dtype.name]}", count, y, values, weights, *found, *numbers,
        np.int32(shared),
    )  # fmt: skip


# --- weighted sums --------------------------------------------------------------------------------


def weighted_sums(x: Array, places: Array, weights: Array, *, dim: int) -> Array:
    """y[..,i,..] = sum_k weights[k,i] * x[.., places[k,i], ..]; images get their channels last."""
    if x.ndim in (4, 5) and dim > 1:
        return as_channels_first(_sums(channels_last(x), places, weights, dim - 1))
    return _sums(cupy().ascontiguousarray(x), places, weights, dim)


def sample(x: Array, w: Array, *, pixels: Array) -> Array:
    """y[p,c] = sum_k w[k,p] * x[pixels[k,p],c]."""
    return _sums(cupy().ascontiguousarray(x), pixels, w, 0)


def match_samples(x: Array, dy: Array, *, pixels: Array) -> Array:
    """dw[k,p] = sum_c x[pixels[k,p],c] * dy[p,c]."""
    x, dy = cupy().ascontiguousarray(x), cupy().ascontiguousarray(dy)
    pixels = cupy().ascontiguousarray(pixels, np.int64)
    dw: Array = np.empty(pixels.shape, x.dtype, like=x)
    numbers = np.int32(pixels.shape[1]), np.int32(x.shape[1]), np.int64(pixels.size)
    _run(f"match_{SUFFIX[x.dtype.name]}", 32 * pixels.size, x, dy, pixels, dw, *numbers)
    return dw


def _sums(x: Array, places: Array, weights: Array, dim: int) -> Array:
    terms, lines = places.shape
    y: Array = np.empty((*x.shape[:dim], lines, *x.shape[dim + 1 :]), x.dtype, like=x)
    numbers = map(np.int32, (terms, x.shape[dim], lines, prod(x.shape[dim + 1 :])))
    _run(
        f"weighted_sums_{SUFFIX[x.dtype.name]}", y.size, x,
        cupy().ascontiguousarray(places, np.int64), cupy().ascontiguousarray(weights, x.dtype),
        y, *numbers, np.int64(y.size),
    )  # fmt: skip
    return y


def _run(kernel: str, threads: int, *arguments: Any) -> None:
    if threads:
        launch("gather.cu", kernel, (-(-threads // THREADS),), (THREADS,), arguments)
