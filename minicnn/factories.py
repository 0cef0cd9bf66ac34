"""New tensors: from data, of constants, of numbers in order, of random numbers."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn import random
from minicnn.errors import ArgumentError, DTypeError, ShapeError
from minicnn.tensor import Tensor, values_of
from minicnn_kernels import cards
from minicnn_kernels.arrays import at_hand, device_of, drawn, is_floating, like, new, on, to_device

CARDS = (2, 13)  # DLPack's numbers for the memory of a CUDA card, and for managed memory


def tensor(
    data: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """Copy numbers, nested lists, arrays or tensors into a new leaf.

    Python floats become float32, integers int64; arrays keep their type.  Without `device` it lies
    where a tensor does, else on the CPU.

    >>> tensor([[1, 2], [3, 4]]).dtype, tensor([0.5]).dtype
    (dtype('int64'), dtype('float32'))

    Raises:
        DTypeError: the data are not numbers, or not of this type.
        ShapeError: rows differ in length.
    """
    if isinstance(data, Tensor):
        data = data.array
    elif isinstance(data, (list, tuple)):
        data = [item.cpu().array if isinstance(item, Tensor) else item for item in data]
    on_card = getattr(data, "device", "cpu") != "cpu"
    try:
        array = np.array(data, dtype=dtype, like=data if on_card else None)
    except (ValueError, TypeError, OverflowError) as error:
        kind = ShapeError if "inhomogeneous" in str(error) else DTypeError
        raise kind(f"tensor: cannot make a tensor of these data: {error}") from None
    if not _is_number(array.dtype):
        raise DTypeError(f"tensor: the data must be numbers, got {array.dtype}")
    typed = hasattr(data, "dtype") or (
        isinstance(data, list) and data and all(hasattr(item, "dtype") for item in data)
    )
    if dtype is None and array.dtype == np.float64 and not typed:
        array = array.astype(np.float32)
    return Tensor(to_device(array, device or device_of(array)), requires_grad=requires_grad)


def _is_number(dtype: Any) -> bool:
    return dtype.kind in "iub" or is_floating(dtype)


def as_tensor(data: Any, dtype: Any = None, device: str | None = None) -> Tensor:
    """Return data as a tensor; a tensor or an array is copied only if its type must change."""
    if isinstance(data, np.ndarray) and _is_number(data.dtype):
        data = from_numpy(data)
    if not isinstance(data, Tensor):
        return tensor(data, dtype, device or "cpu")
    same: Tensor = data.to(dtype=dtype, device=device)
    return same


def is_tensor(obj: Any) -> bool:
    """Say whether this is a Tensor."""
    return isinstance(obj, Tensor)


def from_numpy(array: Any) -> Tensor:
    """Wrap a NumPy array, sharing its memory."""
    if not isinstance(array, np.ndarray):
        raise DTypeError(f"from_numpy: needs a NumPy array, got {type(array).__name__}")
    return Tensor(array)


def from_dlpack(source: Any) -> Tensor:
    """Wrap the array of another library that speaks DLPack, sharing its memory.

    Raises:
        DeviceError: it lies on a card, and there is no CuPy to reach it.
    """
    if source.__dlpack_device__()[0] in CARDS:
        return Tensor(cards.cupy().from_dlpack(source))
    return Tensor(np.from_dlpack(source))


def _shape(name: str, *size: Any) -> tuple[int, ...]:
    """Accept `f(2, 3)` and `f((2, 3))` alike."""
    sizes = tuple(size[0]) if len(size) == 1 and isinstance(size[0], (tuple, list)) else size
    if not all(hasattr(n, "__index__") and operator.index(n) >= 0 for n in sizes):
        raise ShapeError(f"{name}: sizes must be integers of at least 0, got {sizes}")
    return tuple(map(operator.index, sizes))


def _finish(array: Any, dtype: Any, device: str, requires_grad: bool) -> Tensor:
    typed = array.astype(dtype if dtype is not None else np.float32, copy=False)
    return Tensor(to_device(typed, device), requires_grad=requires_grad)


def zeros(
    *size: Any, dtype: Any = None, device: str = "cpu", requires_grad: bool = False
) -> Tensor:
    """Return a tensor of zeros; `zeros(2, 3)` and `zeros((2, 3))` mean the same."""

    def make(shape: tuple[int, ...]) -> Any:
        return np.zeros(shape, dtype or np.float32, like=like(device))

    return Tensor(new(device, _shape("zeros", *size), make), requires_grad)


def ones(*size: Any, dtype: Any = None, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """Return a tensor of ones."""
    return full(_shape("ones", *size), 1, dtype or np.float32, device, requires_grad)


def empty(
    *size: Any, dtype: Any = None, device: str = "cpu", requires_grad: bool = False
) -> Tensor:
    """Return a tensor whose values are whatever the memory held."""

    def make(shape: tuple[int, ...]) -> Any:
        return np.empty(shape, dtype or np.float32, like=like(device))

    return Tensor(new(device, _shape("empty", *size), make), requires_grad)


def full(
    size: Any, fill_value: Any, dtype: Any = None, device: str = "cpu", requires_grad: bool = False
) -> Tensor:
    """Return a tensor filled with one value, of the value's type unless `dtype` is given."""
    if dtype is None:
        dtype = np.float32 if isinstance(fill_value, float) else np.asarray(fill_value).dtype

    def make(shape: tuple[int, ...]) -> Any:
        filled = np.empty(shape, dtype, like=like(device))
        filled[...] = fill_value
        return filled

    return Tensor(new(device, _shape("full", size), make), requires_grad)


