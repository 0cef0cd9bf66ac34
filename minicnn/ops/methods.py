"""What PyTorch has only as a method of Tensor; `minicnn/ops/__init__.py` binds all of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn import factories, random
from minicnn.errors import ArgumentError, DTypeError, ShapeError
from minicnn.ops import arithmetic, elementwise
from minicnn.ops.indexing import there_is
from minicnn.ops.inplace import change
from minicnn.ops.rearrange import repeat, unfold
from minicnn.ops.shape import adjoint, clone, expand, permute, reshape, t
from minicnn.tensor import Tensor, values_of
from minicnn_kernels.arrays import Array, is_floating, taken_to

__all__ = [
    "H", "T", "contiguous", "dim", "element_size", "expand", "expand_as", "grad_fn",
    "is_contiguous", "is_floating_point", "itemsize", "mH", "mT", "nbytes", "ndimension",
    "nelement", "new_full", "new_ones", "new_tensor", "new_zeros", "normal_", "repeat",
    "reshape_as", "size", "stride", "type_as", "unfold", "uniform_", "view", "view_as", "where",
]  # fmt: skip


# --- other names ----------------------------------------------------------------------------------

view = reshape


def turned(x: Any) -> Any:
    """Return the tensor with all dimensions in the opposite order: the property `T`."""
    return permute(x, *reversed(range(x.ndim)))


def turned_matrix(x: Any) -> Any:
    """Return a matrix with rows and columns exchanged: the property `H`.

    Raises:
        ShapeError: the tensor is no matrix.
    """
    if x.ndim not in (0, 2):
        raise ShapeError(f"H: needs a matrix, got shape {x.shape}; use .mH for a batch of them")
    return t(x)


T, H, mT, mH = (property(turned), property(turned_matrix), property(adjoint), property(adjoint))


def expand_as(x: Any, other: Any) -> Any:
    """Return the tensor repeated to the shape of another without a copy."""
    return expand(x, other.shape)


def reshape_as(x: Any, other: Any) -> Any:
    """Return the values in the shape of another tensor."""
    return reshape(x, other.shape)


view_as = reshape_as


def type_as(x: Any, other: Any) -> Any:
    """Return the values in the element type of another tensor."""
    return x if x.dtype == other.dtype else elementwise.cast(x, other.dtype)


def where(x: Any, condition: Any, other: Any) -> Any:
    """Return the tensor's values where the condition holds, else those of the other."""
    return arithmetic.where(condition, x, other)


# --- what it is -----------------------------------------------------------------------------------


def size(x: Any, dim: int | None = None) -> Any:
    """Return the shape, or the size of one dimension."""
    return x.shape if dim is None else x.shape[there_is("size", dim, x)]


def dim(x: Any) -> int:
    """Return the number of dimensions."""
    return int(x.ndim)


ndimension = dim


def nelement(x: Any) -> int:
    """Return the number of values."""
    return int(values_of(x).size)


def element_size(x: Any) -> int:
    """Return the number of bytes of one value."""
    return int(x.dtype.itemsize)


def is_contiguous(x: Any) -> bool:
    """Say whether the values lie in memory in reading order, without gaps."""
    return bool(values_of(x).flags.c_contiguous)


def contiguous(x: Any) -> Any:
    """Return the tensor itself if its values lie in reading order, else a copy that does."""
    return x if is_contiguous(x) else clone(x)


def stride(x: Any, dim: int | None = None) -> Any:
    """Return how many values lie between neighbours, of each dimension or of one."""
    steps = tuple(step // x.dtype.itemsize for step in values_of(x).strides)
    return steps if dim is None else steps[there_is("stride", dim, x)]


def is_floating_point(x: Any) -> bool:
    """Say whether the values are floating-point numbers.

    Raises:
        DTypeError: this is no tensor.
    """
    if not hasattr(x, "dtype"):
        raise DTypeError(f"is_floating_point: needs a tensor, got {type(x).__name__}")
    return is_floating(x.dtype)


itemsize = property(element_size, doc="The number of bytes of one value.")
nbytes = property(lambda x: nelement(x) * element_size(x), doc="The number of bytes of all values.")
grad_fn = property(lambda x: x.node, doc="The recorded call that made the tensor: its `node`.")


# --- random numbers in place ----------------------------------------------------------------------


def normal_(x: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Overwrite the values with normal random numbers.

    Raises:
        ArgumentError: std is negative.
        DTypeError: the tensor does not hold floating-point numbers.
    """
    if not std >= 0:
        raise ArgumentError(f"normal_: std must not be negative, got {std}")
    return _drawn(x, "normal_", lambda generator: generator.normal(mean, std, x.shape))


def uniform_(x: Tensor, from_: float = 0.0, to: float = 1.0) -> Tensor:
    """Overwrite the values with uniform random numbers between two bounds.

    Raises:
        ArgumentError: the first bound is above the second.
        DTypeError: the tensor does not hold floating-point numbers.
    """
    if not from_ <= to:
        raise ArgumentError(f"uniform_: there is nothing in [{from_}, {to})")
    return _drawn(x, "uniform_", lambda generator: generator.uniform(from_, to, x.shape))


def _drawn(x: Tensor, name: str, draw: Callable[[np.random.Generator], Array]) -> Tensor:
    if not is_floating_point(x):
        raise DTypeError(f"{name}: the tensor must hold floating-point numbers, got {x.dtype}")

    def write(array: Array) -> None:
        numbers = draw(random.default.numpy_generator())
        np.copyto(array, taken_to(array, numbers), casting="same_kind")

    return change(x, name, write)


# --- new tensors of the same element type ---------------------------------------------------------


def new_zeros(x: Any, *size: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Return zeros, of the tensor's element type unless `dtype` is given."""
    return factories.zeros(
        *size, dtype=dtype or x.dtype, device=x.device, requires_grad=requires_grad
    )


def new_ones(x: Any, *size: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Return ones, of the tensor's element type unless `dtype` is given."""
    return factories.ones(
        *size, dtype=dtype or x.dtype, device=x.device, requires_grad=requires_grad
    )


def new_full(
    x: Any, size: Any, fill_value: Any, *, dtype: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return one value everywhere, of the tensor's element type unless `dtype` is given."""
    return factories.full(size, fill_value, dtype or x.dtype, x.device, requires_grad)


def new_tensor(x: Any, data: Any, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a copy of data, of the tensor's element type unless `dtype` is given."""
    return factories.tensor(data, dtype or x.dtype, x.device, requires_grad)
