"""Running sums, products and extremes: each value also knows all that came before it."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.errors import ArgumentError, DTypeError, ShapeError
from minicnn.ops.arithmetic import where
from minicnn.ops.comparison import eq, ne
from minicnn.ops.elementwise import cast, exp
from minicnn.ops.indexing import (
    Along,
    ValuesAndIndices,
    dimension,
    index,
    there_is,
    values_at,
)
from minicnn.ops.shape import cat, clone, flip, pad_with
from minicnn.tensor import Tensor, values_of
from minicnn_kernels.arrays import at_hand, is_floating
from minicnn_kernels.reference.scan import accumulated

__all__ = ["cummax", "cummin", "cumprod", "cumsum", "diff", "logcumsumexp"]


@differentiable
def running_sum(x: Array, /, dim: int) -> Array:
    """y[i] = x[0] + ... + x[i]."""
    return accumulated(np.add, x, dim)


@running_sum.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, dim: int) -> Gradients:
    return lambda: sum_from_the_back(dy, dim)


def sum_from_the_back(x: Any, dim: int) -> Any:
    """Return y[i] = x[i] + x[i+1] + ..."""
    return flip(running_sum(flip(x, dim), dim), dim)


@differentiable
def recurrence(x: Array, a: Array, /, dim: int) -> Array:
    """y[i] = x[i] + a[i] * y[i-1], in log2(N) steps that double the reach (Hillis, Steele 1986)."""
    y, a = np.moveaxis(x.copy(), dim, 0), np.moveaxis(a.copy(), dim, 0)
    reach = 1
    while reach < len(y):
        y[reach:] += a[reach:] * y[:-reach]
        a[reach:] *= a[:-reach]
        reach *= 2
    return np.moveaxis(y, 0, dim)


@recurrence.gradient(saves="y a")
def _(dy: Array, y: Array, x: Array, a: Array, *, dim: int) -> Gradients:
    return (
        lambda: recurrence_adjoint(dy, a, dim),
        lambda: recurrence_adjoint(dy, a, dim) * delayed(y, dim, 0.0),
    )


def recurrence_adjoint(dy: Any, a: Any, dim: int) -> Any:
    """Return dx[i] = dy[i] + a[i+1] * dx[i+1]."""
    return flip(recurrence(flip(dy, dim), delayed(flip(a, dim), dim, 0.0), dim), dim)


def delayed(x: Any, dim: int, first: float) -> Any:
    """Return y[i] = x[i-1], y[0] = first."""
    if x.shape[dim] == 0:
        return x
    return pad_with(x, tuple((1, -1) if i == dim else (0, 0) for i in range(x.ndim)), first)


@differentiable
def running_product(x: Array, /, dim: int) -> Array:
    """y[i] = x[0] * ... * x[i]."""
    return accumulated(np.multiply, x, dim)


@running_product.gradient(saves="y x")
def _(dy: Array, y: Array, x: Array, *, dim: int) -> Gradients:
    if at_hand(values_of(x)) and values_of(x).all():
        return lambda: sum_from_the_back(dy * y, dim) / x
    # dx[k] = (product before k) * (sum over i >= k of dy[i] * product from k+1 to i)
    return lambda: delayed(y, dim, 1.0) * recurrence_adjoint(dy, x, dim)


@differentiable
def running_logsumexp(x: Array, /, dim: int) -> Array:
    """y[i] = ln(e^x[0] + ... + e^x[i])."""
    return accumulated(np.logaddexp, x, dim)


@running_logsumexp.gradient(saves="y x")
def _(dy: Array, y: Array, x: Array, *, dim: int) -> Gradients:
    # dx[k] = sum over i >= k of dy[i] * e^(x[k] - y[i]), in powers of e that are never above 1
    def dx() -> Any:
        finite = where(eq(y, -np.inf), 0.0, y)
        ratio = exp(delayed(y, dim, -np.inf) - finite)
        return exp(x - finite) * recurrence_adjoint(dy, ratio, dim)

    return dx


# --- PyTorch's names ------------------------------------------------------------------------------


def cumsum(input: Any, dim: int, *, dtype: Any = None) -> Any:
    """Return the running sums along `dim`; whole numbers give int64.

    y[i] = x[0] + ... + x[i]
    """
    return _scan("cumsum", running_sum, input, dim, dtype)


def cumprod(input: Any, dim: int, *, dtype: Any = None) -> Any:
    """Return the running products along `dim`; whole numbers give int64.

    y[i] = x[0] * ... * x[i]

    The gradient is right with zeros too.
    """
    return _scan("cumprod", running_product, input, dim, dtype)


def logcumsumexp(input: Any, dim: int) -> Any:
    """Return the logarithm of the running sums of e^x along `dim`, which cannot overflow.

    y[i] = ln(e^x[0] + ... + e^x[i])

    Raises:
        DTypeError: the values are not floating-point.
    """
    if not is_floating(input.dtype):
        raise DTypeError(f"logcumsumexp: needs a floating-point tensor, got {input.dtype}")
    return _scan("logcumsumexp", running_logsumexp, input, dim, None)


def _scan(op: str, running: Any, x: Any, dim: int, dtype: Any) -> Any:
    position = dimension(op, dim, x.ndim)
    if dtype is None and not is_floating(x.dtype):
        dtype = np.int64
    x = x if dtype is None else cast(x, np.dtype(dtype))
    if dtype is not None and np.dtype(dtype) == bool:
        raise DTypeError(f"{op}: dtype must be a number type, got bool")
    return running(x, position) if x.ndim else index(x, ())


def cummax(input: Any, dim: int) -> ValuesAndIndices:
    """Return the running maxima along `dim` and where each stands; of equal ones the last.

    y[i] = max(x[0], ..., x[i])
    """
    return _running_extreme("cummax", np.maximum, input, dim)


def cummin(input: Any, dim: int) -> ValuesAndIndices:
    """Return the running minima along `dim` and where each stands; of equal ones the last.

    y[i] = min(x[0], ..., x[i])
    """
    return _running_extreme("cummin", np.minimum, input, dim)


def _running_extreme(op: str, better: Any, input: Any, dim: int) -> ValuesAndIndices:
    position, values = dimension(op, dim, input.ndim), values_of(input)
    if input.ndim == 0:
        return ValuesAndIndices(index(input, ()), Tensor(np.zeros((), np.int64, like=values)))
    is_new = (values == accumulated(better, values, position)) | (values != values)  # or NaN
    steps = np.arange(input.shape[position], like=values)
    steps = steps.reshape(-1, *[1] * (input.ndim - position - 1))
    indices = accumulated(np.maximum, np.where(is_new, steps, 0), position)
    chosen = values_at(input, Along(indices.copy(), position))
    return ValuesAndIndices(chosen, Tensor(indices))


def diff(input: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """Return the differences of neighbours along `dim`, n times over.

    y[i] = x[i+1] - x[i]; booleans: whether they differ.

    `prepend` and `append` are joined to the input first.

    Raises:
        ShapeError: a single value has no neighbours, or the shapes do not fit.
        ArgumentError: n is negative.
    """
    if input.ndim == 0:
        raise ShapeError("diff: needs at least one dimension, got a single value")
    if n < 0:
        raise ArgumentError(f"diff: n must not be negative, got {n}")
    position = there_is("diff", dim, input)
    ends = [x for x in (prepend, input, append) if x is not None]
    if n == 0:
        return clone(input)
    y = cat(ends, position) if len(ends) > 1 else input
    before = [slice(None)] * position
    for _ in range(min(n, y.shape[position])):
        later, earlier = (index(y, (*before, part)) for part in (slice(1, None), slice(0, -1)))
        y = ne(later, earlier) if y.dtype == bool else later - earlier
    return y
