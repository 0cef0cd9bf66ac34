"""Rows for `minicnn.ops.broadcast`."""

from __future__ import annotations

from minicnn.ops.broadcast import sum_to
from minicnn.testing.cases.case import Case, both

ROWS = [
    both("broadcast_to", "rows", lambda m, x: x.expand(4, 3), (1, 3)),
    both("broadcast_to", "columns", lambda m, x: x.expand(2, -1, 3), (1, 4, 1)),
    both("broadcast_to", "a new dimension", lambda m, x: x.expand(2, -1, -1), (3, 2)),
    both("broadcast_to", "a single value", lambda m, x: x.expand(2, 3), ()),
    both("broadcast_to", "nothing", lambda m, x: x.expand(0, 3), (1, 3)),
    both("broadcast_to", "the same shape", lambda m, x: x.expand(2, 3), (2, 3)),
    both("broadcast_to", "by its name", lambda m, x: m.broadcast_to(x, (2, -1, 3)), (4, 1)),
    both("broadcast_to", "as another", lambda m, x, y: x.expand_as(y) * y, (3, 1), (2, 3, 2)),
    both("broadcast_to", "two tensors", lambda m, a, b: m.broadcast_tensors(a, b)[0] * b,
         (3, 1), (2, 1, 4)),
    both("broadcast_to", "the shape in common",
         lambda m, x, y: x.expand(m.broadcast_shapes(x.shape, y.shape)) * y, (3, 1), (2, 1, 4)),
    Case("sum_to", "rows", lambda x: sum_to(x, (1, 3)), ((4, 3),),
         lambda torch, x: x.sum_to_size(1, 3)),
    Case("sum_to", "fewer dimensions", lambda x: sum_to(x, (4, 1)), ((2, 4, 3),),
         lambda torch, x: x.sum_to_size(4, 1)),
    Case("sum_to", "a single value", lambda x: sum_to(x, ()), ((2, 3),),
         lambda torch, x: x.sum()),
    Case("sum_to", "nothing", lambda x: sum_to(x, (1, 3)), ((0, 3),),
         lambda torch, x: x.sum_to_size(1, 3)),
    Case("sum_to", "the same shape", lambda x: sum_to(x, (2, 3)), ((2, 3),),
         lambda torch, x: x * 1),
]  # fmt: skip
