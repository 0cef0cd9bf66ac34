"""Shifting, turning and repeating, spelled with the operations of `shape` and `broadcast`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.errors import ArgumentError, DTypeError, ShapeError
from minicnn.ops.broadcast import Shape, broadcast_to
from minicnn.ops.indexing import dimension as counted_from_front
from minicnn.ops.indexing import get_item, there_is
from minicnn.ops.shape import clone, flatten, flip, integers, transpose, unsqueeze, view_as
from minicnn.tensor import Tensor, values_of
from minicnn_kernels.arrays import as_array, as_strided, to_device

__all__ = ["fliplr", "flipud", "repeat_interleave", "roll", "rot90", "tile"]


@differentiable
def rolled(x: Array, /, shifts: Shape, dims: Shape) -> Array:
    """y[(i + shift) mod N] = x[i] along each of the dimensions."""
    return np.roll(x, shifts, dims)


@rolled.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, shifts: Shape, dims: Shape) -> Gradients:
    return lambda: rolled(dy, tuple(-shift for shift in shifts), dims)


def roll(input: Any, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Any:
    """Return the tensor with its values shifted along `dims`; what leaves comes in at the start.

    y[(i + shift) mod N] = x[i]; without `dims` the values shift in reading order.

    Raises:
        ShapeError: there are more shifts than dimensions, or fewer.
    """
    steps = integers("roll", "a shift", (shifts,))
    axes = () if dims is None else integers("roll", "a dimension", (dims,))
    if not axes and len(steps) == 1:
        return view_as(rolled(flatten(input), steps, (0,)), input.shape)
    if len(steps) != len(axes) or not steps:
        raise ShapeError(f"roll: shifts {steps} and dims {axes} must agree in number")
    return rolled(input, steps, tuple(there_is("roll", axis, input) for axis in axes))


def rot90(input: Any, k: int = 1, dims: Sequence[int] = (0, 1)) -> Any:
    """Return the tensor turned by k quarters in the plane of two dimensions, first towards second.

    y[N - 1 - j,i] = x[i,j] (k 1)

    Raises:
        ArgumentError: `dims` does not name two different dimensions.
    """
    if input.ndim < 2 or len(dims) != 2:
        raise ArgumentError(f"rot90: needs two dimensions, got {dims} and shape {input.shape}")
    first, second = (counted_from_front("rot90", d, input.ndim) for d in dims)
    if first == second:
        raise ArgumentError(f"rot90: the dimensions {dims} must be different")
    if k % 4 == 0:
        return flip(input)
    if k % 4 == 2:
        return flip(input, first, second)
    return flip(transpose(input, first, second), first if k % 4 == 1 else second)


def fliplr(input: Any) -> Any:
    """Return the tensor with the order of its columns reversed.

    y[i,j] = x[i,N - 1 - j]

    Raises:
        ShapeError: there are less than two dimensions.
    """
    if input.ndim < 2:
        raise ShapeError(f"fliplr: needs at least two dimensions, got shape {input.shape}")
    return flip(input, 1)


def flipud(input: Any) -> Any:
    """Return the tensor with the order of its rows reversed.

    y[i,j] = x[N - 1 - i,j]

    Raises:
        ShapeError: there are no dimensions.
    """
    if input.ndim < 1:
        raise ShapeError("flipud: needs at least one dimension, got a single value")
    return flip(input, 0)


def repeat(input: Any, *repeats: Any) -> Any:
    """Return copies of the tensor side by side, repeats[i] of them along dimension i.

    y[i] = x[i mod N]

    Raises:
        ShapeError: there are fewer numbers than dimensions, or one is negative.
    """
    counts = integers("repeat", "a number", repeats)
    added = len(counts) - input.ndim
    if added < 0 or min(counts, default=0) < 0:
        raise ShapeError(f"repeat: {input.shape} needs a number for each dimension, got {counts}")
    sizes = (*[1] * added, *input.shape)
    apart = [n for pair in zip(counts, sizes, strict=True) for n in pair]
    of_one = view_as(input, tuple(n if i % 2 else 1 for i, n in enumerate(apart)))
    together = tuple(count * n for count, n in zip(counts, sizes, strict=True))
    return view_as(clone(broadcast_to(of_one, tuple(apart))), together)


def tile(input: Any, *dims: Any) -> Any:
    """Return copies of the tensor side by side; numbers that are missing at the front are 1.

    y[i] = x[i mod N]

    Raises:
        ShapeError: a number is negative.
    """
    counts = integers("tile", "a number", dims)
    return repeat(input, (*[1] * (input.ndim - len(counts)), *counts))


def repeat_interleave(
    input: Any, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Any:
    """Return every value, or every slice along `dim`, several times in a row.

    y[i] = x[i // repeats]

    With a tensor of repeats, x[k] comes repeats[k] times.  A single argument is taken for the
    repeats of 0, 1, 2, ...

    >>> import minicnn
    >>> minicnn.repeat_interleave(minicnn.tensor([5, 7]), 2)
    tensor([5, 5, 7, 7])

    Raises:
        ShapeError: there are more repeats than slices, or fewer.
        ArgumentError: a number is negative.
    """
    if repeats is None:
        counts = _counts(input)
        repeated: Any = Tensor(np.repeat(np.arange(len(counts)), counts))
        position = 0
    else:
        if dim is None:
            input, dim = flatten(input), 0
        position, counts = there_is("repeat_interleave", dim, input), _counts(repeats)
        repeated = _repeated_in_a_row(input, counts, position)
    if output_size not in (None, repeated.shape[position]):
        raise ShapeError(
            f"repeat_interleave: output_size {output_size} is not {repeated.shape[position]}"
        )
    return repeated


def _repeated_in_a_row(x: Any, counts: Array, dim: int) -> Any:
    size = x.shape[dim]
    if counts.size == 1:
        count = int(counts.item())
        apart = unsqueeze(x, dim + 1)
        apart = broadcast_to(apart, (*apart.shape[: dim + 1], count, *apart.shape[dim + 2 :]))
        return view_as(clone(apart), (*x.shape[:dim], count * size, *x.shape[dim + 1 :]))
    if counts.shape != (size,):
        raise ShapeError(f"repeat_interleave: {counts.size} repeats for {size} slices")
    return get_item(x, (*[slice(None)] * dim, np.repeat(np.arange(size), counts)))


def _counts(repeats: Any) -> Array:
    counts = to_device(as_array(values_of(repeats)), "cpu")  # the shape depends on them
    if counts.dtype.kind not in "iu":
        raise DTypeError(f"repeat_interleave: repeats must be integers, got {counts.dtype}")
    if counts.ndim > 1:
        raise ShapeError(f"repeat_interleave: repeats must be a vector, got shape {counts.shape}")
    if counts.size and counts.min() < 0:
        raise ArgumentError(f"repeat_interleave: repeats must not be negative, got {counts.min()}")
    return counts


# --- overlapping windows --------------------------------------------------------------------------


@differentiable
def sliding(x: Array, /, dim: int, size: int, step: int) -> Array:
    """y[...,i,...,k] = x[...,i * step + k,...]: overlapping windows."""
    count = (x.shape[dim] - size) // step + 1
    shape = *x.shape[:dim], count, *x.shape[dim + 1 :], size
    strides = *x.strides[:dim], step * x.strides[dim], *x.strides[dim + 1 :], x.strides[dim]
    return as_strided(x, shape, strides).copy("K")


@sliding.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, dim: int, size: int, step: int) -> Gradients:
    return lambda: sliding_sum(dy, x.shape, dim, size, step)


@differentiable
def sliding_sum(x: Array, /, shape: Shape, dim: int, size: int, step: int) -> Array:
    """y[...,i * step + k,...] += x[...,i,...,k]: lay the windows back on each other."""
    y = np.zeros_like(x, shape=shape)
    lines, windows = np.moveaxis(y, dim, 0), np.moveaxis(x, dim, 0)
    for k in range(size):
        lines[k : k + step * len(windows) : step] += windows[..., k]
    return y


@sliding_sum.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, shape: Shape, dim: int, size: int, step: int) -> Gradients:
    return lambda: sliding(dy, dim, size, step)


def unfold(input: Any, dimension: int, size: int, step: int) -> Any:
    """Return the windows of `size` positions, `step` apart, along a dimension: the method `unfold`.

    y[i,...,k] = x[i * step + k,...] (dimension 0)

    Raises:
        ShapeError: no window fits.
        ArgumentError: `step` is not positive, or `size` is negative.
    """
    position = counted_from_front("unfold", dimension, input.ndim)
    x = input if input.ndim else view_as(input, (1,))
    if step < 1 or size < 0:
        raise ArgumentError(f"unfold: needs size >= 0 and step > 0, got {size} and {step}")
    if size > x.shape[position]:
        raise ShapeError(f"unfold: no window of {size} fits dimension {dimension} of {x.shape}")
    windows = sliding(x, position, size, step)
    return windows if input.ndim else view_as(windows, (size,))
