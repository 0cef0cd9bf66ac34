"""Many values to one: sums, means, products, deviations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import minicnn_kernels as kernels
from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.errors import DTypeError, ShapeError
from minicnn.ops.arithmetic import where
from minicnn.ops.broadcast import broadcast_to
from minicnn.ops.comparison import eq, isnan
from minicnn.ops.elementwise import cast, exp, sqrt
from minicnn.ops.indexing import dimension, index
from minicnn.ops.shape import movedim, pad_with, reshape, stack, view_as
from minicnn.tensor import Tensor, values_of
from minicnn_kernels.arrays import as_array, at_hand, is_floating
from minicnn_kernels.reference.softmax import maximum

__all__ = [
    "all", "any", "count_nonzero", "logsumexp", "mean", "nanmean", "nansum", "prod", "std",
    "std_mean", "sum", "var", "var_mean",
]  # fmt: skip

FEW = 2**14  # fewer values are left to NumPy at once

Dims = int | tuple[int, ...] | None


def axes(op: str, dim: Dims, ndim: int) -> tuple[int, ...]:
    """Return the dimensions to reduce, counted from the front; all of them for None, () and []."""
    if dim in (None, (), []):
        return tuple(range(ndim))
    dims = dim if isinstance(dim, (tuple, list)) else (dim,)
    found = tuple(dimension(op, d, ndim) for d in dims)
    if len(set(found)) < len(found):
        raise ShapeError(f"{op}: dimension named twice in {dim}")
    return found if ndim else ()


def kept(shape: tuple[int, ...], reduced: tuple[int, ...]) -> tuple[int, ...]:
    """Return `shape` with 1 for each reduced dimension."""
    return tuple(1 if i in reduced else n for i, n in enumerate(shape))


def only_floating(op: str, x: Any) -> None:
    """Refuse integers and booleans.

    Raises:
        DTypeError: the values are not floating-point.
    """
    if not is_floating(x.dtype):
        raise DTypeError(
            f"{op}: needs a floating-point tensor, got {x.dtype}; use .to(dtype) first"
        )


def _count(shape: tuple[int, ...], reduced: tuple[int, ...]) -> int:
    return math.prod(shape[i] for i in reduced)


# --- sums and means -------------------------------------------------------------------------------


@differentiable
def sum(x: Array, /, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Array:
    """y = sum_i x[i] over the dimensions `dim`, or over all; whole numbers give int64."""
    if dtype is None and not is_floating(x.dtype):
        dtype = np.int64
    return _fast_sum(x, axes("sum", dim, x.ndim), keepdim, dtype)


@sum.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, dim: Dims, keepdim: bool, dtype: Any) -> Gradients:
    shape = kept(x.shape, axes("sum", dim, x.ndim))
    return lambda: broadcast_to(view_as(cast(dy, x.dtype), shape), x.shape)


def _fast_sum(x: Array, reduced: tuple[int, ...], keepdim: bool, dtype: Any = None) -> Array:
    """Return np.sum, but of many numbers by a faster kernel."""
    if x.size < FEW or dtype is not None:
        return np.sum(x, axis=reduced, keepdims=keepdim, dtype=dtype)
    y = kernels.total(x, axes=reduced)
    return y if keepdim else y.squeeze(reduced)


def mean(input: Any, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Return the mean over the dimensions `dim`, or over all; NaN where there is no value.

    y = sum_i x[i] / M

    Raises:
        DTypeError: the values are not floating-point, and no such `dtype` is given.
    """
    if dtype is None:
        only_floating("mean", input)
    count = _count(input.shape, axes("mean", dim, input.ndim))
    return sum(input, dim, keepdim, dtype=dtype) / (count or math.nan)


