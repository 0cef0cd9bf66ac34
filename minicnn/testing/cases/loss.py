"""Rows for `minicnn.ops.loss`."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.testing.cases.case import Case, Shape, both, functional, layer

LABELS, HOLES = np.array([2, 0, 1, 2]), np.array([2, -100, -100, 0])
PIXEL_LABELS = np.array([[[0, 1]], [[1, -1]]])
CLASS_WEIGHTS = np.array([0.5, 2.0, 1.5])


def loss(op: str, name: str, kind: str, x: Shape, labels: Any, **settings: Any) -> Case:
    """Make a row for a loss over class labels; a weight of the classes comes from the settings."""

    def function(m: Any, x: Any) -> Any:
        given = dict(settings)
        if "weight" in given:
            given["weight"] = m.tensor(given["weight"])
        return getattr(m.nn.functional, kind)(x, m.tensor(labels), **given)

    return both(op, name, function, x, through=kind)


ROWS = [
    loss("log_softmax", "cross entropy", "cross_entropy", (4, 3), LABELS),
    loss("log_softmax", "cross entropy summed", "cross_entropy", (4, 3), LABELS, reduction="sum"),
    loss("log_softmax", "cross entropy each", "cross_entropy", (4, 3), LABELS, reduction="none"),
    loss("log_softmax", "weighted", "cross_entropy", (4, 3), LABELS, weight=CLASS_WEIGHTS),
    loss("log_softmax", "ignored labels", "cross_entropy", (4, 3), HOLES),
    loss("log_softmax", "one sample", "cross_entropy", (3,), np.array(1)),
    loss("log_softmax", "pixels", "cross_entropy", (2, 2, 1, 2), PIXEL_LABELS, ignore_index=-1),
    loss("log_softmax", "smoothed", "cross_entropy", (4, 3), LABELS, label_smoothing=0.2),
    loss("log_softmax", "smoothed pixels", "cross_entropy", (2, 2, 1, 2), PIXEL_LABELS,
         ignore_index=-1, label_smoothing=0.3, reduction="none"),
    loss("log_softmax", "smoothed, weighted, ignored", "cross_entropy", (4, 3), HOLES,
         weight=CLASS_WEIGHTS, label_smoothing=0.2),
    loss("log_softmax", "smoothed, weighted, summed", "cross_entropy", (4, 3), LABELS,
         weight=CLASS_WEIGHTS, label_smoothing=0.2, reduction="sum"),
    loss("index", "negative log likelihood", "nll_loss", (4, 3), LABELS),
    loss("index", "likelihood weighted", "nll_loss", (4, 3), HOLES, weight=CLASS_WEIGHTS),
    loss("index", "likelihood each", "nll_loss", (4, 3), LABELS, reduction="none"),
    loss("index", "likelihood of one sample", "nll_loss", (3,), np.array(2)),
    functional("pow", "squared error", "mse_loss", (2, 3), (2, 3)),
    functional("pow", "squared error summed", "mse_loss", (2, 3), (2, 3), reduction="sum"),
    functional("pow", "squared error each", "mse_loss", (2, 3), (2, 3), reduction="none"),
]  # fmt: skip

LAYERS = [
    layer("smoothed", lambda nn: nn.CrossEntropyLoss(label_smoothing=0.1), (4, 3), LABELS),
    layer("mean", lambda nn: nn.NLLLoss(), (4, 3), LABELS),
    layer("mean", lambda nn: nn.MSELoss(), (2, 3), (2, 3)),
]  # fmt: skip
