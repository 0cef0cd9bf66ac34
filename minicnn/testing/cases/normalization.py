"""Rows for `minicnn.ops.normalization`."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.testing.cases.case import Case, Shape, both, layer, positive

AVERAGE, VARIANCE = np.array([0.3, -0.8]), np.array([0.5, 1.7])


def normalized(name: str, *inputs: Shape, eps: float = 1e-5) -> Case:
    """Make a row for batch normalisation in training: x, and scale and shift if there are any."""

    def function(m: Any, x: Any, *scale_and_shift: Any) -> Any:
        return m.nn.functional.batch_norm(x, None, None, *scale_and_shift, training=True, eps=eps)

    return both("normalize_batch", name, function, *inputs, through="batch_norm")


def standardized(name: str, *inputs: Shape) -> Case:
    """Make a row for batch normalisation with fixed statistics, as in inference."""

    def function(m: Any, x: Any, *scale_and_shift: Any) -> Any:
        statistics = m.tensor(AVERAGE).to(x.dtype), m.tensor(VARIANCE).to(x.dtype)
        return m.nn.functional.batch_norm(x, *statistics, *scale_and_shift)

    return both("mul", name, function, *inputs, through="batch_norm")


ROWS = [
    normalized("images", (2, 2, 2, 3), positive(2), (2,)),
    normalized("rows", (4, 3), positive(3), (3,)),
    normalized("sequences", (2, 2, 3), (2,), (2,), eps=0.1),
    normalized("one image", (1, 2, 2, 3), (2,), (2,)),
    normalized("without shift", (2, 2, 2, 1), (2,)),
    normalized("without scale and shift", (3, 2, 1, 1)),
    standardized("batch norm at inference", (2, 2, 2, 1), (2,), (2,)),
    standardized("batch norm at inference, one row", (1, 2), (2,)),
    standardized("batch norm at inference, batch 0", (0, 2, 2, 1), (2,), (2,)),
]

LAYERS = [
    layer("in training", lambda nn: nn.BatchNorm2d(2), (3, 2, 2, 3)),
    layer("in evaluation", lambda nn: nn.BatchNorm2d(2).eval(), (3, 2, 2, 3)),
    layer("mean over all batches", lambda nn: nn.BatchNorm2d(2, momentum=None), (3, 2, 2, 3)),
    layer("images", lambda nn: nn.BatchNorm2d(4), (1, 4, 5, 4)),
    layer("not affine", lambda nn: nn.BatchNorm2d(4, affine=False), (1, 4, 5, 4)),
    layer("no average", lambda nn: nn.BatchNorm2d(4, track_running_stats=False), (1, 4, 5, 4)),
    layer("by position", lambda nn: nn.BatchNorm2d(4, 0.1, None, True, True), (1, 4, 5, 4)),
]  # fmt: skip
