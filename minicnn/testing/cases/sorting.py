"""Rows for `minicnn.ops.sorting`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from minicnn.testing.cases.case import Case, both, plain


def as_given(*row: Any) -> Case:
    """Make a row of `both` whose inputs stay: of equal values torch takes any."""
    return replace(both(*row), public=False)


ROWS = [
    both("index", "sort", lambda m, x: m.sort(x).values, (2, 4)),
    both("index", "sort rows", lambda m, x: x.sort(0, descending=True)[0], (4, 2)),
    both("index", "sort a single value", lambda m, x: x.sort()[0], ()),
    both("index", "sort nothing", lambda m, x: x.sort(1)[0], (2, 0)),
    both("index", "msort", lambda m, x: m.msort(x), (4, 2)),
    as_given("index", "topk", lambda m, x: m.topk(x, 2)[0], (2, 5)),
    as_given("index", "topk smallest", lambda m, x: x.topk(3, dim=0, largest=False).values, (4, 2)),
    as_given("index", "topk all", lambda m, x: x.topk(3)[0], (2, 3)),
    both("index", "topk none", lambda m, x: x.topk(0)[0], (2, 3)),
    both("index", "topk of a single value", lambda m, x: x.topk(1)[0], ()),
    as_given("index", "kthvalue", lambda m, x: m.kthvalue(x, 2).values, (2, 4)),
    as_given("index", "kthvalue kept", lambda m, x: x.kthvalue(3, dim=0, keepdim=True)[0], (4, 2)),
    both("index", "kthvalue of a single value", lambda m, x: x.kthvalue(1)[0], ()),
]

PLAIN = [
    plain("sort", "with positions", lambda m, x: m.sort(x, dim=1, stable=True), (2, 3, 2)),
    plain("sort", "descending, equal values",
          lambda m, x: m.sort(x > 0, descending=True, stable=True), (2, 9)),
    plain("argsort", "rows", lambda m, x: m.argsort(x, 0), (4, 2)),
    plain("argsort", "descending", lambda m, x: x.argsort(descending=True), (2, 4)),
    plain("argsort", "a single value", lambda m, x: m.argsort(x), ()),
    plain("argsort", "stable", lambda m, x: m.argsort(x > 0, descending=True, stable=True), (2, 9)),
    plain("searchsorted", "one sequence",
          lambda m, x: m.searchsorted(m.tensor([-1.0, 0.0, 1.0]).double(), x.double()), (2, 3)),
    plain("searchsorted", "rows",
         lambda m, s, x: m.searchsorted(m.sort(s).values, x), (2, 4), (2, 3)),
    plain("searchsorted", "rows of itself",
          lambda m, s: m.searchsorted(m.sort(s).values, s, right=True), (2, 2, 4)),
    plain("searchsorted", "sorter",
          lambda m, s: m.searchsorted(s, s, side="right", sorter=m.argsort(s)), (2, 4)),
    plain("searchsorted", "a number",
         lambda m, s: m.searchsorted(m.sort(s)[0], 0.5, out_int32=True),
          (4,)),
    plain("bucketize", "left", lambda m, x: m.bucketize(x, m.tensor([-1, 0, 1])), (2, 5)),
    plain("bucketize", "right", lambda m, x: m.bucketize(x, m.tensor([-1, 1]), right=True,
          out_int32=True), (2, 5)),
    plain("bincount", "numbers", lambda m, x: m.bincount(abs(x * 3).long()), (9,)),
    plain("bincount", "weights",
          lambda m, x: m.bincount(abs(x * 2).long(), x.detach().double(), minlength=9), (9,)),
    plain("unique", "values", lambda m, x: m.unique(abs(x * 2).long()), (3, 3)),
    plain("unique", "inverse and counts",
          lambda m, x: m.unique(x > 0, return_inverse=True, return_counts=True), (2, 4)),
    plain("unique", "rows", lambda m, x: m.unique(x > 1, dim=0), (6, 2)),
]  # fmt: skip
