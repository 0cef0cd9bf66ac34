"""Hollow arrays: a shape and a type, but one value only, which stands in every place.

On them a network runs in milliseconds, whatever its size.  Where the shape of a result is known
beforehand, nothing is computed; the rest is computed for a single value seen many times.  What
looks at the memory of its input still does so afterwards, so memory can be counted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from minicnn.arguments import Calls, owner
from minicnn.differentiable import Op
from minicnn.ops.convolution import conv, conv_bias, conv_input
from minicnn.ops.linear import affine, matrix_product
from minicnn.ops.normalization import normalize_groups, normalize_relu, rescale_groups
from minicnn.ops.pooling import window_sum
from minicnn.ops.shape import joined
from minicnn.pointwise import PointwiseOp
from minicnn_kernels.arrays import Array, is_floating
from minicnn_kernels.geometry import Sides, Windows


def hollow(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return an array of zeros that takes no memory.

    >>> hollow((1, 512, 224, 224), "float32").nbytes
    102760448
    """
    return as_strided(np.zeros(1, dtype), shape, (0,) * len(shape))


class HollowCalls(Calls):
    """Calls of operations whose results are hollow."""

    def instead_of(self, op: Op[Any]) -> Callable[..., Any]:
        """Return a function that finds out the result's shape and type."""
        return partial(_result, op)


def _result(op: Op[Any], *arrays: Any, **settings: Any) -> Array:
    known = _pointwise if isinstance(op, PointwiseOp) else SHAPES.get(op)
    dtype = next((x.dtype for x in arrays if isinstance(x, np.ndarray)), None)
    if known is not None and is_floating(dtype):
        return hollow(known(*arrays, **settings), dtype)
    y = op.forward(*arrays, **settings)
    given = (x for x in (*arrays, *settings.values()) if isinstance(x, np.ndarray))
    is_view = any(owner(y) is owner(x) for x in given)
    return y if is_view else hollow(y.shape, y.dtype)


# --- shapes of results that need not be computed --------------------------------------------------


def _pointwise(*arrays: Any, **settings: Any) -> Sides:
    values = (*arrays, *settings.values())
    return np.broadcast_shapes(*(x.shape for x in values if isinstance(x, np.ndarray)))


def _conv(x: Array, w: Array, b: Any = None, **settings: Any) -> Sides:
    geometry = (settings[name] for name in ("stride", "padding", "dilation"))
    return (len(x), len(w), *Windows(x.shape[2:], w.shape[2:], *geometry).output)


def _conv_input(dy: Array, w: Array, *, size: Sides, groups: int, **settings: Any) -> Sides:
    return (len(dy), w.shape[1] * groups, *size)


def _affine(x: Array, w: Array, b: Array | None) -> Sides:
    return (*x.shape[:-1], len(w))


def _matrix_product(a: Array, b: Array) -> Sides:
    """Multiply with one column and one row only."""
    shape: Sides = np.matmul(a[..., :1], b[..., :1, :]).shape
    return shape


def _same(x: Array, *weights: Any, **settings: Any) -> Sides:
    return x.shape


def _window_sum(x: Array, *, windows: Windows) -> Sides:
    return (*x.shape[:2], *windows.output)


def _joined(*tensors: Array, dim: int) -> Sides:
    shape = list(tensors[0].shape)
    shape[dim] = sum(x.shape[dim] for x in tensors)
    return tuple(shape)


SHAPES: dict[Op[Any], Callable[..., Sides]] = {
    conv: _conv,
    conv_bias: _conv,
    conv_input: _conv_input,
    affine: _affine,
    joined: _joined,
    matrix_product: _matrix_product,
    normalize_groups: _same,
    normalize_relu: _same,
    rescale_groups: _same,
    window_sum: _window_sum,
}
