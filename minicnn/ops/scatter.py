"""Writing values in by position: overwrite, add, multiply, keep the largest."""

from __future__ import annotations

from typing import Any

import numpy as np

import minicnn_kernels as kernels
from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.errors import ArgumentError, DTypeError, IndexOutOfRange, ShapeError
from minicnn.ops.arithmetic import where
from minicnn.ops.broadcast import broadcast_shapes, broadcast_to, unbroadcast
from minicnn.ops.elementwise import cast
from minicnn.ops.indexing import (
    Along,
    add_at,
    along,
    for_numpy,
    index_sum,
    mask_of,
    places,
    vector_along,
)
from minicnn.ops.indexing import index as values_at
from minicnn.ops.shape import flatten, number_of, numel
from minicnn.tensor import Tensor, values_of
from minicnn_kernels.arrays import as_array, filled, is_floating

__all__ = [
    "index_add", "index_copy", "index_fill", "masked_fill", "masked_scatter", "scatter",
    "scatter_add", "scatter_reduce",
]  # fmt: skip


@differentiable
def index_set(x: Array, values: Array, /, where: Any) -> Array:
    """y = x, but y[where] = values; no position should be named twice."""
    y = as_array(x).copy("K")
    y[where] = filled(y, values) if np.ndim(values) == 0 else values
    return y


@index_set.gradient(saves="")
def _(dy: Array, y: Array, x: Array, values: Array, *, where: Any) -> Gradients:
    return (
        lambda: index_set(dy, 0.0, where),
        lambda: unbroadcast(values_at(dy, where), values),
    )


@differentiable
def index_added(x: Array, values: Array, /, where: Any) -> Array:
    """y = x, but y[where] += values: a position named twice receives both values."""
    y = x.copy()
    add_at(y, where, values)
    return y


@index_added.gradient(saves="")
def _(dy: Array, y: Array, x: Array, values: Array, *, where: Any) -> Gradients:
    return lambda: dy, lambda: values_at(dy, where)


@differentiable
def index_extreme(x: Array, values: Array, /, where: Any, largest: bool) -> Array:
    """y = x, but y[where] = max(y[where], values), or min; equal values share the gradient."""
    y = x.copy()
    better = np.maximum if largest else np.minimum
    kernels.combine_at(better, y.reshape(-1), places(where, x.shape), values.reshape(-1))
    return y


@index_extreme.gradient(saves="y x values")
def _(dy: Array, y: Array, x: Array, values: Array, *, where: Any, largest: bool) -> Gradients:
    winners = values_of(y)
    kept, hit = values_of(x) == winners, values_of(values) == winners[where]
    tied = index_sum(hit.astype(x.dtype), where, x.shape) + kept
    share = dy / np.maximum(tied, 1)
    return lambda: share * kept, lambda: values_at(share, where) * hit


@differentiable
def index_product(x: Array, values: Array, /, where: Any) -> Array:
    """y = x, but y[where] *= values: a position named twice is multiplied by both values."""
    y = x.copy()
    kernels.combine_at(np.multiply, y.reshape(-1), places(where, x.shape), values.reshape(-1))
    return y


@index_product.gradient(saves="x values")
def _(dy: Array, y: Array, x: Array, values: Array, *, where: Any) -> Gradients:
    x_zero, value_zero = values_of(x) == 0, values_of(values) == 0
    zeros = index_sum(value_zero.astype(x.dtype), where, x.shape) + x_zero
    x, values = without_zeros(x, x_zero), without_zeros(values, value_zero)
    scaled = dy * index_product(x, values, where)  # dy times the product of all that is not 0
    return (
        lambda: scaled / x * (zeros == x_zero),
        lambda: values_at(scaled, where) / values * (zeros[where] == value_zero),
    )


def without_zeros(x: Any, zero: Array) -> Any:
    """Return x with 1 in place of 0."""
    return where(zero, 1.0, x)


# --- places named along one dimension -------------------------------------------------------------


