"""Rows for `minicnn.ops.rearrange`."""

from __future__ import annotations

from minicnn.ops.rearrange import sliding_sum
from minicnn.testing.cases.case import Case, both

ROWS = [
    both("rolled", "one dimension", lambda m, x: m.roll(x, 2, 1), (2, 3)),
    both("rolled", "two dimensions", lambda m, x: x.roll((1, -4), (0, -1)), (2, 3)),
    both("rolled", "one dimension twice", lambda m, x: m.roll(x, (1, 1), (0, 0)), (3, 2)),
    both("rolled", "in reading order", lambda m, x: m.roll(x, -2), (2, 3)),
    both("rolled", "a single value", lambda m, x: m.roll(x, 1), ()),
    both("rolled", "nothing", lambda m, x: m.roll(x, 1, 0), (0, 2)),
    both("index", "rot90", lambda m, x: m.rot90(x), (2, 3)),
    both("index", "rot90 twice", lambda m, x: m.rot90(x, 2, (0, 2)), (2, 3, 2)),
    both("index", "rot90 back", lambda m, x: x.rot90(-1, [1, -1]), (2, 3, 2)),
    both("index", "rot90 not at all", lambda m, x: m.rot90(x, 4), (2, 3)),
    both("index", "fliplr", lambda m, x: m.fliplr(x), (2, 3)),
    both("index", "flipud", lambda m, x: x.flipud(), (3,)),
    both("broadcast_to", "repeat", lambda m, x: x.repeat(3, 1, 2), (2, 3)),
    both("broadcast_to", "repeat no times", lambda m, x: x.repeat(0, 2), (2, 3)),
    both("broadcast_to", "repeat a single value", lambda m, x: x.repeat(2), ()),
    both("broadcast_to", "tile", lambda m, x: m.tile(x, (2,)), (2, 3)),
    both("broadcast_to", "tile more dimensions", lambda m, x: x.tile(2, 1, 2), (2, 3)),
    both("broadcast_to", "repeat_interleave", lambda m, x: m.repeat_interleave(x, 2), (2, 3)),
    both("broadcast_to", "repeat_interleave columns",
         lambda m, x: x.repeat_interleave(3, -1), (2, 2)),
    both("broadcast_to", "repeat_interleave by a tensor of one",
         lambda m, x: x.repeat_interleave(m.tensor([2]), dim=0), (2, 2)),
    both("index", "repeat_interleave by numbers",
         lambda m, x: m.repeat_interleave(x, m.tensor([2, 0, 3]), dim=1), (2, 3)),
    both("sliding", "overlap", lambda m, x: x.unfold(1, 3, 1), (2, 5)),
    both("sliding", "gaps", lambda m, x: x.unfold(0, 2, 3), (9, 2)),
    both("sliding", "twice", lambda m, x: x.unfold(-2, 2, 1).unfold(-2, 3, 2), (3, 5)),
    both("sliding", "one window", lambda m, x: x.unfold(0, 3, 7), (3, 2)),
    both("sliding", "windows of nothing", lambda m, x: x.unfold(1, 0, 2), (2, 3)),
    both("sliding", "a single value", lambda m, x: x.unfold(0, 1, 1), ()),
    Case("sliding_sum", "overlap", lambda v: sliding_sum(v, (2, 5), 1, 3, 1), ((2, 3, 3),)),
    Case("sliding_sum", "gaps", lambda v: sliding_sum(v, (9, 2), 0, 2, 3), ((3, 2, 2),)),
]  # fmt: skip
