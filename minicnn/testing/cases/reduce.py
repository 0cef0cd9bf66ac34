"""Rows for `minicnn.ops.reduce`."""

from __future__ import annotations

from minicnn.testing.cases.case import both

ROWS = [
    both("sum", "all", lambda m, x: x.sum(), (2, 3)),
    both("sum", "one dimension", lambda m, x: x.sum(0), (2, 3)),
    both("sum", "kept dimension", lambda m, x: m.sum(x, -1, keepdim=True), (2, 3)),
    both("sum", "two dimensions", lambda m, x: m.sum(x, (0, 2)), (2, 3, 4)),
    both("sum", "nothing", lambda m, x: x.sum(0), (0, 3)),
    both("sum", "a single value", lambda m, x: x.sum(), ()),
    both("sum", "mean", lambda m, x: x.mean(), (2, 3)),
    both("sum", "mean of dimensions", lambda m, x: m.mean(x, (0, -1), keepdim=True), (2, 3, 4)),
    both("var", "all", lambda m, x: x.var(), (2, 3)),
    both("var", "one dimension", lambda m, x: m.var(x, 1), (2, 3)),
    both("var", "biased", lambda m, x: m.var(x, dim=(0, 2), correction=0), (2, 3, 2)),
    both("var", "kept dimension", lambda m, x: x.var(dim=-1, keepdim=True), (2, 3)),
    both("var", "standard deviation", lambda m, x: m.std(x, dim=0), (4, 2)),
    both("var", "biased standard deviation", lambda m, x: x.std(correction=0), (2, 3)),
    both("amax", "all", lambda m, x: x.max(), (2, 3)),
    both("amax", "one dimension", lambda m, x: x.amax(0), (2, 3)),
    both("amax", "two dimensions", lambda m, x: m.amax(x, (0, 2), keepdim=True), (2, 3, 4)),
    both("amin", "all", lambda m, x: m.min(x), (2, 3)),
    both("amin", "one dimension", lambda m, x: m.amin(x, -1), (2, 3)),
    both("amin", "two dimensions", lambda m, x: x.amin((0, 2), keepdim=True), (2, 3, 4)),
    both("index", "max along", lambda m, x: x.max(1).values, (2, 3)),
    both("index", "max along, kept", lambda m, x: m.max(x, 0, keepdim=True)[0], (2, 3, 2)),
    both("index", "min along", lambda m, x: x.min(-1).values, (2, 3)),
]
