"""A parameter that is computed from others each time it is read.

>>> from minicnn import nn
>>> class Symmetric(nn.Module):
...     def forward(self, w):
...         return (w + w.T) / 2
>>> layer = register_parametrization(nn.Linear(3, 3), "weight", Symmetric())
>>> bool((layer.weight == layer.weight.T).array.all())
True
>>> list(layer.state_dict())
['bias', 'parametrizations.weight.original']

What is learned moves to `module.parametrizations`, as `original`, or as `original0`, `original1`,
... where there are several; the name itself becomes a property, in a subclass made for the module.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from minicnn.backprop import no_grad
from minicnn.errors import ArgumentError, ShapeError
from minicnn.nn.containers import ModuleDict, ModuleList
from minicnn.nn.module import Module
from minicnn.nn.parameter import Parameter
from minicnn.tensor import Tensor

__all__ = [
    "ParametrizationList", "cached", "is_parametrized", "register_parametrization",
    "remove_parametrizations", "type_before_parametrizations",
]  # fmt: skip

_cache: ContextVar[dict[tuple[int, str], Any] | None] = ContextVar("parametrized", default=None)


@contextmanager
def cached() -> Iterator[None]:
    """Compute each parametrised tensor only once inside this block, however often it is read."""
    token = _cache.set({} if _cache.get() is None else _cache.get())
    try:
        yield
    finally:
        _cache.reset(token)


class ParametrizationList(ModuleList):
    """The originals of one tensor, and the modules that compute it from them, first to last."""

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        super().__init__(modules)
        self.unsafe = unsafe
        made = self._inverted(original, must=False)
        self.is_tensor = isinstance(made, Tensor)
        if isinstance(made, Tensor):
            original.data = made.detach()
            _register(self, "original", original)
        else:
            for i, part in enumerate(made):
                learned = isinstance(original, Parameter)
                kept = Parameter(part, original.requires_grad) if learned else part
                _register(self, f"original{i}", kept)

    def originals(self) -> list[Tensor]:
        """Return what is learned."""
        return [*self._parameters.values(), *self._buffers.values()]  # type: ignore[list-item]

    def forward(self) -> Any:
        """Compute the tensor."""
        first, *others = self
        value = first(*self.originals())
        for module in others:
            value = module(value)
        return value

    def right_inverse(self, value: Tensor) -> None:
        """Set the originals so that the tensor becomes `value`.

        Raises:
            ArgumentError: a module has no `right_inverse`.
            ShapeError: it gives another number of tensors than there are originals.
        """
        made = self._inverted(value, must=True)
        parts = [made] if isinstance(made, Tensor) else list(made)
        originals = self.originals()
        if len(parts) != len(originals):
            raise ShapeError(
                f"right_inverse: gives {len(parts)} tensors, there are {len(originals)} originals"
            )
        with no_grad():
            for original, part in zip(originals, parts, strict=True):
                original.copy_(part)

    def _inverted(self, value: Tensor, must: bool) -> Any:
        """Send a value back through the modules, last to first."""
        with no_grad():
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    value = module.right_inverse(value)
                elif must:
                    name = type(module).__name__
                    raise ArgumentError(f"{name}: cannot be assigned to without right_inverse()")
        return value


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Compute `module.<tensor_name>` by `parametrization` from now on; return the module.

    A second one is applied to the result of the first.  `parametrization.right_inverse`, if there
    is one, gives the originals for a value; it is asked here for those of the present value.

    Raises:
        ArgumentError: there is no such tensor, or its element type would change.
        ShapeError: its shape would change.  `unsafe` allows both.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        now = getattr(module, tensor_name)
        if not unsafe:
            _check_alike(tensor_name, now, parametrization(now))
        module.parametrizations[tensor_name].append(parametrization)
        module.parametrizations[tensor_name].unsafe |= unsafe
        return module
    tensor = module._parameters.get(tensor_name, module._buffers.get(tensor_name))
    if tensor is None:
        raise ArgumentError(
            f"register_parametrization: {type(module).__name__} has no parameter or buffer "
            f"{tensor_name!r}"
        )
    before = tensor.detach()
    chain = ParametrizationList([parametrization], tensor, unsafe)
    if not unsafe:
        _check_alike(tensor_name, before, chain())
    delattr(module, tensor_name)
    if not is_parametrized(module):
        module.parametrizations = ModuleDict()
    module.parametrizations.register_module(tensor_name, chain)
    _show_as_properties(module)
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Say whether a tensor of the module, or any, is computed by a parametrisation."""
    chains = module._modules.get("parametrizations")
    if not isinstance(chains, ModuleDict):
        return False
    return len(chains) > 0 if tensor_name is None else tensor_name in chains


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """Make a tensor an ordinary one again; return the module.

    It keeps its present value, or, with leave_parametrized=False, gets that of its `original`.

    Raises:
        ArgumentError: it is not parametrised, or has several originals to go back to.
    """
    if not is_parametrized(module, tensor_name):
        raise ArgumentError(
            f"remove_parametrizations: {tensor_name!r} of {type(module).__name__} has none"
        )
    chain = module.parametrizations[tensor_name]
    if not (chain.is_tensor or leave_parametrized):
        raise ArgumentError(
            f"remove_parametrizations: {tensor_name!r} is computed from several tensors; use "
            f"leave_parametrized=True"
        )
    first = chain.originals()[0]
    if leave_parametrized:
        with no_grad():
            value = getattr(module, tensor_name).detach()
        if chain.is_tensor:
            first.data = value
        else:
            learned = isinstance(first, Parameter)
            first = Parameter(value, first.requires_grad) if learned else value
    delattr(module.parametrizations, tensor_name)
    if not is_parametrized(module):
        del module.parametrizations
    _show_as_properties(module)
    _register(module, tensor_name, first)
    return module


def type_before_parametrizations(module: Module) -> type:
    """Return the class that the module had before its first parametrisation."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def _show_as_properties(module: Module) -> None:
    """Give the module a class in which its parametrised tensors, if any, are properties."""
    injected = getattr(type(module), "parametrized", False)
    before: type[Module] = type(module).__bases__[0] if injected else type(module)
    if not is_parametrized(module):
        module.__class__ = before
        return
    names = {name: _computed(name) for name in module.parametrizations}

    def assign(self: Module, name: str, value: Any) -> None:
        if name in names:
            self.parametrizations[name].right_inverse(value)
        else:
            before.__setattr__(self, name, value)

    content = {**names, "__setattr__": assign, "__module__": before.__module__}
    content["parametrized"] = True
    module.__class__ = type(f"Parametrized{before.__name__}", (before,), content)


def _computed(name: str) -> property:
    """Return a property that computes a tensor, or takes it from the cache."""

    def read(self: Module) -> Any:
        values, key = _cache.get(), (id(self), name)
        if values is None:
            return self.parametrizations[name]()
        if key not in values:
            values[key] = self.parametrizations[name]()
        return values[key]

    return property(read)


def _check_alike(name: str, before: Tensor, after: Any) -> None:
    if not isinstance(after, Tensor) or after.dtype != before.dtype:
        kind = getattr(after, "dtype", type(after).__name__)
        raise ArgumentError(
            f"register_parametrization: {name!r} would change from {before.dtype} to {kind}; "
            f"unsafe=True allows it"
        )
    if after.shape != before.shape:
        raise ShapeError(
            f"register_parametrization: {name!r} would change from shape {before.shape} to "
            f"{after.shape}; unsafe=True allows it"
        )


def _register(module: Module, name: str, tensor: Tensor) -> None:
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)
