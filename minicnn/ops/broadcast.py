"""Broadcasting and its adjoint: to repeat values is to add up their gradients."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

import minicnn_kernels as kernels
from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.errors import ShapeError
from minicnn_kernels.arrays import is_floating
from minicnn_kernels.pointwise import computed

__all__ = ["broadcast_shapes", "broadcast_tensors", "broadcast_to"]

Shape = tuple[int, ...]

MANY = 2**14  # so many values are worth a kernel


@differentiable
def broadcast_to(x: Array, /, size: Shape) -> Array:
    """y[i,j] = x[j] (or x[0,j]): repeat x until it has `size`; -1 keeps a size."""
    return np.broadcast_to(x, expanded("broadcast_to", x.shape, size))


@broadcast_to.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, size: Shape) -> Gradients:
    return lambda: sum_to(dy, x.shape)


@differentiable
def sum_to(x: Array, /, shape: Shape) -> Array:
    """y[j] = sum_i x[i,j]: add up whatever broadcasting from `shape` had repeated."""
    added = x.ndim - len(shape)
    stretched = [i + added for i, n in enumerate(shape) if n == 1 and x.shape[i + added] != 1]
    if added == 0 and len(stretched) == 1 and 1 < x.shape[stretched[0]] <= 4:
        return reduce(np.add, np.moveaxis(x, stretched[0], 0)).reshape(shape)
    axes, x = (*range(added), *stretched), computed(x)
    if is_floating(x.dtype) and x.size >= MANY:
        return kernels.total(x, axes=axes).reshape(shape)
    return x.sum(axis=axes).reshape(shape)


@sum_to.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, shape: Shape) -> Gradients:
    return lambda: broadcast_to(dy, x.shape)


def unbroadcast(g: Any, like: Any) -> Any:
    """Return the gradient g of a broadcast operand in the operand's own shape."""
    return g if g.shape == like.shape else sum_to(g, like.shape)


def expanded(op: str, shape: Shape, size: Shape) -> Shape:
    """Return the shape that `size` asks for, where -1 keeps a size.

    Raises:
        ShapeError: a size other than 1 would have to change.
    """
    added = len(size) - len(shape)
    if added < 0 or -1 in size[:added]:
        raise ShapeError(f"{op}: {shape} does not expand to {size}")
    old = (*[1] * added, *shape)
    target = tuple(m if n == -1 else n for m, n in zip(old, size, strict=True))
    if any(n < 0 or m not in (1, n) for m, n in zip(old, target, strict=True)):
        raise ShapeError(f"{op}: {shape} does not expand to {size}")
    return target


def broadcast_shapes(*shapes: Any) -> Shape:
    """Return the shape that tensors of these shapes have in common after broadcasting.

    >>> broadcast_shapes((2, 1), (3,))
    (2, 3)

    Raises:
        ShapeError: two sizes differ, and neither is 1.
    """
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise ShapeError(f"broadcast_shapes: {shapes} have no shape in common") from None


def broadcast_tensors(*tensors: Any) -> tuple[Any, ...]:
    """Return the tensors, each repeated to the shape they have in common, without a copy.

    Raises:
        ShapeError: there is no such shape.
    """
    size = broadcast_shapes(*(t.shape for t in tensors))
    return tuple(broadcast_to(t, size) for t in tensors)
