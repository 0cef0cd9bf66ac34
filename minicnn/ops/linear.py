"""Products of matrices and vectors."""

from __future__ import annotations

from math import prod
from typing import Any

import minicnn_kernels as kernels
from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.errors import DTypeError, ShapeError
from minicnn.ops.arithmetic import mul
from minicnn.ops.broadcast import unbroadcast
from minicnn.ops.reduce import sum
from minicnn.ops.shape import permute_dims, transpose, unsqueeze, view_as
from minicnn_kernels import products
from minicnn_kernels.reference import reductions

__all__ = [
    "addbmm", "addmm", "addmv", "addr", "baddbmm", "bmm", "dot", "ger", "inner", "kron", "matmul",
    "mm", "mv", "outer", "vdot",
]  # fmt: skip


@differentiable
def matrix_product(a: Array, b: Array, /) -> Array:
    """y[..,i,j] = sum_k a[..,i,k] * b[..,k,j], over broadcast batches of matrices."""
    return products.matmul(a, b)


@matrix_product.gradient(saves="a b")
def _(dy: Array, y: Array, a: Array, b: Array) -> Gradients:
    return (
        lambda: unbroadcast(matrix_product(dy, transpose(b, -1, -2)), a),
        lambda: unbroadcast(matrix_product(transpose(a, -1, -2), dy), b),
    )


@differentiable
def inner_product(a: Array, b: Array, /, dim: int = -1) -> Array:
    """y = sum_k a[..,k,..] * b[..,k,..] along a dimension of arrays of one shape."""
    if dim in (-1, a.ndim - 1):  # BLAS adds up what lies side by side
        return reductions.inner(a, b)
    return kernels.total(a * b, axes=(dim,)).squeeze(dim)


@inner_product.gradient(saves="a b")
def _(dy: Array, y: Array, a: Array, b: Array, *, dim: int) -> Gradients:
    return lambda: mul(unsqueeze(dy, dim), b), lambda: mul(unsqueeze(dy, dim), a)


def matmul(input: Any, other: Any) -> Any:
    """Return the product of two matrices, of batches of them, or of a matrix and a vector.

    y[..,i,j] = sum_k a[..,i,k] * b[..,k,j]

    >>> import minicnn
    >>> minicnn.matmul(minicnn.ones(2, 3), minicnn.ones(3)).shape
    (2,)

    Raises:
        ShapeError: the inner sizes differ, or a number where a matrix is needed.
        DTypeError: an operand is no tensor.
    """
    a, b = input, other
    for operand in (a, b):
        if not hasattr(operand, "shape"):
            kind = type(operand).__name__
            raise DTypeError(f"matmul: needs two tensors, got {kind}; numbers multiply with *")
    left, right = a.shape, b.shape
    inner = right[-2] if len(right) > 1 else right[0] if right else None
    if not left or inner != left[-1]:
        raise ShapeError(f"matmul: the last size of {left} must meet the first of {right}")
    if len(left) == len(right) == 1:
        return inner_product(a, b)
    if len(left) > 2 and len(right) == 2:  # one product of tall matrices, not one per batch
        return view_as(matrix_product(_rows(a), b), (*left[:-1], right[-1]))
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
        del shape[-2]
    return y if len(shape) == y.ndim else view_as(y, tuple(shape))


def _rows(x: Any) -> Any:
    """See (..., K) as a matrix (N, K)."""
    return x if x.ndim == 2 else view_as(x, (prod(x.shape[:-1]), x.shape[-1]))


@differentiable
def affine(x: Array, w: Array, b: Array | None, /) -> Array:
    """y[..,o] = sum_i x[..,i] * w[o,i] + b[o]."""
    each = b if b is None or b.ndim == 1 else None  # a bias for each output, part of the product
    y = products.matmul(_rows(x), w.T, each).reshape(*x.shape[:-1], len(w))
    if b is not each:
        y += b
    return y


@affine.gradient(saves="x w")
def _(dy: Array, y: Array, x: Array, w: Array, b: Array) -> Gradients:
    return (
        lambda: matmul(dy, w),
        lambda: matrix_product(permute_dims(_rows(dy), (1, 0)), _rows(x)),
        lambda: unbroadcast(dy, b),
    )


# --- products of given dimensions -----------------------------------------------------------------


def _check_dimensions(op: str, **tensors: tuple[Any, int]) -> None:
    """Refuse tensors that have more or fewer dimensions than the operation takes."""
    for name, (tensor, ndim) in tensors.items():
        if tensor.ndim != ndim:
            kind = ("a number", "a vector", "a matrix", "a batch of matrices")[ndim]
            raise ShapeError(f"{op}: {name} must be {kind}, got shape {tensor.shape}")


def mm(input: Any, mat2: Any) -> Any:
    """Return the product of two matrices.

    y[i,j] = sum_k x[i,k] * mat2[k,j]
    """
    _check_dimensions("mm", input=(input, 2), mat2=(mat2, 2))
    return matmul(input, mat2)


def mv(input: Any, vec: Any) -> Any:
    """Return the product of a matrix and a vector.

    y[i] = sum_k x[i,k] * vec[k]
    """
    _check_dimensions("mv", input=(input, 2), vec=(vec, 1))
    return matmul(input, vec)


