"""Rows for `minicnn.ops.comparison`."""

from __future__ import annotations

from typing import Any

from minicnn.testing.cases.case import plain


def _special(m: Any, x: Any) -> Any:
    """Return inf, -inf and NaN beside numbers of both signs."""
    return x + m.tensor([0.0, float("inf"), float("-inf"), float("nan")]).to(x.dtype)


PLAIN = [
    *(
        plain(name, "one shape", lambda m, a, b, name=name: getattr(m, name)(a, b), (2, 3), (2, 3))
        for name in ("eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_xor")
    ),
    plain("eq", "with itself", lambda m, x: x == x, (2, 3)),
    plain("ne", "rows and columns", lambda m, a, b: a != b, (2, 1), (3,)),
    plain("lt", "a number", lambda m, x: x < 1, (2, 3)),
    plain("ge", "number", lambda m, x: m.ge(x, 0.5), (2, 3)),
    plain("logical_not", "signed", lambda m, x: m.logical_not(x), (2, 3)),
    plain("bitwise_and", "masks", lambda m, a, b: (a > 0) & (b > 0), (2, 3), (3,)),
    plain("bitwise_or", "masks", lambda m, a, b: (a > 0) | (b > 0), (2, 3), (3,)),
    plain("bitwise_xor", "masks", lambda m, a, b: (a > 0) ^ (b > 0), (2, 3), (3,)),
    plain("bitwise_not", "mask", lambda m, x: ~(x > 0), (2, 3)),
    plain("bitwise_left_shift", "by numbers", lambda m, x: x.long() << 2, (2, 3)),
    plain("bitwise_right_shift", "by numbers", lambda m, x: (x * 9).long() >> 1, (2, 3)),
    plain("isnan", "special", lambda m, x: m.isnan(_special(m, x)), (3, 4)),
    plain("isinf", "special", lambda m, x: m.isinf(_special(m, x)), (3, 4)),
    plain("isposinf", "special", lambda m, x: m.isposinf(_special(m, x)), (3, 4)),
    plain("isneginf", "special", lambda m, x: m.isneginf(_special(m, x)), (3, 4)),
    plain("isfinite", "special", lambda m, x: m.isfinite(_special(m, x)), (3, 4)),
    plain("signbit", "signed", lambda m, x: m.signbit(x), (2, 3)),
    plain("isclose", "within a tenth", lambda m, a, b: m.isclose(a, b, atol=0.5), (2, 3), (2, 3)),
    plain("equal", "to itself", lambda m, x: m.tensor(m.equal(x, x * 1)), (2, 3)),
    plain("equal", "to another", lambda m, a, b: m.tensor(m.equal(a, b)), (2, 3), (2, 3)),
    plain("allclose", "far", lambda m, a, b: m.tensor(m.allclose(a, b)), (2, 3), (2, 3)),
    plain("allclose", "near", lambda m, a, b: m.tensor(m.allclose(a, b, atol=9.0)), (2, 3), (3,)),
    plain("isclose", "itself", lambda m, x: m.isclose(x, x), (2, 3)),
]
