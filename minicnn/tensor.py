"""Tensor: an array, its gradient, and the recorded call that made it.

The class is bare on purpose.  Its arithmetic and its methods (`+`, `@`, `sum`, ...) are the
functions of `minicnn.ops`, bound to it in one visible table, `minicnn/ops/__init__.py`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from minicnn.errors import DTypeError, GradientError, ShapeError
from minicnn.hooks import RemovableHandle
from minicnn_kernels.arrays import Array, device_of, is_floating, to_device

if TYPE_CHECKING:
    from minicnn.differentiable import Node

Hook = Callable[["Tensor"], Union["Tensor", None]]


class Tensor:
    """Hold an array of any device, and what reverse-mode differentiation needs to know of it.

    `Tensor(array)` wraps without copying; `minicnn.tensor(data)` copies.

    Attributes:
        array: the NumPy (or CuPy) array itself.
        grad: d loss / d this tensor, a Tensor of the same shape, or None.
        node: the recorded call that made this tensor; None for a leaf.
        requires_grad: whether gradients flow to or through this tensor.
    """

    __slots__ = (
        "__weakref__", "_hooks", "_requires_grad", "_retained", "array", "grad", "node", "version"
    )  # fmt: skip

    # NumPy must hand `ndarray * tensor` to Tensor.__rmul__ instead of taking the tensor apart,
    # and must refuse `np.exp(tensor)` instead of dropping the graph in silence.
    __array_priority__ = 1000
    __array_ufunc__ = None

    if TYPE_CHECKING:  # everything that ops/__init__.py binds

        def __getattr__(self, name: str) -> Any: ...
        def backward(
            self,
            gradient: Tensor | None = None,
            retain_graph: bool | None = None,
            create_graph: bool = False,
        ) -> None:
            """Add d self / d leaf to every leaf's `.grad`: `minicnn.backprop.backward`."""

        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...

    def __init__(self, array: Any, requires_grad: bool = False) -> None:
        self.array: Array = np.asarray(array) if isinstance(array, np.generic) else array
        self.grad: Tensor | None = None
        self.node: Node | None = None
        self.version = [0]  # counts changes in place; shared by all tensors on one memory
        self._hooks: list[Hook] = []
        self._retained: Node | None = None  # the call whose gradient `retain_grad` keeps
        self._requires_grad = False
        if requires_grad:
            self.requires_grad = True

    # --- what it is ------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of each dimension."""
        return self.array.shape

    @property
    def dtype(self) -> Any:
        """The NumPy dtype of the values."""
        return self.array.dtype

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self.array.ndim

    @property
    def device(self) -> str:
        """Where the values are: "cpu" or "cuda:0"."""
        return device_of(self.array)

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded call made this tensor."""
        return self.node is None

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to or through this tensor."""
        return self._requires_grad or self.node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value and not is_floating(self.dtype):
            raise DTypeError(
                f"requires_grad: only floating-point tensors can have a gradient, this one is "
                f"{self.dtype}; convert it with .to(minicnn.float32)"
            )
        if not value and self.node is not None:
            raise GradientError("requires_grad: a result cannot be cut off; use .detach()")
        self._requires_grad = bool(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set `requires_grad` and return the tensor itself."""
        self.requires_grad = requires_grad
        return self

    @property
    def origin(self) -> Node | Tensor:
        """Where a gradient of this tensor goes: the call that made it, or the leaf itself."""
        return self if self.node is None else self.node

    # --- out of the graph ------------------------------------------------------------------

    def detach(self) -> Tensor:
        """Return a tensor on the same memory that no gradient flows through."""
        out = Tensor(self.array)
        out.version = self.version
        return out

    @property
    def data(self) -> Tensor:
        """The values alone, as `detach()`; assigning replaces them."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        self.array, self.version = value.array, value.version

    def numpy(self) -> Array:
        """Return the NumPy array itself, sharing memory.

        Raises:
            GradientError: the tensor requires a gradient, which the array would lose.
            DTypeError: the values are not on the CPU.
        """
        if self.requires_grad:
            raise GradientError("numpy: this tensor requires grad; use .detach().numpy()")
        if not isinstance(self.array, np.ndarray):
            raise DTypeError(f"numpy: the values are on {self.device}; use .cpu().numpy()")
        return self.array

    def item(self) -> Any:
        """Return the only value as a Python number."""
        if self.array.size != 1:
            raise ShapeError(f"item: needs exactly one value, the shape is {self.shape}")
        return self.array.item()

    def tolist(self) -> Any:
        """Return the values as nested Python lists."""
        return self.array.tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = self.numpy()
        wanted = array.dtype if dtype is None else np.dtype(dtype)
        if copy is False and wanted != array.dtype:
            raise ValueError(f"cannot turn {array.dtype} into {wanted} without a copy")
        return array.astype(wanted, copy=bool(copy))

    def __dlpack__(self, **arguments: Any) -> Any:
        if self.requires_grad:
            raise BufferError("__dlpack__: this tensor requires grad; use .detach()")
        return self.array.__dlpack__(**arguments)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    # --- differentiation -------------------------------------------------------------------

    def register_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(gradient)` whenever the gradient of this tensor has been computed.

        What the hook returns, if not None, takes the gradient's place.  Returns a handle
        whose `remove()` takes the hook away.
        """
        if not self.requires_grad:
            raise GradientError("register_hook: this tensor does not require grad")
        hooks = self._hooks if self.node is None else self.node.hooks
        return RemovableHandle(hooks, hook)

    def retain_grad(self) -> None:
        """Keep `.grad` on this tensor although it is not a leaf."""
        if not self.requires_grad:
            raise GradientError("retain_grad: this tensor does not require grad")
        if self.node is None or self._retained is self.node:
            return
        self._retained = self.node
        reference = weakref.ref(self)  # the hook must not keep the tensor alive

        def keep(gradient: Tensor) -> None:
            tensor = reference()
            if tensor is not None:
                tensor.grad = gradient if tensor.grad is None else tensor.grad + gradient

        self.register_hook(keep)

    # --- Python's protocols ----------------------------------------------------------------

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of a tensor without dimensions")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        if self.array.size != 1:
            raise ShapeError(f"the truth value of a tensor of shape {self.shape} is ambiguous")
        return bool(self.array.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if is_floating(self.dtype):
            raise TypeError(f"only integer tensors can be an index, this one is {self.dtype}")
        return int(self.item())

    def __hash__(self) -> int:  # by identity: == compares element by element
        return id(self)

    def __format__(self, spec: str) -> str:
        return super().__format__(spec) if self.ndim else format(self.item(), spec)

    def __repr__(self) -> str:
        array = to_device(self.array, "cpu")
        values = np.array2string(array, separator=", ", prefix="tensor(", precision=4)
        notes = [] if self.array.size or self.ndim == 1 else [f"shape={self.shape}"]
        notes += [] if self.dtype in ("float32", "int64", "bool") else [f"dtype={self.dtype}"]
        notes += [] if self.device == "cpu" else [f'device="{self.device}"']
        made_by = [f"made_by={self.node.op.name}"] if self.node is not None else []
        notes += made_by or (["requires_grad=True"] if self.requires_grad else [])
        return f"tensor({', '.join([values, *notes])})"

    def __reduce__(self) -> Any:
        if self.node is not None:
            raise GradientError("only leaves can be copied or pickled; use .detach()")
        return type(self), (self.array, self._requires_grad)


def values_of(value: Any) -> Any:
    """Return the array of a Tensor (also inside a tuple of indices); anything else unchanged."""
    if isinstance(value, tuple):
        return tuple(values_of(part) for part in value)
    return value.array if isinstance(value, Tensor) else value
