"""The tables of operations and of layers: each of them, in every geometry worth a check.

To add an operation, add a row to the file here that has the name of its file in `minicnn.ops`::

    both("exp", "signed", lambda m, x: m.exp(x), (2, 3)),

`both` is for what is written alike with `minicnn` and with `torch`, `functional` for functions of
`nn.functional`, `plain` for what has no gradient, `layer` for layers, `Case` for everything else.
`tests/ops/test_gradients.py` and its neighbours then check value, first and second derivative,
element types, memory layouts, sizes that do not fit and that nothing is changed, and
`minicnn.testing.operations` knows the row; an operation without a row fails a test.
"""

from __future__ import annotations

from minicnn.testing.cases import (
    activation,
    arithmetic,
    broadcast,
    comparison,
    convolution,
    diagonal,
    dropout,
    elementwise,
    extremes,
    grid,
    indexing,
    join,
    linear,
    loss,
    norm,
    normalization,
    padding,
    pooling,
    rearrange,
    recurrent,
    reduce,
    resample,
    scan,
    scatter,
    shape,
    sorting,
    special,
    vision,
)
from minicnn.testing.cases.case import Case, ModuleCase

__all__ = ["CASES", "FAMILIES", "LAYERS", "PLAIN", "Case", "ModuleCase"]

FAMILIES = (
    arithmetic, comparison, elementwise, special, broadcast, shape, join, rearrange, diagonal,
    indexing, scatter, sorting, scan, reduce, extremes, norm, activation, linear, convolution,
    pooling, normalization, dropout, recurrent, loss, padding, resample, grid, vision,
)  # fmt: skip

CASES: list[Case] = [row for family in FAMILIES for row in getattr(family, "ROWS", [])]
"""What has a gradient."""

PLAIN: list[Case] = [row for family in FAMILIES for row in getattr(family, "PLAIN", [])]
"""What has none: positions, comparisons, whole numbers."""

LAYERS: list[ModuleCase] = [row for family in FAMILIES for row in getattr(family, "LAYERS", [])]
"""The layers of `minicnn.nn`."""
