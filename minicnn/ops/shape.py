"""The same values in another arrangement; every gradient arranges them back."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import prod
from typing import Any

import numpy as np

from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.errors import ArgumentError, DTypeError, ShapeError
from minicnn.ops.broadcast import Shape, broadcast_to, expanded
from minicnn.ops.indexing import dimension, dimensions, index, integer
from minicnn_kernels.reference.copying import assign, concatenated, copied

__all__ = [
    "adjoint", "cat", "chunk", "clone", "concat", "concatenate", "flatten", "flip", "moveaxis",
    "movedim", "numel", "permute", "ravel", "reshape", "split", "squeeze", "stack", "swapaxes",
    "swapdims", "t", "transpose", "unflatten", "unsqueeze",
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
    shape = tuple(n + a + b for n, (a, b) in zip(x.shape, widths, strict=True))
    y = np.empty_like(x, shape=shape)
    if y.size > x[cut].size:
        y[...] = number_of("pad", value, x.dtype)
    inside = tuple(slice(max(a, 0), n - max(b, 0)) for n, (a, b) in zip(shape, widths, strict=True))
    assign(y[inside], x[cut])
    return y


@pad_with.gradient(saves="")
def _(
    dy: Array, y: Array, x: Array, *, widths: tuple[tuple[int, int], ...], value: float
) -> Gradients:
    back = tuple((-a, -b) for a, b in widths)
    return lambda: pad_with(dy, back)


@differentiable
def joined(*tensors: Array, dim: int) -> Array:
    """y = the tensors one after the other along a dimension."""
    return concatenated(tensors, dim)


@joined.gradient(saves="")
def _(dy: Array, y: Array, *tensors: Array, dim: int) -> Gradients:
    ends = np.cumsum([t.shape[dim] for t in tensors]).tolist()

    def part(end: int, size: int) -> Any:
        return index(dy, (*[slice(None)] * dim, slice(end - size, end)))

    return tuple(
        (lambda end=end, size=t.shape[dim]: part(end, size))
        for t, end in zip(tensors, ends, strict=True)
    )


@differentiable
def clone(x: Array, /) -> Array:
    """y = x in memory of its own, in reading order."""
    return copied(x)


@clone.gradient(saves="")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy


def number_of(op: str, value: float, dtype: Any) -> Any:
    """Return a number as NumPy's of a given element type.

    Raises:
        ArgumentError: the type cannot hold it; negative integers wrap around.
    """
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        lowest = -limits.max if isinstance(value, int) else limits.min
        if not lowest <= value <= limits.max:
            raise ArgumentError(f"{op}: {dtype} cannot hold {value}")
    return np.asarray(value).astype(dtype)[()]


# --- the same order of reading, another shape -----------------------------------------------------


def integers(op: str, name: str, values: tuple[Any, ...]) -> Shape:
    """Accept `f(2, 3)` and `f((2, 3))` alike.

    Raises:
        DTypeError: one is no integer.
    """
    if len(values) == 1 and isinstance(values[0], (tuple, list)):
        values = tuple(values[0])
    return tuple(integer(op, name, value) for value in values)


def fitting(op: str, old: Shape, sizes: Shape) -> Shape:
    """Return sizes for the values of shape `old`; one may be -1, to be worked out.

    Raises:
        ShapeError: the number of values does not fit.
    """
    total, known = prod(old), prod(n for n in sizes if n != -1)
    if sizes.count(-1) == 1 and known > 0 and total % known == 0:
        sizes = tuple(total // known if n == -1 else n for n in sizes)
    if min(sizes, default=0) < 0 or prod(sizes) != total:
        raise ShapeError(f"{op}: {old} ({total} values) does not fit {sizes}")
    return sizes


def reshape(input: Any, *shape: Any) -> Any:
    """Return the values in another shape; one size may be -1, to be worked out.

    Memory is shared where possible; `view`, the same function, copies too where PyTorch's refuses.

    Raises:
        ShapeError: the number of values does not fit.
    """
    return view_as(input, fitting("reshape", input.shape, integers("reshape", "a size", shape)))


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Return the tensor with the dimensions from start_dim to end_dim made one.

    Raises:
        ArgumentError: start_dim comes after end_dim.
    """
    first, last = (dimension("flatten", d, input.ndim) for d in (start_dim, end_dim))
    if first > last:
        raise ArgumentError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    shape = input.shape
    return view_as(input, (*shape[:first], prod(shape[first : last + 1]), *shape[last + 1 :]))


def ravel(input: Any) -> Any:
    """Return the values as a vector."""
    return flatten(input)


