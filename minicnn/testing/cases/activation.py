"""Rows for `minicnn.ops.activation`."""

from __future__ import annotations

from minicnn.testing.cases.case import both, layer

ROWS = [
    both("relu", "signed", lambda m, x: m.relu(x), (3, 4)),
    both("sigmoid", "signed", lambda m, x: m.sigmoid(x), (2, 3)),
    both("tanh", "signed", lambda m, x: x.tanh(), (2, 3)),
    both("softmax", "columns", lambda m, x: m.softmax(x, 1), (2, 3)),
    both("softmax", "rows", lambda m, x: x.softmax(dim=0), (2, 3)),
    both("softmax", "channels", lambda m, x: m.softmax(x, -3), (2, 3, 2, 1)),
    both("softmax", "one class", lambda m, x: m.softmax(x, 1), (2, 1)),
    both("softmax", "nothing", lambda m, x: m.softmax(x, 1), (0, 3)),
    both("log_softmax", "columns", lambda m, x: m.log_softmax(x, 1), (2, 3)),
    both("log_softmax", "rows", lambda m, x: x.log_softmax(0), (2, 3)),
    both("log_softmax", "far apart", lambda m, x: m.log_softmax(x * 300, -1), (2, 3)),
    both("log_softmax", "nothing", lambda m, x: m.log_softmax(x, 1), (0, 3)),
]

LAYERS = [
    layer("signed", lambda nn: nn.ReLU(), (3, 4)),
    layer("signed", lambda nn: nn.Tanh(), (2, 3)),
    layer("signed", lambda nn: nn.Sigmoid(), (2, 3)),
    layer("channels", lambda nn: nn.Softmax(dim=1), (2, 3, 2)),
    layer("channels", lambda nn: nn.LogSoftmax(dim=1), (2, 3, 2)),
    layer("inplace", lambda nn: nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True)), (3, 4)),
    layer("default", lambda nn: nn.LogSoftmax(dim=-1), (1, 4, 5, 4)),
]  # fmt: skip
