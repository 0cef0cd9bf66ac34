"""From the arguments of a call to plain arrays: binding, devices and the type rule.

The type rule: float32 in, float32 out.  Integers and Python numbers follow the floating-point
type they meet; two different floating-point types are refused, never promoted in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minicnn import storage
from minicnn.errors import (
    ArgumentError,
    DeviceError,
    DTypeError,
    GradientError,
    IndexOutOfRange,
    MinicnnError,
    ShapeError,
)
from minicnn.tensor import Tensor
from minicnn_kernels.arrays import device_of, is_floating
from minicnn_kernels.cuda import memory

if TYPE_CHECKING:
    from minicnn.differentiable import Op


TORCH_NAMES = (("input",), ("other", "exponent"))
"""What PyTorch calls the first and the second tensor: `mul(x, other=y)` is `mul(x, y)`."""

NUMPY_NAMES = {"dim": "axis", "keepdim": "keepdims"}
"""What NumPy calls a setting, which PyTorch accepts too: `sum(x, axis=1)`."""


class Call(NamedTuple):
    """An operation that was run on arrays, and what came out."""

    op: Op[Any]
    arrays: list[Any]
    settings: dict[str, Any]
    result: Any


class Calls(list[Call]):
    """Calls of operations, noted in their order by whoever wants to know of them."""

    def instead_of(self, op: Op[Any]) -> Callable[..., Any]:
        """Return the function of arrays and settings that computes an operation."""
        return op.forward


calls: ContextVar[Calls | None] = ContextVar("calls", default=None)
"""Where every call is noted while somebody wants to know."""


@contextmanager
def noting(noted: Calls) -> Iterator[Calls]:
    """Note every call inside a `with` block, computed by what stands in its place."""
    token = calls.set(noted)
    try:
        yield noted
    finally:
        calls.reset(token)


def bind(op: Op[Any], args: tuple[Any, ...], kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Split a call into tensors and settings; settings end up as plain values or arrays.

    In `amp.autocast` the tensors get the precision that it wants for this operation.
    """
    count = len(args) if op.variadic else len(op.tensor_names)
    if not kwargs and len(args) <= count:
        return in_precision(op, args), op.setting_defaults
    settings = {**op.setting_defaults, **kwargs}
    if kwargs:
        args = _renamed(op, args, settings)
    if extra := args[count:]:
        if len(extra) > len(op.setting_names):
            expected = ", ".join([*op.tensor_names, *op.setting_names])
            raise TypeError(f"{op.name}({expected}) got {len(args)} positional arguments")
        named = dict(zip(op.setting_names, extra, strict=False))
        if twice := named.keys() & kwargs.keys():
            raise TypeError(f"{op.name} got {' and '.join(sorted(twice))} by position and by name")
        settings.update(named)
    for name, value in settings.items():
        if isinstance(value, Tensor):
            if value.requires_grad:
                raise GradientError(f"{op.name}: no gradient flows to {name}; use .detach()")
            settings[name] = value.array
    return in_precision(op, args[:count]), settings


def _renamed(op: Op[Any], args: tuple[Any, ...], settings: dict[str, Any]) -> tuple[Any, ...]:
    """Take tensors and settings under their other names out of the settings."""
    for names in TORCH_NAMES[len(args) : len(op.tensor_names)]:
        args = (*args, *(settings.pop(name) for name in names if name in settings))
    for name, numpy_name in NUMPY_NAMES.items():
        if numpy_name in settings and name in op.setting_defaults:
            settings[name] = settings.pop(numpy_name)
    return args


cast_inputs: ContextVar[Callable[[Op[Any], tuple[Any, ...]], tuple[Any, ...]] | None]
cast_inputs = ContextVar("cast_inputs", default=None)
"""What `amp.autocast` does to the tensors of every call while it is on."""


