"""Taking values out by position, and its adjoint: adding them in."""

from __future__ import annotations

import operator
from math import prod
from typing import Any, NamedTuple

import numpy as np

import minicnn_kernels as kernels
from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.errors import ArgumentError, DTypeError, IndexOutOfRange, ShapeError
from minicnn.ops.broadcast import Shape, broadcast_shapes, broadcast_to
from minicnn.tensor import Tensor, values_of
from minicnn_kernels.arrays import as_array, at_hand, beside, taken_to

__all__ = [
    "argwhere", "gather", "index_select", "masked_select", "narrow", "nonzero", "select", "take",
    "take_along_dim",
]  # fmt: skip


class ValuesAndIndices(NamedTuple):
    """Values chosen along a dimension, and the positions where they stood."""

    values: Any
    indices: Tensor


class Along(NamedTuple):
    """The index that names position chosen[i,j] along a dimension at every place i, j.

    `chosen` has been checked, and nobody else may change it: compiled kernels trust it.
    """

    chosen: Array
    dim: int


@differentiable
def index(x: Array, /, where: Any) -> Array:
    """y = x[where], for slices, integers, and integer or boolean arrays."""
    if isinstance(where, Along):
        return kernels.take_along(x, where.chosen, dim=where.dim)
    y = x[where]
    if isinstance(y, np.generic):  # a copy of one value; the ellipsis makes it a view
        return x[(*where, ...) if isinstance(where, tuple) else (where, ...)]
    return y


@index.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, where: Any) -> Gradients:
    return lambda: index_sum(dy, where, x.shape)


@differentiable
def index_sum(values: Array, /, where: Any, shape: Shape) -> Array:
    """y[where] += values, from zeros: a position named twice receives both values."""
    y = np.zeros(shape, values.dtype, like=as_array(values))
    add_at(y, where, values)
    return y


@index_sum.gradient(saves="")
def _(dy: Array, y: Array, values: Array, *, where: Any, shape: Shape) -> Gradients:
    return lambda: index(dy, where)


def for_numpy(where: Any) -> Any:
    """Return an index as NumPy takes it."""
    if not isinstance(where, Along):
        return where
    grid: list[Array] = [
        beside(where.chosen, places)
        for places in np.ogrid[tuple(slice(n) for n in where.chosen.shape)]
    ]
    grid[where.dim] = where.chosen
    return tuple(grid)


def is_positions(part: Any) -> bool:
    """Say whether a part of an index is an array of positions."""
    return getattr(part, "ndim", 0) > 0 and part.dtype != bool


def add_at(y: Array, where: Any, values: Array) -> None:
    """Do y[where] += values in y, in reading order; a position named twice receives both."""
    if isinstance(where, Along):
        kernels.add_along(y, values, where.chosen, dim=where.dim)
        return
    parts = where if isinstance(where, tuple) else (where,)
    if not any(map(is_positions, parts)) or values.size == 0:
        y[where] += values
        return
    dim, chosen = len(parts) - 1, parts[-1]
    if is_whole(parts[:-1]) and values.size >= 32 * chosen.size:
        lines = values.reshape(*y.shape[:dim], chosen.size, *y.shape[dim + 1 :])
        kernels.add_lines(y, lines, chosen.reshape(-1) % y.shape[dim], dim=dim)
        return
    kernels.add_at(y.reshape(-1), places(parts, y.shape), values.reshape(-1))


def is_whole(parts: tuple[Any, ...]) -> bool:
    """Say whether all parts of an index are the slice `:`."""
    return all(isinstance(part, slice) and part == slice(None) for part in parts)


def places(parts: tuple[Any, ...], shape: Shape) -> Array:
    """Number the values of x[parts] by their places in x, which is read row by row.

    >>> places((slice(None), np.array([2, 0])), shape=(2, 3)).tolist()
    [2, 0, 5, 3]
    """
    first, last = next(i for i, part in enumerate(parts) if is_positions(part)), len(parts)
    if not (is_whole(parts[:first]) and all(map(is_positions, parts[first:]))):
        return np.arange(prod(shape), like=parts[first]).reshape(shape)[parts].reshape(-1)
    numbers: Any = 0
    for part, size in zip(parts[first:], shape[first:last], strict=True):
        numbers = numbers * size + np.where(part < 0, part + size, part)
    numbers = numbers.reshape(-1)
    if first:
        blocks = np.arange(prod(shape[:first]), like=numbers)[:, None] * prod(shape[first:last])
        numbers = (blocks + numbers).reshape(-1)
    row = prod(shape[last:])
    if row == 1:
        return numbers
    return (numbers[:, None] * row + np.arange(row, like=numbers)).reshape(-1)


