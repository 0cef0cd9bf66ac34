"""Pooling.  Both kinds are linear once the winners are known, and come as pairs of adjoints."""

from __future__ import annotations

from typing import Any

import numpy as np

import minicnn_kernels as kernels
from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.ops.linear import matrix_product
from minicnn.tensor import values_of
from minicnn_kernels.geometry import Sides, Windows

# --- maximum: remember who won, pass the gradient to the winner -----------------------------------


def max_pool2d(x: Any, windows: Windows) -> Any:
    """Return y[n,c,i,j] = max_ab x[n, c, i*s + a*d - p, j*s + b*d - p]; the first maximum wins."""
    best, winner = kernels.max_winners(values_of(x), windows=windows)
    return take_winners(x, winner, windows, best)


@differentiable
def take_winners(x: Array, /, winner: Array, windows: Windows, best: Array | None = None) -> Array:
    """y[n,c,i,j] = the pixel of x that won window [i,j]; `best` is y, if the caller has it."""
    return kernels.take_winners(x, winner, windows=windows) if best is None else best


@take_winners.gradient(saves="")
def _(
    dy: Array, y: Array, x: Array, *, winner: Array, windows: Windows, best: Array | None
) -> Gradients:
    return lambda: route_to_winners(dy, winner, windows)


@differentiable
def route_to_winners(dy: Array, /, winner: Array, windows: Windows) -> Array:
    """dx[n, c, winning pixel] += dy[n,c,i,j]."""
    return kernels.route_to_winners(dy, winner, windows=windows)


@route_to_winners.gradient(saves="")
def _(ddx: Array, y: Array, dy: Array, *, winner: Array, windows: Windows) -> Gradients:
    return lambda: take_winners(ddx, winner, windows)


# --- mean: a sum over each window, divided by how many pixels count -------------------------------


def avg_pool2d(
    x: Any, windows: Windows, count_include_pad: bool = True, divisor: int | None = None
) -> Any:
    """Return y[n,c,i,j] = sum_ab x[n, c, i*s + a - p, j*s + b - p] / divisor."""
    scale = 1 / (divisor or pixels_per_window(windows, count_include_pad))
    return window_sum(x, windows) * np.asarray(scale, dtype=x.dtype)


def pixels_per_window(windows: Windows, count_include_pad: bool) -> Any:
    """Count the pixels of each window (OH, OW), with or without those of the padding.

    What `ceil_mode` adds beyond the padding never counts.
    """
    sides = []
    for n, k, s, p, count in zip(
        windows.image, windows.kernel, windows.stride, windows.padding, windows.output, strict=True
    ):
        first = np.arange(count) * s - p
        low, high = (-p, n + p) if count_include_pad else (0, n)
        sides.append(np.minimum(first + k, high) - np.maximum(first, low))
    return np.multiply.outer(*sides)


@differentiable
def window_sum(x: Array, /, windows: Windows) -> Array:
    """y[n,c,i,j] = sum_ab x[n, c, i*s + a - p, j*s + b - p]."""
    return kernels.window_sum(x, windows=windows)


@window_sum.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, windows: Windows) -> Gradients:
    return lambda: window_spread(dy, windows)


@differentiable
def window_spread(dy: Array, /, windows: Windows) -> Array:
    """dx[n, c, i*s + a - p, j*s + b - p] += dy[n,c,i,j]."""
    return kernels.window_spread(dy, windows=windows)


@window_spread.gradient(saves="")
def _(ddx: Array, y: Array, dy: Array, *, windows: Windows) -> Gradients:
    return lambda: window_sum(ddx, windows)


# --- mean to a given size: two small matrix products ----------------------------------------------


def adaptive_avg_pool2d(x: Any, output_size: Sides) -> Any:
    """Return y[n,c] = R x[n,c] C^T, with the rows of R and C averaging one bin each.

    Bin i of n pixels runs from floor(i*n/m) up to, not including, ceil((i+1)*n/m).
    """
    rows, columns = (
        averaging_matrix(n, m, x.dtype) for n, m in zip(x.shape[2:], output_size, strict=True)
    )
    return matrix_product(matrix_product(rows, x), columns.T)


def averaging_matrix(n: int, m: int, dtype: Any) -> Array:
    """Return the (m, n) matrix that averages n pixels into m bins.

    >>> averaging_matrix(3, 2, "float32").tolist()
    [[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]
    """
    matrix = np.zeros((m, n), dtype=dtype)
    for i in range(m):
        first, end = i * n // m, -(-(i + 1) * n // m)
        matrix[i, first:end] = 1 / (end - first)
    return matrix
