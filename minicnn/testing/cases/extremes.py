"""Rows for `minicnn.ops.extremes`."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.testing.cases.case import both, plain

SHARES = np.array([0.9, 0.0, 0.35])


def shares(m: Any, x: Any) -> Any:
    """Return the shares of a quantile in the type of the values."""
    return m.tensor(SHARES).to(x.dtype)


ROWS = [
    both("pick", "largest", lambda m, x: x.max(), (2, 3)),
    both("pick", "largest, one dimension", lambda m, x: x.amax(0), (2, 3)),
    both("pick", "largest, kept", lambda m, x: m.amax(x, (0, 2), keepdim=True), (2, 3, 4)),
    both("pick", "largest of one value", lambda m, x: x.amax(), ()),
    both("pick", "equal maxima", lambda m, x: (x * m.tensor([[1], [0], [0]])).amax(1), (3, 2)),
    both("pick", "smallest", lambda m, x: m.min(x), (2, 3)),
    both("pick", "smallest, one dimension", lambda m, x: m.amin(x, -1), (2, 3)),
    both("pick", "smallest, kept", lambda m, x: x.amin((0, 2), keepdim=True), (2, 3, 4)),
    both("pick", "both ends", lambda m, x: sum(m.aminmax(x, dim=1, keepdim=True)), (2, 3)),
    both("pick", "both ends of all", lambda m, x: x.aminmax().max - x.aminmax().min, (2, 3)),
    both("pick", "median", lambda m, x: m.median(x), (3, 4)),
    both("pick", "median of one value", lambda m, x: x.median(), ()),
    both("pick", "median without NaN",
         lambda m, x: m.nanmedian(m.where(x > 0, x, float("nan"))), (3, 4)),
    both("index", "max along", lambda m, x: x.max(1).values, (2, 3)),
    both("index", "max along, kept", lambda m, x: m.max(x, 0, keepdim=True)[0], (2, 3, 2)),
    both("index", "max of one value", lambda m, x: m.max(x, 0)[0], ()),
    both("index", "min along", lambda m, x: x.min(-1).values, (2, 3)),
    both("index", "median along", lambda m, x: x.median(-1).values, (2, 4), through="median"),
    both("index", "median along, kept", lambda m, x: m.median(x, 0, keepdim=True)[0], (3, 2, 2),
         through="median"),
    both("index", "median along without NaN",
         lambda m, x: m.nanmedian(m.where(x > 0, x, float("nan")), 1).values, (3, 5)),
    both("index", "mode", lambda m, x: m.mode(m.cat([x, x[1:]]), 0).values, (2, 3)),
    both("index", "quantile", lambda m, x: m.quantile(x, 0.3), (3, 4)),
    both("index", "quantiles", lambda m, x: x.quantile(shares(m, x), 1), (3, 4)),
    both("index", "quantiles, kept", lambda m, x: x.quantile(shares(m, x), 0, True), (3, 4, 2)),
    both("index", "quantile without NaN",
         lambda m, x: m.nanquantile(m.where(x > 0, x, float("nan")), 0.4, dim=1), (3, 5)),
    both("maximum", "max of two", lambda m, a, b: m.max(a, b), (2, 3), (3,)),
    both("minimum", "min of two", lambda m, a, b: a.min(other=b), (2, 1), (2, 3)),
]  # fmt: skip


def interpolated(name: str) -> Any:
    """Make a row for a rule of interpolation."""
    return plain("quantile", name, lambda m, x: m.quantile(x, shares(m, x), 1, interpolation=name),
                 (2, 6))  # fmt: skip


PLAIN = [
    plain("argmax", "everything", lambda m, x: m.argmax(x), (2, 3)),
    plain("argmax", "one dimension", lambda m, x: x.argmax(0), (2, 3)),
    plain("argmax", "kept", lambda m, x: x.argmax(-1, True), (2, 3)),
    plain("argmax", "everything, kept", lambda m, x: x.argmax(keepdim=True), (2, 3)),
    plain("argmax", "equal values", lambda m, x: m.argmax(x * 0, 1), (2, 3)),
    plain("argmin", "everything", lambda m, x: m.argmin(x), (2, 3)),
    plain("argmin", "one dimension", lambda m, x: m.argmin(x, dim=1), (2, 3)),
    plain("max", "with positions", lambda m, x: tuple(m.max(x, 1)), (2, 3)),
    plain("max", "equal values", lambda m, x: tuple((x * 0).max(0, True)), (2, 3)),
    plain("min", "with positions", lambda m, x: tuple(x.min(0)), (2, 3)),
    plain("min", "with NaN", lambda m, x: tuple(m.min(m.where(x > 0, x, float("nan")), 1)), (3, 2)),
    plain("aminmax", "as a pair", lambda m, x: tuple(m.aminmax(x)), (2, 3)),
    plain("median", "with positions", lambda m, x: tuple(m.median(x, 1)), (2, 4)),
    plain("median", "with NaN",
          lambda m, x: tuple(m.median(m.where(x > 0, x, float("nan")), 0)), (5, 3)),
    plain("median", "of nothing", lambda m, x: m.median(x), (0, 3)),
    plain("nanmedian", "only NaN", lambda m, x: tuple(m.nanmedian(x * float("nan"), 1)), (2, 3)),
    plain("mode", "with positions", lambda m, x: tuple(m.mode((x > 0).to(m.int64), 1)), (3, 4)),
    *map(interpolated, ("linear", "lower", "higher", "nearest", "midpoint")),
    plain("quantile", "with NaN",
          lambda m, x: m.quantile(m.where(x > 1, float("nan"), x), 0.5, dim=1), (4, 3)),
]  # fmt: skip