# --- x[...] ---------------------------------------------------------------------------------------


def get_item(x: Any, where: Any) -> Any:
    """Return x[where]: slices, integers, None, ..., and integer or boolean arrays or tensors.

    >>> import minicnn
    >>> minicnn.tensor([[1.0, 2.0], [3.0, 4.0]])[:, -1]
    tensor([2., 4.])

    Raises:
        IndexOutOfRange: a position that is not there, or too many of them.
    """
    try:
        return index(*integers_first(x, frozen(where, values_of(x))))
    except IndexError as error:
        raise IndexOutOfRange(f"tensor[index]: shape {x.shape}: {error}") from None


def values_at(x: Any, where: Any) -> Any:
    """Return the values at positions that have been checked: a copy, even of a single value."""
    return index(x, where)


def frozen(where: Any, x: Array) -> Any:
    """Copy index arrays: the gradient uses them later, when the caller may have changed them.

    Positions on the CPU go to where x lies.
    """
    if isinstance(where, tuple) or is_list_of_indices(where):
        return tuple(frozen_part(part, x) for part in where)
    return frozen_part(where, x)


def is_list_of_indices(where: Any) -> bool:
    """Say whether PyTorch reads a list as a tuple: if it is short and holds more than numbers."""
    parts = (Tensor, np.ndarray, list, tuple, slice, type(None), type(...))
    return isinstance(where, list) and len(where) < 32 and any(isinstance(p, parts) for p in where)


def frozen_part(part: Any, x: Array) -> Any:
    """Copy what names positions along a dimension, or is a mask, as bytes are to PyTorch too."""
    if not (isinstance(part, (list, tuple)) or _is_array(part)):
        return part
    positions = as_array(values_of(list(part) if isinstance(part, tuple) else part)).copy("K")
    if positions.ndim == 0 and positions.dtype.kind in "iu" and positions.dtype != np.uint8:
        return positions.item()
    if positions.dtype == np.uint8:
        positions = positions.astype(bool)
    elif positions.size == 0 and positions.dtype != bool:  # an empty list
        positions = positions.astype(np.intp)
    return taken_to(x, positions)


def integers_first(x: Any, where: Any) -> tuple[Any, Any]:
    """Return x and an index for it, with the integers that stand beside arrays taken already.

    To PyTorch x[0, :, [1, 2]] is x[0][:, [1, 2]]; NumPy would see two arrays, 0 and [1, 2].
    """
    parts = where if isinstance(where, tuple) else (where,)
    integers = [isinstance(part, (int, np.integer)) for part in parts]
    if not any(integers) or not any(map(_is_array, parts)):
        return x, where
    first: list[Any] = []
    for part in parts:
        if _is_array(part):
            first += [slice(None)] * (part.ndim if part.dtype == bool else 1)
        else:
            first.append(part)
    later = (
        part if part is Ellipsis or _is_array(part) else slice(None)
        for part, is_integer in zip(parts, integers, strict=True)
        if not is_integer
    )
    return index(x, tuple(first)), tuple(later)


def _is_array(part: Any) -> bool:
    return hasattr(part, "ndim") and not isinstance(part, np.generic)


# --- the arguments of PyTorch's functions ---------------------------------------------------------


def dimension(op: str, dim: int, ndim: int) -> int:
    """Return a dimension counted from the front.

    Raises:
        IndexOutOfRange: there is no such dimension.
        DTypeError: it is not an integer.
    """
    dim = integer(op, "a dimension", dim)
    if not -max(ndim, 1) <= dim < max(ndim, 1):
        raise IndexOutOfRange(
            f"{op}: dimension {dim} is not there, the tensor has {ndim} dimensions"
        )
    return dim % max(ndim, 1)


def dimensions(op: str, dims: Any, ndim: int) -> Shape:
    """Return several dimensions, given as a tuple or as one integer, counted from the front.

    Raises:
        ArgumentError: one is named twice.
    """
    given = dims if isinstance(dims, (tuple, list)) else (dims,)
    found = tuple(dimension(op, dim, ndim) for dim in given)
    if len(set(found)) < len(found):
        raise ArgumentError(f"{op}: {dims} names a dimension twice, of {ndim}")
    return found


def there_is(op: str, dim: int, x: Any) -> int:
    """Return a dimension of x counted from the front; a tensor of one value has none.

    Raises:
        IndexOutOfRange: there is no such dimension.
    """
    if x.ndim == 0:
        raise IndexOutOfRange(f"{op}: dimension {dim} is not there, the tensor has none")
    return dimension(op, dim, x.ndim)


