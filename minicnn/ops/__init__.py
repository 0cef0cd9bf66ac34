"""Differentiable operations, one file a family, and the table that binds them to Tensor.

On arrays an operation is its kernel; on Tensors it also records.  To add one: write it in the
file of its family with its gradient right below, bind or export its public name, and give it a row
in the file of the same name in `minicnn/testing/cases/`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn import backprop
from minicnn.differentiable import Op
from minicnn.errors import ArgumentError, DTypeError
from minicnn.ops import activation, arithmetic, indexing, inplace, linear, reduce, shape
from minicnn.tensor import Tensor
from minicnn_kernels.arrays import to_device


def to(tensor: Tensor, *targets: Any, dtype: Any = None, device: str | None = None) -> Tensor:
    """Return the tensor in another element type, on another device, or both.

    >>> import minicnn
    >>> minicnn.tensor([1, 2]).to(minicnn.float32)
    tensor([1., 2.])
    """
    for target in targets:
        if isinstance(target, Tensor):
            device, dtype = target.device, target.dtype
        elif isinstance(target, str) and target.partition(":")[0] in ("cpu", "cuda"):
            device = target
        else:
            dtype = target
    if device is not None and device != tensor.device:
        if tensor.node is not None:
            raise ArgumentError("to: only leaves move between devices; use .detach() first")
        tensor = Tensor(to_device(tensor.array, device), requires_grad=tensor.requires_grad)
    try:
        wanted = tensor.dtype if dtype is None else np.dtype(dtype)
    except TypeError:
        raise DTypeError(f"to: {dtype!r} is neither an element type nor a device") from None
    if wanted == tensor.dtype:
        return tensor
    result: Tensor = arithmetic.cast(tensor, wanted)
    return result


def _swapped(op: Any) -> Any:
    """Return the method for `3 - tensor`, where the tensor stands on the right."""
    return lambda b, a: op(a, b)


def _method(op: Op[Any]) -> Callable[..., Any]:
    """Return the operation as a function, which, other than an object, binds `self`."""

    def method(*args: Any, **kwargs: Any) -> Any:
        return op(*args, **kwargs)

    method.__name__, method.__doc__ = op.name, op.__doc__
    return method


FAMILIES = (activation, arithmetic, indexing, linear, reduce, shape)
"""Where the public functions of tensors are; `__all__` of each file names them."""

_FUNCTIONS_ONLY = {"cat", "concat", "stack", "where"}  # whose first argument is no tensor

# The only place where Tensor gets its arithmetic and its methods.
_METHODS: dict[str, Any] = {
    **{name: getattr(family, name) for family in FAMILIES for name in family.__all__},
    # operators
    "__add__": arithmetic.add,
    "__radd__": _swapped(arithmetic.add),
    "__iadd__": inplace.update("+=", np.add),
    "__sub__": arithmetic.sub,
    "__rsub__": _swapped(arithmetic.sub),
    "__isub__": inplace.update("-=", np.subtract),
    "__mul__": arithmetic.mul,
    "__rmul__": _swapped(arithmetic.mul),
    "__imul__": inplace.update("*=", np.multiply),
    "__truediv__": arithmetic.div,
    "__rtruediv__": _swapped(arithmetic.div),
    "__itruediv__": inplace.update("/=", np.divide),
    "__pow__": arithmetic.pow,
    "__rpow__": _swapped(arithmetic.pow),
    "__matmul__": linear.matmul,
    "__rmatmul__": _swapped(linear.matmul),
    "__neg__": arithmetic.neg,
    "__abs__": arithmetic.abs,
    "__eq__": arithmetic.eq,
    "__ne__": arithmetic.ne,
    "__lt__": arithmetic.lt,
    "__le__": arithmetic.le,
    "__gt__": arithmetic.gt,
    "__ge__": arithmetic.ge,
    "__invert__": arithmetic.bitwise_not,
    "__and__": arithmetic.bitwise_and,
    "__or__": arithmetic.bitwise_or,
    "__getitem__": indexing.get_item,
    "__setitem__": inplace.set_item,
    # differentiation
    "backward": backprop.backward,
    # changes in place
    "copy_": inplace.copy_,
    "fill_": inplace.fill_,
    "zero_": inplace.zero_,
    # type and device
    "to": to,
    "float": lambda t: to(t, dtype=np.float32),
    "double": lambda t: to(t, dtype=np.float64),
    "long": lambda t: to(t, dtype=np.int64),
    "cpu": lambda t: to(t, device="cpu"),
    "cuda": lambda t: to(t, device="cuda"),
    # other names
    "view": shape.reshape,
    "expand": shape.expand,
    "T": property(lambda t: shape.permute(t, *reversed(range(t.ndim)))),
    "mT": property(lambda t: shape.transpose(t, -1, -2)),
}
for _name, _function in _METHODS.items():
    if _name not in _FUNCTIONS_ONLY:
        setattr(Tensor, _name, _method(_function) if isinstance(_function, Op) else _function)
