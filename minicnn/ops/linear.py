"""Matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.errors import ShapeError
from minicnn.ops.broadcast import unbroadcast
from minicnn.ops.reduce import sum
from minicnn.ops.shape import reshape, transpose, view_as

__all__ = ["matmul"]


@differentiable
def matrix_product(a: Array, b: Array, /) -> Array:
    """y[..,i,j] = sum_k a[..,i,k] * b[..,k,j], over broadcast batches of matrices."""
    return np.matmul(a, b)


@matrix_product.gradient(saves="a b")
def _(dy: Array, y: Array, a: Array, b: Array) -> Gradients:
    return (
        lambda: unbroadcast(matrix_product(dy, transpose(b, -1, -2)), a),
        lambda: unbroadcast(matrix_product(transpose(a, -1, -2), dy), b),
    )


def matmul(a: Any, b: Any) -> Any:
    """Return the product of two matrices, of batches of them, or of a matrix and a vector.

    >>> import minicnn
    >>> minicnn.matmul(minicnn.ones(2, 3), minicnn.ones(3)).shape
    (2,)

    Raises:
        ShapeError: the inner sizes differ, or a number where a matrix is needed.
    """
    left, right = a.shape, b.shape
    inner = right[-2] if len(right) > 1 else right[0] if right else None
    if not left or inner != left[-1]:
        raise ShapeError(f"matmul: the last size of {left} must meet the first of {right}")
    rows = view_as(a, (1, *left)) if len(left) == 1 else a
    columns = view_as(b, (*right, 1)) if len(right) == 1 else b
    try:
        y = matrix_product(rows, columns)
    except ValueError:
        raise ShapeError(f"matmul: the batches of {left} and {right} do not broadcast") from None
    shape = list(y.shape)
    if len(right) == 1:
        del shape[-1]
    if len(left) == 1:
        del shape[-1 if len(right) == 1 else -2]
    return y if len(shape) == y.ndim else view_as(y, tuple(shape))


@differentiable
def affine(x: Array, w: Array, b: Array | None, /) -> Array:
    """y[..,o] = sum_i x[..,i] * w[o,i] + b[o]."""
    y = x @ w.T
    if b is not None:
        y += b
    return y


@affine.gradient(saves="x w")
def _(dy: Array, y: Array, x: Array, w: Array, b: Array) -> Gradients:
    def dw() -> Any:
        rows = reshape(dy, (int(np.prod(dy.shape[:-1])), dy.shape[-1]))
        return matrix_product(transpose(rows, 0, 1), reshape(x, (rows.shape[0], x.shape[-1])))

    return (
        lambda: matmul(dy, w),
        dw,
        lambda: sum(dy, tuple(range(dy.ndim - 1))) if dy.ndim > 1 else dy,
    )
