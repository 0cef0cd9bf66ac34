"""Rows for `minicnn.ops.scatter`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from minicnn.ops.scatter import index_extreme, index_product, index_set
from minicnn.testing.cases.case import Case, both, plain


def ours(*row: Any) -> Case:
    """Make a row without torch, which has no gradient for a larger `src`, nor for `reduce`."""
    return replace(both(*row), torch=None, public=False)


PLACES = [[0, 2, 1], [2, 0, 1]]
TWICE = [[0, 2, 0], [1, 1, 1]]
MASK = [[True, False, True], [False, False, True]]

ROWS = [
    both("index_set", "scatter",
         lambda m, x, v: m.scatter(x, 1, m.tensor(PLACES), v), (2, 4), (2, 3)),
    ours("index_set", "scatter less", lambda m, x, v: x.scatter(0, m.tensor([[2], [0]]), v),
         (3, 2), (2, 2)),
    both("index_set", "scatter a number",
         lambda m, x: m.scatter(x, -1, m.tensor(TWICE), 2.5), (2, 3)),
    both("index_set", "scatter a named number",
         lambda m, x: x.scatter(-1, m.tensor(TWICE), value=2), (2, 3)),
    both("index_set", "index_copy", lambda m, x, v: m.index_copy(x, 1, m.tensor([2, 0]), v),
         (2, 3), (2, 2)),
    ours("index_set", "index_copy of a single value",
         lambda m, x, v: x.index_copy(0, m.tensor(0), v) * x, (), ()),
    both("index_set", "index_fill",
         lambda m, x: m.index_fill(x, 1, m.tensor([-1, 0, 0]), 3), (2, 3)),
    both("index_set", "index_fill by a tensor",
         lambda m, x, v: x.index_fill(0, m.tensor([1]), v), (2, 3), ()),
    both("index_set", "masked_scatter", lambda m, x, v: m.masked_scatter(x, m.tensor(MASK), v),
         (2, 3), (2, 2)),
    both("index_set", "masked_scatter broadcast",
         lambda m, x, v: x.masked_scatter(m.tensor(MASK), v), (3,), (5,)),
    both("select", "masked_fill", lambda m, x: m.masked_fill(x, m.tensor(MASK), 1.5), (2, 3)),
    both("select", "masked_fill broadcast",
         lambda m, x: x.masked_fill(m.tensor(MASK), -1), (2, 1, 3)),
    both("select", "masked_fill by a tensor",
         lambda m, x, v: x.masked_fill(m.tensor(MASK[0]), v), (2, 3), ()),
    both("index_added", "scatter_add", lambda m, x, v: m.scatter_add(x, 1, m.tensor(TWICE), v),
         (2, 3), (2, 3)),
    ours("index_added", "scatter_add less", lambda m, x, v: x.scatter_add(0, m.tensor([[2, 2]]), v),
         (3, 3), (2, 2)),
    ours("index_added", "scatter_add nothing",
         lambda m, x, v: x.scatter_add(1, m.zeros(2, 0).long(), v), (2, 3), (2, 3)),
    ours("index_added", "scatter and add",
         lambda m, x: x.scatter(1, m.tensor(TWICE), 0.5, reduce="add") * x, (2, 3)),
    both("index_added", "index_add", lambda m, x, v: m.index_add(x, 0, m.tensor([1, 1, 0]), v),
         (2, 2), (3, 2)),
    both("index_added", "index_add scaled",
         lambda m, x, v: x.index_add(1, m.tensor([0, 3]), v, alpha=-2), (2, 4, 2), (2, 2, 2)),
    both("index_added", "index_add to a single value",
         lambda m, x, v: x.index_add(0, m.tensor([0]), v), (), ()),
    both("index_added", "scatter_reduce sum",
         lambda m, x, v: m.scatter_reduce(x, 1, m.tensor(TWICE), v, "sum", include_self=False),
         (2, 3), (2, 3)),
    both("index_added", "scatter_reduce mean",
         lambda m, x, v: m.scatter_reduce(x, 1, m.tensor(TWICE), v, reduce="mean"), (2, 3), (2, 3)),
    both("index_added", "scatter_reduce mean of the new",
         lambda m, x, v: x.scatter_reduce(0, m.tensor(TWICE), v, "mean", include_self=False),
         (3, 3), (2, 3)),
    both("index_extreme", "amax", lambda m, x, v: x.scatter_reduce(1, m.tensor(TWICE), v, "amax"),
         (2, 3), (2, 3)),
    both("index_extreme", "amin of the new",
         lambda m, x, v: x.scatter_reduce(0, m.tensor(TWICE), v, "amin", include_self=False),
         (3, 3), (2, 3)),
    both("index_product", "prod", lambda m, x, v: x.scatter_reduce(1, m.tensor(TWICE), v, "prod"),
         (2, 3), (2, 3)),
    both("index_product", "prod of the new",
         lambda m, x, v: x.scatter_reduce(0, m.tensor(TWICE), v, "prod", include_self=False),
         (3, 3), (2, 3)),
    Case("index_set", "slice", lambda x, v: index_set(x, v, slice(1, None)), ((3, 2), (2, 2))),
    Case("index_extreme", "largest",
         lambda x, v: index_extreme(x, v, (np.array([0, 0, 2]),), True), ((3, 2), (3, 2))),
    Case("index_product", "twice", lambda x, v: index_product(x, v, (np.array([0, 0, 2]),)),
         ((3, 2), (3, 2))),
]  # fmt: skip

PLAIN = [
    plain("scatter", "and add",
         lambda m, x: x.detach().scatter(1, m.tensor(TWICE), 3, reduce="add"),
          (2, 3)),
    plain("scatter", "and multiply",
          lambda m, x: x.detach().scatter(1, m.tensor(TWICE), x.detach(), reduce="multiply"),
         (2, 3)),
    plain("scatter", "less",
          lambda m, x, v: m.scatter(x.detach(), 0, m.tensor([[2], [0]]), v.detach()), (3, 2),
         (2, 2)),
]  # fmt: skip
