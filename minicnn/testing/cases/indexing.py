"""Rows for `minicnn.ops.indexing`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from minicnn.ops.indexing import index_sum
from minicnn.testing.cases.case import Case, both, plain


def as_given(*row: Any) -> Case:
    """Make a row of `both` whose inputs stay: torch lets positions beyond the end wrap around."""
    return replace(both(*row), public=False)


MASK = np.array([[True, False, True], [False, False, True]])

ROWS = [
    both("index", "row", lambda m, x: x[1], (3, 4)),
    both("index", "last row", lambda m, x: x[-1], (3, 4)),
    both("index", "one value", lambda m, x: x[1, 2], (3, 4)),
    both("index", "slice", lambda m, x: x[1:3], (4, 2)),
    both("index", "slices with steps", lambda m, x: x[::2, 1::3], (3, 5)),
    both("index", "empty slice", lambda m, x: x[2:2], (3, 4)),
    both("index", "slice beyond the end", lambda m, x: x[1:99], (3, 4)),
    Case("index", "negative step", lambda x: x[::-2, ::-1], ((4, 3),),
         lambda torch, x: x.flip((0, 1))[::2]),
    both("index", "everything", lambda m, x: x[...], (3, 4)),
    both("index", "nothing named", lambda m, x: x[()], (3, 4)),
    both("index", "a single value", lambda m, x: x[None, ..., None], ()),
    both("index", "new dimension", lambda m, x: x[None, :, None, 1], (3, 4)),
    both("index", "last dimension", lambda m, x: x[..., 0], (2, 3, 4)),
    both("index", "list with duplicates", lambda m, x: x[[2, 0, 2]], (3, 2)),
    both("index", "list from the back", lambda m, x: x[[-1, 0, -1]], (3, 2)),
    both("index", "empty list", lambda m, x: x[[]], (3, 2)),
    both("index", "array with duplicates", lambda m, x: x[np.array([[0, 2], [2, 2]])], (3, 2)),
    both("index", "tensor with duplicates", lambda m, x: x[m.tensor([1, 1, 0])], (3, 2)),
    both("index", "tuple in a tuple", lambda m, x: x[(1, 1, 0), :], (3, 2)),
    both("index", "columns", lambda m, x: x[:, [2, 0, 2]], (2, 3)),
    both("index", "pairs", lambda m, x: x[[0, 1, 0], [2, 1, 2]], (2, 3)),
    both("index", "grid", lambda m, x: x[[[0], [1]], [2, 0, 2]], (2, 3)),
    both("index", "lists apart", lambda m, x: x[[0, 1, 0], :, [2, 0, 2]], (2, 3, 4)),
    both("index", "integer and list", lambda m, x: x[0, :, [2, 0, 2]], (2, 3, 4)),
    both("index", "integer and lists", lambda m, x: x[[0, 1], 1, :, [2, 0]], (2, 2, 2, 3)),
    both("index", "integer and mask", lambda m, x: x[..., m.tensor(MASK), -1], (2, 2, 3, 2)),
    both("index", "integer tensor", lambda m, x: x[m.tensor(1), :, [2, 0, 2]], (2, 2, 3)),
    both("index", "slice and list", lambda m, x: x[1:, [1, 1], ::2], (3, 2, 4)),
    both("index", "mask", lambda m, x: x[m.tensor(MASK)], (2, 3)),
    both("index", "mask of rows", lambda m, x: x[m.tensor([True, False, True])], (3, 2)),
    both("index", "mask of columns", lambda m, x: x[:, m.tensor(MASK[0])], (2, 3)),
    both("index", "mask of nothing", lambda m, x: x[x.detach() > 99], (2, 3)),
    both("index", "mask over nothing", lambda m, x: x[x.detach() > 0], (0, 3)),
    both("index", "mask and list", lambda m, x: x[m.tensor([True, False, True]), [1, 1]], (3, 2)),
    both("index", "split", lambda m, x: m.cat(m.split(x, 2)[::-1]), (5, 2)),
    both("index", "split to sizes", lambda m, x: m.cat(x.split([1, 0, 2], 1)[1:], 1), (2, 3)),
    both("index", "chunk", lambda m, x: m.cat(x.chunk(2, -1)[::-1], -1), (2, 5)),
    both("index", "flip", lambda m, x: m.flip(x, (0, -1)), (2, 3, 2)),
    both("index", "gather rows", lambda m, x: m.gather(x, 0, m.tensor([[0, 1, 1]])), (2, 3)),
    both("index", "gather", lambda m, x: x.gather(-1, m.tensor([[2, 2, 0], [1, 1, 1]])), (2, 3)),
    both("index", "gather fewer", lambda m, x: m.gather(x, 1, m.tensor([[[0], [3]]])), (2, 4, 3)),
    both("index", "gather more", lambda m, x: m.gather(x, 0, m.tensor([[1, 0], [0, 0], [1, 1]])),
         (2, 2)),
    both("index", "gather nothing", lambda m, x: m.gather(x, 1, m.zeros(2, 0).long()), (2, 3)),
    both("index", "gather from a single value", lambda m, x: x.gather(0, m.tensor([0, 0])), ()),
    both("index", "tensor_split", lambda m, x: m.cat(m.tensor_split(x, 3)[::-1]), (7, 2)),
    both("index", "tensor_split at places",
         lambda m, x: m.cat(x.tensor_split((1, -1), dim=1)[1:], 1),
         (2, 5)),
    both("index", "unbind", lambda m, x: m.stack(m.unbind(x, 1)[::-1]), (2, 3)),
    both("index", "select", lambda m, x: m.select(x, 1, -1), (2, 3, 2)),
    both("index", "narrow", lambda m, x: m.narrow(x, -1, 1, 2), (2, 4)),
    both("index", "narrow from the back", lambda m, x: x.narrow(0, -2, 1), (3, 2)),
    both("index", "index_select", lambda m, x: m.index_select(x, 0, m.tensor([2, 0, 2])), (3, 2)),
    both("index", "index_select columns", lambda m, x: x.index_select(1, m.tensor([1, 1, 3, 0])),
         (2, 4, 3)),
    both("index", "index_select one", lambda m, x: x.index_select(-1, m.tensor(1)), (2, 3)),
    both("index", "index_select nothing",
         lambda m, x: x.index_select(1, m.zeros(0).long()), (2, 3)),
    both("index", "index_select of a single value", lambda m, x: x.index_select(0, m.tensor([0])),
         ()),
    both("index", "take", lambda m, x: m.take(x, m.tensor([[5, -1], [0, 5]])), (2, 3)),
    as_given("index", "take_along_dim", lambda m, x: m.take_along_dim(x, m.tensor([[2, 0, -1]]), 1),
         (2, 3)),
    as_given("index", "take_along_dim broadcast",
         lambda m, x: x.take_along_dim(m.tensor([[[1, 0]], [[0, 0]]]), -1), (1, 3, 2)),
    both("index", "take_along_dim of all", lambda m, x: m.take_along_dim(x, m.tensor([[3, 0]])),
         (2, 2)),
    both("index", "masked_select", lambda m, x: m.masked_select(x, m.tensor(MASK)), (2, 3)),
    both("index", "masked_select broadcast",
         lambda m, x: x.masked_select(m.tensor([[True], [False], [True]])), (2, 1, 3)),
    both("index", "nonzero", lambda m, x: x[m.nonzero(m.tensor(MASK), as_tuple=True)],
         (2, 3)),
    Case("index_sum", "lists apart",
         lambda v: index_sum(v, (np.array([0, 1, 0]), slice(None), np.array([1, 0, 1])), (2, 3, 2)),
         ((3, 3),)),
    Case("index_sum", "columns",
         lambda v: index_sum(v, (slice(None), np.array([2, -1, 0])), (2, 3)),
         ((2, 3),), lambda torch, v: v.new_zeros(2, 3).index_add(1, torch.tensor([2, 2, 0]), v)),
    Case("index_sum", "list with duplicates", lambda v: index_sum(v, np.array([2, 0, 2]), (3, 2)),
         ((3, 2),), lambda torch, v: v.new_zeros(3, 2).index_add(0, torch.tensor([2, 0, 2]), v)),
    Case("index_sum", "slice", lambda v: index_sum(v, (slice(None), slice(1, 4, 2)), (2, 5)),
         ((2, 2),)),
    Case("index_sum", "integer", lambda v: index_sum(v, 1, (3, 2)), ((2,),)),
    Case("index_sum", "mask", lambda v: index_sum(v, MASK, (2, 3)), ((3,),),
         lambda torch, v: v.new_zeros(2, 3).masked_scatter(torch.tensor(MASK), v)),
]  # fmt: skip

PLAIN = [
    plain("nonzero", "matrix", lambda m, x: m.nonzero(x > 0), (2, 3)),
    plain("nonzero", "of values", lambda m, x: x.nonzero(), (2, 3)),
    plain("nonzero", "of a single value", lambda m, x: m.nonzero(x), ()),
    plain("nonzero", "tuple", lambda m, x: m.nonzero(x > 0, as_tuple=True), (2, 3)),
    plain("nonzero", "tuple of a single value", lambda m, x: m.nonzero(x, as_tuple=True), ()),
    plain("argwhere", "three dimensions", lambda m, x: m.argwhere(x > 0), (2, 2, 3)),
    plain("one_hot", "labels", lambda m, x: m.nn.functional.one_hot(abs(x * 2).long()), (2, 3)),
    plain("one_hot", "classes given",
          lambda m, x: m.nn.functional.one_hot((x > 0).long(), num_classes=3), (4,)),
]  # fmt: skip