def zeros_like(other: Tensor, dtype: Any = None) -> Tensor:
    """Return zeros of the shape, type and device of another tensor."""
    return Tensor(np.zeros_like(other.array, dtype=dtype))


def ones_like(other: Tensor, dtype: Any = None) -> Tensor:
    """Return ones of the shape, type and device of another tensor."""
    return Tensor(np.ones_like(other.array, dtype=dtype))


def empty_like(other: Tensor, dtype: Any = None) -> Tensor:
    """Return memory, not set, of the shape, type and device of another tensor."""
    return Tensor(np.empty_like(other.array, dtype=dtype))


def full_like(other: Tensor, fill_value: Any, dtype: Any = None) -> Tensor:
    """Return one value everywhere, in the shape, type and device of another tensor."""
    return Tensor(np.full_like(other.array, fill_value, dtype=dtype))


def eye(n: int, m: int | None = None, dtype: Any = None, device: str = "cpu") -> Tensor:
    """Return the (n, m) matrix with ones on the diagonal."""
    rows, columns = _shape("eye", n, n if m is None else m)
    return _finish(np.eye(rows, columns), dtype, device, False)


def arange(
    start: float,
    end: float | None = None,
    step: float = 1,
    dtype: Any = None,
    device: str = "cpu",
) -> Tensor:
    """Return start, start + step, ... up to, not including, end.

    >>> arange(3), arange(0, 1, 0.25)
    (tensor([0, 1, 2]), tensor([0.  , 0.25, 0.5 , 0.75]))

    Raises:
        ArgumentError: the step is 0 or leads away from the end.
    """
    first, last = (0, start) if end is None else (start, end)
    if step == 0 or (last - first) * step < 0:
        raise ArgumentError(f"arange: steps of {step} do not lead from {first} to {last}")
    array = np.arange(first, last, step)
    if dtype is None:
        dtype = np.float32 if array.dtype.kind == "f" else np.int64
    return _finish(array, dtype, device, False)


def linspace(
    start: float, end: float, steps: int, dtype: Any = None, device: str = "cpu"
) -> Tensor:
    """Return `steps` values evenly spaced from start to end, both included."""
    (count,) = _shape("linspace", steps)
    return _finish(np.linspace(start, end, count), dtype, device, False)


def logspace(
    start: float, end: float, steps: int, base: float = 10.0, dtype: Any = None, device: str = "cpu"
) -> Tensor:
    """Return base to the power of `steps` values evenly spaced from start to end."""
    (count,) = _shape("logspace", steps)
    return _finish(np.logspace(start, end, count, base=base), dtype, device, False)


# --- random ---------------------------------------------------------------------------------------


