"""Changes in place, and when they are refused.

A graph saves arrays, not copies.  Every change is therefore counted, and a gradient that needs
the old values raises instead of computing with the new ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn.backprop import is_grad_enabled
from minicnn.errors import (
    ArgumentError,
    DeviceError,
    DTypeError,
    GradientError,
    IndexOutOfRange,
    ShapeError,
)
from minicnn.ops import activation, arithmetic, diagonal, elementwise, scan, scatter
from minicnn.ops.broadcast import broadcast_to
from minicnn.ops.diagonal import diagonal_of
from minicnn.ops.elementwise import cast
from minicnn.ops.indexing import frozen, index, integers_first
from minicnn.ops.shape import permute_dims, view_as
from minicnn.tensor import Tensor, values_of
from minicnn_kernels.arrays import Array, as_array, can_be_changed, device_of, filled, to_device

VIEWS = (broadcast_to, view_as, permute_dims, index, diagonal_of, cast)
"""The operations whose result may look at the memory of their input."""


def change(tensor: Tensor, name: str, write: Callable[[Array], Any], source: Any = None) -> Tensor:
    """Apply `write` to the array and count the change for every graph that saved it.

    Raises:
        GradientError: the tensor, or the source of the new values, requires a gradient.
        ArgumentError: the memory is read-only.
        ShapeError, DTypeError, IndexOutOfRange: the new values do not fit.
    """
    if is_grad_enabled():
        if tensor.requires_grad:
            raise GradientError(
                f"{name}: a tensor that requires grad, shape {tensor.shape}, cannot be changed in "
                f"place; write the out-of-place form, or wrap the change in minicnn.no_grad()"
            )
        if isinstance(source, Tensor) and source.requires_grad:
            raise GradientError(
                f"{name}: the gradient of the new values, shape {source.shape}, would be lost; "
                f"use .detach(), or the out-of-place form"
            )
    if not can_be_changed(tensor.array):
        raise ArgumentError(
            f"{name}: the memory of this tensor, shape {tensor.shape}, is read-only (it is "
            f"expanded, or wraps a read-only array); change a copy"
        )
    try:
        write(tensor.array)
    except IndexError as error:
        raise IndexOutOfRange(f"{name}: shape {tensor.shape}: {error}") from None
    except TypeError as error:
        raise DTypeError(f"{name}: {tensor.dtype} cannot hold the new values: {error}") from None
    except ValueError as error:
        raise ShapeError(f"{name}: shape {tensor.shape}: {error}") from None
    tensor.version[0] += 1
    return tensor


def copy_(tensor: Tensor, source: Any) -> Tensor:
    """Overwrite the values with those of `source`, broadcast to this shape."""

    def write(array: Array) -> None:
        np.copyto(array, to_device(as_array(values_of(source)), device_of(array)))

    return change(tensor, "copy_", write, source)


def fill_(tensor: Tensor, value: float) -> Tensor:
    """Overwrite every value with `value`."""
    return change(tensor, "fill_", lambda array: array.fill(value))


def zero_(tensor: Tensor) -> Tensor:
    """Overwrite every value with 0."""
    return change(tensor, "zero_", lambda array: array.fill(0))


def set_item(tensor: Tensor, where: Any, value: Any) -> None:
    """Overwrite the values at `where`: `tensor[where] = value`."""

    def write(array: Array) -> None:
        target, positions = integers_first(array, frozen(where, array))
        values = values_of(value)
        target[positions] = (
            filled(array, values)
            if np.ndim(values) == 0
            else to_device(as_array(values), device_of(array))
        )

    change(tensor, "tensor[index] = value", write, value)


def update(symbol: str, function: Any) -> Callable[[Tensor, Any], Tensor]:
    """Make the method for `a += b` and its like, from NumPy's `function`.

    Inside a graph the method rebinds instead of writing: whoever saved the old values for a
    gradient keeps them.
    """

    def method(a: Tensor, b: Any) -> Tensor:
        if _tracked(a, b):
            return _rebound(a, symbol, f"a = a {symbol[0]} b", lambda: out_of_place[symbol](a, b))
        values = _beside(symbol, a, values_of(b))
        return change(a, symbol, lambda x: function(x, values, out=x, casting="same_kind"))

    return method


def _beside(name: str, a: Tensor, values: Any) -> Any:
    """Return values that lie where the tensor does; a single one on the CPU is a number to it."""
    if not hasattr(values, "dtype") or device_of(values) == a.device:
        return values
    if device_of(values) == "cpu" and values.ndim == 0:
        return values[()]
    raise DeviceError(
        f"{name}: the tensor is on {a.device}, the values on {device_of(values)}; move one with "
        f".to(device)"
    )


def in_place(function: Any, symbol: str = "") -> Callable[..., Tensor]:
    """Make the method that writes what `function` computes over its tensor: `add_` of `add`.

    That of an operator, such as `//=`, is named by its symbol.
    """
    name = symbol or f"{function.__name__}_"

    def method(a: Tensor, *args: Any, **settings: Any) -> Tensor:
        if _tracked(a, *args):
            return _rebound(
                a, name, f"a = a.{function.__name__}(...)", lambda: function(a, *args, **settings)
            )
        new = values_of(function(a.detach(), *args, **settings))
        return change(a, name, lambda x: np.copyto(x, new, casting="same_kind"))

    method.__name__ = name
    method.__doc__ = f"Overwrite the values with those of `{function.__name__}`."
    return method


def _tracked(*operands: Any) -> bool:
    """Say whether a call with these operands is part of a graph."""
    return is_grad_enabled() and any(isinstance(v, Tensor) and v.requires_grad for v in operands)


def _rebound(a: Tensor, name: str, instead: str, compute: Callable[[], Any]) -> Tensor:
    """Let `a` be the result, as if it had never been anything else; the old array stays."""
    is_view = a.node.op in VIEWS if a.node is not None else a.array.base is not None
    is_learned = a.node is None and a.requires_grad
    if is_learned or is_view:
        left = "a view" if is_view else "a leaf that requires grad"
        raise GradientError(
            f"{name}: {left} cannot be changed in place inside a graph; write {instead}, or wrap "
            f"the update in minicnn.no_grad()"
        )
    result: Tensor = compute()
    if result.shape != a.shape:
        raise ShapeError(f"{name}: {a.shape} cannot hold the result's {result.shape}")
    a.array, a.node, a.version = result.array, result.node, result.version
    return a


METHODS = {
    f"{function.__name__}_": in_place(function)
    for function in (
        activation.relu, activation.sigmoid, activation.tanh, arithmetic.add, arithmetic.addcdiv,
        arithmetic.addcmul, arithmetic.clamp, arithmetic.div, arithmetic.fmod, arithmetic.lerp,
        arithmetic.mul, arithmetic.pow, arithmetic.remainder, arithmetic.sub, elementwise.abs,
        elementwise.ceil, elementwise.exp, elementwise.floor, elementwise.log, elementwise.neg,
        elementwise.reciprocal, elementwise.round, elementwise.rsqrt, elementwise.sqrt,
        elementwise.square, elementwise.trunc, diagonal.tril, diagonal.triu, scan.cumprod,
        scan.cumsum, scatter.index_add, scatter.index_copy, scatter.index_fill,
        scatter.masked_fill, scatter.masked_scatter, scatter.scatter, scatter.scatter_add,
        scatter.scatter_reduce,
    )
}  # fmt: skip
"""The methods that end in an underscore, as in PyTorch."""

out_of_place: dict[str, Callable[[Any, Any], Any]] = {
    "+=": lambda a, b: a + b,
    "-=": lambda a, b: a - b,
    "*=": lambda a, b: a * b,
    "/=": lambda a, b: a / b,
}