def integer(op: str, name: str, value: Any) -> int:
    """Return a whole number.

    Raises:
        DTypeError: the value is none.
    """
    try:
        return operator.index(value)
    except TypeError:
        raise DTypeError(f"{op}: {name} must be an integer, got {value!r}") from None


def positions_in(op: str, index: Any) -> Array:
    """Return the array of an argument that names positions.

    Raises:
        DTypeError: it does not hold integers.
    """
    chosen = as_array(values_of(index))
    if chosen.dtype.kind not in "iu":
        raise DTypeError(f"{op}: index must hold integers, got {chosen.dtype}; use .long()")
    return chosen.astype(np.intp, copy=False)


def check_inside(op: str, chosen: Array, size: int, first: int = 0) -> None:
    """Refuse positions outside of [first, size); those on a card are not looked at.

    Raises:
        IndexOutOfRange: there is one.
    """
    if at_hand(chosen) and chosen.size and not (first <= chosen.min() and chosen.max() < size):
        outside = chosen[(chosen < first) | (chosen >= size)]
        raise IndexOutOfRange(f"{op}: position {outside[0]} is not in [{first}, {size})")


def mask_of(op: str, mask: Any) -> Array:
    """Return the array of a boolean argument.

    Raises:
        DTypeError: it is not boolean.
    """
    values = as_array(values_of(mask))
    if values.dtype != bool:
        raise DTypeError(f"{op}: mask must be boolean, got {values.dtype}; compare, as in x > 0")
    return values


# --- along one dimension --------------------------------------------------------------------------


def select(input: Any, dim: int, index: int) -> Any:
    """Return the slice at one position of a dimension.

    y[i,k] = x[i,index,k] (dim 1)

    Raises:
        IndexOutOfRange: a dimension or a position that is not there.
    """
    position = there_is("select", dim, input)
    return get_item(input, (*[slice(None)] * position, integer("select", "index", index)))


def narrow(input: Any, dim: int, start: int, length: int) -> Any:
    """Return `length` positions of a dimension, from `start`, without a copy.

    y[i,j] = x[i,start + j] (dim 1)

    Raises:
        IndexOutOfRange: `start` is not there.
        ShapeError: `length` is negative, or reaches beyond the end.
    """
    if input.ndim == 0:
        raise ShapeError("narrow: a tensor without dimensions has nothing to narrow")
    position = dimension("narrow", dim, input.ndim)
    size, first = input.shape[position], integer("narrow", "start", start)
    if not -size <= first <= size:
        raise IndexOutOfRange(f"narrow: start {first} is not in [{-size}, {size}]")
    first += size if first < 0 else 0
    if length < 0 or first + length > size:
        raise ShapeError(f"narrow: no {length} positions from {first} in a dimension of {size}")
    return get_item(input, (*[slice(None)] * position, slice(first, first + length)))


def index_select(input: Any, dim: int, index: Any) -> Any:
    """Return the given positions of a dimension, as often as they are named.

    y[i,j,k] = x[i,index[j],k] (dim 1)

    Raises:
        IndexOutOfRange: a dimension or a position that is not there, or `index` is no vector.
    """
    return get_item(input, vector_along("index_select", input, dim, index))


def vector_along(
    op: str, x: Any, dim: int, index: Any, from_the_back: bool = False
) -> tuple[Any, ...]:
    """Return the full index of positions along a dimension; for a single value it is empty.

    Raises:
        IndexOutOfRange: a dimension or a position that is not there, or `index` is no vector.
        ShapeError: there is a single value, but not a single position.
    """
    position, chosen = dimension(op, dim, x.ndim), positions_in(op, index)
    size = (*x.shape, 1)[position]
    if chosen.ndim > 1:
        raise IndexOutOfRange(f"{op}: index must be a vector, got shape {chosen.shape}")
    check_inside(op, chosen, size, first=-size if from_the_back else 0)
    if x.ndim:
        return (*[slice(None)] * position, chosen.reshape(-1).astype(np.intp))
    if chosen.size != 1:
        raise ShapeError(f"{op}: one value, but {chosen.size} positions")
    return ()


def gather(input: Any, dim: int, index: Any, *, sparse_grad: bool = False) -> Any:
    """Return for every place of `index` the value at the position along `dim` that it names.

    y[i,j] = x[index[i,j],j] (dim 0)

    `index` may be smaller than the input in the other dimensions.  `sparse_grad` is accepted as in
    PyTorch; gradients are always dense.

    Raises:
        ShapeError: `index` has another number of dimensions, or is too large in one.
        IndexOutOfRange: a dimension or a position that is not there.
    """
    where = along("gather", input.shape, dim, index)
    return values_at(input if input.ndim else get_item(input, None), where)


