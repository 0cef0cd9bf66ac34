"""The list of all operators, made from the code: `python -m minicnn.testing.catalogue` prints it.

What stands in a row of it is read from the docstrings, from the registry of algorithms, and from
the table of operations: the element types are those that the operator was seen to accept.
"""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

import numpy as np

from minicnn import ops
from minicnn.differentiable import Node
from minicnn.nn import functional
from minicnn.tensor import Tensor
from minicnn.testing.cases import CASES, PLAIN, Case
from minicnn.testing.modules import layers
from minicnn_kernels import kernels

OURS = {
    "maxout", "median_pool1d", "median_pool2d", "median_pool3d", "min_pool1d", "min_pool2d",
    "min_pool3d",
}  # fmt: skip
"""The public functions and layers that PyTorch does not have."""

TYPES = ("float32", "int64", "bool")

TESTED = ("cpu", "cuda")
"""The devices on which the tests run; without a card, on a stand-in for one."""


INTRODUCTION = """\
Every public function on tensors, made from the code by `python -m minicnn.testing.catalogue`.
`F` is `minicnn.nn.functional`, and `torch.nn.functional` in the last column; the other functions
are `minicnn.NAME`, and methods of `Tensor` where PyTorch has the method.

- *types*: the element types that the function was seen to accept in the rows of the gradient
  table; `float` is float32 and float64, `int` is int64.
- *order*: how often it can be differentiated, checked against central differences; empty for
  functions without a gradient.
- *devices*: where the tests run it; without a card, the tests for cards run on a stand-in.
- *algorithms*: what `minicnn.use_algorithms` can choose from, by kernel.

Arguments, results and refusals are those of PyTorch, but for these differences on purpose:
float32 and float64 do not mix in silence; `inplace=True` is accepted and the result is new; a
tensor inside a graph is not written to; `view` may copy; the dimension of a softmax is not guessed;
deprecated arguments (`size_average`, `reduce`), `out=` and the `device` and `dtype` of layers
are left out; gradients are dense. Smaller ones stand, with reasons, in
`tests/helpers/deviations.py`."""


@dataclass(frozen=True)
class Operator:
    """A public function on tensors, under its one name or its two.

    Attributes:
        name: without `minicnn.` or `nn.functional.`.
        family: the file that defines it.
        functions: by full name, such as `relu` and `nn.functional.relu`.
        rows: the rows of the tables that are written with it.
    """

    name: str
    family: str
    functions: dict[str, Callable[..., Any]]
    rows: tuple[Case, ...]

    @property
    def formula(self) -> str:
        """The first line of a docstring that is a formula, else the first line."""
        lines = [formula_of(function) for function in self.functions.values()]
        return next((line for line in lines if " = " in line), lines[0])

    @property
    def types(self) -> list[str]:
        """The element types that some row accepts."""
        return [dtype for dtype in TYPES if any(accepts(row, dtype) for row in self.rows)]

    @property
    def order(self) -> str:
        """How often it can be differentiated, as the rows show; nothing without a gradient."""
        orders = [row.order for row in self.rows if row not in PLAIN]
        return str(max(orders)) if orders else ""

    @property
    def kernels(self) -> list[str]:
        """The kernels behind it, which come in several algorithms."""
        return sorted({name for row in self.rows for name in kernels_of(row)})

    @property
    def devices(self) -> list[str]:
        """The tested devices for which every kernel behind it has an algorithm."""
        served = [
            {device for a in kernels[name].algorithms.values() for device in a.devices}
            for name in self.kernels
        ]
        return [device for device in TESTED if all(device in devices for devices in served)]

    @property
    def algorithms(self) -> list[str]:
        """The algorithms to choose from, as "kernel: algorithm, algorithm"."""
        return [f"{name}: {', '.join(sorted(kernels[name].algorithms))}" for name in self.kernels]

    @property
    def torch(self) -> list[str]:
        """The names of the same function in PyTorch."""
        return [] if self.name in OURS else [f"torch.{name}" for name in self.functions]