def unflatten(input: Any, dim: int, sizes: Sequence[int]) -> Any:
    """Return the tensor with one dimension made several; one size may be -1, to be worked out.

    Raises:
        ShapeError: the sizes do not multiply up to that of the dimension.
    """
    position = dimension("unflatten", dim, input.ndim)
    if not isinstance(sizes, (tuple, list)):
        raise DTypeError(f"unflatten: sizes must be a tuple of integers, got {sizes!r}")
    if len(sizes) == 0 or input.ndim == 0:
        raise ShapeError(f"unflatten: {input.shape} does not unflatten to sizes {sizes}")
    shape = input.shape
    parts = integers("unflatten", "a size", tuple(sizes))
    parts = fitting("unflatten", shape[position : position + 1], parts)
    return view_as(input, (*shape[:position], *parts, *shape[position + 1 :]))


def squeeze(input: Any, dim: int | tuple[int, ...] | None = None) -> Any:
    """Return the tensor without its dimensions of size 1, or without those of `dim`."""
    every = tuple(range(input.ndim))
    dropped = every if dim is None else dimensions("squeeze", dim, input.ndim)
    shape = enumerate(input.shape)
    return view_as(input, tuple(n for i, n in shape if n != 1 or i not in dropped))


def unsqueeze(input: Any, dim: int) -> Any:
    """Return the tensor with a dimension of size 1 put in at `dim`."""
    position = dimension("unsqueeze", dim, input.ndim + 1)
    return view_as(input, (*input.shape[:position], 1, *input.shape[position:]))


def expand(input: Any, *size: Any) -> Any:
    """Return the tensor repeated to `size` without a copy; -1 keeps a size.

    Raises:
        ShapeError: a size other than 1 would have to change.
    """
    sizes = integers("expand", "a size", size)
    return broadcast_to(input, expanded("expand", input.shape, sizes))


def numel(input: Any) -> int:
    """Return the number of values."""
    return prod(input.shape)


# --- the dimensions in another order --------------------------------------------------------------


def permute(input: Any, *dims: Any) -> Any:
    """Return the tensor with its dimensions in another order.

    y[i_dims[0], i_dims[1], ...] = x[i_0, i_1, ...]

    Raises:
        ArgumentError: a dimension is not named, or named twice.
    """
    named = integers("permute", "a dimension", dims)
    if len(named) == input.ndim:
        named = tuple(dimension("permute", d, input.ndim) for d in named)
    if sorted(named) != list(range(input.ndim)):
        raise ArgumentError(f"permute: {dims} must name each of {input.ndim} dimensions once")
    return permute_dims(input, named)


def transpose(input: Any, dim0: int, dim1: int) -> Any:
    """Return the tensor with two dimensions exchanged.

    y[j,i] = x[i,j]
    """
    order = list(range(input.ndim))
    i, j = (dimension("transpose", d, input.ndim) for d in (dim0, dim1))
    if order:
        order[i], order[j] = order[j], order[i]
    return permute_dims(input, tuple(order))


def swapaxes(input: Any, axis0: int, axis1: int) -> Any:
    """Return the tensor with two dimensions exchanged, as `transpose`."""
    return transpose(input, axis0, axis1)


swapdims = transpose


def t(input: Any) -> Any:
    """Return a matrix with rows and columns exchanged; a vector or a single value as it is.

    y[j,i] = x[i,j]

    Raises:
        ShapeError: there are more than two dimensions.
    """
    if input.ndim > 2:
        raise ShapeError(f"t: needs a matrix, got shape {input.shape}; use .mT or transpose")
    return permute_dims(input, tuple(reversed(range(input.ndim))))


def adjoint(input: Any) -> Any:
    """Return the matrices of a batch with rows and columns exchanged, as the property `mT`.

    y[...,j,i] = x[...,i,j]

    Raises:
        ShapeError: the tensor is a vector.
    """
    if input.ndim == 1:
        raise ShapeError(f"mT: needs a matrix or a batch of them, got shape {input.shape}")
    return transpose(input, -1, -2)


def movedim(input: Any, source: int | tuple[int, ...], destination: int | tuple[int, ...]) -> Any:
    """Return the tensor with dimensions moved to other places; the others keep their order.

    Raises:
        ArgumentError: there are more sources than destinations or fewer, or one is named twice.
    """
    sources, targets = (dimensions("movedim", d, input.ndim) for d in (source, destination))
    if len(sources) != len(targets):
        raise ArgumentError(f"movedim: as many sources {source} as destinations {destination}")
    order = [dim for dim in range(input.ndim) if dim not in sources]
    for target, moved in sorted(zip(targets, sources, strict=True)):
        order.insert(target, moved)
    return permute_dims(input, tuple(order[: input.ndim]))  # a single value has none to move


moveaxis = movedim


