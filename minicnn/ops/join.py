"""Several tensors to one and one to several, spelled with `cat`, `stack` and slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minicnn.errors import ArgumentError, DTypeError, ShapeError
from minicnn.ops.broadcast import broadcast_to
from minicnn.ops.indexing import integer, select, there_is
from minicnn.ops.shape import (
    cat,
    flatten,
    integers,
    pad_with,
    shapes_of,
    size_to_split,
    slices,
    stack,
    transpose,
    unsqueeze,
    view_as,
)
from minicnn.tensor import values_of

__all__ = [
    "atleast_1d", "atleast_2d", "atleast_3d", "block_diag", "cartesian_prod", "dstack", "hstack",
    "meshgrid", "tensor_split", "unbind", "vstack",
]  # fmt: skip


def atleast_1d(*tensors: Any) -> Any:
    """Return a single value as a vector, anything else as it is; several tensors as a tuple."""
    return _each(tensors, lambda x: view_as(x, (1,)) if x.ndim == 0 else x)


def atleast_2d(*tensors: Any) -> Any:
    """Return a single value or a vector as a matrix of one row; several tensors as a tuple."""
    return _each(tensors, lambda x: view_as(x, (1, *(x.shape or (1,)))) if x.ndim < 2 else x)


def atleast_3d(*tensors: Any) -> Any:
    """Return a vector in the shape (1, N, 1), a matrix as (N, M, 1); several tensors as a tuple."""

    def grown(x: Any) -> Any:
        return unsqueeze(atleast_2d(x), -1) if x.ndim < 3 else x

    return _each(tensors, grown)


def _each(tensors: tuple[Any, ...], grown: Any) -> Any:
    if len(tensors) == 1 and not isinstance(tensors[0], (tuple, list)):
        return grown(tensors[0])
    several = tensors[0] if len(tensors) == 1 else tensors
    return tuple(grown(x) for x in several)


def hstack(tensors: Sequence[Any]) -> Any:
    """Return the tensors beside each other: along the columns, vectors end to end.

    Raises:
        ShapeError: the other sizes differ.
    """
    shapes_of("hstack", tensors)
    grown = [atleast_1d(x) for x in tensors]
    return cat(grown, 0 if grown[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Any]) -> Any:
    """Return the tensors below each other: along the rows, each vector as a row.

    Raises:
        ShapeError: the other sizes differ.
    """
    shapes_of("vstack", tensors)
    return cat([atleast_2d(x) for x in tensors])


def dstack(tensors: Sequence[Any]) -> Any:
    """Return the tensors behind each other: along the third dimension.

    Raises:
        ShapeError: the other sizes differ.
    """
    shapes_of("dstack", tensors)
    return cat([atleast_3d(x) for x in tensors], 2)


def block_diag(*tensors: Any) -> Any:
    """Return a matrix with the tensors along its diagonal, and 0 elsewhere; a vector is a row.

    Raises:
        ShapeError: a tensor has more than two dimensions.
    """
    shapes = shapes_of("block_diag", tensors)
    if any(len(shape) > 2 for shape in shapes):
        raise ShapeError(f"block_diag: needs matrices, got shapes {shapes}")
    blocks = [atleast_2d(x) for x in tensors]
    ends = np.cumsum([block.shape[1] for block in blocks]).tolist()
    return cat([
        pad_with(block, ((0, 0), (end - block.shape[1], ends[-1] - end)))
        for block, end in zip(blocks, ends, strict=True)
    ])  # fmt: skip


def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Any, ...]:
    """Return for each vector its values over the grid that all of them span, without a copy.

    y_0[i,j] = x_0[i], y_1[i,j] = x_1[j]; with indexing "xy" the first two dimensions are exchanged.

    Raises:
        ShapeError: a tensor has several dimensions, or there is none.
        DTypeError: the element types differ.
        ArgumentError: `indexing` is neither "ij" nor "xy".
    """
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
    shapes = shapes_of("meshgrid", tensors)
    if any(len(shape) > 1 for shape in shapes):
        raise ShapeError(f"meshgrid: needs vectors, got shapes {shapes}")
    if len({x.dtype for x in tensors}) > 1:
        raise DTypeError(f"meshgrid: element types differ: {[str(x.dtype) for x in tensors]}")
    if indexing not in (None, "ij", "xy"):
        raise ArgumentError(f'meshgrid: indexing must be "ij" or "xy", got {indexing!r}')
    vectors = [atleast_1d(x) for x in tensors]
    size, ones = tuple(len(x) for x in vectors), [1] * (len(vectors) - 1)
    grids = [
        broadcast_to(view_as(x, (*ones[:i], len(x), *ones[i:])), size)
        for i, x in enumerate(vectors)
    ]
    swapped = indexing == "xy" and len(grids) > 1
    return tuple(transpose(grid, 0, 1) if swapped else grid for grid in grids)


def cartesian_prod(*tensors: Any) -> Any:
    """Return all combinations of one value from each vector, as the rows of a matrix.

    Raises:
        ShapeError: a tensor is no vector, or there is none.
    """
    shapes = shapes_of("cartesian_prod", tensors)
    if any(len(shape) != 1 for shape in shapes):
        raise ShapeError(f"cartesian_prod: needs vectors, got shapes {shapes}")
    if len(tensors) == 1:
        return tensors[0]
    return stack([flatten(grid) for grid in meshgrid(*tensors)], 1)


def tensor_split(input: Any, indices_or_sections: Any, dim: int = 0) -> tuple[Any, ...]:
    """Return pieces along `dim`: a number of them, as even as can be, or cut at given positions.

    Raises:
        ArgumentError: the number of pieces is not positive.
        ShapeError: a single value cannot be split.
        DTypeError: neither an integer, nor a tuple of them, nor a tensor of int64.
    """
    total, given = size_to_split("tensor_split", input, dim), indices_or_sections
    if hasattr(given, "dtype"):
        if given.dtype != np.int64 or given.ndim > 1:
            raise DTypeError(
                f"tensor_split: positions must be a vector of int64, got {given.dtype} of shape "
                f"{given.shape}"
            )
        given = values_of(given).tolist()
    if isinstance(given, (tuple, list)):
        cuts = integers("tensor_split", "a position", tuple(given))
    else:
        sections = integer("tensor_split", "sections", given)
        if sections < 1:
            raise ArgumentError(f"tensor_split: sections must be positive, got {sections}")
        larger, size = total % sections, total // sections
        cuts = tuple(i * size + min(i, larger) for i in range(1, sections))
    return slices("tensor_split", input, dim, list(zip((0, *cuts), (*cuts, None), strict=True)))


def unbind(input: Any, dim: int = 0) -> tuple[Any, ...]:
    """Return the slices at each position of a dimension.

    Raises:
        IndexOutOfRange: there is no such dimension.
    """
    position = there_is("unbind", dim, input)
    return tuple(select(input, position, i) for i in range(input.shape[position]))
