"""Linear and bilinear layers, tables of vectors, vectors of length 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.backprop import no_grad
from minicnn.errors import ArgumentError, DTypeError, IndexOutOfRange, ShapeError
from minicnn.ops import embedding as embedding_ops
from minicnn.ops import linear as linear_ops
from minicnn.ops.arithmetic import clamp
from minicnn.ops.einsum import einsum
from minicnn.ops.norm import norm
from minicnn.ops.shape import reshape
from minicnn.tensor import values_of
from minicnn_kernels.arrays import as_array, at_hand

__all__ = ["bilinear", "embedding", "linear", "normalize"]


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """Return input @ weight.T + bias.

    y[..,o] = sum_i x[..,i] * w[o,i] + b[o]

    Shapes: input (..., I), weight (O, I), bias (O), result (..., O).  A weight (I) stands for a
    single output, whose dimension is left out.  Any bias that broadcasts to the result is taken.

    Raises:
        ShapeError: the sizes do not fit.
    """
    if weight.ndim not in (1, 2) or input.ndim == 0 or input.shape[-1] != weight.shape[-1]:
        raise ShapeError(
            f"linear: weight {weight.shape} is (out, in) and must meet the last size of the input "
            f"{input.shape}"
        )
    shape = (*input.shape[:-1], *weight.shape[:-1])
    if bias is not None and not _fits(bias.shape, shape, weight.ndim):
        raise ShapeError(
            f"linear: bias must have shape {weight.shape[:-1]}, or broadcast to the result "
            f"{shape}, got {bias.shape}"
        )
    if weight.ndim == 1:
        y = linear_ops.matmul(input, weight)
        return y if bias is None else y + bias
    if bias is not None and bias.ndim > input.ndim:  # (1, O) for a single sample
        bias = reshape(bias, bias.shape[1:])
    return linear_ops.affine(input, weight, bias)


def _fits(bias: tuple[int, ...], shape: tuple[int, ...], weight_ndim: int) -> bool:
    """Say whether PyTorch takes this bias for a result of this shape."""
    if weight_ndim == 1 and (len(bias) == 1 or len(shape) == 1):
        return False
    if len(bias) > max(len(shape), weight_ndim):
        return False
    return all(n in (1, m) for n, m in zip(bias[::-1], (1, *shape)[::-1], strict=False))


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    """Return a form that is linear in each of two inputs.

    y[..,o] = sum_ij x1[..,i] * w[o,i,j] * x2[..,j] + b[o]

    Shapes: input1 (..., I), input2 (..., J), weight (O, I, J), bias (O), result (..., O).

    Raises:
        ShapeError: the sizes do not fit.
    """
    rows = input1.shape[:-1]
    if weight.ndim != 3 or input1.ndim == 0 or input2.shape[:-1] != rows or input2.ndim == 0:
        raise ShapeError(
            f"bilinear: weight {weight.shape} must be (out, in1, in2), and the inputs "
            f"{input1.shape} and {input2.shape} alike in all sizes but the last"
        )
    if weight.shape[1:] != (input1.shape[-1], input2.shape[-1]):
        raise ShapeError(
            f"bilinear: weight {weight.shape} is (out, in1, in2), the inputs have "
            f"{input1.shape[-1]} and {input2.shape[-1]} features"
        )
    if bias is not None and bias.ndim == 0:
        raise IndexOutOfRange("bilinear: bias must be a vector, got a number")
    if bias is not None and bias.shape[0] != weight.shape[0]:
        raise ShapeError(f"bilinear: bias must have shape {weight.shape[:1]}, got {bias.shape}")
    y = einsum("...i,oij,...j->...o", input1, weight, input2)
    return y if bias is None else y + bias


def embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    """Return the rows of a table that the input names.

    y[..,d] = weight[input[..],d]

    Args:
        input: whole numbers in [0, V).
        weight: the table, of shape (V, D).
        padding_idx: a row that receives no gradient; negative ones count from the end.
        max_norm: rows that are named and longer are first shortened, in the weight itself.
        norm_type: the p of the norm that measures them.
        scale_grad_by_freq: whether the gradients of a row named n times are divided by n.
        sparse: accepted as in PyTorch; the gradient is always dense.

    Raises:
        IndexOutOfRange: a row that is not there.
        DTypeError: the input does not hold int64 or int32.
        ShapeError: the weight is no matrix.
        ArgumentError: `padding_idx` is not a row of the weight.
    """
    positions = as_array(values_of(input))
    if weight.ndim != 2:
        raise ShapeError(f"embedding: weight must be a matrix, got shape {weight.shape}")
    if positions.dtype not in (np.int64, np.int32):
        raise DTypeError(f"embedding: input must be int64 or int32, got {positions.dtype}")
    count = weight.shape[0]
    if padding_idx is not None and not -count <= padding_idx < count:
        raise ArgumentError(f"embedding: padding_idx {padding_idx} is no row of {count}")
    if positions.size and count == 0:
        raise ShapeError("embedding: the weight has no rows")
    if (
        at_hand(positions)
        and positions.size
        and not 0 <= positions.min() <= positions.max() < count
    ):
        wrong = positions[(positions < 0) | (positions >= count)][0]
        raise IndexOutOfRange(f"embedding: row {wrong} is not there, the weight has {count}")
    if max_norm is not None:
        _shorten(weight, np.unique(positions), max_norm, norm_type)
    padding = None if padding_idx is None else padding_idx % count
    share = embedding_ops.shares(positions, count, padding, scale_grad_by_freq, weight.dtype)
    return embedding_ops.embed(weight, positions, share)


def _shorten(weight: Any, rows: Any, max_norm: float, norm_type: float) -> None:
    """Scale the given rows of a weight, in place, to a norm of at most `max_norm`."""
    values = values_of(weight)[rows]
    length = norm(values, norm_type, 1, keepdim=True)
    scale = np.where(length > max_norm, max_norm / (length + 1e-7), 1)
    with no_grad():
        weight[rows] = (values * scale).astype(values.dtype)


def normalize(input: Any, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Any:
    """Return the input with the norm of each vector along `dim` made 1.

    y[i] = x[i] / max((sum_j |x[j]|^p)^(1/p), eps)

    Raises:
        DTypeError: the values are not floating-point.
    """
    return input / clamp(norm(input, p, dim, keepdim=True), min=eps)
