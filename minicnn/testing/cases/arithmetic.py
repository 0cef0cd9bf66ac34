"""Rows for `minicnn.ops.arithmetic`."""

from __future__ import annotations

import numpy as np

from minicnn.ops.arithmetic import cast
from minicnn.testing.cases.case import Case, both, positive

MASK = np.array([[True, False, True], [False, False, True]])

ROWS = [
    both("add", "one shape", lambda m, a, b: a + b, (2, 3), (2, 3)),
    both("add", "rows and columns", lambda m, a, b: a + b, (2, 1), (1, 3)),
    both("add", "fewer dimensions", lambda m, a, b: a + b, (3,), (2, 4, 3)),
    both("add", "a single value", lambda m, a, b: a + b, (), (2, 3)),
    both("add", "nothing", lambda m, a, b: a + b, (0, 3), (1, 3)),
    both("add", "a number", lambda m, x: 2 + x + 0.5, (2, 3)),
    both("add", "twice the same tensor", lambda m, x: x + x, (2, 3)),
    both("sub", "one shape", lambda m, a, b: a - b, (2, 3), (2, 3)),
    both("sub", "rows and columns", lambda m, a, b: a - b, (2, 1), (1, 3)),
    both("sub", "from a number", lambda m, x: 2 - x, (2, 3)),
    both("sub", "a tensor from itself", lambda m, x: x - x, (2, 3)),
    both("mul", "one shape", lambda m, a, b: a * b, (2, 3), (2, 3)),
    both("mul", "inner and outer", lambda m, a, b: a * b, (2, 1, 3), (4, 1)),
    both("mul", "a single value", lambda m, a, b: a * b, (2, 3), ()),
    both("mul", "nothing", lambda m, a, b: a * b, (0, 3), (3,)),
    both("mul", "a number", lambda m, x: 2.5 * x * 2, (2, 3)),
    both("mul", "twice the same tensor", lambda m, x: x * x, (2, 3)),
    both("div", "one shape", lambda m, a, b: a / b, (2, 3), positive(2, 3)),
    both("div", "rows and columns", lambda m, a, b: a / b, (1, 3), positive(2, 1)),
    both("div", "by a number", lambda m, x: x / 2.5, (2, 3)),
    both("div", "a number by it", lambda m, x: 2 / x, positive(2, 3)),
    both("div", "a tensor by itself", lambda m, x: x / x, positive(3)),
    both("pow", "square", lambda m, x: x**2, (2, 3)),
    both("pow", "cube of negative numbers", lambda m, x: x**3.0, (2, 3)),
    both("pow", "to the 1", lambda m, x: x**1, (2, 3)),
    both("pow", "to the 0", lambda m, x: x**0 * x, (2, 3)),
    both("pow", "root", lambda m, x: x**0.5, positive(2, 3)),
    both("pow", "negative exponent", lambda m, x: x**-1.5, positive(2, 3)),
    both("pow", "of a number", lambda m, x: 2.5**x, (2, 3)),
    both("pow", "two tensors", lambda m, a, b: a**b, positive(2, 3), (2, 3)),
    both("pow", "rows and columns", lambda m, a, b: a**b, positive(2, 1), (3,)),
    both("maximum", "one shape", lambda m, a, b: m.maximum(a, b), (2, 3), (2, 3)),
    both("maximum", "rows and columns", lambda m, a, b: m.maximum(a, b), (2, 1), (3,)),
    both("select", "lower bound", lambda m, x, low: x.clamp(min=low), (2, 3), (3,)),
    both("minimum", "one shape", lambda m, a, b: m.minimum(a, b), (2, 3), (2, 3)),
    both("minimum", "rows and columns", lambda m, a, b: m.minimum(a, b), (2, 1), (3,)),
    both("select", "upper bound", lambda m, x, high: x.clamp(max=high), (2, 3), (3,)),
    both("select", "one shape", lambda m, a, b: m.where(m.tensor(MASK), a, b), (2, 3), (2, 3)),
    both("select", "broadcast", lambda m, a, b: m.where(m.tensor(MASK), a, b), (3,), (2, 1)),
    both("select", "a number", lambda m, x: m.where(m.tensor(MASK), 2.5, x), (2, 3)),
    both("select", "growing", lambda m, x: m.where(m.tensor(MASK), x, 0.0), (1, 3)),
    both("neg", "signed", lambda m, x: -x, (2, 3)),
    both("exp", "signed", lambda m, x: m.exp(x), (2, 3)),
    both("log", "positive", lambda m, x: m.log(x), positive(2, 3)),
    both("sqrt", "positive", lambda m, x: m.sqrt(x), positive(2, 3)),
    both("abs", "signed", lambda m, x: m.abs(x), (2, 3)),
    both("clip", "both bounds", lambda m, x: x.clamp(-0.5, 0.7), (3, 4)),
    both("clip", "lower bound", lambda m, x: x.clamp(min=0.1), (3, 4)),
    both("clip", "upper bound", lambda m, x: m.clamp(x, max=0.1), (3, 4)),
    Case("cast", "to its own type", lambda x: cast(x, x.dtype), ((2, 3),)),
]
