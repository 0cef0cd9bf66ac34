"""Rows for `minicnn.ops.scan`."""

from __future__ import annotations

from minicnn.ops.scan import recurrence
from minicnn.testing.cases.case import Case, both, plain

ROWS = [
    both("running_sum", "rows", lambda m, x: m.cumsum(x, 0), (3, 2)),
    both("running_sum", "columns", lambda m, x: x.cumsum(-1), (2, 5)),
    both("running_sum", "a single value in a row", lambda m, x: x.cumsum(1), (3, 1)),
    both("running_sum", "nothing", lambda m, x: m.cumsum(x, 1), (2, 0)),
    both("index", "cumsum of a single value", lambda m, x: m.cumsum(x, -1), ()),
    both("running_product", "rows", lambda m, x: m.cumprod(x, 0), (3, 2)),
    both("running_product", "columns", lambda m, x: x.cumprod(-1), (2, 5)),
    both("running_product", "a zero", lambda m, x: m.cumprod(x * (abs(x) > 0.8), 1), (2, 4)),
    both("running_product", "nothing", lambda m, x: x.cumprod(0), (0, 2)),
    Case("recurrence", "columns", lambda x, a: recurrence(x, a, 1), ((2, 5), (2, 5))),
    Case("recurrence", "rows", lambda x, a: recurrence(x, a, 0), ((7, 1), (7, 1))),
    both("running_logsumexp", "rows", lambda m, x: m.logcumsumexp(x, 0), (3, 2)),
    both("running_logsumexp", "columns", lambda m, x: x.logcumsumexp(-1), (2, 5)),
    both("running_logsumexp", "large", lambda m, x: m.logcumsumexp(x * 4.0, 1), (2, 4)),
    both("index", "cummax", lambda m, x: m.cummax(x, 1).values, (2, 6)),
    both("index", "cummax rows", lambda m, x: x.cummax(dim=0).values, (5, 2)),
    both("index", "cummin", lambda m, x: m.cummin(x, -1)[0], (2, 6)),
    both("index", "cummin of a single value", lambda m, x: x.cummin(0)[0], ()),
    both("sub", "diff", lambda m, x: m.diff(x), (2, 4)),
    both("sub", "diff twice", lambda m, x: m.diff(x, n=2, dim=0), (4, 2)),
    both("sub", "diff more often than there are values", lambda m, x: x.diff(5), (2, 3)),
    both("sub", "diff with ends",
         lambda m, x, a, b: m.diff(x, prepend=a, append=b), (2, 3), (2, 1), (2, 2)),
]  # fmt: skip

PLAIN = [
    plain("cummax", "with positions", lambda m, x: m.cummax(x, 1), (2, 6)),
    plain("cummax", "of equal values", lambda m, x: (x > 0).cummax(-1), (2, 6)),
    plain("cummin", "with positions", lambda m, x: x.cummin(dim=0), (6, 2)),
    plain("cumsum", "in another type", lambda m, x: m.cumsum(x.detach(), 1, dtype=m.int32), (2, 3)),
    plain(
        "cumprod", "in another type", lambda m, x: x.detach().cumprod(0, dtype=m.float32), (2, 3)
    ),
    plain("diff", "of booleans", lambda m, x: m.diff(x > 0), (2, 5)),
]