def bmm(input: Any, mat2: Any) -> Any:
    """Return the products of two batches of matrices; unlike `matmul` it does not broadcast.

    y[n,i,j] = sum_k x[n,i,k] * mat2[n,k,j]
    """
    return _batch_product("bmm", input, mat2)


def _batch_product(op: str, a: Any, b: Any) -> Any:
    _check_dimensions(op, **{"the first batch": (a, 3), "the second batch": (b, 3)})
    if a.shape[0] != b.shape[0] or a.shape[2] != b.shape[1]:
        raise ShapeError(f"{op}: {a.shape} (N, I, K) and {b.shape} (N, K, J) do not fit")
    return matrix_product(a, b)


def dot(input: Any, tensor: Any) -> Any:
    """Return the inner product of two vectors.

    y = sum_k x[k] * tensor[k]
    """
    _check_dimensions("dot", input=(input, 1), tensor=(tensor, 1))
    return matmul(input, tensor)


def vdot(input: Any, other: Any) -> Any:
    """Return the product of two vectors; it differs from `dot` for complex numbers only.

    y = sum_i a[i] * b[i]
    """
    return dot(input, other)


def inner(input: Any, other: Any) -> Any:
    """Return the inner products along the last dimensions; a number multiplies.

    y[i..,j..] = sum_k x[i..,k] * other[j..,k]

    Raises:
        ShapeError: the last sizes differ.
    """
    if input.ndim == 0 or other.ndim == 0:
        return input * other
    if input.shape[-1] != other.shape[-1]:
        raise ShapeError(f"inner: the last sizes of {input.shape} and {other.shape} must be equal")
    y = matrix_product(_rows(input), transpose(_rows(other), 0, 1))
    return view_as(y, (*input.shape[:-1], *other.shape[:-1]))


def outer(input: Any, vec2: Any) -> Any:
    """Return all products of a value of one vector with a value of the other.

    y[i,j] = x[i] * vec2[j]
    """
    _check_dimensions("outer", input=(input, 1), vec2=(vec2, 1))
    return unsqueeze(input, 1) * vec2


ger = outer


def kron(input: Any, other: Any) -> Any:
    """Return the Kronecker product: each value of x, times all of `other`, in its place.

    y[i*A+a, j*B+b] = x[i,j] * other[a,b], other of shape (A, B); alike in other dimensions
    """
    ndim = max(input.ndim, other.ndim)
    left, right = ((*[1] * (ndim - t.ndim), *t.shape) for t in (input, other))
    blocks = view_as(input, tuple(n for size in left for n in (size, 1)))
    product = blocks * view_as(other, tuple(n for size in right for n in (1, size)))
    return view_as(product, tuple(a * b for a, b in zip(left, right, strict=True)))


# --- beta times a tensor plus alpha times a product -----------------------------------------------


def addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """Return a matrix plus the product of two.

    y[i,j] = beta * x[i,j] + alpha * sum_k mat1[i,k] * mat2[k,j]

    x is broadcast; where beta is 0 it is not looked at.
    """
    _check_dimensions("addmm", mat1=(mat1, 2), mat2=(mat2, 2))
    return _added("addmm", input, matmul(mat1, mat2), beta, alpha)


def addmv(input: Any, mat: Any, vec: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """Return a vector plus the product of a matrix and a vector.

    y[i] = beta * x[i] + alpha * sum_k mat[i,k] * vec[k]
    """
    _check_dimensions("addmv", mat=(mat, 2), vec=(vec, 1))
    return _added("addmv", input, matmul(mat, vec), beta, alpha)


def addr(input: Any, vec1: Any, vec2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """Return a matrix plus the outer product of two vectors.

    y[i,j] = beta * x[i,j] + alpha * vec1[i] * vec2[j]
    """
    _check_dimensions("addr", vec1=(vec1, 1), vec2=(vec2, 1))
    return _added("addr", input, outer(vec1, vec2), beta, alpha)


def baddbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """Return a batch of matrices plus the products of two batches.

    y[n,i,j] = beta * x[n,i,j] + alpha * sum_k batch1[n,i,k] * batch2[n,k,j]
    """
    return _added("baddbmm", input, _batch_product("baddbmm", batch1, batch2), beta, alpha)


def addbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """Return a matrix plus the sum of the products of two batches.

    y[i,j] = beta * x[i,j] + alpha * sum_nk batch1[n,i,k] * batch2[n,k,j]
    """
    product = _batch_product("addbmm", batch1, batch2)
    return _added("addbmm", input, sum(product, 0, dtype=product.dtype), beta, alpha)


def _added(op: str, x: Any, product: Any, beta: float, alpha: float) -> Any:
    if x.ndim > product.ndim or any(
        n not in (1, m) for n, m in zip(x.shape[::-1], product.shape[::-1], strict=False)
    ):
        raise ShapeError(f"{op}: input {x.shape} does not broadcast to {product.shape}")
    scaled = product if alpha == 1 else product * alpha
    if beta == 0:
        return scaled
    return scaled + (x if beta == 1 else x * beta)
