"""The same values in another arrangement; every gradient arranges them back."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.errors import ArgumentError, ShapeError
from minicnn.ops.broadcast import Shape, broadcast_to
from minicnn.ops.indexing import dimension, index

__all__ = [
    "cat", "chunk", "concat", "flatten", "flip", "movedim", "permute", "reshape", "split",
    "squeeze", "stack", "transpose", "unsqueeze",
]  # fmt: skip


@differentiable
def view_as(x: Array, /, shape: Shape) -> Array:
    """y has the values of x in the same reading order, in another shape."""
    return x.reshape(shape)


@view_as.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, shape: Shape) -> Gradients:
    return lambda: view_as(dy, x.shape)


@differentiable
def permute_dims(x: Array, /, dims: Shape) -> Array:
    """y[i_dims[0], i_dims[1], ...] = x[i_0, i_1, ...]."""
    return x.transpose(dims)


@permute_dims.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, dims: Shape) -> Gradients:
    back = tuple(dims.index(i) for i in range(len(dims)))
    return lambda: permute_dims(dy, back)


@differentiable
def pad_with(x: Array, /, widths: tuple[tuple[int, int], ...], value: float = 0.0) -> Array:
    """y = x with `value` around it: (before, after) for each dimension; negative widths cut off."""
    cut = tuple(
        slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(x.shape, widths, strict=True)
    )
    added = [(max(a, 0), max(b, 0)) for a, b in widths]
    return np.pad(x[cut], added, constant_values=value)


@pad_with.gradient(saves="")
def _(
    dy: Array, y: Array, x: Array, *, widths: tuple[tuple[int, int], ...], value: float
) -> Gradients:
    back = tuple((-a, -b) for a, b in widths)
    return lambda: pad_with(dy, back)


@differentiable
def concatenate(*tensors: Array, dim: int) -> Array:
    """y = the tensors one after the other along a dimension."""
    return np.concatenate(tensors, axis=dim)


@concatenate.gradient(saves="")
def _(dy: Array, y: Array, *tensors: Array, dim: int) -> Gradients:
    ends = np.cumsum([t.shape[dim] for t in tensors]).tolist()

    def part(end: int, size: int) -> Any:
        return index(dy, (*[slice(None)] * dim, slice(end - size, end)))

    return tuple(
        (lambda end=end, size=t.shape[dim]: part(end, size))
        for t, end in zip(tensors, ends, strict=True)
    )


# --- PyTorch's names, spelled with the operations above -------------------------------------------


def _integers(values: tuple[Any, ...]) -> Shape:
    """Accept `f(2, 3)` and `f((2, 3))` alike."""
    if len(values) == 1 and isinstance(values[0], (tuple, list)):
        values = tuple(values[0])
    return tuple(operator.index(value) for value in values)


def reshape(x: Any, *shape: Any) -> Any:
    """Return x in another shape; one size may be -1, to be worked out.

    Raises:
        ShapeError: the number of values does not fit.
    """
    sizes = _integers(shape)
    total = int(np.prod(x.shape))
    if -1 in sizes:
        known = int(np.prod([n for n in sizes if n != -1]))
        if sizes.count(-1) > 1 or min(sizes) < -1 or known == 0 or total % known:
            raise ShapeError(f"reshape: {x.shape} ({total} values) does not fit {sizes}")
        sizes = tuple(total // known if n == -1 else n for n in sizes)
    if int(np.prod(sizes)) != total or any(n < 0 for n in sizes):
        raise ShapeError(f"reshape: {x.shape} ({total} values) does not fit {sizes}")
    return view_as(x, sizes)


def permute(x: Any, *dims: Any) -> Any:
    """Return x with its dimensions in another order."""
    order = tuple(dimension("permute", d, x.ndim) for d in _integers(dims))
    if sorted(order) != list(range(x.ndim)):
        raise ArgumentError(f"permute: {dims} must name each of {x.ndim} dimensions once")
    return permute_dims(x, order)


def transpose(x: Any, dim0: int, dim1: int) -> Any:
    """Return x with two dimensions exchanged."""
    order = list(range(x.ndim))
    i, j = (dimension("transpose", d, x.ndim) for d in (dim0, dim1))
    if x.ndim:
        order[i], order[j] = order[j], order[i]
    return permute_dims(x, tuple(order))


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Return x with the dimensions from start_dim to end_dim made one."""
    first, last = (dimension("flatten", d, x.ndim) for d in (start_dim, end_dim))
    if first > last:
        raise ArgumentError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    middle = int(np.prod(x.shape[first : last + 1]))
    return view_as(x, (*x.shape[:first], middle, *x.shape[last + 1 :]))


