"""Modules made of modules."""

from __future__ import annotations

import operator
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any, Self

from minicnn.errors import ArgumentError, DTypeError, IndexOutOfRange
from minicnn.nn.module import Module
from minicnn.nn.parameter import Parameter
from minicnn.tensor import Tensor


class _ModulesInOrder(Module):
    """Modules found by their place, with what a list can do with its items."""

    def append(self, module: Module) -> Self:
        """Add a module at the end."""
        return self.extend([module])

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add several modules at the end."""
        if not isinstance(modules, Iterable):
            raise DTypeError(f"extend: needs several modules, got {type(modules).__name__}")
        for module in list(modules):
            self.register_module(str(len(self)), module)
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Add a module before the one at `index`; all are numbered anew.

        Raises:
            IndexOutOfRange: the index is not in [-length, length].
        """
        if not -len(self) <= operator.index(index) <= len(self):
            raise IndexOutOfRange(f"insert: index {index} is not in [{-len(self)}, {len(self)}]")
        modules = list(self)
        modules.insert(index, module)
        self.append(module)  # checks it
        return self._hold(modules)

    def _hold(self, modules: list[Any]) -> Self:
        """Replace all modules by these, named by their numbers."""
        self._modules.clear()
        return self.extend(modules)

    def pop(self, index: int | slice) -> Any:
        """Take the module at `index` out and return it; those left are numbered anew."""
        module = self[index]
        del self[index]
        return module

    def _name(self, index: int) -> str:
        if not -len(self) <= operator.index(index) < len(self):
            raise IndexOutOfRange(
                f"{type(self).__name__} holds {len(self)} modules, there is no number {index}"
            )
        return list(self._modules)[index]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._modules.values()))

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return self._part(list(self._modules.items())[index])
        return self._modules[self._name(index)]

    def _part(self, items: list[tuple[str, Any]]) -> Self:
        """Return a container of the same class that holds these."""
        raise AttributeError(f"{type(self).__name__} has no _part(); write one")

    def __setitem__(self, index: int, module: Module) -> None:
        self.register_module(self._name(index), module)

    def __delitem__(self, index: int | slice) -> None:
        modules = list(self)
        if not isinstance(index, slice):
            self._name(index)  # checks it
        del modules[index]
        self._hold(modules)


class Sequential(_ModulesInOrder):
    """Call modules one after the other: y = last(...(first(x))).

    Takes the modules, or one dict of names and modules.

    >>> from minicnn import nn
    >>> Sequential(nn.Linear(4, 3), nn.ReLU())
    Sequential(
      (0): Linear(in_features=4, out_features=3, bias=True)
      (1): ReLU()
    )
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        named = modules[0] if len(modules) == 1 and isinstance(modules[0], dict) else None
        for name, module in named.items() if named is not None else enumerate(modules):
            self.register_module(str(name), module)

    def forward(self, x: Any) -> Any:
        """Call every module in turn."""
        for module in self:
            x = module(x)
        return x

    def _part(self, items: list[tuple[str, Any]]) -> Self:
        return type(self)(dict(items))

    def __add__(self, other: Sequential) -> Sequential:
        if not isinstance(other, Sequential):
            raise ArgumentError(f"Sequential + {type(other).__name__}: needs another Sequential")
        return Sequential(*self, *other)


class ModuleList(_ModulesInOrder):
    """Hold modules in a list; `forward` is the owner's business."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)

    def _part(self, items: list[tuple[str, Any]]) -> Self:
        return type(self)(module for _, module in items)

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList(self).extend(other)


class ModuleDict(Module):
    """Hold modules by name; `forward` is the owner's business.

    >>> from minicnn import nn
    >>> heads = ModuleDict({"relu": nn.ReLU(), "tanh": nn.Tanh()})
    >>> heads["tanh"], list(heads)
    (Tanh(), ['relu', 'tanh'])
    """

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        self.update({} if modules is None else modules)

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add or replace modules."""
        for name, module in dict(modules).items():
            self.register_module(name, module)

    def pop(self, key: str) -> Module | None:
        """Take a module out and return it."""
        return self._modules.pop(key)

    def clear(self) -> None:
        """Take all modules out."""
        self._modules.clear()

    def keys(self) -> KeysView[str]:
        """Return the names."""
        return self._modules.keys()

    def values(self) -> ValuesView[Module | None]:
        """Return the modules."""
        return self._modules.values()

    def items(self) -> ItemsView[str, Module | None]:
        """Return (name, module) for each."""
        return self._modules.items()

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.register_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __contains__(self, key: str) -> bool:
        return key in self._modules

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


class ParameterList(Module):
    """Hold parameters in a list; tensors become parameters.

    >>> import minicnn
    >>> weights = ParameterList([minicnn.ones(2), minicnn.ones(3)])
    >>> [name for name, _ in weights.named_parameters()]
    ['0', '1']
    """

    def __init__(self, values: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.extend(values)

    def append(self, value: Tensor) -> ParameterList:
        """Add a parameter at the end."""
        self.register_parameter(str(len(self)), _parameter(value))
        return self

    def extend(self, values: Iterable[Tensor]) -> ParameterList:
        """Add several parameters at the end."""
        for value in list(values):
            self.append(value)
        return self

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._parameters.values()))

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return ParameterList(list(self)[index])
        return self._parameters[self._name(index)]

    def __setitem__(self, index: int, value: Tensor) -> None:
        self.register_parameter(self._name(index), _parameter(value))

    def _name(self, index: int) -> str:
        if not -len(self) <= operator.index(index) < len(self):
            raise IndexOutOfRange(f"ParameterList of {len(self)}: there is no number {index}")
        return list(self._parameters)[index]

    def extra_repr(self) -> str:
        """Say the shape of every parameter."""
        return _shapes_of(self._parameters)


class ParameterDict(Module):
    """Hold parameters by name; tensors become parameters."""

    def __init__(self, parameters: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        self.update({} if parameters is None else parameters)

    def update(self, parameters: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]]) -> None:
        """Add or replace parameters."""
        for name, value in dict(parameters).items():
            self[name] = value

    def pop(self, key: str) -> Any:
        """Take a parameter out and return it."""
        return self._parameters.pop(key)

    def keys(self) -> KeysView[str]:
        """Return the names."""
        return self._parameters.keys()

    def values(self) -> ValuesView[Parameter | None]:
        """Return the parameters."""
        return self._parameters.values()

    def items(self) -> ItemsView[str, Parameter | None]:
        """Return (name, parameter) for each."""
        return self._parameters.items()

    def __getitem__(self, key: str) -> Any:
        return self._parameters[key]

    def __setitem__(self, key: str, value: Tensor) -> None:
        self.register_parameter(key, _parameter(value))

    def __delitem__(self, key: str) -> None:
        del self._parameters[key]

    def __contains__(self, key: str) -> bool:
        return key in self._parameters

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)

    def extra_repr(self) -> str:
        """Say the shape of every parameter."""
        return _shapes_of(self._parameters)


def _parameter(value: Tensor) -> Parameter:
    if not isinstance(value, Tensor):
        raise DTypeError(f"a parameter must be a Tensor, got {type(value).__name__}")
    return value if isinstance(value, Parameter) else Parameter(value)


def _shapes_of(parameters: Mapping[str, Parameter | None]) -> str:
    return "\n".join(
        f"({name}): Parameter of shape {value.shape}"
        for name, value in parameters.items()
        if value is not None
    )
