"""Rows for `minicnn.ops.dropout`."""

from __future__ import annotations

import numpy as np

from minicnn.ops.dropout import keep
from minicnn.testing.cases.case import Case, layer

MASK = np.array([[True, False, True], [False, False, True]])
CHANNELS = np.array([[[True], [False]], [[False], [True]]])

ROWS = [
    Case("keep", "mask", lambda x: keep(x, MASK, 1.25), ((2, 3),),
         lambda torch, x: x * torch.tensor(MASK) * 1.25),
    Case("keep", "mask of channels", lambda x: keep(x, CHANNELS, 2.0), ((2, 2, 3),),
         lambda torch, x: x * torch.tensor(CHANNELS) * 2.0),
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