def operators() -> list[Operator]:
    """List every public function on tensors, family by family, by name.

    >>> [o.formula for o in operators() if o.name == "tanh"]
    ['y = (e^x - e^-x) / (e^x + e^-x)']
    """
    homes: dict[str, str] = {}
    found: dict[str, dict[str, Any]] = {}
    for full, family, function in _public_functions():
        name = full.rpartition(".")[2]
        homes.setdefault(name, family)
        found.setdefault(name, {})[full] = function
    listed = sorted(found, key=lambda name: (homes[name], name))
    return [Operator(name, homes[name], found[name], rows_of(name)) for name in listed]


def _public_functions() -> Iterator[tuple[str, str, Any]]:
    """Yield (full name, family, function)."""
    for family in ops.FAMILIES:
        for name in family.__all__:
            yield name, family.__name__.rpartition(".")[2], getattr(family, name)
    for name, function in vars(functional).items():
        home = getattr(function, "__module__", None) or ""
        if not name.startswith("_") and home.startswith(("minicnn.nn.functional", "minicnn.ops")):
            yield f"nn.functional.{name}", home.rpartition(".")[2].strip("_"), function


@cache
def _rows_by_name() -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = {}
    for row in (*CASES, *PLAIN):
        for name in row.names:
            found.setdefault(name, []).append(row)
    return found


def rows_of(name: str) -> tuple[Case, ...]:
    """Return the rows that are written with a function."""
    return tuple(_rows_by_name().get(name, ()))


def formula_of(value: Any) -> str:
    """Return the first line of a docstring that is a formula, else its first line."""
    lines = [line.strip() for line in (inspect.getdoc(value) or "").splitlines()]
    formulas = [line for line in lines if " = " in line and not line.startswith(">>>")]
    return (formulas or lines or [""])[0].rstrip(".")


@cache
def accepts(row: Case, dtype: str) -> bool:
    """Say whether a row computes with inputs of an element type."""
    arrays = [a > 0 if dtype == "bool" else a.astype(dtype) for a in row.arrays()]
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            row.function(*map(Tensor, arrays))
    except Exception:  # whatever it says to a type it does not take
        return False
    return True


@cache
def kernels_of(row: Case) -> frozenset[str]:
    """Name the kernels that the recorded operations of a row call."""
    y = row.function(*(Tensor(a, requires_grad=True) for a in row.arrays()))
    places: list[Any] = [getattr(part, "node", None) for part in _parts(y)]
    found: set[str] = set()
    seen: set[int] = set()
    while places:
        node = places.pop()
        if isinstance(node, Node) and id(node) not in seen:
            seen.add(id(node))
            places.extend(node.parents)
            found.update(kernels.keys() & set(node.op.forward.__code__.co_names))
    return frozenset(found)


def _parts(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (tuple, list)) else [value]


# --- the page -------------------------------------------------------------------------------------


def as_markdown() -> str:
    """Return the page `docs/operators.md`."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    yield "# Operators"
    yield ""
    yield INTRODUCTION
    for family, members in groupby(operators(), lambda operator: operator.family):
        yield f"\n## {family.capitalize().replace('_', ' ')}\n"
        yield "| function | formula | types | order | devices | algorithms | in PyTorch |"
        yield "|---|---|---|---|---|---|---|"
        for o in members:
            cells = [
                _code(*_short(o.functions)), _code(o.formula),
                ", ".join(dtype.rstrip("0123456789") for dtype in o.types), o.order,
                ", ".join(o.devices), "; ".join(o.algorithms), _code(*_short(o.torch)),
            ]  # fmt: skip
            yield f"| {' | '.join(cells)} |"
    yield "\n## Layers\n"
    yield "| layer | formula |"
    yield "|---|---|"
    for name, layer in sorted(layers().items()):
        yield f"| {_code(f'nn.{name}')} | {_code(formula_of(layer))} |"


def _short(names: Iterable[str]) -> Iterator[str]:
    return (re.sub(r"(torch\.)?nn\.functional", "F", name) for name in names)


def _code(*texts: str) -> str:
    cells = (text.replace("`", "'").replace("|", "\\|") for text in texts)
    return ", ".join(f"`{cell}`" for cell in cells)


if __name__ == "__main__":
    print(as_markdown(), end="")
