"""Rows for `minicnn.ops.shape`."""

from __future__ import annotations

from minicnn.testing.cases.case import both, functional

ROWS = [
    both("view_as", "reshape", lambda m, x: x.reshape(3, -1), (2, 6)),
    both("view_as", "reshape of nothing", lambda m, x: x.reshape(0, 2, 5), (0, 3)),
    both("view_as", "reshape to a single value", lambda m, x: x.reshape(()), (1, 1)),
    both("view_as", "reshape of turned memory", lambda m, x: x.T.reshape(6), (2, 3)),
    both("view_as", "flatten", lambda m, x: m.flatten(x, 1, -1), (2, 3, 2)),
    both("view_as", "flatten a single value", lambda m, x: m.flatten(x), ()),
    both("view_as", "squeeze", lambda m, x: x.squeeze(), (1, 3, 1)),
    both("view_as", "squeeze one", lambda m, x: x.squeeze(-1), (1, 3, 1)),
    both("view_as", "squeeze two", lambda m, x: x.squeeze((0, 1)), (1, 3, 1)),
    both("view_as", "unsqueeze", lambda m, x: x.unsqueeze(1), (2, 3)),
    both("view_as", "unsqueeze at the end", lambda m, x: x.unsqueeze(-1), (2, 3)),
    both("permute_dims", "permute", lambda m, x: x.permute(2, 0, 1), (2, 3, 4)),
    both("permute_dims", "permute from the back", lambda m, x: x.permute(-1, 0, 1), (2, 3, 4)),
    both("permute_dims", "transpose", lambda m, x: x.transpose(-1, 0), (2, 3, 4)),
    both("permute_dims", "movedim", lambda m, x: m.movedim(x, 0, -1), (2, 3, 4)),
    both("permute_dims", "T", lambda m, x: x.T, (2, 3)),
    both("permute_dims", "mT", lambda m, x: x.mT, (2, 3, 4)),
    both("permute_dims", "a single value", lambda m, x: x.permute(()), ()),
    functional("pad_with", "one side", "pad", (2, 3), pad=(2, 0)),
    functional("pad_with", "two dimensions", "pad", (2, 3, 2), pad=(1, 0, 2, 1)),
    functional("pad_with", "a value", "pad", (2, 3), pad=(1, 2), value=-3.5),
    functional("pad_with", "cut off", "pad", (2, 4), pad=(-1, -1)),
    functional("pad_with", "add and cut off", "pad", (3, 4), pad=(-2, 1, 3, -1)),
    functional("pad_with", "nothing around nothing", "pad", (0, 3), pad=(0, 0)),
    functional("pad_with", "around nothing", "pad", (0, 3), pad=(0, 0, 1, 1)),
    both("concatenate", "rows", lambda m, a, b: m.cat([a, b]), (1, 3), (2, 3)),
    both("concatenate", "columns", lambda m, *t: m.cat(t, -1), (2, 1), (2, 3), (2, 2)),
    both("concatenate", "one tensor", lambda m, x: m.cat([x], 1), (2, 3)),
    both("concatenate", "an empty piece", lambda m, a, b: m.cat([a, b], 1), (2, 0), (2, 3)),
    both("concatenate", "twice the same tensor", lambda m, x: m.cat([x, x * 2, x]), (2, 3)),
    both("concatenate", "stack", lambda m, a, b: m.stack([a, b]), (2, 3), (2, 3)),
    both("concatenate", "stack inside", lambda m, a, b: m.stack([a, b], 1), (2, 3), (2, 3)),
    both("concatenate", "stack at the end", lambda m, a, b: m.stack((a, b), -1), (3,), (3,)),
    both("concatenate", "stack single values", lambda m, a, b: m.stack([a, b]), (), ()),
]
