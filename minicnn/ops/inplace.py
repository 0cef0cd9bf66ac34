"""Changes in place, and when they are refused.

A graph saves arrays, not copies.  Every change is therefore counted, and a gradient that needs
the old values raises instead of computing with the new ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from minicnn_kernels.arrays import Array

from minicnn.backprop import is_grad_enabled
from minicnn.errors import GradientError, ShapeError
from minicnn.tensor import Tensor, values_of


def change(tensor: Tensor, name: str, write: Callable[[Array], Any]) -> Tensor:
    """Apply `write` to the array and count the change for every graph that saved it."""
    if tensor.requires_grad and is_grad_enabled():
        raise GradientError(
            f"{name}: a tensor that requires grad, shape {tensor.shape}, cannot be changed in "
            f"place; write the out-of-place form, or wrap the change in minicnn.no_grad()"
        )
    write(tensor.array)
    tensor.version[0] += 1
    return tensor


def copy_(tensor: Tensor, source: Any) -> Tensor:
    """Overwrite the values with those of `source`, broadcast to this shape."""
    return change(tensor, "copy_", lambda array: np.copyto(array, values_of(source)))


def fill_(tensor: Tensor, value: float) -> Tensor:
    """Overwrite every value with `value`."""
    return change(tensor, "fill_", lambda array: array.fill(value))


def zero_(tensor: Tensor) -> Tensor:
    """Overwrite every value with 0."""
    return fill_(tensor, 0)


def set_item(tensor: Tensor, index: Any, value: Any) -> None:
    """Overwrite the values at `index`: `tensor[index] = value`."""

    def write(array: Array) -> None:
        array[values_of(index)] = values_of(value)

    change(tensor, "tensor[index] = value", write)


def update(symbol: str, function: Any) -> Callable[[Tensor, Any], Tensor]:
    """Make the method for `a += b` and its like, from NumPy's `function`.

    On a result inside a graph the method rebinds instead of writing: whoever saved the old values
    for a gradient keeps them.
    """

    def method(a: Tensor, b: Any) -> Tensor:
        tracked = a.requires_grad or (isinstance(b, Tensor) and b.requires_grad)
        if not (tracked and is_grad_enabled()):
            return change(
                a, symbol, lambda x: function(x, values_of(b), out=x, casting="same_kind")
            )
        is_view = a.array.base is not None
        if a.node is None or is_view:
            raise GradientError(
                f"{symbol}: {'a view' if is_view else 'a leaf'} cannot be changed in place inside "
                f"a graph; write a = a {symbol[0]} b, or wrap the update in minicnn.no_grad()"
            )
        result: Tensor = out_of_place[symbol](a, b)
        if result.shape != a.shape:
            raise ShapeError(f"{symbol}: {a.shape} cannot hold the result's {result.shape}")
        a.array, a.node, a.version = result.array, result.node, result.version
        return a

    return method


out_of_place: dict[str, Callable[[Any, Any], Any]] = {
    "+=": lambda a, b: a + b,
    "-=": lambda a, b: a - b,
    "*=": lambda a, b: a * b,
    "/=": lambda a, b: a / b,
}