def flip(input: Any, *dims: Any) -> Any:
    """Return a copy of the tensor with the order along each of `dims` reversed.

    y[i] = x[N - 1 - i]
    """
    flipped = dimensions("flip", integers("flip", "a dimension", dims), input.ndim)
    steps = (slice(None, None, -1 if i in flipped else 1) for i in range(input.ndim))
    return clone(index(input, tuple(steps)))


# --- several tensors to one, one to several -------------------------------------------------------


def shapes_of(op: str, tensors: Any) -> list[Shape]:
    """Return the shapes of a sequence of tensors.

    Raises:
        DTypeError: it is no tuple or list of tensors.
        ShapeError: it is empty.
    """
    if not isinstance(tensors, (tuple, list)) or not all(hasattr(t, "shape") for t in tensors):
        raise DTypeError(f"{op}: needs a tuple or list of tensors, got {type(tensors).__name__}")
    if len(tensors) == 0:
        raise ShapeError(f"{op}: needs at least one tensor")
    return [tuple(t.shape) for t in tensors]


def cat(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Return the tensors one after the other along `dim`; a vector without values fits anywhere.

    >>> import minicnn
    >>> minicnn.cat([minicnn.ones(1, 2), minicnn.zeros(2, 2)]).shape
    (3, 2)

    Raises:
        ShapeError: sizes differ in another dimension, or there is no tensor.
    """
    shapes = shapes_of("cat", tensors)
    model = next((shape for shape in shapes if shape != (0,)), (0,))
    position = dimension("cat", dim, len(model))
    nothing = (*model[:position], 0, *model[position + 1 :])
    fitted = [view_as(t, nothing) if t.shape == (0,) else t for t in tensors]
    others = {(*t.shape[:position], 0, *t.shape[position + 1 :]) for t in fitted}
    if others != {nothing} or not model:
        raise ShapeError(f"cat: shapes {shapes} may differ only in dimension {dim}")
    return joined(*fitted, dim=position)


concat = concatenate = cat


def stack(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Return the tensors, all of one shape, side by side along a new dimension.

    y[i,k] = tensors[k][i] (dim 1)

    Raises:
        ShapeError: two shapes differ, or there is no tensor.
    """
    shapes = shapes_of("stack", tensors)
    if len(set(shapes)) != 1:
        raise ShapeError(f"stack: needs tensors of one shape, got {shapes}")
    return joined(
        *(unsqueeze(t, dim) for t in tensors), dim=dimension("stack", dim, len(shapes[0]) + 1)
    )


def slices(op: str, x: Any, dim: int, bounds: Sequence[tuple[int, int | None]]) -> tuple[Any, ...]:
    """Return the pieces of x between pairs of positions along a dimension, without a copy."""
    before = [slice(None)] * dimension(op, dim, x.ndim)
    return tuple(index(x, (*before, slice(start, end))) for start, end in bounds)


def split(
    tensor: Any, split_size_or_sections: int | Sequence[int], dim: int = 0
) -> tuple[Any, ...]:
    """Return pieces along `dim`: of one size (the last may be smaller), or of given sizes.

    Raises:
        ShapeError: the sizes do not add up to that of the dimension.
        ArgumentError: the size of a piece is not positive.
    """
    total, sizes = size_to_split("split", tensor, dim), split_size_or_sections
    if not isinstance(sizes, (tuple, list)):
        piece = integer("split", "split_size", sizes)
        if piece < 0 or (piece == 0 and total):
            raise ArgumentError(f"split: the size of a piece must be positive, got {piece}")
        sizes = [min(piece, total - start) for start in range(0, max(total, 1), piece or 1)]
    sizes = integers("split", "a size", tuple(sizes))
    if sum(sizes) != total or min(sizes, default=0) < 0:
        raise ShapeError(f"split: sizes {list(sizes)} must add up to {total} (dimension {dim})")
    bounds = [(end - n, end) for n, end in zip(sizes, accumulate(sizes), strict=True)]
    return slices("split", tensor, dim, bounds)


def chunk(input: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """Return at most `chunks` pieces of one size along `dim`; the last may be smaller.

    Raises:
        ArgumentError: `chunks` is not positive.
    """
    if chunks < 1:
        raise ArgumentError(f"chunk: chunks must be positive, got {chunks}")
    size = size_to_split("chunk", input, dim)
    return split(input, -(-size // chunks) if size else [0] * chunks, dim)


def size_to_split(op: str, x: Any, dim: int) -> int:
    """Return the size of a dimension.

    Raises:
        ShapeError: a single value has no dimensions.
        IndexOutOfRange: there is no such dimension.
    """
    if x.ndim == 0:
        raise ShapeError(f"{op}: a tensor without dimensions cannot be split")
    size: int = x.shape[dimension(op, dim, x.ndim)]
    return size
