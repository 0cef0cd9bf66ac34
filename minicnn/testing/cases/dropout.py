"""Rows for `minicnn.ops.dropout`."""

from __future__ import annotations

import numpy as np

from minicnn.ops.dropout import keep
from minicnn.testing.cases.case import Case

MASK = np.array([[True, False, True], [False, False, True]])

DROPOUT = [
    Case("keep", "mask", lambda x: keep(x, MASK, 1.25), ((2, 3),),
         lambda torch, x: x * torch.tensor(MASK) * 1.25),
]  # fmt: skip
