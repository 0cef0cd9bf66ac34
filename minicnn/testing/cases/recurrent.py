"""Rows for `minicnn.ops.recurrent`."""

from __future__ import annotations

from functools import partial
from typing import Any

from minicnn.ops.recurrent import gru, lstm, rnn
from minicnn.testing.cases.case import Case, both, layer

RAGGED = [slice(0, 2), slice(2, 3)]
"""Two sequences of 2 and 1 steps."""

EVEN = [slice(0, 1), slice(1, 2), slice(2, 3)]
"""One sequence of 3 steps."""


def every_way(op: Any, gates: int, *more: tuple[int, ...], **settings: Any) -> list[Case]:
    """Make rows for sequences of one length and of several, forwards and backwards."""
    return [
        Case(op.name, f"{name} {words}".strip(), partial(op, steps=steps, **settings),
             ((3, gates * 2), (count, 2), *(s for s in more)))
        for name, steps, count in (
            ("even", EVEN, 1), ("ragged", RAGGED, 2),
            ("even, backwards", EVEN[::-1], 1), ("ragged, backwards", RAGGED[::-1], 2),
        )
        for words in [", ".join(map(str, settings.values()))]
    ]  # fmt: skip


def long_short(name: str, steps: list[slice], count: int, projected: int = 0) -> Case:
    """Make a row for an LSTM with or without projection."""
    wide = projected or 2
    shapes = ((3, 8), (count, wide), (count, 2), (8, wide))
    if projected:
        return Case("lstm", name, partial(lstm, steps=steps), (*shapes, (projected, 2)))
    return Case("lstm", name, lambda x, h, c, w: lstm(x, h, c, w, None, steps), shapes)


ROWS = [
    both("rnn", "tanh cell", lambda m, *t: m.rnn_tanh_cell(*t), (2, 3), (2, 2), (2, 3), (2, 2),
         (2,), (2,)),
    both("rnn", "relu cell without biases", lambda m, *t: m.rnn_relu_cell(*t), (3, 1), (3, 2),
         (2, 1), (2, 2)),
    both("rnn", "batch 0", lambda m, *t: m.rnn_tanh_cell(*t), (0, 3), (0, 2), (2, 3), (2, 2)),
    both("lstm", "cell", lambda m, x, h, c, *t: m.cat(m.lstm_cell(x, (h, c), *t), 1),
         (2, 3), (2, 2), (2, 2), (8, 3), (8, 2), (8,), (8,)),
    both("lstm", "cell without biases", lambda m, x, h, c, *t: m.cat(m.lstm_cell(x, (h, c), *t), 1),
         (1, 2), (1, 3), (1, 3), (12, 2), (12, 3)),
    both("gru", "cell", lambda m, *t: m.gru_cell(*t), (2, 3), (2, 2), (6, 3), (6, 2), (6,), (6,)),
    both("gru", "cell without biases", lambda m, *t: m.gru_cell(*t),
         (2, 1), (2, 2), (6, 1), (6, 2)),
    *every_way(rnn, 1, (2, 2)),
    *every_way(rnn, 1, (2, 2), nonlinearity="relu"),
    *every_way(gru, 3, (6, 2), (6,)),
    long_short("even", EVEN, 1),
    long_short("ragged", RAGGED, 2),
    long_short("even, backwards, projected", EVEN[::-1], 1, 3),
    long_short("ragged, backwards", RAGGED[::-1], 2),
    long_short("ragged, projected", RAGGED, 2, 1),
]  # fmt: skip

LAYERS = [
    layer("tanh", lambda nn: nn.RNNCell(3, 2), (2, 3), (2, 2)),
    layer("relu, one sample", lambda nn: nn.RNNCell(3, 2, False, "relu"), (3,), (2,)),
    layer("batch", lambda nn: nn.LSTMCell(3, 2), (2, 3)),
    layer("without bias", lambda nn: nn.GRUCell(3, 2, bias=False), (2, 3), (2, 2)),
    layer("one sample", lambda nn: nn.GRUCell(1, 2), (1,)),
    layer("tanh", lambda nn: nn.RNN(2, 2), (3, 2, 2)),
    layer("relu, both directions", lambda nn: nn.RNN(1, 2, 2, "relu", False, bidirectional=True),
          (2, 1, 1)),
    layer("with a first state", lambda nn: nn.RNN(2, 2, batch_first=True), (2, 3, 2), (1, 2, 2)),
    layer("two layers", lambda nn: nn.LSTM(2, 1, 2, batch_first=True), (1, 2, 2)),
    layer("projected, both directions", lambda nn: nn.LSTM(1, 2, proj_size=1, bidirectional=True),
          (2, 1, 1)),
    layer("one sequence", lambda nn: nn.LSTM(2, 1, bias=False), (3, 2)),
    layer("both directions", lambda nn: nn.GRU(1, 1, bidirectional=True), (2, 1, 1)),
    layer("one sequence, with a first state", lambda nn: nn.GRU(2, 2), (2, 2), (1, 2)),
]  # fmt: skip
