"""Values chosen by their rank: largest, smallest, median, quantiles; and their positions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import minicnn_kernels as kernels
from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.errors import ArgumentError, DTypeError, IndexOutOfRange, ShapeError
from minicnn.ops.arithmetic import maximum, minimum, where
from minicnn.ops.indexing import ValuesAndIndices, dimension, gather
from minicnn.ops.reduce import Dims, axes, kept
from minicnn.ops.shape import movedim, reshape, squeeze, view_as
from minicnn.tensor import Tensor, values_of
from minicnn_kernels.arrays import as_array, at_hand, beside, is_floating
from minicnn_kernels.reference.scan import accumulated

__all__ = [
    "amax", "amin", "aminmax", "argmax", "argmin", "max", "median", "min", "mode", "nanmedian",
    "nanquantile", "quantile",
]  # fmt: skip


class MinAndMax(NamedTuple):
    """What `aminmax` returns."""

    min: Any
    max: Any


@differentiable
def pick(x: Array, /, value: Array, dims: tuple[int, ...]) -> Array:
    """y = value, found among x over the dimensions `dims`; all that equal it share the gradient."""
    return value


@pick.gradient(saves="x")
def _(dy: Array, y: Array, x: Array, *, value: Array, dims: tuple[int, ...]) -> Gradients:
    def dx() -> Any:
        shape = kept(x.shape, dims)
        hit = same(values_of(x), np.reshape(value, shape))
        share = np.divide(hit, hit.sum(axis=dims, keepdims=True), dtype=x.dtype)
        return view_as(dy, shape) * share

    return dx


def same(a: Array, b: Array) -> Array:
    """Return a == b, where NaN equals NaN."""
    return (a == b) | ((a != a) & (b != b))


# --- the largest and the smallest -----------------------------------------------------------------


def amax(input: Any, dim: Dims = (), keepdim: bool = False) -> Any:
    """Return the largest value over the dimensions `dim`, or of all; equal ones share the gradient.

    y = max_i x[i]

    Raises:
        IndexOutOfRange: a dimension that is named is empty.
        ShapeError: there are no values at all.
    """
    return _extreme("amax", largest, input, dim, keepdim)


def amin(input: Any, dim: Dims = (), keepdim: bool = False) -> Any:
    """Return the smallest value over the dimensions `dim`; equal ones share the gradient.

    y = min_i x[i]

    Raises:
        IndexOutOfRange: a dimension that is named is empty.
        ShapeError: there are no values at all.
    """
    return _extreme("amin", smallest, input, dim, keepdim)


def aminmax(input: Any, *, dim: int | None = None, keepdim: bool = False) -> MinAndMax:
    """Return the smallest and the largest value, of all or along a dimension, as (min, max).

    y = min_i x[i], max_i x[i]
    """
    dims = None if dim is None else (dim,)
    least = _extreme("aminmax", smallest, input, dims, keepdim)
    return MinAndMax(least, _extreme("aminmax", largest, input, dims, keepdim))


def _extreme(op: str, find: Any, x: Any, dim: Dims, keepdim: bool) -> Any:
    dims = _not_empty(op, x, dim)
    return pick(x, find(values_of(x), dims, keepdim), dims)


def largest(x: Array, dims: tuple[int, ...], keepdim: bool) -> Array:
    """Return the largest value over the dimensions; NaN if there is one."""
    return _by_kernel(kernels.largest, x, dims, keepdim)


def smallest(x: Array, dims: tuple[int, ...], keepdim: bool) -> Array:
    """Return the smallest value over the dimensions; NaN if there is one."""
    return _by_kernel(kernels.smallest, x, dims, keepdim)


def _by_kernel(kernel: Any, x: Array, dims: tuple[int, ...], keepdim: bool) -> Array:
    y: Array = kernel(x, axes=dims)
    return y if keepdim else y.squeeze(dims)


def _not_empty(op: str, x: Any, dim: Dims) -> tuple[int, ...]:
    """Return the dimensions to reduce, if there is a value along each of them."""
    dims = axes(op, dim, x.ndim)
    if 0 in (x.shape[i] for i in dims):
        kind = ShapeError if dim in (None, (), []) else IndexOutOfRange
        raise kind(f"{op}: shape {x.shape} leaves no values to choose from")
    return dims


def argmax(input: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Return the position of the first maximum, in the flattened tensor or along `dim`.

    y = the first i with x[i] = max_j x[j]

    Raises:
        IndexOutOfRange: there are no values to choose from.
        DTypeError: the values are boolean.
    """
    return _position("argmax", np.argmax, input, dim, keepdim)


