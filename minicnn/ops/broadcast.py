"""Broadcasting and its adjoint: to repeat values is to add up their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.differentiable import Array, Gradients, differentiable

Shape = tuple[int, ...]


@differentiable
def broadcast_to(x: Array, /, shape: Shape) -> Array:
    """y[i,j] = x[j] (or x[0,j]): repeat x until it has `shape`."""
    return np.broadcast_to(x, shape)


@broadcast_to.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, shape: Shape) -> Gradients:
    return lambda: sum_to(dy, x.shape)


@differentiable
def sum_to(x: Array, /, shape: Shape) -> Array:
    """y[j] = sum_i x[i,j]: add up whatever broadcasting from `shape` had repeated."""
    added = x.ndim - len(shape)
    stretched = (i + added for i, n in enumerate(shape) if n == 1 and x.shape[i + added] != 1)
    return x.sum(axis=(*range(added), *stretched)).reshape(shape)


@sum_to.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, shape: Shape) -> Gradients:
    return lambda: broadcast_to(dy, x.shape)


def unbroadcast(g: Any, like: Any) -> Any:
    """Return the gradient g of a broadcast operand in the operand's own shape."""
    return g if g.shape == like.shape else sum_to(g, like.shape)
