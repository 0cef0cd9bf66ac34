"""A row of the tables of operations and of layers, and short ways to write one."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

import minicnn
from minicnn import nn, random
from minicnn.nn import functional as F
from minicnn_kernels.arrays import Array

Shape: TypeAlias = tuple[int, ...]


class Positive(tuple[int, ...]):
    """A shape whose values shall be at least 0.3."""


def positive(*shape: int) -> Positive:
    """Ask for positive values: `positive(2, 3)` where `(2, 3)` asks for signed ones."""
    return Positive(shape)


@dataclass(frozen=True)
class Case:
    """A row of the table.

    Attributes:
        op: the operation whose gradient the row exercises.
        name: what is special about the row.
        function: computes the value from tensors.
        inputs: the shapes of the tensors.
        torch: computes the same with PyTorch: `torch(module, *tensors)`; None if it cannot.
        through: the function of `nn.functional` that calls the operation, if the row uses one.
        public: whether the row is written with public functions, which check what they are given.
        order: how often the operation can be differentiated; 1 where a second time is refused.
    """

    op: str
    name: str
    function: Callable[..., Any]
    inputs: tuple[Shape, ...]
    torch: Callable[..., Any] | None = None
    through: str | None = None
    public: bool = False
    order: int = 2

    def __str__(self) -> str:
        return f"{self.op}: {self.name}"

    @property
    def names(self) -> set[str]:
        """The operation, and every function and method that the row is written with."""
        written = self.function
        while isinstance(written, partial):
            written = written.func
        code = getattr(written, "__code__", None)
        return {self.op, *filter(None, [self.through]), *(code.co_names if code else ())}

    def arrays(self) -> list[Array]:
        """Make inputs in float64, in [-2, 2]: no two values and no value and 0 are close."""
        return distinct_arrays(self.inputs, str(self))


def distinct_arrays(shapes: Sequence[Shape], key: str) -> list[Array]:
    """Make arrays of float64 in [-2, 2] in which no two values, and no value and 0, are close.

    The values of a `Positive` shape lie in [0.3, 2.3].  The same `key` gives the same values.

    >>> x, y = distinct_arrays([(2, 2), positive(3)], "an example")
    >>> x.shape, bool(y.min() > 0.3)
    ((2, 2), True)
    """
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    sizes = [int(np.prod(shape)) for shape in shapes]
    count = sum(sizes) + sum(sizes) % 2
    pool = (rng.permutation(count) + rng.uniform(0.3, 0.7, count)) * 4 / max(count, 1) - 2
    parts = np.split(pool, np.cumsum(sizes))
    return [
        np.array(part / 2 + 1.3 if isinstance(shape, Positive) else part).reshape(shape)
        for part, shape in zip(parts, shapes, strict=False)
    ]


def repeatable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a random function draw the same numbers in every call, and use up none."""

    def call(*inputs: Any) -> Any:
        state = random.default.get_state()
        random.manual_seed(0)
        try:
            return function(*inputs)
        finally:
            random.default.set_state(state)

    return call


def both(
    op: str,
    name: str,
    function: Callable[..., Any],
    *inputs: Shape,
    through: str | None = None,
    order: int = 2,
) -> Case:
    """Make a row whose function takes `minicnn` or `torch`, and means the same in both."""
    return Case(op, name, partial(function, minicnn), inputs, function, through, True, order)


def functional(op: str, name: str, kind: str, *inputs: Shape, **settings: Any) -> Case:
    """Make a row for a function of `nn.functional`, which both libraries have."""

    def in_torch(torch: Any, *tensors: Any) -> Any:
        return getattr(torch.nn.functional, kind)(*tensors, **settings)

    ours = partial(getattr(F, kind), **settings)
    return Case(op, name, ours, inputs, in_torch, kind, public=True)


def plain(op: str, name: str, function: Callable[..., Any], *inputs: Shape) -> Case:
    """Make a row for a function without a gradient: positions, comparisons, whole numbers."""
    return Case(op, name, partial(function, minicnn), inputs, function, public=True)


@dataclass(frozen=True, eq=False)
class ModuleCase:
    """A layer or a model with a sample input.

    Attributes:
        kind: the class of the layer, or the name of the model.
        name: what is special about the row.
        make: makes the module from `minicnn.nn`; that of a layer also from `torch.nn`.
        inputs: the shapes of its inputs; whole numbers, as labels, are given as they are.
        loss: what is applied to its output.
        torch: whether `torch.nn` has the same layer.
        order: how often it can be differentiated; 0 where its gradient is another on purpose.
    """

    kind: str
    name: str
    make: Callable[[Any], Any]
    inputs: tuple[Shape | Array, ...]
    loss: Callable[..., Any] | None = None
    torch: bool = True
    order: int = 2

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"

    def module(self) -> nn.Module:
        """Build the module, the same each time; no parameter keeps a special value as 0 or 1."""
        module: nn.Module = repeatable(self.make)(nn)
        rng = np.random.default_rng(zlib.crc32(str(self).encode()))
        for parameter in module.parameters():
            parameter.array += rng.uniform(-0.2, 0.2, parameter.shape).astype(parameter.dtype)
        return module

    def arrays(self) -> list[Array]:
        """Make the inputs: float64 in which no two values, and no value and 0, are close."""
        shapes = [given for given in self.inputs if isinstance(given, tuple)]
        made = iter(distinct_arrays(shapes, str(self)))
        return [next(made) if isinstance(given, tuple) else given for given in self.inputs]


def layer(
    name: str,
    make: Callable[[Any], Any],
    *inputs: Shape | Array,
    torch: bool = True,
    order: int = 2,
) -> ModuleCase:
    """Make a row for a layer: `layer("padded", lambda nn: nn.Conv2d(2, 3, 3), (2, 2, 4, 3))`."""
    return ModuleCase(type(make(nn)).__name__, name, make, inputs, torch=torch, order=order)