def scatter(
    input: Any,
    dim: int,
    index: Any,
    src: Any = None,
    *,
    reduce: str | None = None,
    value: Any = None,
) -> Any:
    """Return the tensor with src written to the positions along `dim` that `index` names.

    y = x, but y[index[i,j],j] = src[i,j] (dim 0)

    `src` is a tensor, or a number, also by the name of `value`; reduce="add" adds to the old values
    and "multiply" multiplies.  Where a position is named twice, the last value stays; it alone
    should then have a gradient, but as in PyTorch all of them receive it.

    Raises:
        ShapeError: `index` is larger than `src`, or than the input in another dimension.
        IndexOutOfRange: a dimension or a position that is not there.
        ArgumentError: another `reduce`.
        DTypeError: the element types of input and src differ.
    """
    src = value if src is None else src
    if not hasattr(src, "shape"):
        number = number_of("scatter", src, input.dtype)
        src = np.full_like(values_of(input), number, shape=index.shape)
    if reduce == "add":
        return scatter_add(input, dim, index, src)
    if reduce == "multiply":
        return scatter_reduce(input, dim, index, src, "prod")
    if reduce is not None:
        raise ArgumentError(f'scatter: reduce must be "add" or "multiply", got {reduce!r}')
    places_along, values = _scattered("scatter", input, dim, index, src)
    return index_set(input, values, for_numpy(places_along))


def scatter_add(input: Any, dim: int, index: Any, src: Any) -> Any:
    """Return the tensor with src added at the positions along `dim` that `index` names.

    y = x, but y[index[i,j],j] += src[i,j] (dim 0): the adjoint of `gather`

    Raises:
        ShapeError: `index` is larger than `src`, or than the input in another dimension.
        IndexOutOfRange: a dimension or a position that is not there.
        DTypeError: the element types of input and src differ.
    """
    places_along, values = _scattered("scatter_add", input, dim, index, src)
    return index_added(input, values, places_along)


