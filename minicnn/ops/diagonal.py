"""Diagonals and triangles of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.errors import ArgumentError, DTypeError, ShapeError
from minicnn.ops.broadcast import Shape
from minicnn.ops.indexing import dimension
from minicnn.ops.reduce import sum
from minicnn.ops.shape import clone
from minicnn.tensor import Tensor
from minicnn_kernels.arrays import at_hand, to_device
from minicnn_kernels.reference.copying import copied

__all__ = [
    "diag", "diag_embed", "diagonal", "trace", "tril", "tril_indices", "triu", "triu_indices",
]  # fmt: skip


@differentiable
def diagonal_of(x: Array, /, offset: int, dim1: int, dim2: int) -> Array:
    """y[...,k] = x[...,k,k + offset]: one diagonal, along a new last dimension."""
    return np.diagonal(x, offset, dim1, dim2)


@diagonal_of.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, offset: int, dim1: int, dim2: int) -> Gradients:
    return lambda: on_diagonal(dy, x.shape, offset, dim1, dim2)


@differentiable
def on_diagonal(x: Array, /, shape: Shape, offset: int, dim1: int, dim2: int) -> Array:
    """y[...,k,k + offset] = x[...,k], and 0 elsewhere."""
    y = np.zeros_like(x, shape=shape)
    line = np.diagonal(y, offset, dim1, dim2)  # looks at the memory of y
    if at_hand(y):  # NumPy's is read-only
        line.flags.writeable = True
    line[...] = x
    return y


@on_diagonal.gradient(saves="")
def _(
    dy: Array, y: Array, x: Array, *, shape: Shape, offset: int, dim1: int, dim2: int
) -> Gradients:
    return lambda: diagonal_of(dy, offset, dim1, dim2)


def diagonal(input: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """Return a diagonal of the matrices that two dimensions span, along a new last dimension.

    y[...,k] = x[k,k + offset,...]; it looks at the memory of the input.

    Raises:
        ArgumentError: the dimensions are the same.
    """
    return diagonal_of(input, offset, *_two("diagonal", dim1, dim2, input.ndim))


def diag_embed(input: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """Return matrices with the vectors of the last dimension on a diagonal, and 0 elsewhere.

    y[...,k,k + offset] = x[...,k]

    Raises:
        ArgumentError: the dimensions are the same.
    """
    first, second = _two("diag_embed", dim1, dim2, input.ndim + 1)
    size = input.shape[-1] + abs(offset)
    shape = list(input.shape[:-1])
    for dim in sorted((first, second)):
        shape.insert(dim, size)
    return on_diagonal(input, tuple(shape), offset, first, second)


def _two(op: str, dim1: int, dim2: int, ndim: int) -> tuple[int, int]:
    first, second = dimension(op, dim1, ndim), dimension(op, dim2, ndim)
    if first == second:
        raise ArgumentError(f"{op}: the dimensions {dim1} and {dim2} must be different")
    return first, second


def diag(input: Any, diagonal: int = 0) -> Any:
    """Return a copy of the diagonal of a matrix, or the matrix with a vector on its diagonal.

    y[k] = x[k,k + diagonal], or y[k,k + diagonal] = x[k]

    Raises:
        ShapeError: the tensor is neither a matrix nor a vector.
    """
    if input.ndim == 1:
        return diag_embed(input, diagonal)
    if input.ndim == 2:
        return clone(diagonal_of(input, diagonal, 0, 1))
    raise ShapeError(f"diag: needs a vector or a matrix, got shape {input.shape}")


def trace(input: Any) -> Any:
    """Return the sum of the diagonal of a matrix.

    y = sum_k x[k,k]

    Raises:
        ShapeError: the tensor is no matrix.
    """
    if input.ndim != 2:
        raise ShapeError(f"trace: needs a matrix, got shape {input.shape}")
    return sum(diagonal(input))


@differentiable
def tril(x: Array, /, diagonal: int = 0) -> Array:
    """y[i,j] = x[i,j] if j <= i + diagonal else 0."""
    _check_matrices("tril", x)
    y, (rows, columns) = copied(x), x.shape[-2:]
    if rows <= columns:
        for i in range(rows):
            y[..., i, max(i + diagonal + 1, 0) :] = 0
    else:
        for j in range(columns):
            y[..., : max(j - diagonal, 0), j] = 0
    return y


@tril.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, diagonal: int) -> Gradients:
    return lambda: tril(dy, diagonal)


@differentiable
def triu(x: Array, /, diagonal: int = 0) -> Array:
    """y[i,j] = x[i,j] if j >= i + diagonal else 0."""
    _check_matrices("triu", x)
    y, (rows, columns) = copied(x), x.shape[-2:]
    if rows <= columns:
        for i in range(rows):
            y[..., i, : max(i + diagonal, 0)] = 0
    else:
        for j in range(columns):
            y[..., max(j - diagonal + 1, 0) :, j] = 0
    return y


@triu.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, diagonal: int) -> Gradients:
    return lambda: triu(dy, diagonal)


def _check_matrices(op: str, x: Array) -> None:
    if x.ndim < 2:
        raise ShapeError(f"{op}: needs a matrix or a batch of them, got shape {x.shape}")


def tril_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = np.int64, device: str = "cpu"
) -> Tensor:
    """Return the places of a matrix on and below a diagonal: row numbers above column numbers.

    y[0,k] - y[1,k] >= -offset

    Raises:
        ShapeError: a size is negative.
        DTypeError: `dtype` is no integer type.
    """
    return _triangle("tril_indices", np.tril_indices, row, col, offset, dtype, device)


def triu_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = np.int64, device: str = "cpu"
) -> Tensor:
    """Return the places of a matrix on and above a diagonal: row numbers above column numbers.

    y[1,k] - y[0,k] >= offset

    Raises:
        ShapeError: a size is negative.
        DTypeError: `dtype` is no integer type.
    """
    return _triangle("triu_indices", np.triu_indices, row, col, offset, dtype, device)


def _triangle(
    op: str, find: Any, row: int, col: int, offset: int, dtype: Any, device: str
) -> Tensor:
    if row < 0 or col < 0:
        raise ShapeError(f"{op}: a matrix of {row} rows and {col} columns is not possible")
    if np.dtype(dtype).kind not in "iu":
        raise DTypeError(f"{op}: dtype must be an integer type, got {np.dtype(dtype)}")
    return Tensor(to_device(np.stack(find(row, offset, col)).astype(dtype), device))
