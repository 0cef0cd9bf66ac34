"""Module: parameters, buffers and submodules under names, and a `forward`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from minicnn import anomaly, factories
from minicnn.backprop import no_grad
from minicnn.errors import DTypeError, ShapeError
from minicnn.hooks import RemovableHandle
from minicnn.nn.parameter import Parameter
from minicnn.tensor import Tensor
from minicnn_kernels.arrays import Array, is_floating

Row = tuple[str, str, str, str]
MOST_ROWS = 50  # of the table of what does not fit


class IncompatibleKeys(NamedTuple):
    """What a `load_state_dict(strict=False)` could not place."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """Base of every layer and model: assign parameters and layers as attributes, write `forward`.

    >>> import minicnn
    >>> class Affine(Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.weight = Parameter(minicnn.ones(2, 3))
    ...     def forward(self, x):
    ...         return x @ self.weight.T
    >>> Affine()(minicnn.ones(1, 3))
    tensor([[3., 3.]], made_by=matrix_product)
    """

    training: bool

    def __init__(self) -> None:
        self._parameters: dict[str, Parameter | None] = {}
        self._buffers: dict[str, Tensor | None] = {}
        self._non_persistent_buffers: set[str] = set()
        self._modules: dict[str, Module | None] = {}
        self._forward_pre_hooks: list[Callable[..., Any]] = []
        self._forward_hooks: list[Callable[..., Any]] = []
        self.training = True

    # --- attributes ------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        tables = self.__dict__
        if isinstance(value, (Parameter, Module)):
            if "_modules" not in tables:
                raise AttributeError(
                    f"{type(self).__name__}: call super().__init__() before assigning {name!r}"
                )
            home = "_parameters" if isinstance(value, Parameter) else "_modules"
            for table in {"_parameters", "_buffers", "_modules"} - {home}:
                tables[table].pop(name, None)
            tables.pop(name, None)
            tables[home][name] = value  # one that is replaced keeps its place in the order
        elif name in tables.get("_parameters", ()) or name in tables.get("_modules", ()):
            table = "_parameters" if name in self._parameters else "_modules"
            if value is not None:
                raise TypeError(
                    f"{type(self).__name__}.{name} is registered in {table[1:]} and cannot become "
                    f"a {type(value).__name__}; delete it first"
                )
            tables[table][name] = None
        elif name in tables.get("_buffers", ()):
            self.register_buffer(name, value, name not in self._non_persistent_buffers)
        else:
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:  # only called when the normal look-up fails
        for table in ("_parameters", "_buffers", "_modules"):
            if name in self.__dict__.get(table, ()):
                return self.__dict__[table][name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        for table in ("_parameters", "_buffers", "_modules"):
            if name in self.__dict__[table]:
                del self.__dict__[table][name]
                self._non_persistent_buffers.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._parameters, *self._buffers, *self._modules]

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter, or None where an optional one is absent (`bias=False`)."""
        self.__dict__.pop(name, None)
        self._parameters[name] = param

    def register_buffer(
        self, name: str, tensor: Tensor | Array | None, persistent: bool = True
    ) -> None:
        """Add a tensor that moves with the module but is not learned, such as a running mean.

        One that is not persistent is left out of `state_dict`.
        """
        self.__dict__.pop(name, None)
        if not (tensor is None or isinstance(tensor, (Tensor, np.ndarray))):
            raise DTypeError(
                f"{type(self).__name__}: buffer {name!r} must be a Tensor, an array or None, "
                f"got {type(tensor).__name__}"
            )
        self._buffers[name] = Tensor(tensor) if isinstance(tensor, np.ndarray) else tensor
        if persistent:
            self._non_persistent_buffers.discard(name)
        else:
            self._non_persistent_buffers.add(name)

    def register_module(self, name: str, module: Module | None) -> None:
        """Add a submodule under a name, as assigning an attribute does.

        Raises:
            DTypeError: it is neither a module nor None.
        """
        if not (module is None or isinstance(module, Module)):
            raise DTypeError(
                f"{type(self).__name__}: submodule {name!r} must be a Module or None, got "
                f"{type(module).__name__}"
            )
        self._modules[name] = module

    add_module = register_module

    # --- calling ---------------------------------------------------------------------------

    def forward(self, *inputs: Any, **settings: Any) -> Any:
        """Compute the result; every module writes its own."""
        raise AttributeError(f"{type(self).__name__} has no forward(); write one")

    def __call__(self, *inputs: Any, **settings: Any) -> Any:
        """Run the pre-hooks, `forward` and the hooks."""
        if anomaly.active.get():
            token = anomaly.running_modules.set((*anomaly.running_modules.get(), self))
            try:
                return self._call(inputs, settings)
            finally:
                anomaly.running_modules.reset(token)
        return self._call(inputs, settings)

    def _call(self, inputs: tuple[Any, ...], settings: dict[str, Any]) -> Any:
        for hook in tuple(self._forward_pre_hooks):
            replaced = hook(self, inputs)
            if replaced is not None:
                inputs = replaced if isinstance(replaced, tuple) else (replaced,)
        result = self.forward(*inputs, **settings)
        for hook in tuple(self._forward_hooks):
            replaced = hook(self, inputs, result)
            if replaced is not None:
                result = replaced
        return result

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(module, inputs)` before forward; what it returns replaces the inputs.

        Returns a handle whose `remove()` takes the hook away.
        """
        return RemovableHandle(self._forward_pre_hooks, hook)

    def register_forward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(module, inputs, result)` after forward; what it returns replaces the result.

        Returns a handle whose `remove()` takes the hook away.
        """
        return RemovableHandle(self._forward_hooks, hook)

    # --- going over the tree ---------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Go over the direct submodules, each once."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """Go over the direct submodules without their names."""
        return (module for _, module in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Go over this module and all below it, each once, as ("features.0", module)."""
        seen: set[int] = set()
        for name, module in self._walk(prefix):
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def _walk(self, prefix: str) -> Iterator[tuple[str, Module]]:
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module._walk(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        """Go over this module and all below it without their names."""
        return (module for _, module in self.named_modules())

    def named_parameters(
        self, prefix: str = "", recurse: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Go over the parameters, each once, as ("features.0.weight", parameter)."""
        return _named_members("_parameters", self, prefix, recurse)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Go over the parameters without their names."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """Go over the buffers, each once."""
        return _named_members("_buffers", self, prefix, recurse)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Go over the buffers without their names."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """Return the module of a dotted name such as "features.0"."""
        module: Any = self
        for part in target.split(".") if target else ():
            module = module._modules.get(part)
            if module is None:
                raise AttributeError(f"{type(self).__name__} has no submodule {target!r}")
        result: Module = module
        return result

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call `function` on every module below, then on this one."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    # --- state -----------------------------------------------------------------------------

    def state_dict(self, prefix: str = "") -> OrderedDict[str, Tensor]:
        """Return all parameters and persistent buffers by name, sharing memory with the module."""
        state: OrderedDict[str, Tensor] = OrderedDict()
        for path, module in self._walk(prefix.removesuffix(".")):
            passing = module._buffers.keys() & module._non_persistent_buffers
            for name, tensor in (*module._parameters.items(), *module._buffers.items()):
                if tensor is not None and name not in passing:
                    state[f"{path}.{name}" if path else name] = tensor.detach()
        return state

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True
    ) -> IncompatibleKeys:
        """Copy tensors or arrays into the parameters and buffers of the same names.

        Nothing is copied unless everything fits.

        Raises:
            ShapeError: sizes or types differ or, if `strict`, keys are missing or unexpected; the
                message has a table of them.
        """
        own = self.state_dict()
        missing = [key for key in own if key not in state_dict]
        unexpected = [key for key in state_dict if key not in own]
        rows = [row for key in own if key in state_dict for row in _misfit(key, state_dict, own)]
        if strict:
            rows += [("missing", key, "", str(own[key].shape)) for key in missing]
            rows += [("unexpected", key, _shape_of(state_dict[key]), "") for key in unexpected]
        if rows:
            raise ShapeError(
                f"load_state_dict: {len(rows)} of {len(missing) + len(state_dict)} keys do not fit "
                f"{type(self).__name__}; nothing was loaded{_advice(own, unexpected)}\n"
                + _as_table([("problem", "key", "given", "the model has"), *rows])
            )
        with no_grad():
            for key, tensor in own.items():
                if key in state_dict:
                    tensor.copy_(state_dict[key])
        return IncompatibleKeys(missing, unexpected)

    def train(self, mode: bool = True) -> Self:
        """Switch to training (dropout drops, batch norm uses the batch), or to evaluation."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch to evaluation."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze (False) or release every parameter."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def to(self, *targets: Any, dtype: Any = None, device: str | None = None) -> Self:
        """Move parameters and buffers to a floating-point type, a device, or both.

        Integer buffers keep their type.  The Parameter objects stay the same, so an optimiser
        made before still holds them.

        Raises:
            DTypeError: the type is not a floating-point one.
            DeviceError: the device cannot be used.
        """
        wanted = factories.zeros(0).to(*targets, dtype=dtype, device=device)
        if not is_floating(wanted.dtype):
            raise DTypeError(f"Module.to: needs a floating-point type, got {wanted.dtype}")

        def moved(tensor: Tensor) -> Tensor:
            result: Tensor = tensor.detach().to(*targets, dtype=dtype, device=device)
            if is_floating(tensor.dtype):
                return result
            return tensor.detach().to(device=result.device)  # type: ignore[no-any-return]

        for tensor in (*self.parameters(), *self.buffers()):
            tensor.data = moved(tensor)
            if tensor.grad is not None:
                tensor.grad = moved(tensor.grad)
        return self

    def float(self) -> Self:
        """Convert floating-point parameters and buffers to float32."""
        return self.to(np.float32)

    def double(self) -> Self:
        """Convert floating-point parameters and buffers to float64."""
        return self.to(np.float64)

    # --- showing ---------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """Return what stands between the brackets of a layer's repr."""
        return ""

    def __repr__(self) -> str:
        own = self.extra_repr().splitlines()
        children = [f"({name}): {child!r}" for name, child in self._modules.items()]
        if not children and len(own) < 2:
            return f"{type(self).__name__}({''.join(own)})"
        lines = [line.replace("\n", "\n  ") for line in (*own, *children)]
        return "\n  ".join([f"{type(self).__name__}(", *lines]) + "\n)"


def _misfit(key: str, given: Mapping[str, Any], own: Mapping[str, Tensor]) -> list[Row]:
    """Return the row of a value that cannot be copied into the model's, or none."""
    value, tensor = given[key], own[key]
    if not (hasattr(value, "shape") and hasattr(value, "dtype")):
        return [("no array", key, type(value).__name__, str(tensor.shape))]
    if tuple(value.shape) != tensor.shape:
        return [("size mismatch", key, str(tuple(value.shape)), str(tensor.shape))]
    if not np.can_cast(value.dtype, tensor.dtype, casting="same_kind"):
        return [("type mismatch", key, str(value.dtype), str(tensor.dtype))]
    return []


def _shape_of(value: Any) -> str:
    return str(tuple(value.shape)) if hasattr(value, "shape") else type(value).__name__


def _advice(own: Mapping[str, Tensor], unexpected: list[str]) -> str:
    """Return what to do where all unexpected keys are the model's behind a prefix."""
    for key in own:
        for other in unexpected:
            prefix = other.removesuffix(key)
            if prefix.endswith(".") and all(name.startswith(prefix) for name in unexpected):
                return f" (the keys begin with {prefix!r}; give them without it)"
    return ""


def _as_table(rows: list[Row]) -> str:
    """Return rows with columns of equal width; of many rows the first ones."""
    shown = rows[: MOST_ROWS + 1]
    widths = [max(len(row[column]) for row in shown) for column in range(len(rows[0]))]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in shown]
    lines += [f"... and {len(rows) - len(shown)} more"] if len(rows) > len(shown) else []
    return "\n".join(f"  {line}" for line in lines)


def _named_members(
    table: str, module: Module, prefix: str, recurse: bool
) -> Iterator[tuple[str, Any]]:
    """Go over parameters or buffers of a tree; one that is shared comes under its first name."""
    seen: set[int] = set()
    for path, owner in module._walk(prefix) if recurse else [(prefix, module)]:
        for name, tensor in getattr(owner, table).items():
            if tensor is not None and id(tensor) not in seen:
                seen.add(id(tensor))
                yield (f"{path}.{name}" if path else name), tensor
