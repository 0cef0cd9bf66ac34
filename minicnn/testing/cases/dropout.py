"""Rows for `minicnn.ops.dropout`."""

from __future__ import annotations

from functools import partial

import numpy as np

from minicnn.nn import functional as F
from minicnn.ops.dropout import keep, keep_or_saturate
from minicnn.testing.cases.case import Case, Shape, layer, repeatable

MASK = np.array([[True, False, True], [False, False, True]])
CHANNELS = np.array([[[True], [False]], [[False], [True]]])


def drawn(op: str, kind: str, x: Shape) -> Case:
    """Make a row for a dropout that draws the same mask in every call."""
    function = repeatable(partial(getattr(F, kind), p=0.4, training=True))
    return Case(op, kind, function, (x,), through=kind)


ROWS = [
    Case("keep", "mask", lambda x: keep(x, MASK, 1.25), ((2, 3),),
         lambda torch, x: x * torch.tensor(MASK) * 1.25),
    Case("keep", "mask of channels", lambda x: keep(x, CHANNELS, 2.0), ((2, 2, 3),),
         lambda torch, x: x * torch.tensor(CHANNELS) * 2.0),
    Case("keep_or_saturate", "mask", lambda x: keep_or_saturate(x, MASK, 1.25, -0.5, 0.25),
         ((2, 3),),
         lambda torch, x: torch.where(torch.tensor(MASK), x * 1.25, -0.5 + 0 * x) + 0.25),
    drawn("keep", "dropout", (3, 4)),
    drawn("keep", "dropout1d", (2, 3, 2)),
    drawn("keep", "dropout2d", (2, 3, 2, 1)),
    drawn("keep", "dropout3d", (2, 2, 1, 2, 2)),
    drawn("keep_or_saturate", "alpha_dropout", (3, 4)),
    drawn("keep_or_saturate", "feature_alpha_dropout", (2, 3, 2)),
]  # fmt: skip

LAYERS = [
    layer("in training", lambda nn: nn.Dropout(0.4), (4, 5)),
    layer("in evaluation", lambda nn: nn.Dropout(0.4).eval(), (4, 5)),
    layer("0", lambda nn: nn.Dropout(0.0), (3, 4)),
    layer("1", lambda nn: nn.Dropout(1.0), (3, 4)),
    layer("inplace", lambda nn: nn.Dropout(0.0, inplace=True), (3, 4)),
    layer("in training", lambda nn: nn.Dropout1d(0.4), (2, 3, 4)),
    layer("a sequence", lambda nn: nn.Dropout1d(0.4), (3, 4)),
    layer("in training", lambda nn: nn.Dropout2d(0.4), (2, 3, 4, 1)),
    layer("in training", lambda nn: nn.Dropout3d(0.4), (2, 3, 1, 2, 2)),
    layer("a volume", lambda nn: nn.Dropout3d(0.4), (3, 1, 2, 2)),
    layer("in training", lambda nn: nn.AlphaDropout(0.3), (4, 5)),
    layer("1", lambda nn: nn.AlphaDropout(1.0), (4, 5)),
    layer("in training", lambda nn: nn.FeatureAlphaDropout(0.3), (2, 3, 2, 2)),
]  # fmt: skip
