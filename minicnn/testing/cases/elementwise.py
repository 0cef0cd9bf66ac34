"""Rows for `minicnn.ops.elementwise`."""

from __future__ import annotations

from minicnn.ops.elementwise import cast
from minicnn.testing.cases.case import Case, both, plain, positive

SIGNED = (
    "abs", "atan", "asinh", "cos", "cosh", "exp", "exp2", "expm1", "neg", "reciprocal", "sin",
    "sinh", "square",
)  # fmt: skip
POSITIVE = ("log", "log10", "log1p", "log2", "rsqrt", "sqrt")
STEPS = ("ceil", "floor", "round", "sign", "trunc")

ROWS = [
    *(
        both(name, "signed", lambda m, x, name=name: getattr(m, name)(x), (2, 3))
        for name in SIGNED
    ),
    *(
        both(name, "positive", lambda m, x, name=name: getattr(m, name)(x), positive(2, 3))
        for name in POSITIVE
    ),
    *(
        both(name, "times itself", lambda m, x, name=name: getattr(m, name)(x * 2) * x, (2, 3))
        for name in STEPS
    ),
    both("frac", "fraction", lambda m, x: m.frac(x), (2, 3)),
    both("mul", "degrees", lambda m, x: m.deg2rad(x), (2, 3)),
    both("mul", "radians", lambda m, x: x.rad2deg(), (2, 3)),
    both("neg", "operator", lambda m, x: -x, (2, 3)),
    both("abs", "operator", lambda m, x: abs(x), (2, 1, 3)),
    both("exp", "nothing", lambda m, x: x.exp(), (0, 3)),
    both("sqrt", "a single value", lambda m, x: x.sqrt(), positive()),
    both("tan", "signed", lambda m, x: m.tan(x / 2), (2, 3)),
    both("asin", "within bounds", lambda m, x: m.asin(x / 2.5), (2, 3)),
    both("acos", "within bounds", lambda m, x: m.acos(x / 2.5), (2, 3)),
    both("acosh", "above 1", lambda m, x: m.acosh(x + 1), positive(2, 3)),
    both("atanh", "within bounds", lambda m, x: m.atanh(x / 2.5), (2, 3)),
    both("log1p", "above -1", lambda m, x: m.log1p(x / 2.5), (2, 3)),
    both("round", "decimals", lambda m, x: m.round(x, decimals=1) * x, (2, 3)),
    both("round", "tens", lambda m, x: (x * 20.0).round(decimals=-1) * x, (2, 3)),
    both("nan_to_num", "numbers", lambda m, x: m.nan_to_num(x), (2, 3)),
    both("nan_to_num", "logarithms", lambda m, x: m.nan_to_num(m.log(x), nan=1.5) * x, (2, 3)),
    Case("cast", "to its own type", lambda x: cast(x, x.dtype), ((2, 3),)),
]  # fmt: skip

PLAIN = [
    plain(name, "alone", lambda m, x, name=name: getattr(m, name)(x), (2, 3))
    for name in (*STEPS, "positive", "absolute", "negative", "sgn")
]
