"""Sampling images at given points: spatial transformers (Jaderberg et al., 2015).

A sample is a weighted sum of a few pixels around its point.  Which pixels is fixed; the weights
depend on the point, so that gradients reach the grid of points as well as the image.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

import minicnn_kernels as kernels
from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.ops.indexing import index
from minicnn.ops.linear import matrix_product
from minicnn.ops.methods import contiguous
from minicnn.ops.resample import cubic_weights, linear_weights
from minicnn.ops.shape import movedim, stack, transpose, unsqueeze, view_as
from minicnn.tensor import values_of
from minicnn_kernels.arrays import beside
from minicnn_kernels.geometry import Sides

# --- three operations, linear in two of x, w and dy: each other's gradients -----------------------


@differentiable
def sample(x: Array, w: Array, /, pixels: Array) -> Array:
    """y[p,c] = sum_k w[k,p] * x[pixels[k,p],c], without the pixels that are negative."""
    return kernels.sample(x, w, pixels=pixels)


@sample.gradient(saves="x w")
def _(dy: Array, y: Array, x: Array, w: Array, *, pixels: Array) -> Gradients:
    return (
        lambda: spread_samples(dy, w, pixels, x.shape[0]),
        lambda: match_samples(x, dy, pixels),
    )


@differentiable
def spread_samples(dy: Array, w: Array, /, pixels: Array, size: int) -> Array:
    """dx[pixels[k,p],c] += w[k,p] * dy[p,c]."""
    return kernels.spread_samples(dy, w, pixels=pixels, size=size)


@spread_samples.gradient(saves="dy w")
def _(ddx: Array, y: Array, dy: Array, w: Array, *, pixels: Array, size: int) -> Gradients:
    return lambda: sample(ddx, w, pixels), lambda: match_samples(ddx, dy, pixels)


@differentiable
def match_samples(x: Array, dy: Array, /, pixels: Array) -> Array:
    """dw[k,p] = sum_c x[pixels[k,p],c] * dy[p,c]."""
    return kernels.match_samples(x, dy, pixels=pixels)


@match_samples.gradient(saves="x dy")
def _(ddw: Array, y: Array, x: Array, dy: Array, *, pixels: Array) -> Gradients:
    return (
        lambda: spread_samples(dy, ddw, pixels, x.shape[0]),
        lambda: sample(x, ddw, pixels),
    )


# --- from points to pixels and weights ------------------------------------------------------------


def grid_sample(x: Any, grid: Any, mode: str, padding_mode: str, align_corners: bool) -> Any:
    """Return y[n,c,i,j] = the image x[n,c] at the point grid[n,i,j] = (column, row) in [-1, 1].

    The image may have a third side.
    """
    batch, channels, *image = x.shape
    points = grid.shape[1:-1]
    images = np.arange(batch, like=values_of(x))
    pixels = np.repeat(images, prod(points))[None]  # [k,p], counted through all images
    outside = np.zeros_like(pixels, bool)
    weights = None
    for side, size in enumerate(image):
        along = view_as(index(grid, (..., -1 - side)), (pixels.shape[1],))
        with np.errstate(all="ignore"):  # a point may be NaN or inf, and lies outside then
            place, weight = _neighbours(along, size, mode, padding_mode, align_corners)
        place = np.fmax(np.fmin(place, size), -1).astype(np.intp)
        pixels = _each_with_each(np.add, pixels * size, place)
        outside = _each_with_each(np.logical_or, outside, (place < 0) | (place == size))
        weights = weight if weights is None else _each_with_each(operator.mul, weights, weight)
    pixels |= -outside.astype(np.intp)  # -1 is all ones in binary
    rows = view_as(contiguous(movedim(x, 1, -1)), (batch * prod(image), channels))
    return movedim(view_as(sample(rows, weights, pixels), (batch, *points, channels)), -1, 1)


def _each_with_each(combine: Callable[..., Any], a: Any, b: Any) -> Any:
    """Combine each row of a with each row of b, those of b changing fastest."""
    return view_as(combine(unsqueeze(a, 1), unsqueeze(b, 0)), (len(a) * len(b), a.shape[1]))


def _neighbours(
    g: Any, size: int, mode: str, padding_mode: str, align_corners: bool
) -> tuple[Array, Any]:
    """Return the places of the pixels around points along one side, and their weights: [k,p]."""
    values = values_of(g)
    if align_corners:  # -1 and 1 are the middles of the outer pixels
        position, slope = (values + 1) / 2 * (size - 1), (size - 1) / 2
    else:  # their edges
        position, slope = ((values + 1) * size - 1) / 2, size / 2
    if mode != "bicubic":
        position, slopes = _padded(position, size, padding_mode, align_corners)
        slope = slope * slopes
    if mode == "nearest":
        return np.rint(position)[None], piecewise_linear(g, np.ones_like(values), 0 * slope)[None]
    first = np.floor(position)
    fraction = piecewise_linear(g, position - first, slope)
    if mode == "bilinear":
        return np.stack([first, first + 1]), stack(linear_weights(fraction))
    places = np.stack([first - 1, first, first + 1, first + 2])
    return _padded(places, size, padding_mode, align_corners)[0], stack(cubic_weights(fraction))


@differentiable
def piecewise_linear(x: Array, /, values: Array, slopes: Array) -> Array:
    """y = values, a function of x that is made of straight lines with these slopes."""
    return values


@piecewise_linear.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, values: Array, slopes: Array) -> Gradients:
    return lambda: dy * slopes


def _padded(
    position: Array, size: int, padding_mode: str, align_corners: bool
) -> tuple[Array, Array]:
    """Return where positions outside of the image are to look, and the slope of this function."""
    slope = np.ones_like(position)
    if padding_mode == "zeros":
        return position, slope
    if padding_mode == "reflection":
        position, slope = _reflected(position, size, align_corners)
    slope = slope * ((position > 0) & (position < size - 1))
    return np.fmin(np.fmax(position, 0), size - 1), slope  # NaN becomes 0


def _reflected(position: Array, size: int, align_corners: bool) -> tuple[Array, Array]:
    """Fold positions at the middles, or at the edges, of the outer pixels."""
    low, length = (0.0, size - 1) if align_corners else (-0.5, size)
    if length == 0:
        return np.zeros_like(position), np.zeros_like(position)
    distance = np.abs(position - low)
    whole = np.floor(distance / length)
    back = np.floor(whole / 2) * 2 != whole  # an odd number of times across the image
    rest = distance - whole * length
    slope = np.where(back == (position < low), position.dtype.type(1), position.dtype.type(-1))
    return low + np.where(back, length - rest, rest), slope


# --- points that cover an image -------------------------------------------------------------------


def affine_grid(theta: Any, image: Sides, align_corners: bool) -> Any:
    """Return grid[n,i,j] = theta[n] (column, row, 1) for the pixels of an image in [-1, 1]."""
    sides = [_middles(size, align_corners, theta.dtype) for size in image]
    rows = np.stack([*np.meshgrid(*sides, indexing="ij")[::-1], np.ones(image, theta.dtype)], -1)
    table = beside(values_of(theta), rows.reshape(-1, len(image) + 1))
    points = matrix_product(table, transpose(theta, 1, 2))
    return view_as(points, (len(theta), *image, len(image)))


def _middles(size: int, align_corners: bool, dtype: Any) -> Array:
    """Return the middles of pixels when -1 and 1 are the outer middles, or the outer edges."""
    if size == 1:
        return np.zeros(1, dtype)
    middles = np.linspace(-1, 1, size, dtype=dtype)
    return middles if align_corners else middles * (size - 1) / size