def argmin(input: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Return the position of the first minimum, in the flattened tensor or along `dim`.

    y = the first i with x[i] = min_j x[j]

    Raises:
        IndexOutOfRange: there are no values to choose from.
        DTypeError: the values are boolean.
    """
    return _position("argmin", np.argmin, input, dim, keepdim)


def _position(op: str, find: Any, x: Any, dim: int | None, keepdim: bool) -> Tensor:
    if x.dtype == bool:
        raise DTypeError(f"{op}: does not take booleans; use .to(minicnn.uint8) first")
    if dim is not None:
        (dim,) = _not_empty(op, x, (dim,)) or (None,)
    elif 0 in x.shape:
        raise IndexOutOfRange(f"{op}: shape {x.shape} leaves no values to choose from")
    return Tensor(as_array(find(values_of(x), axis=dim, keepdims=keepdim)))


def max(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """Return the largest value; along a dimension also its position, as (values, indices).

    y = max_i x[i]

    Along a dimension the first of equal values receives the gradient, without one all share it.
    `max(x, other)` is `maximum(x, other)`, element by element.
    """
    other = dim if hasattr(dim, "shape") else other
    if other is not None:
        return maximum(input, other)
    return _largest_or_smallest("max", largest, np.argmax, input, dim, keepdim)


def min(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """Return the smallest value; along a dimension also its position, as (values, indices).

    y = min_i x[i]

    Along a dimension the first of equal values receives the gradient, without one all share it.
    `min(x, other)` is `minimum(x, other)`, element by element.
    """
    other = dim if hasattr(dim, "shape") else other
    if other is not None:
        return minimum(input, other)
    return _largest_or_smallest("min", smallest, np.argmin, input, dim, keepdim)


def _largest_or_smallest(
    op: str, find: Any, find_position: Any, x: Any, dim: int | None, keepdim: bool
) -> Any:
    if dim is None:
        return _extreme(op, find, x, None, keepdim)
    _not_empty(op, x, (dim,))
    position = dimension(op, dim, x.ndim)
    axis = position if x.ndim else None
    return along(x, as_array(find_position(values_of(x), axis, keepdims=True)), position, keepdim)


def along(x: Any, positions: Array, dim: int, keepdim: bool) -> ValuesAndIndices:
    """Return the values of x at one position along a dimension, and these positions."""
    values, indices = gather(x, dim, Tensor(positions)), Tensor(positions)
    if keepdim:
        return ValuesAndIndices(values, indices)
    return ValuesAndIndices(squeeze(values, dim), squeeze(indices, dim))


# --- in between -----------------------------------------------------------------------------------


def median(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Return the lower median; along a dimension also its position, as (values, indices).

    y = value number (M - 1) // 2 of x[0] <= x[1] <= ...

    NaN is the median of values among which there is one.  Along a dimension the first of equal
    values receives the gradient, without one all share it.
    """
    return _median("median", input, dim, keepdim, skip_nan=False)


def nanmedian(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Return the lower median of all values but NaN; along a dimension also its position.

    y = value number (M - 1) // 2 of x[0] <= x[1] <= ..., NaN left out
    """
    return _median("nanmedian", input, dim, keepdim, skip_nan=True)


def _median(op: str, x: Any, dim: int | None, keepdim: bool, skip_nan: bool) -> Any:
    if dim is None:
        flat = np.reshape(values_of(x), -1)
        if flat.size == 0 and is_floating(x.dtype):
            flat = np.full_like(flat, np.nan, shape=1)
        _not_empty(op, flat, None)
        return pick(x, _middle(flat, 0, skip_nan).reshape(()), tuple(range(x.ndim)))
    dims = _not_empty(op, x, (dim,))
    values = np.atleast_1d(values_of(x))
    axis = dims[0] if dims else 0
    first = np.argmax(same(values, _middle(values, axis, skip_nan)), axis, keepdims=True)
    return along(x, first.reshape(kept(x.shape, dims)), axis, keepdim)


def _middle(values: Array, axis: int, skip_nan: bool) -> Array:
    """Return the lower median along an axis, which stays with size 1."""
    ordered = np.sort(values, axis)  # NaN comes last
    missing = np.isnan(ordered) if is_floating(ordered.dtype) else np.zeros_like(ordered, bool)
    count = ordered.shape[axis]
    known = count - missing.sum(axis, keepdims=True)
    middle = np.maximum(known - 1, 0) // 2
    rank = middle if skip_nan else np.where(known < count, count - 1, middle)
    return np.take_along_axis(ordered, rank, axis)


def mode(input: Any, dim: int = -1, keepdim: bool = False) -> ValuesAndIndices:
    """Return the most frequent value along a dimension and its last position.

    y = the smallest of the values that occur most often

    NaN equals nothing, not even NaN.
    """
    dims = _not_empty("mode", input, (dim,))
    axis = dims[0] if dims else 0
    values = np.atleast_1d(values_of(input))
    order = np.argsort(values, axis, kind="stable")
    ordered = np.take_along_axis(values, order, axis)
    before = (slice(None),) * axis
    starts = np.ones_like(ordered, bool)
    starts[(*before, slice(1, None))] = (
        ordered[(*before, slice(1, None))] != ordered[(*before, slice(-1))]
    )
    place = np.arange(ordered.shape[axis], like=values)
    place = place.reshape(-1, *[1] * (values.ndim - axis - 1))
    run_start = accumulated(np.maximum, np.where(starts, place, 0), axis)
    best = np.argmax(place - run_start, axis, keepdims=True)
    positions = np.take_along_axis(order, best, axis)
    return along(input, positions.reshape(kept(input.shape, dims)), axis, keepdim)


def quantile(
    input: Any,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Any:
    """Return the values below which a share q of all values lies, q one number or a vector of them.

    y = x[i] + (r - i) * (x[i+1] - x[i]), r = q * (M - 1), i = floor(r), for x[0] <= x[1] <= ...

    Shape: that of q, and after it what is left of x.  NaN where a value is NaN.

    Raises:
        ArgumentError: q is not in [0, 1], or the interpolation is unknown.
        DTypeError: x is neither float32 nor float64, or q has another type.
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation)


def nanquantile(
    input: Any,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Any:
    """Return `quantile` of all values but NaN.

    y = x[i] + (r - i) * (x[i+1] - x[i]), r = q * (M - 1), i = floor(r), NaN left out
    """
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation)


_RANKS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda rank: rank,
    "lower": np.floor,
    "higher": np.ceil,
    "nearest": np.round,
    "midpoint": lambda rank: (np.floor(rank) + np.ceil(rank)) / 2,
}


