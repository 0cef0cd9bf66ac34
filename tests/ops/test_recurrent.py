from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from gradient_checks import first
from refusals import refused

import minicnn
from minicnn.ops import recurrent
from minicnn.ops.recurrent import gru, gru_by_steps, lstm, lstm_by_steps, rnn, rnn_by_steps
from minicnn.tensor import Tensor

RAGGED = [slice(0, 3), slice(3, 5), slice(5, 6)]  # sequences of 3, 2 and 1 steps
EVEN = [slice(0, 2), slice(2, 4), slice(4, 6)]

STEPS = {
    "even": (EVEN, 2), "ragged": (RAGGED, 3), "even, backwards": (EVEN[::-1], 2),
    "ragged, backwards": (RAGGED[::-1], 3),
}  # fmt: skip
each_order = pytest.mark.parametrize(("steps", "count"), STEPS.values(), ids=STEPS)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_definition(step, x, states, steps):
    """Run each sequence alone, value by value of time: `step(x, *state)` returns the new states."""
    results = [None] * len(x)
    for number in range(len(states[0])):
        state = [s[number] for s in states]
        for rows in steps:
            if number < rows.stop - rows.start:
                state = step(x[rows.start + number], *state)
                results[rows.start + number] = np.concatenate(state)
    return np.array(results)


@each_order
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_the_plain_network_by_definition(rng, steps, count, nonlinearity):
    x, h, w = rng.normal(size=(6, 4)), rng.normal(size=(count, 4)), rng.normal(size=(4, 4))
    activate = np.tanh if nonlinearity == "tanh" else lambda v: np.maximum(v, 0)
    expected = by_definition(lambda x, h: [activate(x + w @ h)], x, [h], steps)
    np.testing.assert_allclose(rnn(x, h, w, steps, nonlinearity), expected, rtol=1e-12)


@each_order
@pytest.mark.parametrize("projected", [0, 2])
def test_the_long_short_term_memory_by_definition(rng, steps, count, projected):
    wide = projected or 3
    x, h, c = rng.normal(size=(6, 12)), rng.normal(size=(count, wide)), rng.normal(size=(count, 3))
    w = rng.normal(size=(12, wide))
    v = rng.normal(size=(projected, 3)) if projected else None

    def step(x, h, c):
        i, f, g, o = np.split(x + w @ h, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        return [h if v is None else v @ h, c]

    expected = by_definition(step, x, [h, c], steps)
    np.testing.assert_allclose(lstm(x, h, c, w, v, steps), expected, rtol=1e-12)


@each_order
def test_the_gated_recurrent_unit_by_definition(rng, steps, count):
    x, h = rng.normal(size=(6, 9)), rng.normal(size=(count, 3))
    w, b = rng.normal(size=(9, 3)), rng.normal(size=9)

    def step(x, h):
        hidden = w @ h + b
        r, z = sigmoid(x[:3] + hidden[:3]), sigmoid(x[3:6] + hidden[3:6])
        return [(1 - z) * np.tanh(x[6:] + r * hidden[6:]) + z * h]

    expected = by_definition(step, x, [h], steps)
    np.testing.assert_allclose(gru(x, h, w, b, steps), expected, rtol=1e-12)


FORMS = {
    "rnn": (partial(rnn, nonlinearity="tanh"), partial(rnn_by_steps, nonlinearity="tanh"), 1, 1, 2),
    "lstm": (lambda x, h, c, w, v, steps: lstm(x, h, c, w, v, steps), lstm_by_steps, 4, 2, 3),
    "gru": (gru, gru_by_steps, 3, 1, 2),
}


@each_order
@pytest.mark.parametrize("kind", FORMS)
def test_backward_through_time_is_that_of_the_formula(rng, kind, steps, count):
    """The loop over arrays against the same network spelled with an operation for each part."""
    whole, by_steps, gates, *_ = FORMS[kind]
    shapes = [(6, gates * 2), (count, 2), (gates * 2, 2)]
    if kind == "lstm":
        shapes = [(6, 8), (count, 2), (count, 2), (8, 2), (2, 2)]
    if kind == "gru":
        shapes.append((6,))
    arrays = [rng.normal(size=shape) for shape in shapes]
    dy = rng.normal(size=(6, 4 if kind == "lstm" else 2))
    ours = first(lambda *t: whole(*t, steps=steps), arrays, dy)
    expected = first(lambda *t: by_steps(*t, steps=steps), arrays, dy)
    for mine, theirs in zip(ours, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-12)


def test_the_last_rows_of_sequences():
    assert recurrent.last_rows(RAGGED, 3).tolist() == [5, 4, 2]
    assert recurrent.last_rows(RAGGED[::-1], 3).tolist() == [0, 1, 2]
    assert recurrent.last_rows(EVEN, 2).tolist() == [4, 5]


def test_a_state_is_not_changed(rng):
    h = rng.normal(size=(2, 2))
    before = h.copy()
    rnn(rng.normal(size=(6, 2)), h, rng.normal(size=(2, 2)), EVEN)
    np.testing.assert_array_equal(h, before)


def test_saturated_gates_do_not_overflow():
    x = Tensor(np.full((2, 8), 1e4), requires_grad=True)
    zeros = Tensor(np.zeros((2, 2)))
    h, c = minicnn.lstm_cell(x, (zeros, zeros), np.eye(8), np.zeros((8, 2)))
    (h + c).sum().backward()
    assert np.isfinite(x.grad.array).all()


def z(m, *shape):
    return m.zeros(shape)


REFUSED = [
    refused("another batch", lambda m: m.rnn_tanh_cell(z(m, 2, 3), z(m, 3, 4), z(m, 4, 3),
            z(m, 4, 4)), "rnn_tanh_cell", "(2, 3)", "(3, 4)"),
    refused("weights of another size", lambda m: m.gru_cell(z(m, 2, 3), z(m, 2, 4), z(m, 12, 2),
            z(m, 12, 4)), "w_ih", "(12, 3)", "(12, 2)"),
    refused("a gate too few", lambda m: m.lstm_cell(z(m, 2, 3), (z(m, 2, 4), z(m, 2, 4)),
            z(m, 12, 3), z(m, 12, 4)), "w_ih", "(16, 3)"),
    refused("states that differ", lambda m: m.lstm_cell(z(m, 2, 3), (z(m, 2, 4), z(m, 2, 5)),
            z(m, 16, 3), z(m, 16, 4)), "(2, 4)", "(2, 5)"),
]  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSED, ids=str)
def test_bad_input_is_refused_as_by_torch(refusal, torch):
    refusal.check(torch)
