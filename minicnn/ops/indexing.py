"""Taking values out by position, and its adjoint: adding them in."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.errors import IndexOutOfRange, ShapeError
from minicnn.ops.broadcast import Shape
from minicnn.tensor import Tensor, values_of

__all__ = ["gather"]


@differentiable
def index(x: Array, /, where: Any) -> Array:
    """y = x[where], for slices, integers, and integer or boolean arrays."""
    return x[where]


@index.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, where: Any) -> Gradients:
    return lambda: index_sum(dy, where, x.shape)


@differentiable
def index_sum(values: Array, /, where: Any, shape: Shape) -> Array:
    """y[where] += values, from zeros: a position named twice receives both values."""
    y = np.zeros_like(values, shape=shape)
    parts = where if isinstance(where, tuple) else (where,)
    if any(isinstance(part, np.ndarray) and part.dtype != bool for part in parts):
        np.add.at(y, where, values)
    else:
        y[where] = values
    return y


@index_sum.gradient(saves="")
def _(dy: Array, y: Array, values: Array, *, where: Any, shape: Shape) -> Gradients:
    return lambda: index(dy, where)


def get_item(x: Any, where: Any) -> Any:
    """Return x[where]: slices, integers, None, ..., and integer or boolean arrays or tensors.

    >>> import minicnn
    >>> minicnn.tensor([[1.0, 2.0], [3.0, 4.0]])[:, -1]
    tensor([2., 4.])

    Raises:
        IndexOutOfRange: a position that is not there, or too many of them.
    """
    try:
        return index(*integers_first(x, frozen(where)))
    except IndexError as error:
        raise IndexOutOfRange(f"tensor[index]: shape {x.shape}: {error}") from None


def frozen(where: Any) -> Any:
    """Copy index arrays: the gradient uses them later, when the caller may have changed them."""
    if isinstance(where, tuple):
        return tuple(frozen(list(part) if isinstance(part, tuple) else part) for part in where)
    if not isinstance(where, (Tensor, np.ndarray, list)):
        return where
    positions = np.array(values_of(where))
    if positions.ndim == 0 and positions.dtype.kind in "iu":
        return positions.item()
    empty_list = positions.size == 0 and positions.dtype != bool
    return positions.astype(np.intp) if empty_list else positions


def integers_first(x: Any, where: Any) -> tuple[Any, Any]:
    """Return x and an index for it, with the integers that stand beside arrays taken already.

    To PyTorch x[0, :, [1, 2]] is x[0][:, [1, 2]]; NumPy would see two arrays, 0 and [1, 2].
    """
    parts = where if isinstance(where, tuple) else (where,)
    integers = [isinstance(part, (int, np.integer)) for part in parts]
    if not any(integers) or not any(isinstance(part, np.ndarray) for part in parts):
        return x, where
    first: list[Any] = []
    for part in parts:
        if isinstance(part, np.ndarray):
            first += [slice(None)] * (part.ndim if part.dtype == bool else 1)
        else:
            first.append(part)
    later = (
        part if part is Ellipsis or isinstance(part, np.ndarray) else slice(None)
        for part, is_integer in zip(parts, integers, strict=True)
        if not is_integer
    )
    return index(x, tuple(first)), tuple(later)


def gather(x: Any, dim: int, positions: Any) -> Any:
    """Return y[i,j] = x[positions[i,j], j] (dim 0): along one dimension, take given positions.

    Raises:
        ShapeError: `positions` has more or fewer dimensions than x.
        IndexOutOfRange: a dimension or a position that is not there.
    """
    chosen, along = values_of(positions), dimension("gather", dim, x.ndim)
    if chosen.ndim != x.ndim:
        raise ShapeError(
            f"gather: positions {chosen.shape} must have as many dimensions as the tensor {x.shape}"
        )
    if chosen.size and chosen.min() < 0:
        raise IndexOutOfRange(f"gather: position {chosen.min()} is negative; count from the front")
    grids = np.ogrid[tuple(slice(n) for n in chosen.shape)]
    return get_item(x, tuple(chosen if i == along else grid for i, grid in enumerate(grids)))


def dimension(op: str, dim: int, ndim: int) -> int:
    """Return a dimension counted from the front.

    Raises:
        IndexOutOfRange: there is no such dimension.
    """
    dim = operator.index(dim)
    if not -max(ndim, 1) <= dim < max(ndim, 1):
        raise IndexOutOfRange(
            f"{op}: dimension {dim} is not there, the tensor has {ndim} dimensions"
        )
    return dim % max(ndim, 1)