def _quantile(op: str, x: Any, q: Any, dim: int | None, keepdim: bool, interpolation: str) -> Any:
    shares = _checked_shares(op, x, q, interpolation)
    dims = axes(op, None if dim is None else (dim,), x.ndim)
    last = movedim(x, dims[0], -1) if len(dims) == 1 else reshape(x, -1)
    values = values_of(last)
    order = np.argsort(values, -1, kind="stable")  # NaN comes last
    count = (values == values).sum(-1, keepdims=True)  # without NaN
    ranks = _RANKS[interpolation](shares.reshape(-1) * np.maximum(count - 1, 0))
    if op == "quantile":
        ranks = np.where(count < values.shape[-1], values.shape[-1] - 1, ranks)
    below = np.floor(ranks).astype(np.intp)
    above = np.ceil(ranks).astype(np.intp)
    low = gather(last, -1, Tensor(np.take_along_axis(order, below, -1)))
    high = gather(last, -1, Tensor(np.take_along_axis(order, above, -1)))
    weight, gap = (ranks - below).astype(x.dtype), high - low
    between = where(weight < 0.5, low + gap * weight, high - gap * (1 - weight))
    y = where(weight == 0, low, between)  # (..., Q); inf - inf would be NaN
    rest = kept(x.shape, dims) if keepdim else _without(x.shape, dims)
    return view_as(movedim(y, -1, 0), (*shares.shape, *rest))


def _without(shape: tuple[int, ...], dims: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for i, n in enumerate(shape) if i not in dims)


def _checked_shares(op: str, x: Any, q: Any, interpolation: str) -> Array:
    if x.dtype not in (np.float32, np.float64):
        raise DTypeError(f"{op}: the values must be float32 or float64, got {x.dtype}")
    if hasattr(q, "dtype") and q.dtype != x.dtype:
        raise DTypeError(f"{op}: q is {q.dtype}, the values are {x.dtype}; convert one")
    if not (hasattr(q, "dtype") or isinstance(q, (int, float))):
        raise DTypeError(f"{op}: q must be a number or a tensor, got {type(q).__name__}")
    shares = beside(values_of(x), as_array(values_of(q)).astype(x.dtype))
    if shares.ndim > 1:
        raise ShapeError(f"{op}: q must be a number or a vector, got shape {shares.shape}")
    if at_hand(shares) and not ((shares >= 0) & (shares <= 1)).all():
        raise ArgumentError(f"{op}: q must lie in [0, 1], got {values_of(q)}")
    if interpolation not in _RANKS:
        raise ArgumentError(f"{op}: interpolation is one of {list(_RANKS)}, got {interpolation!r}")
    if 0 in x.shape:
        raise ShapeError(f"{op}: shape {x.shape} holds no values")
    return shares