def along(op: str, shape: Shape, dim: int, index: Any) -> Any:
    """Return the index of the places that `index` names along one dimension.

    Raises:
        ShapeError, IndexOutOfRange: as `gather`.
    """
    chosen, position = positions_in(op, index), dimension(op, dim, len(shape))
    if chosen.size == 0:
        return (chosen.astype(np.intp),) * max(len(shape), 1)
    if max(chosen.ndim, 1) != max(len(shape), 1):
        raise ShapeError(
            f"{op}: index {chosen.shape} must have as many dimensions as the tensor {shape}"
        )
    sizes = zip(chosen.shape, shape, strict=False)
    if any(n > size for i, (n, size) in enumerate(sizes) if i != position):
        raise ShapeError(
            f"{op}: index {chosen.shape} must not be larger than the tensor {shape} "
            f"but in dimension {dim}"
        )
    check_inside(op, chosen, (*shape, 1)[position])
    return Along(chosen.copy(), position) if chosen.ndim else (chosen.copy(),)


def take_along_dim(input: Any, indices: Any, dim: int | None = None) -> Any:
    """Return the values at positions along a dimension, as `argsort` gives them.

    y[i,j] = x[indices[i,j],j] (dim 0), where the other dimensions broadcast; without `dim`, as
    `take`, but always a vector.

    Raises:
        ShapeError: the dimensions do not agree in number, or do not broadcast.
        IndexOutOfRange: a dimension or a position that is not there.
    """
    chosen = positions_in("take_along_dim", indices)
    if dim is None:
        return take(input, chosen.reshape(-1))
    if chosen.ndim != input.ndim:
        raise ShapeError(
            f"take_along_dim: indices {chosen.shape} must have as many dimensions as the tensor "
            f"{input.shape}"
        )
    position = dimension("take_along_dim", dim, input.ndim)
    others = [(*n[:position], 1, *n[position + 1 :]) for n in (input.shape, chosen.shape)]
    common = broadcast_shapes(*others)

    def with_size(n: int) -> Shape:
        return (*common[:position], n, *common[position + 1 :])

    size = input.shape[position]
    check_inside("take_along_dim", chosen, size, first=-size)
    chosen = np.broadcast_to(chosen % size if size else chosen, with_size(chosen.shape[position]))
    return values_at(broadcast_to(input, with_size(-1)), Along(chosen, position))


def take(input: Any, index: Any) -> Any:
    """Return the values at positions in the reading order of the tensor, in the shape of `index`.

    y[i] = x.flatten()[index[i]]

    Raises:
        IndexOutOfRange: a position that is not there.
    """
    chosen, size = positions_in("take", index), prod(input.shape)
    check_inside("take", chosen, size, first=-size)
    return values_at(input.reshape(-1), (chosen.copy(),))


# --- where a condition holds ----------------------------------------------------------------------


def masked_select(input: Any, mask: Any) -> Any:
    """Return the values where the mask holds, as a vector; both are broadcast.

    y = x[mask]

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: the mask is not boolean.
    """
    chosen = mask_of("masked_select", mask)
    size = broadcast_shapes(input.shape, chosen.shape)
    return get_item(broadcast_to(input, size), np.broadcast_to(chosen, size))


def nonzero(input: Any, *, as_tuple: bool = False) -> Any:
    """Return where the values are not 0: a matrix with a row for each, or a tuple of its columns.

    >>> import minicnn
    >>> minicnn.nonzero(minicnn.tensor([[0, 5], [7, 0]]))
    tensor([[0, 1],
            [1, 0]])
    """
    values = values_of(input)
    if not as_tuple:
        return Tensor(_places_of(values))
    return tuple(Tensor(column) for column in _places_of(np.atleast_1d(values)).T)


def _places_of(values: Array) -> Array:
    """Return np.argwhere(values): the last position of each from one search through all values.

    The others are those of its row, and are worked out once for each row.
    """
    if values.ndim < 2:
        return np.argwhere(values)
    size = values.shape[-1]
    rows = values.reshape(prod(values.shape[:-1]), size) != 0
    if not at_hand(values):
        return np.argwhere(values)
    first = np.arange(len(rows))
    of_row = np.column_stack([*np.unravel_index(first, values.shape[:-1]), -first * size])
    found = np.repeat(of_row, np.count_nonzero(rows, axis=1), axis=0)
    found[:, -1] += np.flatnonzero(rows)
    return found


def argwhere(input: Any) -> Tensor:
    """Return where the values are not 0, as a matrix with a row for each."""
    found: Tensor = nonzero(input)
    return found
