"""Expressions: what is to be computed of arrays and numbers, element by element, step by step."""

from __future__ import annotations

from typing import Any

FLOATS = ("float32", "float64")
KINDS = {"f": FLOATS, "b": ("bool",), "i": ("int8",)}

# By NumPy's names, what is computed of the operands {0}, {1}, ...: Python, for compiled loops.  exp
# and the like are those of cpu/mathematics.py.  The letters are the kinds of operands:
# f floating-point, b boolean, i the small integers that a sign is made of.
STEPS: dict[str, tuple[str, str]] = {
    "add": ("f", "{0} + {1}"),
    "subtract": ("fi", "{0} - {1}"),
    "multiply": ("f", "{0} * {1}"),
    "divide": ("f", "{0} / {1}"),
    "negative": ("f", "-{0}"),
    "absolute": ("f", "abs({0})"),
    "square": ("f", "{0} * {0}"),
    "sqrt": ("f", "sqrt({0})"),
    "reciprocal": ("f", "{type}(1) / {0}"),
    "maximum": ("f", "{0} if {0} >= {1} or {0} != {0} else {1}"),  # NaN wins
    "minimum": ("f", "{0} if {0} <= {1} or {0} != {0} else {1}"),
    "floor": ("f", "floor({0})"),
    "ceil": ("f", "ceil({0})"),
    "trunc": ("f", "trunc({0})"),
    "rint": ("f", "rint({0})"),
    "sign": ("f", "{0} if {0} != {0} else {type}({0} > 0) - {type}({0} < 0)"),
    "copysign": ("f", "copysign({0}, {1})"),
    "arctan2": ("f", "atan2({0}, {1})"),
    "hypot": ("f", "hypot({0}, {1})"),
    "logaddexp": ("f", "logaddexp({0}, {1})"),
    "equal": ("fb", "{0} == {1}"),
    "not_equal": ("fb", "{0} != {1}"),
    "less": ("f", "{0} < {1}"),
    "less_equal": ("f", "{0} <= {1}"),
    "greater": ("f", "{0} > {1}"),
    "greater_equal": ("f", "{0} >= {1}"),
    "isnan": ("f", "{0} != {0}"),
    "isinf": ("f", "abs({0}) == inf"),
    "isfinite": ("f", "abs({0}) < inf"),
    "bitwise_and": ("b", "{0} & {1}"),
    "bitwise_or": ("b", "{0} | {1}"),
    "bitwise_xor": ("b", "{0} ^ {1}"),
    "invert": ("b", "not {0}"),
    "where": ("f", "{1} if {0} else {2}"),
}
FUNCTIONS = {
    "arccos": "acos", "arcsin": "asin", "arctan": "atan", "cos": "cos", "erf": "erf",
    "erfc": "erfc", "exp": "exp", "exp2": "exp2", "expm1": "expm1", "lgamma": "lgamma",
    "log": "log", "log10": "log10", "log1p": "log1p", "log2": "log2", "sin": "sin", "tan": "tan",
    "tanh": "tanh",
}  # fmt: skip
STEPS |= {name: ("f", f"{function}({{0}})") for name, function in FUNCTIONS.items()}


class Node:
    """A step of an expression: an array, a number, or a function of other nodes.

    A number may be that of an array, its `source`.
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
        return f"({STEPS[self.name][1].format(*inner, type=self.dtype)})"