def in_precision(op: Op[Any], inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the inputs in the precision that autocast wants for this operation."""
    cast = cast_inputs.get()
    return inputs if cast is None else cast(op, inputs)


def in_autocast(dtypes: Iterable[Any]) -> bool:
    """Say whether autocast is on and will bring tensors of these types together."""
    dtypes = set(dtypes) - {np.dtype(np.float32)}
    return cast_inputs.get() is not None and all(map(storage.is_half_type, dtypes))


def to_arrays(op: Op[Any], inputs: tuple[Any, ...]) -> list[Any]:
    """Take the arrays out of the tensors: on one device, of one floating-point type."""
    values = [value.array if isinstance(value, Tensor) else value for value in inputs]
    if _alike(values):
        return values
    values = [value.item() if isinstance(value, np.generic) else value for value in values]
    arrays = [value for value in values if hasattr(value, "dtype")]
    if len(arrays) < len(values):
        _check_numbers(op, values)
    if not all(type(array) is np.ndarray for array in arrays):
        values = _on_one_device(op, inputs, values)
        arrays = [value for value in values if hasattr(value, "dtype")]
    dtypes = {array.dtype for array in arrays}
    if len(dtypes) == 1:
        return values
    floats = [dtype for dtype in dtypes if is_floating(dtype)]
    if storage.may_mix(op, floats):
        return values
    if len(floats) > 1:
        raise DTypeError(
            f"{op.name} got {' and '.join(str(array.dtype) for array in arrays)}; convert one "
            f"with .to(dtype), nothing is promoted in silence"
        )
    if floats:
        return [v.astype(floats[0], copy=False) if hasattr(v, "dtype") else v for v in values]
    whole = {array.dtype for array in arrays if array.ndim and array.dtype.kind in "iu"}
    if len(whole) == 1:  # a single whole number follows the type of the others
        (dtype,) = whole
        single = [hasattr(v, "dtype") and v.ndim == 0 and v.dtype.kind in "iu" for v in values]
        return [v.astype(dtype) if s else v for v, s in zip(values, single, strict=True)]
    return values


def _on_one_device(op: Op[Any], inputs: tuple[Any, ...], values: list[Any]) -> list[Any]:
    """Refuse arrays on several devices; a single value on the CPU is a number to every card."""
    devices = [device_of(value) for value in values if hasattr(value, "dtype")]
    if len(set(devices)) == 1:
        return values
    numbers = [
        isinstance(v, np.ndarray) and v.ndim == 0 and not getattr(t, "requires_grad", False)
        for v, t in zip(values, inputs, strict=True)
    ]
    others = [v for v, is_number in zip(values, numbers, strict=True) if not is_number]
    if len({device_of(value) for value in others if hasattr(value, "dtype")}) > 1:
        raise DeviceError(f"{op.name} got arrays on {devices}; move one with .to(device)")
    return [v[()] if is_number else v for v, is_number in zip(values, numbers, strict=True)]


def _alike(values: list[Any]) -> bool:
    """Say whether all values are NumPy arrays of one element type, as nearly always."""
    for value in values:
        if type(value) is not np.ndarray or value.dtype != values[0].dtype:
            return False
    return True


@np.errstate(all="ignore")  # Inf and NaN are values; detect_anomaly() finds them
def compute(op: Op[Any], arrays: list[Any], settings: dict[str, Any]) -> Any:
    """Run an operation on arrays; what NumPy refuses becomes an error that names the operation.

    Raises:
        ShapeError, IndexOutOfRange: the sizes do not fit, a dimension is not there.
        DTypeError: the operation does not take this element type.
        ArgumentError: a number is too large for the element type.
        OutOfMemoryError: there is no room for the result, or what is needed on the way to it.
    """
    try:
        noted = calls.get()
        forward = op.forward if noted is None else noted.instead_of(op)
        y = forward(*storage.widened(op, arrays), **settings)
        y = y if settings.get("dtype") is not None else not_promoted(y, arrays)
        if noted is not None:
            noted.append(Call(op, arrays, settings, y))
        return y
    except MinicnnError:
        raise
    except MemoryError as error:
        raise memory.used_up(op.name, arrays, error) from None
    except ValueError as error:
        if "Array device must be same" in str(error):  # so says CuPy
            raise DeviceError(
                f"{op.name}: the arrays lie on another card than the current one; compute inside "
                f"`with minicnn.cuda.device(...)`: {error}"
            ) from None
        kind = IndexOutOfRange if isinstance(error, IndexError) else ShapeError
        shapes = " and ".join(str(array.shape) for array in arrays if hasattr(array, "shape"))
        raise kind(f"{op.name}: does not take {shapes}: {error}") from None
    except OverflowError as error:
        raise ArgumentError(f"{op.name}: {error}; convert the tensor with .to(dtype)") from None
    except TypeError as error:
        if "numpy.ndarray" in str(error) or "Implicit conversion" in str(error):  # so says CuPy
            raise DeviceError(
                f"{op.name}: arrays on the CPU and on the card; move one with .to(device): {error}"
            ) from error
        of_types = str(error).startswith(("ufunc", "numpy boolean", "Wrong type"))  # last: CuPy
        if not (of_types or any(array is None for array in arrays)):
            raise  # a call with wrong settings stays a TypeError
        types = " and ".join(
            "None" if array is None else str(array.dtype)
            for array in arrays
            if array is None or hasattr(array, "dtype")
        )
        raise DTypeError(f"{op.name}: does not take {types}") from None


def _check_numbers(op: Op[Any], values: list[Any]) -> None:
    """Refuse what is neither an array nor a number, nor None for an optional tensor."""
    for value in values:
        if not (value is None or hasattr(value, "dtype") or isinstance(value, (int, float))):
            raise DTypeError(
                f"{op.name} takes tensors, arrays and numbers, got {type(value).__name__}; "
                f"make it a tensor with minicnn.tensor(...)"
            )


def not_promoted(y: Any, arrays: list[Any]) -> Any:
    """Give a floating-point result the type of its floating-point inputs, float32 without any.

    NumPy makes float64 of int64 and float16 of uint8.
    """
    if not is_floating(y.dtype):
        return y
    wanted: Any = np.float32
    for array in arrays:
        if hasattr(array, "dtype") and is_floating(array.dtype):
            wanted = array.dtype
            break
    return y if y.dtype == wanted else y.astype(wanted)


def owner(array: Any) -> Any:
    """Return the array that owns the memory `array` looks at."""
    while hasattr(array, "strides") and isinstance(array.base, type(array)):
        array = array.base
    return array