def scatter_reduce(
    input: Any, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True
) -> Any:
    """Return the tensor with src combined into the positions along `dim` that `index` names.

    y[k,j] = reduce of x[k,j] and of all src[i,j] with index[i,j] = k (dim 0)

    `reduce` is "sum", "prod", "mean", "amax" or "amin"; without `include_self` the old values at
    these positions are left out.

    Raises:
        ShapeError: `index` is larger than `src`, or than the input in another dimension.
        IndexOutOfRange: a dimension or a position that is not there.
        ArgumentError: another `reduce`.
        DTypeError: the element types of input and src differ.
    """
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise ArgumentError(
            f"scatter_reduce: reduce must be sum, prod, mean, amax or amin, got {reduce!r}"
        )
    places_along, values = _scattered("scatter_reduce", input, dim, index, src)
    if not include_self:
        input = index_set(input, _neutral(reduce, input.dtype), for_numpy(places_along))
    if reduce == "prod":
        return index_product(input, values, for_numpy(places_along))
    if reduce in ("amax", "amin"):
        return index_extreme(input, values, for_numpy(places_along), reduce == "amax")
    total = index_added(input, values, places_along)
    if reduce == "sum":
        return total
    ones = np.ones_like(values_of(values), np.int64)
    counts = np.maximum(index_sum(ones, places_along, input.shape) + include_self, 1)
    if is_floating(total.dtype):
        return total / counts.astype(total.dtype)
    return Tensor((values_of(total) // counts).astype(total.dtype))


def _neutral(reduce: str, dtype: Any) -> Any:
    """Return the value that changes nothing when it is combined with others."""
    if reduce not in ("amax", "amin"):
        return dtype.type(reduce == "prod")
    if dtype == np.bool_:
        return reduce == "amin"
    if is_floating(dtype):
        return dtype.type(-np.inf if reduce == "amax" else np.inf)
    limits = np.iinfo(dtype)
    return limits.min if reduce == "amax" else limits.max


def _scattered(op: str, input: Any, dim: int, index: Any, src: Any) -> tuple[Any, Any]:
    """Return the index that `index` means, and the values of src that go there."""
    chosen = along(op, input.shape, dim, index)
    shape = chosen.chosen.shape if isinstance(chosen, Along) else chosen[0].shape
    if len(shape) != src.ndim:
        raise IndexOutOfRange(f"{op}: index {shape} and src {src.shape} must agree in dimensions")
    if any(n > size for n, size in zip(shape, src.shape, strict=True)):
        raise ShapeError(f"{op}: index {shape} must not be larger than src {src.shape}")
    check_same_type(op, input, src)
    return chosen, src if shape == src.shape else values_at(src, tuple(slice(n) for n in shape))


def check_same_type(op: str, input: Any, source: Any) -> None:
    """Refuse to write values of one element type into a tensor of another.

    Raises:
        DTypeError: the element types differ.
    """
    if input.dtype != source.dtype:
        raise DTypeError(
            f"{op}: a tensor of {input.dtype} does not take {source.dtype}; use .to(dtype)"
        )


# --- whole slices along one dimension -------------------------------------------------------------


def index_add(input: Any, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Any:
    """Return the tensor with the slices of source added at the positions `index` of `dim`.

    y = x, but y[i,index[j],k] += alpha * source[i,j,k] (dim 1): the adjoint of `index_select`

    Raises:
        ShapeError: `source` does not fit.
        IndexOutOfRange: a dimension or a position that is not there.
        DTypeError: the element types of input and source differ.
    """
    lines = vector_along("index_add", input, dim, index)
    _check_source("index_add", input, lines, source, ShapeError)
    scaled = source if alpha == 1 else source * number_of("index_add", alpha, input.dtype)
    return index_added(input, scaled, lines)


def index_copy(input: Any, dim: int, index: Any, source: Any) -> Any:
    """Return the tensor with the slices of source written to the positions `index` of `dim`.

    y = x, but y[i,index[j],k] = source[i,j,k] (dim 1)

    Raises:
        ShapeError: `source` does not fit.
        IndexOutOfRange: a position that is not there, or there are more or fewer than slices.
        DTypeError: the element types of input and source differ.
    """
    lines = vector_along("index_copy", input, dim, index)
    _check_source("index_copy", input, lines, source, IndexOutOfRange)
    return index_set(input, source, lines)


def index_fill(input: Any, dim: int, index: Any, value: Any) -> Any:
    """Return the tensor with one value at the positions `index` of `dim`; -1 is the last.

    y = x, but y[i,index[j],k] = value (dim 1)

    Raises:
        IndexOutOfRange: a position that is not there.
        ShapeError: the value is a tensor with dimensions.
    """
    lines = vector_along("index_fill", input, dim, index, from_the_back=True)
    return index_set(input, _fill_value("index_fill", value, input), lines)


def _check_source(
    op: str, input: Any, lines: tuple[Any, ...], source: Any, error: type[Exception]
) -> None:
    """Refuse slices that do not fit: `error` for their number, ShapeError for their shape."""
    dim, expected = len(lines) - 1, input.shape
    if lines:
        expected = (*input.shape[:dim], len(lines[dim]), *input.shape[dim + 1 :])
    same_number = source.ndim == len(expected) and (not lines or source.shape[dim] == expected[dim])
    if source.shape != expected:
        kind = ShapeError if same_number else error
        raise kind(f"{op}: source {source.shape} must have the shape {expected}")
    check_same_type(op, input, source)


# --- where a mask holds ---------------------------------------------------------------------------


def masked_fill(input: Any, mask: Any, value: Any) -> Any:
    """Return the tensor with one value where the mask holds; both are broadcast.

    y[i] = value if mask[i] else x[i]

    Raises:
        ShapeError: the shapes do not broadcast, or the value is a tensor with dimensions.
        DTypeError: the mask is not boolean.
    """
    chosen = mask_of("masked_fill", mask)
    broadcast_shapes(input.shape, chosen.shape)
    return where(chosen, _fill_value("masked_fill", value, input), input)


def masked_scatter(input: Any, mask: Any, source: Any) -> Any:
    """Return the tensor with the first values of source, in reading order, where the mask holds.

    y = x, but y[mask] = source.flatten()[: number of places]

    Raises:
        ShapeError: the mask does not broadcast, or `source` has too few values.
        DTypeError: the mask is not boolean, or the element types of input and source differ.
    """
    chosen = mask_of("masked_scatter", mask)
    size = broadcast_shapes(input.shape, chosen.shape)
    chosen = np.broadcast_to(chosen, size).copy()
    check_same_type("masked_scatter", input, source)
    count = int(np.count_nonzero(chosen))
    if count > numel(source):
        raise ShapeError(f"masked_scatter: {count} places, but source {source.shape}")
    values = values_at(flatten(source), slice(count))
    return index_set(broadcast_to(input, size), values, chosen)


def _fill_value(op: str, value: Any, input: Any) -> Any:
    """Return a number, or a tensor without dimensions, in the element type of the input."""
    if not hasattr(value, "shape"):
        return number_of(op, value, input.dtype)
    if value.ndim:
        raise ShapeError(f"{op}: the value must be a number, got a tensor of shape {value.shape}")
    return cast(value, input.dtype)
