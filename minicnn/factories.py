"""New tensors: from data, of constants, of numbers in order, of random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from minicnn_kernels.arrays import to_device

from minicnn import random
from minicnn.errors import DTypeError
from minicnn.tensor import Tensor


def tensor(
    data: Any, dtype: Any = None, device: str = "cpu", requires_grad: bool = False
) -> Tensor:
    """Copy numbers, nested lists, arrays or tensors into a new leaf.

    Python floats become float32, integers int64; arrays keep their type.

    >>> tensor([[1, 2], [3, 4]]).dtype, tensor([0.5]).dtype
    (dtype('int64'), dtype('float32'))

    Raises:
        DTypeError: the data are not numbers, or rows differ in length.
    """
    if isinstance(data, Tensor):
        data = data.array
    elif isinstance(data, (list, tuple)):
        data = [item.array if isinstance(item, Tensor) else item for item in data]
    try:
        array = np.array(data, dtype=dtype)
    except (ValueError, TypeError) as error:
        raise DTypeError(f"tensor: cannot make a tensor of these data: {error}") from None
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"tensor: the data must be numbers, got {array.dtype}")
    typed = hasattr(data, "dtype") or (
        isinstance(data, list) and data and all(hasattr(item, "dtype") for item in data)
    )
    if dtype is None and array.dtype == np.float64 and not typed:
        array = array.astype(np.float32)
    return Tensor(to_device(array, device), requires_grad=requires_grad)


def from_numpy(array: Any) -> Tensor:
    """Wrap a NumPy array, sharing its memory."""
    if not isinstance(array, np.ndarray):
        raise DTypeError(f"from_numpy: needs a NumPy array, got {type(array).__name__}")
    return Tensor(array)


def from_dlpack(source: Any) -> Tensor:
    """Wrap the array of another library that speaks DLPack, sharing its memory."""
    return Tensor(np.from_dlpack(source))


def _shape(size: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(size[0]) if len(size) == 1 and isinstance(size[0], (tuple, list)) else size


def _finish(array: Any, dtype: Any, device: str, requires_grad: bool) -> Tensor:
    typed = array.astype(dtype if dtype is not None else np.float32, copy=False)
    return Tensor(to_device(typed, device), requires_grad=requires_grad)


def zeros(
    *size: Any, dtype: Any = None, device: str = "cpu", requires_grad: bool = False
) -> Tensor:
    """Return a tensor of zeros; `zeros(2, 3)` and `zeros((2, 3))` mean the same."""
    return _finish(np.zeros(_shape(size), dtype or np.float32), dtype, device, requires_grad)


def ones(*size: Any, dtype: Any = None, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """Return a tensor of ones."""
    return _finish(np.ones(_shape(size), dtype or np.float32), dtype, device, requires_grad)


def full(
    size: Any, fill_value: Any, dtype: Any = None, device: str = "cpu", requires_grad: bool = False
) -> Tensor:
    """Return a tensor filled with one value, of the value's type unless `dtype` is given."""
    if dtype is None:
        dtype = np.float32 if isinstance(fill_value, float) else np.asarray(fill_value).dtype
    return _finish(np.full(size, fill_value, dtype), dtype, device, requires_grad)


def zeros_like(other: Tensor, dtype: Any = None) -> Tensor:
    """Return zeros of the shape, type and device of another tensor."""
    return Tensor(np.zeros_like(other.array, dtype=dtype))


def ones_like(other: Tensor, dtype: Any = None) -> Tensor:
    """Return ones of the shape, type and device of another tensor."""
    return Tensor(np.ones_like(other.array, dtype=dtype))


def eye(n: int, m: int | None = None, dtype: Any = None) -> Tensor:
    """Return the (n, m) matrix with ones on the diagonal."""
    return _finish(np.eye(n, m), dtype, "cpu", False)


def arange(
    start: float, end: float | None = None, step: float = 1, dtype: Any = None
) -> Tensor:
    """Return start, start + step, ... up to, not including, end.

    >>> arange(3), arange(0, 1, 0.25)
    (tensor([0, 1, 2]), tensor([0.  , 0.25, 0.5 , 0.75]))
    """
    first, last = (0, start) if end is None else (start, end)
    array = np.arange(first, last, step)
    return _finish(array, dtype or (np.float32 if array.dtype.kind == "f" else np.int64), "cpu", False)


def linspace(start: float, end: float, steps: int, dtype: Any = None) -> Tensor:
    """Return `steps` values evenly spaced from start to end, both included."""
    return _finish(np.linspace(start, end, steps), dtype, "cpu", False)


def rand(*size: Any, dtype: Any = None, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """Return uniform random numbers in [0, 1) from the global generator."""
    double = dtype is not None and np.dtype(dtype) == np.float64
    generator = random.default.numpy_generator()
    array = generator.random(_shape(size), dtype=np.float64 if double else np.float32)
    return _finish(array, dtype, device, requires_grad)


def randn(
    *size: Any, dtype: Any = None, device: str = "cpu", requires_grad: bool = False
) -> Tensor:
    """Return normal random numbers, mean 0 and variance 1, from the global generator."""
    array = random.default.numpy_generator().standard_normal(_shape(size))
    return _finish(array, dtype, device, requires_grad)


def randint(low: int, high: int, size: Any, dtype: Any = None) -> Tensor:
    """Return random integers in [low, high) from the global generator."""
    array = random.default.numpy_generator().integers(low, high, size)
    return _finish(array, dtype or np.int64, "cpu", False)


def randperm(n: int) -> Tensor:
    """Return the numbers 0 to n - 1 in random order."""
    return Tensor(random.default.numpy_generator().permutation(n))
