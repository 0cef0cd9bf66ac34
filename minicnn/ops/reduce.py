"""Many values to one: sums, means, extremes."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.errors import DTypeError, ShapeError
from minicnn.ops.arithmetic import eq, sqrt, where
from minicnn.ops.broadcast import broadcast_to
from minicnn.ops.indexing import dimension, gather
from minicnn.ops.shape import squeeze, view_as
from minicnn.tensor import Tensor, values_of
from minicnn_kernels.arrays import is_floating

__all__ = ["amax", "amin", "argmax", "argmin", "max", "mean", "min", "std", "sum", "var"]

Dims = int | tuple[int, ...] | None


def axes(op: str, dim: Dims, ndim: int) -> tuple[int, ...]:
    """Return the dimensions to reduce, counted from the front; all of them for None or ()."""
    if dim is None or dim == ():
        return tuple(range(ndim))
    dims = dim if isinstance(dim, (tuple, list)) else (dim,)
    if ndim == 0:
        return ()
    found = tuple(dimension(op, d, ndim) for d in dims)
    if len(set(found)) < len(found):
        raise ShapeError(f"{op}: dimension named twice in {dim}")
    return found


def kept(shape: tuple[int, ...], reduced: tuple[int, ...]) -> tuple[int, ...]:
    """Return `shape` with 1 for each reduced dimension."""
    return tuple(1 if i in reduced else n for i, n in enumerate(shape))


@differentiable
def sum(x: Array, /, dim: Dims = None, keepdim: bool = False) -> Array:
    """y = sum_i x[i] over the dimensions `dim`, or over all."""
    return np.sum(x, axis=axes("sum", dim, x.ndim), keepdims=keepdim)


@sum.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, dim: Dims, keepdim: bool) -> Gradients:
    shape = kept(x.shape, axes("sum", dim, x.ndim))
    return lambda: broadcast_to(view_as(dy, shape), x.shape)


def mean(x: Any, dim: Dims = None, keepdim: bool = False) -> Any:
    """Return sum_i x[i] / M over the dimensions `dim`, or over all."""
    only_floating("mean", x)
    count = prod(x.shape[i] for i in axes("mean", dim, x.ndim))
    return sum(x, dim, keepdim) / (count or float("nan"))  # the mean of nothing is NaN


@differentiable
def var(x: Array, /, dim: Dims = None, correction: int = 1, keepdim: bool = False) -> Array:
    """y = sum_i (x[i] - mean)^2 / (M - correction) over the dimensions `dim`, or over all."""
    reduced = axes("var", dim, x.ndim)
    freedom = prod(x.shape[i] for i in reduced) - correction
    centered = x - x.mean(axis=reduced, keepdims=True)
    total = np.sum(centered * centered, axis=reduced, keepdims=keepdim)
    return total / freedom if freedom > 0 else total * float("nan")


@var.gradient(saves="x")
def _(dy: Array, y: Array, x: Array, *, dim: Dims, correction: int, keepdim: bool) -> Gradients:
    reduced = axes("var", dim, x.ndim)
    freedom = prod(x.shape[i] for i in reduced) - correction
    shape = kept(x.shape, reduced)
    scale = 2 / freedom if freedom > 0 else float("nan")
    return lambda: (x - mean(x, reduced, keepdim=True)) * view_as(dy, shape) * scale


def std(x: Any, dim: Dims = None, correction: int = 1, keepdim: bool = False) -> Any:
    """Return the square root of `var`; where all values are equal the gradient is 0."""
    variance = var(x, dim, correction, keepdim)
    constant = eq(variance, 0)
    return where(constant, 0.0, sqrt(where(constant, 1.0, variance)))


@differentiable
def amax(x: Array, /, dim: Dims = None, keepdim: bool = False) -> Array:
    """y = max_i x[i] over the dimensions `dim`; equal maxima share the gradient."""
    return np.max(x, axis=_not_empty("amax", x, axes("amax", dim, x.ndim)), keepdims=keepdim)


@amax.gradient(saves="y x")
def _(dy: Array, y: Array, x: Array, *, dim: Dims, keepdim: bool) -> Gradients:
    return lambda: _shared_among_ties(dy, values_of(y), values_of(x), axes("amax", dim, x.ndim))


@differentiable
def amin(x: Array, /, dim: Dims = None, keepdim: bool = False) -> Array:
    """y = min_i x[i] over the dimensions `dim`; equal minima share the gradient."""
    return np.min(x, axis=_not_empty("amin", x, axes("amin", dim, x.ndim)), keepdims=keepdim)


@amin.gradient(saves="y x")
def _(dy: Array, y: Array, x: Array, *, dim: Dims, keepdim: bool) -> Gradients:
    return lambda: _shared_among_ties(dy, values_of(y), values_of(x), axes("amin", dim, x.ndim))


def _not_empty(op: str, x: Any, reduced: tuple[int, ...]) -> tuple[int, ...]:
    if 0 in (x.shape[i] for i in reduced):
        raise ShapeError(f"{op}: shape {x.shape} leaves no values to choose from")
    return reduced


def _shared_among_ties(dy: Any, y: Array, x: Array, reduced: tuple[int, ...]) -> Any:
    shape = kept(x.shape, reduced)
    hit = x == y.reshape(shape)
    share = (hit / hit.sum(axis=reduced, keepdims=True)).astype(x.dtype)
    return view_as(dy, shape) * share


class ValuesAndIndices(NamedTuple):
    """What `max` and `min` along a dimension return."""

    values: Tensor
    indices: Tensor


def argmax(x: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Return the position of the first maximum, in the flattened tensor or along `dim`."""
    return _position("argmax", np.argmax, x, dim, keepdim)


def argmin(x: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Return the position of the first minimum, in the flattened tensor or along `dim`."""
    return _position("argmin", np.argmin, x, dim, keepdim)


def _position(op: str, find: Any, x: Any, dim: int | None, keepdim: bool) -> Tensor:
    reduced = _not_empty(op, x, axes(op, dim, x.ndim))
    axis = None if dim is None or x.ndim == 0 else reduced[0]
    return Tensor(np.asarray(find(values_of(x), axis=axis, keepdims=keepdim)))


def max(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Return the largest value; along a dimension also its position, as (values, indices)."""
    return amax(x) if dim is None else _at(x, argmax(x, dim, keepdim=True), dim, keepdim)


def min(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Return the smallest value; along a dimension also its position, as (values, indices)."""
    return amin(x) if dim is None else _at(x, argmin(x, dim, keepdim=True), dim, keepdim)


def _at(x: Any, indices: Tensor, dim: int, keepdim: bool) -> ValuesAndIndices:
    values = gather(x, dim, indices)
    if keepdim:
        return ValuesAndIndices(values, indices)
    return ValuesAndIndices(squeeze(values, dim), squeeze(indices, dim))


def only_floating(op: str, x: Any) -> None:
    """Refuse integers and booleans.

    Raises:
        DTypeError: the values are not floating-point.
    """
    if not is_floating(x.dtype):
        raise DTypeError(
            f"{op}: needs a floating-point tensor, got {x.dtype}; use .to(dtype) first"
        )
