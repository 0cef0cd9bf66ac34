"""Lengths of vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.errors import ArgumentError, ShapeError
from minicnn.ops.arithmetic import where
from minicnn.ops.broadcast import unbroadcast
from minicnn.ops.comparison import eq
from minicnn.ops.elementwise import abs, cast, signs
from minicnn.ops.extremes import amax, amin
from minicnn.ops.reduce import Dims, axes, kept, only_floating, sum
from minicnn.ops.shape import view_as
from minicnn.pointwise import pointwise
from minicnn.tensor import values_of
from minicnn_kernels.reference.reductions import inner

__all__ = ["dist", "norm"]


@differentiable
def finite_norm(x: Array, /, p: float, dims: tuple[int, ...], keepdim: bool) -> Array:
    """y = (sum_i |x[i]|^p)^(1/p) over the dimensions `dims`; the gradient at x = 0 is 0."""
    if p == 2 and dims == (x.ndim - 1,):
        length = np.sqrt(inner(x, x))
        return length[..., None] if keepdim else length
    if p == 2:
        return np.sqrt(np.sum(x * x, axis=dims, keepdims=keepdim))
    if p == 1:
        return np.sum(np.abs(x), axis=dims, keepdims=keepdim)
    with np.errstate(divide="ignore"):
        return np.sum(np.abs(x) ** p, axis=dims, keepdims=keepdim) ** (1 / p)


@finite_norm.gradient(saves="y x")
def _(
    dy: Array, y: Array, x: Array, *, p: float, dims: tuple[int, ...], keepdim: bool
) -> Gradients:
    shape = kept(x.shape, dims)
    dy, y = view_as(dy, shape), view_as(y, shape)
    y = where(eq(y, 0), float(p > 0), y)  # for p > 0 it divides nothing but zeros
    if p == 2:
        return lambda: x * (dy / y)
    ratio = where(eq(x, 0), 1.0, abs(x) / y)
    return lambda: dy * ratio ** (p - 1) * signs(values_of(x))


def norm(
    input: Any, p: Any = "fro", dim: Dims = None, keepdim: bool = False, *, dtype: Any = None
) -> Any:
    """Return the p-norm over the dimensions `dim`, or over all, as that of one long vector.

    y = (sum_i |x[i]|^p)^(1/p)

    p is a number, "fro" (2), inf (the largest |x[i]|), -inf (the smallest) or 0 (how many are not
    0).  Where the norm has no derivative, its gradient is the smallest that is possible.

    Raises:
        DTypeError: the values are not floating-point.
        ArgumentError: p is none of these.
        ShapeError: there is no value, and p is inf or negative.
    """
    only_floating("norm", input)
    order = 2 if p is None or p == "fro" else p
    if not isinstance(order, (int, float)):
        raise ArgumentError(f'norm: p must be a number or "fro", got {p!r}')
    dims = axes("norm", dim, input.ndim)
    if (order < 0 or math.isinf(order)) and 0 in (input.shape[i] for i in dims):
        raise ShapeError(f"norm: shape {input.shape} leaves no values, which have no norm p = {p}")
    if dtype is not None:
        input = cast(input, np.dtype(dtype))
    if order == 0:
        return sum(where(eq(input, 0), 0.0, input**0), dims, keepdim)
    if math.isinf(order):
        return (amax if order > 0 else amin)(abs(input), dims, keepdim)
    return finite_norm(input, order, dims, keepdim)


@pointwise
def difference(a: Array, b: Array, /, eps: float) -> Array:
    """y = a - b + eps."""
    return a - b + eps


@difference.gradient(saves="")
def _(dy: Array, y: Array, a: Array, b: Array, *, eps: float) -> Gradients:
    return lambda: unbroadcast(dy, a), lambda: unbroadcast(-dy, b)


def dist(input: Any, other: Any, p: float = 2) -> Any:
    """Return the p-norm of the difference, with broadcasting.

    y = (sum_i |x[i] - other[i]|^p)^(1/p)
    """
    return norm(input - other, p)
