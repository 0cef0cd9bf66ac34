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
from minicnn.ops import (
    activation,
    arithmetic,
    broadcast,
    comparison,
    diagonal,
    einsum,
    elementwise,
    extremes,
    indexing,
    inplace,
    join,
    linear,
    methods,
    norm,
    rearrange,
    recurrent,
    reduce,
    scan,
    scatter,
    shape,
    sorting,
    special,
)
from minicnn.storage import bfloat16
from minicnn.tensor import Tensor
from minicnn_kernels import cards
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
    if device == "cuda" and tensor.device != "cpu":
        device = f"cuda:{cards.device().id}"
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
    result: Tensor = elementwise.cast(tensor, wanted)
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


FAMILIES = (
    activation, arithmetic, broadcast, comparison, diagonal, einsum, elementwise, extremes,
    indexing, join, linear, norm, rearrange, recurrent, reduce, scan, scatter, shape, sorting,
    special,
)  # fmt: skip
"""Where the public functions of tensors are; `__all__` of each file names them."""

_FUNCTIONS_ONLY = {  # no methods, as in PyTorch
    "atleast_1d", "atleast_2d", "atleast_3d", "block_diag", "broadcast_shapes", "broadcast_tensors",
    "bucketize", "cartesian_prod", "cat", "celu", "concat", "concatenate", "dstack", "einsum",
    "gru_cell", "hstack", "lstm_cell", "meshgrid", "rnn_relu_cell", "rnn_tanh_cell", "rrelu",
    "searchsorted", "selu", "stack", "std_mean", "tensordot", "threshold", "tril_indices",
    "triu_indices", "var_mean", "vstack",
}  # fmt: skip

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
    "__floordiv__": arithmetic.floor_divide,
    "__ifloordiv__": inplace.in_place(arithmetic.floor_divide, "//="),
    "__rfloordiv__": _swapped(arithmetic.floor_divide),
    "__mod__": arithmetic.remainder,
    "__imod__": inplace.in_place(arithmetic.remainder, "%="),
    "__rmod__": _swapped(arithmetic.remainder),
    "__pow__": arithmetic.pow,
    "__rpow__": _swapped(arithmetic.pow),
    "__matmul__": linear.matmul,
    "__rmatmul__": _swapped(linear.matmul),
    "__neg__": elementwise.neg,
    "__pos__": elementwise.positive,
    "__abs__": elementwise.abs,
    "__eq__": comparison.equals,
    "__ne__": comparison.differs,
    "__lt__": comparison.lt,
    "__le__": comparison.le,
    "__gt__": comparison.gt,
    "__ge__": comparison.ge,
    "__invert__": comparison.bitwise_not,
    "__and__": comparison.bitwise_and,
    "__rand__": _swapped(comparison.bitwise_and),
    "__or__": comparison.bitwise_or,
    "__ror__": _swapped(comparison.bitwise_or),
    "__xor__": comparison.bitwise_xor,
    "__rxor__": _swapped(comparison.bitwise_xor),
    "__lshift__": comparison.bitwise_left_shift,
    "__rlshift__": _swapped(comparison.bitwise_left_shift),
    "__rshift__": comparison.bitwise_right_shift,
    "__rrshift__": _swapped(comparison.bitwise_right_shift),
    "__getitem__": indexing.get_item,
    "__setitem__": inplace.set_item,
    # differentiation
    "backward": backprop.backward,
    # changes in place
    "copy_": inplace.copy_,
    "fill_": inplace.fill_,
    "zero_": inplace.zero_,
    **inplace.METHODS,
    # type and device
    "to": to,
    "float": lambda t: to(t, dtype=np.float32),
    "double": lambda t: to(t, dtype=np.float64),
    "half": lambda t: to(t, dtype=np.float16),
    "bfloat16": lambda t: to(t, dtype=bfloat16()),
    "long": lambda t: to(t, dtype=np.int64),
    "int": lambda t: to(t, dtype=np.int32),
    "short": lambda t: to(t, dtype=np.int16),
    "byte": lambda t: to(t, dtype=np.uint8),
    "bool": lambda t: to(t, dtype=np.bool_),
    "cpu": lambda t: to(t, device="cpu"),
    "cuda": lambda t: to(t, device="cuda"),
    # other names
    "polygamma": lambda t, n: special.polygamma(n, t),
    **{name: getattr(methods, name) for name in methods.__all__},
}
for _name, _function in _METHODS.items():
    if _name not in _FUNCTIONS_ONLY:
        setattr(Tensor, _name, _method(_function) if isinstance(_function, Op) else _function)