def squeeze(x: Any, dim: int | tuple[int, ...] | None = None) -> Any:
    """Return x without its dimensions of size 1, or without those of `dim`."""
    dims = range(x.ndim) if dim is None else dim if isinstance(dim, tuple) else (dim,)
    dropped = {dimension("squeeze", d, x.ndim) for d in dims}
    return view_as(x, tuple(n for i, n in enumerate(x.shape) if n != 1 or i not in dropped))


def unsqueeze(x: Any, dim: int) -> Any:
    """Return x with a dimension of size 1 put in at `dim`."""
    position = dimension("unsqueeze", dim, x.ndim + 1)
    return view_as(x, (*x.shape[:position], 1, *x.shape[position:]))


def expand(x: Any, *shape: Any) -> Any:
    """Return x repeated to `shape` without a copy; -1 keeps a size.

    Raises:
        ShapeError: a size other than 1 would have to change.
    """
    sizes = _integers(shape)
    added = len(sizes) - x.ndim
    if added < 0 or any(n == -1 for n in sizes[:added]):
        raise ShapeError(f"expand: {x.shape} does not expand to {sizes}")
    target = tuple(x.shape[i - added] if n == -1 else n for i, n in enumerate(sizes))
    if min(target, default=0) < 0 or any(
        old not in (1, new) for old, new in zip(x.shape, target[added:], strict=True)
    ):
        raise ShapeError(f"expand: {x.shape} does not expand to {sizes}")
    return broadcast_to(x, target)


def cat(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Return the tensors one after the other along `dim`.

    >>> import minicnn
    >>> minicnn.cat([minicnn.ones(1, 2), minicnn.zeros(2, 2)]).shape
    (3, 2)

    Raises:
        ShapeError: sizes differ in another dimension, or there is no tensor.
    """
    if len(tensors) == 0:
        raise ShapeError("cat: needs at least one tensor")
    shapes = [tuple(t.shape) for t in tensors]
    position = dimension("cat", dim, len(shapes[0]))
    others = {shape[:position] + shape[position + 1 :] for shape in shapes}
    if len({len(shape) for shape in shapes}) > 1 or len(others) > 1 or not shapes[0]:
        raise ShapeError(f"cat: shapes {shapes} may differ only in dimension {dim}")
    return concatenate(*tensors, dim=position)


concat = cat


def stack(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Return the tensors, all of one shape, side by side along a new dimension."""
    shapes = [tuple(t.shape) for t in tensors]
    if len(set(shapes)) != 1:
        raise ShapeError(f"stack: needs tensors of one shape, got {shapes}")
    return cat([unsqueeze(t, dim) for t in tensors], dimension("stack", dim, len(shapes[0]) + 1))


def split(x: Any, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Any, ...]:
    """Return pieces of x along `dim`: of one size (the last may be smaller), or of given sizes."""
    position = dimension("split", dim, x.ndim)
    total, sizes = x.shape[position], split_size_or_sections
    if isinstance(sizes, int):
        if sizes < 1:
            raise ArgumentError(f"split: the size of a piece must be positive, got {sizes}")
        sizes = [min(sizes, total - start) for start in range(0, max(total, 1), sizes)]
    if sum(sizes) != total or min(sizes, default=0) < 0:
        raise ShapeError(f"split: sizes {list(sizes)} must add up to {total} (dimension {dim})")
    ends = np.cumsum(sizes).tolist()
    before = [slice(None)] * position
    return tuple(
        index(x, (*before, slice(end - n, end))) for n, end in zip(sizes, ends, strict=True)
    )


def chunk(x: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """Return x in at most `chunks` pieces along `dim`."""
    if chunks < 1:
        raise ArgumentError(f"chunk: chunks must be positive, got {chunks}")
    size = x.shape[dimension("chunk", dim, x.ndim)]
    return split(x, max(1, -(-size // chunks)), dim)


def flip(x: Any, dims: Sequence[int]) -> Any:
    """Return x with the order along each of `dims` reversed."""
    flipped = {dimension("flip", d, x.ndim) for d in dims}
    return index(x, tuple(slice(None, None, -1 if i in flipped else 1) for i in range(x.ndim)))


def movedim(x: Any, source: int, destination: int) -> Any:
    """Return x with one dimension moved to another place."""
    order = list(range(x.ndim))
    moved = order.pop(dimension("movedim", source, x.ndim))
    order.insert(dimension("movedim", destination, x.ndim), moved)
    return permute_dims(x, tuple(order))