def nansum(input: Any, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Return the sum of all values but NaN.

    y = sum_i (x[i] if x[i] == x[i] else 0)
    """
    total = sum(input, dim, keepdim, dtype=dtype)
    if at_hand(values_of(total)) and not np.isnan(values_of(total)).any():
        return total  # the common case: there was no NaN
    return sum(where(isnan(input), 0, input), dim, keepdim, dtype=dtype)


def nanmean(input: Any, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Return the mean of all values but NaN; NaN where there is no other.

    y = nansum(x) / (number of values that are not NaN)

    Raises:
        DTypeError: the values are not floating-point.
    """
    only_floating("nanmean", input)
    known = values_of(sum(eq(input, input), dim, keepdim))
    total = nansum(input, dim, keepdim, dtype=dtype)
    return total / known.astype(total.dtype)


# --- products -------------------------------------------------------------------------------------


@differentiable
def product(x: Array, /, dims: tuple[int, ...], keepdim: bool, *, dtype: Any) -> Array:
    """y = x[0] * x[1] * ..., over one of the dimensions or over all of them."""
    if x.size < FEW or dtype != x.dtype:
        return np.prod(x, axis=dims, keepdims=keepdim, dtype=dtype)
    y = kernels.product(x, axes=dims)
    return y if keepdim else y.squeeze(dims)


@product.gradient(saves="x")
def _(
    dy: Array, y: Array, x: Array, *, dims: tuple[int, ...], keepdim: bool, dtype: Any
) -> Gradients:
    def dx() -> Any:
        spread = view_as(cast(dy, x.dtype), kept(x.shape, dims))
        if 0 in x.shape:
            return broadcast_to(spread, x.shape)
        if len(dims) == 1:
            others = movedim(product_of_others(movedim(x, dims[0], 0)), 0, dims[0])
        else:
            others = view_as(product_of_others(reshape(x, -1)), x.shape)
        return spread * others

    return dx


def product_of_others(x: Any) -> Any:
    """Return y[i] = product of x[j] over all j != i, along the first dimension.

    Nothing is divided by x[i], which may be 0.  Of a pair (a, b), the others of a are b and all
    other pairs, so that each step halves the problem.
    """
    count = x.shape[0]
    if count == 1:
        return x**0
    if count % 2:
        x = pad_with(x, ((0, 1), *[(0, 0)] * (x.ndim - 1)), 1.0)
    a, b = index(x, slice(0, None, 2)), index(x, slice(1, None, 2))
    other_pairs = product_of_others(a * b)
    both = stack([other_pairs * b, other_pairs * a], 1)  # (pairs, 2, ...)
    return index(view_as(both, x.shape), slice(count))


def prod(input: Any, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Return the product along a dimension, or of all values; that of nothing is 1.

    y = x[0] * x[1] * ...
    """
    if dtype is None:
        dtype = input.dtype if is_floating(input.dtype) else np.dtype(np.int64)
    dims = axes("prod", None if dim is None else (dim,), input.ndim)
    return product(input, dims, keepdim, dtype=dtype)


# --- deviations -----------------------------------------------------------------------------------


@differentiable
def variance(x: Array, /, dims: tuple[int, ...], correction: float, keepdim: bool) -> Array:
    """y = sum_i (x[i] - mean)^2 / (M - correction) over the dimensions `dims`."""
    count = _count(x.shape, dims)
    centered = as_array(x - _fast_sum(x, dims, keepdim=True) / max(count, 1))
    np.multiply(centered, centered, out=centered)
    total = _fast_sum(centered, dims, keepdim)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.true_divide(total, max(count - correction, 0))


@variance.gradient(saves="x")
def _(
    dy: Array, y: Array, x: Array, *, dims: tuple[int, ...], correction: float, keepdim: bool
) -> Gradients:
    freedom = _count(x.shape, dims) - correction
    scale = view_as(dy, kept(x.shape, dims)) * (2 / freedom if freedom else math.inf)
    return lambda: (x - mean(x, dims, keepdim=True)) * scale


def var(
    input: Any,
    dim: Any = None,
    *older: bool,
    correction: float | None = None,
    keepdim: bool = False,
    unbiased: bool = True,
) -> Any:
    """Return the variance over the dimensions `dim`, or over all.

    y = sum_i (x[i] - mean)^2 / (M - correction)

    The correction is 1 unless it is given.  The older `unbiased` asks for 1 or 0; by position
    `var(x, False)`, `var(x, dim, False)` and `var(x, dim, False, keepdim)` are understood.

    Raises:
        DTypeError: the values are not floating-point.
    """
    return _variance("var", input, dim, older, correction, keepdim, unbiased)


def std(
    input: Any,
    dim: Any = None,
    *older: bool,
    correction: float | None = None,
    keepdim: bool = False,
    unbiased: bool = True,
) -> Any:
    """Return the standard deviation, with the arguments of `var`.

    y = sqrt(sum_i (x[i] - mean)^2 / (M - correction))

    Where all values are equal the gradient is 0.

    Raises:
        DTypeError: the values are not floating-point.
    """
    return _root(_variance("std", input, dim, older, correction, keepdim, unbiased))


def var_mean(
    input: Any,
    dim: Any = None,
    *older: bool,
    correction: float | None = None,
    keepdim: bool = False,
    unbiased: bool = True,
) -> tuple[Any, Any]:
    """Return `var` and `mean` of the same values."""
    variance = _variance("var_mean", input, dim, older, correction, keepdim, unbiased)
    dims = None if isinstance(dim, bool) else dim
    return variance, mean(input, dims, keepdim=variance.ndim == input.ndim)


def std_mean(
    input: Any,
    dim: Any = None,
    *older: bool,
    correction: float | None = None,
    keepdim: bool = False,
    unbiased: bool = True,
) -> tuple[Any, Any]:
    """Return `std` and `mean` of the same values."""
    variance, average = var_mean(
        input, dim, *older, correction=correction, keepdim=keepdim, unbiased=unbiased
    )
    return _root(variance), average


def _variance(
    op: str,
    x: Any,
    dim: Any,
    older: tuple[bool, ...],
    correction: float | None,
    keepdim: bool,
    unbiased: bool,
) -> Any:
    only_floating(op, x)
    if isinstance(dim, bool):  # var(x, False)
        dim, older = None, (dim, *older)
    if len(older) > 2:
        raise DTypeError(f"{op}: takes at most dim, unbiased and keepdim by position")
    unbiased, keepdim = (*older, *(unbiased, keepdim)[len(older) :])
    degrees = int(unbiased) if correction is None else correction
    return variance(x, axes(op, dim, x.ndim), degrees, keepdim)


def _root(variance: Any) -> Any:
    constant = eq(variance, 0)
    return where(constant, 0.0, sqrt(where(constant, 1.0, variance)))


# --- logarithms of sums ---------------------------------------------------------------------------


@differentiable
def log_sum_exp(x: Array, /, dims: tuple[int, ...], keepdim: bool) -> Array:
    """y = ln sum_i e^x[i], shifted by the maximum so that nothing overflows."""
    if dims and x.size and dims == tuple(range(dims[0], dims[-1] + 1)):  # neighbours, as one
        joined = x.reshape(*x.shape[: dims[0]], -1, *x.shape[dims[-1] + 1 :])
        top, log_total = kernels.log_total(joined, dim=dims[0])
        if at_hand(top) and np.isfinite(top).all():
            y = (top + log_total).reshape(kept(x.shape, dims))
            return y if keepdim else y.squeeze(dims)
    top = maximum(x, dims)
    top = np.where(np.isfinite(top), top, 0)
    y = np.log(np.exp(x - top).sum(axis=dims, keepdims=True)) + top
    return y if keepdim else y.squeeze(dims)


@log_sum_exp.gradient(saves="y x")
def _(dy: Array, y: Array, x: Array, *, dims: tuple[int, ...], keepdim: bool) -> Gradients:
    shape = kept(x.shape, dims)
    return lambda: view_as(dy, shape) * exp(x - view_as(y, shape))


def logsumexp(input: Any, dim: int | tuple[int, ...], keepdim: bool = False) -> Any:
    """Return the logarithm of the sum of exponentials over the dimensions `dim`.

    y = ln sum_i e^x[i]

    Whole numbers are taken as float32; the result for no values is -inf.
    """
    floating = input if is_floating(input.dtype) else cast(input, np.float32)
    return log_sum_exp(floating, axes("logsumexp", dim, input.ndim), keepdim)


# --- yes or no: no gradient -----------------------------------------------------------------------


def all(input: Any, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Say whether every value over the dimensions `dim`, or over all, is other than 0.

    y = (x[0] != 0) and (x[1] != 0) and ...

    The result is boolean; only that of uint8 stays uint8, as in PyTorch.
    """
    return _yes_or_no("all", np.all, input, dim, keepdim)


def any(input: Any, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Say whether some value over the dimensions `dim`, or over all, is other than 0.

    y = (x[0] != 0) or (x[1] != 0) or ...

    The result is boolean; only that of uint8 stays uint8, as in PyTorch.
    """
    return _yes_or_no("any", np.any, input, dim, keepdim)


def _yes_or_no(op: str, reduction: Any, x: Any, dim: Dims, keepdim: bool) -> Tensor:
    dims = () if dim in ((), []) else axes(op, dim, x.ndim)  # here () does mean: no dimension
    found = as_array(reduction(values_of(x), axis=dims, keepdims=keepdim))
    return Tensor(found.astype(np.uint8) if x.dtype == np.uint8 else found)


def count_nonzero(input: Any, dim: Dims = None) -> Tensor:
    """Return how many values over the dimensions `dim`, or over all, are other than 0.

    y = sum_i (x[i] != 0)
    """
    count = np.count_nonzero(values_of(input), axis=axes("count_nonzero", dim, input.ndim))
    return Tensor(as_array(count))