def rand(*size: Any, dtype: Any = None, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """Return uniform random numbers in [0, 1) from the global generator."""
    shape, kind = _shape("rand", *size), _floating("rand", dtype)

    def draw() -> Any:
        generator = random.default.numpy_generator()
        array = generator.random(shape, dtype=np.float64 if kind == np.float64 else np.float32)
        if kind == np.float16:  # its 11 bits would round the last numbers up to 1
            array = np.floor(array * 2**11) / 2**11
        return array.astype(kind, copy=False)

    return _random(draw, device, requires_grad)


def _random(draw: Callable[[], Any], device: str, requires_grad: bool = False) -> Tensor:
    with on(device):
        return Tensor(drawn(like(device), draw), requires_grad)


def _floating(name: str, dtype: Any) -> Any:
    kind = np.dtype(np.float32 if dtype is None else dtype)
    if not is_floating(kind):
        raise DTypeError(f"{name}: dtype must be a floating-point type, got {kind}")
    return kind


def randn(
    *size: Any, dtype: Any = None, device: str = "cpu", requires_grad: bool = False
) -> Tensor:
    """Return normal random numbers, mean 0 and variance 1, from the global generator."""
    shape, kind = _shape("randn", *size), _floating("randn", dtype)

    def draw() -> Any:
        return random.default.numpy_generator().standard_normal(shape).astype(kind, copy=False)

    return _random(draw, device, requires_grad)


def rand_like(other: Tensor, dtype: Any = None) -> Tensor:
    """Return uniform random numbers in [0, 1) in the shape, type and device of another tensor."""
    return rand(other.shape, dtype=dtype or other.dtype, device=other.device)


def randn_like(other: Tensor, dtype: Any = None) -> Tensor:
    """Return normal random numbers in the shape, type and device of another tensor."""
    return randn(other.shape, dtype=dtype or other.dtype, device=other.device)


def randint(
    low: int = 0, high: Any = None, size: Any = None, dtype: Any = None, device: str = "cpu"
) -> Tensor:
    """Return random integers in [low, high) from the global generator.

    `randint(10, (2, 3))` means `randint(0, 10, (2, 3))`.

    Raises:
        ArgumentError: there is no integer in [low, high).
    """
    if size is None:
        high, size = None, high
    if high is None:
        low, high = 0, low
    if not low < high:
        raise ArgumentError(f"randint: there is no integer in [{low}, {high})")
    shape = _shape("randint", size)
    kind = np.int64 if dtype is None else dtype

    def draw() -> Any:
        return random.default.numpy_generator().integers(low, high, shape).astype(kind, copy=False)

    return _random(draw, device)


def randperm(n: int, device: str = "cpu") -> Tensor:
    """Return the numbers 0 to n - 1 in random order."""
    (count,) = _shape("randperm", n)
    return _random(lambda: random.default.numpy_generator().permutation(count), device)


def normal(mean: Any = 0.0, std: Any = 1.0, size: Any = None) -> Tensor:
    """Return normal random numbers, each with the mean and the deviation of its place.

    Raises:
        ArgumentError: a deviation is negative.
        ShapeError: the shapes of mean and std do not broadcast.
        DTypeError: they are no floats, or there is no size, which numbers need and tensors exclude.
    """
    tensors = [value for value in (mean, std) if isinstance(value, Tensor)]
    if (size is None) != bool(tensors):
        raise DTypeError("normal: needs either a tensor for mean or std, or a size")
    kind = _floating("normal", tensors[0].dtype if tensors else None)
    means, deviations = values_of(mean), values_of(std)
    if at_hand(deviations) and not np.all(deviations >= 0):
        raise ArgumentError(f"normal: std must not be negative, got {deviations}")
    try:
        shape = np.broadcast_shapes(np.shape(means), np.shape(deviations))
    except ValueError:
        raise ShapeError(
            f"normal: mean {np.shape(means)} and std {np.shape(deviations)} do not broadcast"
        ) from None
    shape = shape if size is None else _shape("normal", size)
    place = tensors[0].array if tensors else None
    numbers = drawn(place, lambda: random.default.numpy_generator().standard_normal(shape))
    return Tensor((means + deviations * numbers).astype(kind))


def bernoulli(input: Tensor, p: float | None = None) -> Tensor:
    """Return 1 with the probability in each place of the input, or with p, else 0.

    Raises:
        ArgumentError: a probability is not in [0, 1].
        DTypeError: the probabilities are no floats.
    """
    kind = _floating("bernoulli", input.dtype) if p is None else input.dtype
    probability = input.array if p is None else np.float64(p)
    if at_hand(probability) and not np.all((probability >= 0) & (probability <= 1)):
        raise ArgumentError("bernoulli: probabilities must lie in [0, 1]")
    numbers = drawn(input.array, lambda: random.default.numpy_generator().random(input.shape))
    return Tensor((numbers < probability).astype(kind))


def multinomial(input: Tensor, num_samples: int, replacement: bool = False) -> Tensor:
    """Draw indices, each with a probability in proportion to its weight in the input.

    Without replacement, weights are divided by exponential random numbers and the largest
    quotients win, which is the same as drawing one after the other.
    Shapes: weights (C) or (N, C), indices (num_samples) or (N, num_samples).

    Raises:
        ArgumentError: a weight is negative or not finite, all of a row are 0, or there are fewer
            weights than samples.
        ShapeError, DTypeError: the weights are no vector or matrix of floats.
    """
    kind = np.dtype(input.dtype)
    if not is_floating(kind):
        raise DTypeError(f"multinomial: weights must be floating-point, got {kind}")
    if input.ndim not in (1, 2) or input.shape[-1] == 0:
        raise ShapeError(f"multinomial: weights must be (C) or (N, C), got {input.shape}")
    weights = input.array.astype(np.float64)
    right = np.isfinite(weights) & (weights >= 0) & weights.any(axis=-1, keepdims=True)
    if at_hand(right) and not right.all():
        raise ArgumentError("multinomial: weights must be finite, at least 0, and not all 0")
    count = input.shape[-1]
    if num_samples < 1 or (num_samples > count and not replacement):
        raise ArgumentError(
            f"multinomial: cannot draw num_samples={num_samples} of {count} weights; "
            f"replacement=True may draw one twice"
        )
    if not replacement:
        waits = drawn(
            weights,
            lambda: random.default.numpy_generator().standard_exponential(weights.shape),
        )
        return Tensor(np.argsort(-(weights / waits), axis=-1)[..., :num_samples])
    total = weights.cumsum(axis=-1)
    shares = (total / total[..., -1:])[..., None, :]
    shape = (*weights.shape[:-1], num_samples)
    numbers = drawn(weights, lambda: random.default.numpy_generator().random(shape))
    return Tensor((numbers[..., None] >= shares).sum(axis=-1))
