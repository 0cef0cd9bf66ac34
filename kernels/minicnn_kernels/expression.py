"""Expressions: what is to be computed of arrays and numbers, element by element, step by step."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from minicnn_kernels.arrays import Array

FLOATS = ("float32", "float64")
HALVES = ("float16", "bfloat16")  # in which arrays on cards are kept; nothing is computed in them
KINDS = {"f": FLOATS, "b": ("bool",), "i": ("int8",), "h": HALVES}


class Step(NamedTuple):
    """How a step is written in the languages of compiled loops.

    {0}, {1}, ... are the operands, {type} is the type of the result, and {f} the letter at the end
    of a C function of that type.

    Attributes:
        kinds: of operands: f floating-point, b boolean, i the small integers that a sign is made
            of.
        python: for the CPU; exp and the like are those of cpu/mathematics.py.
        cuda: for cards, in C++; where it is empty, that is the same.
    """

    kinds: str
    python: str
    cuda: str = ""


STEPS: dict[str, Step] = {
    "add": Step("f", "{0} + {1}"),
    "subtract": Step("fi", "{0} - {1}"),
    "multiply": Step("f", "{0} * {1}"),
    "divide": Step("f", "{0} / {1}"),
    "negative": Step("f", "-{0}"),
    "absolute": Step("f", "abs({0})", "fabs{f}({0})"),
    "square": Step("f", "{0} * {0}"),
    "sqrt": Step("f", "sqrt({0})", "sqrt{f}({0})"),
    "reciprocal": Step("f", "{type}(1) / {0}"),
    "maximum": Step(  # NaN wins
        "f",
        "{0} if {0} >= {1} or {0} != {0} else {1}",
        "{0} >= {1} || {0} != {0} ? {0} : {1}",
    ),
    "minimum": Step(
        "f",
        "{0} if {0} <= {1} or {0} != {0} else {1}",
        "{0} <= {1} || {0} != {0} ? {0} : {1}",
    ),
    "floor": Step("f", "floor({0})", "floor{f}({0})"),
    "ceil": Step("f", "ceil({0})", "ceil{f}({0})"),
    "trunc": Step("f", "trunc({0})", "trunc{f}({0})"),
    "rint": Step("f", "rint({0})", "rint{f}({0})"),
    "sign": Step(
        "f",
        "{0} if {0} != {0} else {type}({0} > 0) - {type}({0} < 0)",
        "{0} != {0} ? {0} : {type}({0} > 0) - {type}({0} < 0)",
    ),
    "copysign": Step("f", "copysign({0}, {1})", "copysign{f}({0}, {1})"),
    "arctan2": Step("f", "atan2({0}, {1})", "atan2{f}({0}, {1})"),
    "hypot": Step("f", "hypot({0}, {1})", "hypot{f}({0}, {1})"),
    "logaddexp": Step("f", "logaddexp({0}, {1})"),
    "equal": Step("fb", "{0} == {1}"),
    "not_equal": Step("fb", "{0} != {1}"),
    "less": Step("f", "{0} < {1}"),
    "less_equal": Step("f", "{0} <= {1}"),
    "greater": Step("f", "{0} > {1}"),
    "greater_equal": Step("f", "{0} >= {1}"),
    "isnan": Step("f", "{0} != {0}"),
    "isinf": Step("f", "abs({0}) == inf", "{0} == {0} && {0} - {0} != 0"),
    "isfinite": Step("f", "abs({0}) < inf", "{0} - {0} == 0"),
    "bitwise_and": Step("b", "{0} & {1}"),
    "bitwise_or": Step("b", "{0} | {1}"),
    "bitwise_xor": Step("b", "{0} ^ {1}"),
    "invert": Step("b", "not {0}"),
    "where": Step("f", "{1} if {0} else {2}", "{0} ? {1} : {2}"),
}
FUNCTIONS = {
    "arccos": "acos", "arcsin": "asin", "arctan": "atan", "cos": "cos", "erf": "erf",
    "erfc": "erfc", "exp": "exp", "exp2": "exp2", "expm1": "expm1", "lgamma": "lgamma",
    "log": "log", "log10": "log10", "log1p": "log1p", "log2": "log2", "sin": "sin", "tan": "tan",
    "tanh": "tanh",
}  # fmt: skip
STEPS |= {
    name: Step("f", f"{function}({{0}})", f"{function}{{f}}({{0}})")
    for name, function in FUNCTIONS.items()
}


class Node:
    """A step of an expression: an array, a number, or a function of other nodes.

    A number may be that of an array, its `source`; what fills an array has that of another one as
    its argument, which says on which device it is to lie.
    """

    __slots__ = "arguments", "dtype", "name", "source", "value"

    def __init__(
        self,
        name: str,
        dtype: Any,
        arguments: tuple[Node, ...] = (),
        value: Any = None,
        source: Any = None,
    ) -> None:
        self.name, self.dtype, self.arguments = name, dtype, arguments
        self.value, self.source = value, source

    def __str__(self) -> str:
        if self.name == "number":
            return str(self.value)
        if self.name == "array":
            return "x"
        inner = [str(node) for node in self.arguments]
        if self.name == "cast":
            return f"{self.dtype}({inner[0]})"
        return f"({STEPS[self.name].python.format(*inner, type=self.dtype)})"


def an_array_of(node: Node) -> Any:
    """Return some array that an expression is made of; None if it is one of numbers."""
    if node.name == "array":
        return node.value
    return next((x for x in map(an_array_of, node.arguments) if x is not None), None)


class Steps:
    """The steps of some expressions in an order in which they can be computed, as statements.

    Attributes:
        arrays: those that are read, each once; v0, v1, ... are values of them.
        constants: the numbers c0, c1, ... with their types.
        sources: which of the numbers are those of arrays, and the arrays.
        statements: the text of the steps, which compute t0, t1, ...
        results: the name of each expression's value.
    """

    def __init__(self, *nodes: Node) -> None:
        self.arrays: list[Array] = []
        self.constants: list[tuple[float, Any]] = []
        self.sources: list[tuple[int, Array]] = []
        self.statements: list[str] = []
        self._names: dict[int, str] = {}
        self.results = [self._name_of(node) for node in nodes]

    def statement(self, name: str, node: Node, operands: list[str]) -> str:
        """Return the text that computes a node and gives it a name."""
        raise NotImplementedError

    def _name_of(self, node: Node) -> str:
        """Return the variable of a node, after adding the steps that compute it."""
        key = id(node.value) if node.name == "array" else id(node)
        if key not in self._names:
            self._names[key] = self._new_name(node)
        return self._names[key]

    def _new_name(self, node: Node) -> str:
        if node.name == "array":
            self.arrays.append(node.value)
            return f"v{len(self.arrays) - 1}"
        if node.name == "number":
            if node.source is not None:
                self.sources.append((len(self.constants), node.source))
            self.constants.append((node.value, node.dtype))
            return f"c{len(self.constants) - 1}"
        operands = [self._name_of(argument) for argument in node.arguments]
        name = f"t{len(self.statements)}"
        self.statements.append(self.statement(name, node, operands))
        return name


@cache  # NumPy takes microseconds for it
def type_name(dtype: np.dtype[Any]) -> str:
    """Return NumPy's name of an element type."""
    return dtype.name


def filled(template: str, parts: dict[str, Any]) -> str:
    """Fill in a template; where a line is a list alone, it becomes so many lines."""
    return "\n".join(line for each in template.splitlines() for line in _filled_line(each, parts))


def _filled_line(line: str, parts: dict[str, Any]) -> list[str]:
    alone = re.fullmatch(r"( *)\{(\w+)\}", line)
    if alone and isinstance(lines := parts[alone[2]], list):
        return [alone[1] + each for each in lines]
    return [line.format(**parts)]
