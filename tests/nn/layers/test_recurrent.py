from __future__ import annotations

import numpy as np
import pytest
from refusals import refused

import minicnn
from minicnn import nn
from minicnn.errors import ArgumentError, DTypeError
from minicnn.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from minicnn.tensor import Tensor

KINDS = ["RNN", "LSTM", "GRU"]


def pair_of(torch, kind, *sizes, **settings):
    ours = getattr(nn, kind)(*sizes, **settings).double()
    theirs = getattr(torch.nn, kind)(*sizes, **settings).double()
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    return ours, theirs


def states_of(last):
    return last if isinstance(last, tuple) else (last,)


@pytest.mark.parametrize("enforce_sorted", [True, False], ids=["sorted", "any order"])
@pytest.mark.parametrize("settings", [{}, {"num_layers": 2, "bidirectional": True}], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_sequences_of_different_lengths(torch, rng, seeded, kind, settings, enforce_sorted):
    ours, theirs = pair_of(torch, kind, 3, 2, **settings)
    lengths = [4, 3, 3, 1] if enforce_sorted else [2, 4, 1, 3]
    x = rng.normal(size=(4, 4, 3))
    number = settings.get("num_layers", 1) * (1 + settings.get("bidirectional", False))
    first = [rng.normal(size=(number, 4, 2)) for _ in range(1 + (kind == "LSTM"))]
    results = []
    for layer, tensor, utils in (
        (ours, Tensor, nn.utils.rnn),
        (theirs, torch.tensor, torch.nn.utils.rnn),
    ):
        inputs = [tensor(a.copy(), requires_grad=True) for a in (x, *first)]
        packed = utils.pack_padded_sequence(inputs[0], lengths, enforce_sorted=enforce_sorted)
        state = tuple(inputs[1:]) if kind == "LSTM" else inputs[1]
        y, last = layer(packed, state)
        padded, sizes = utils.pad_packed_sequence(y, padding_value=-7.0, total_length=5)
        total = (padded * padded).sum() + sum((s * s * s).sum() for s in states_of(last))
        total.backward()
        gradients = [t.grad for t in (*inputs, *layer.parameters())]
        results.append([padded, sizes, *states_of(last), *gradients])
    for mine, other in zip(*results, strict=True):
        np.testing.assert_allclose(mine.array, other.detach().numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_does_not_reach_the_result(rng, seeded, kind):
    layer = getattr(nn, kind)(2, 3, bidirectional=True)
    x = rng.normal(size=(4, 2, 2)).astype(np.float32)
    noise = x.copy()
    noise[2:, 1] = 1e6
    results = [
        pad_packed_sequence(layer(pack_padded_sequence(Tensor(a), [4, 2]))[0])[0].array
        for a in (x, noise)
    ]
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_in_two_parts_is_one_sequence(rng, seeded, kind):
    layer = getattr(nn, kind)(2, 3, num_layers=2).double()
    x = Tensor(rng.normal(size=(5, 2, 2)))
    whole, last = layer(x)
    start, state = layer(x[:2])
    end, state = layer(x[2:], state)
    np.testing.assert_allclose(minicnn.cat([start, end]).array, whole.array, rtol=1e-12)
    for a, b in zip(states_of(state), states_of(last), strict=True):
        np.testing.assert_allclose(a.array, b.array, rtol=1e-12)


def test_a_cell_step_by_step_is_the_layer(rng, seeded):
    layer = nn.GRU(2, 3)
    cell = nn.GRUCell(2, 3)
    state = {key.removesuffix("_l0"): value for key, value in layer.state_dict().items()}
    cell.load_state_dict(state)
    x = Tensor(rng.normal(size=(4, 2, 2)).astype(np.float32))
    h, expected = None, layer(x)[0]
    for t in range(4):
        h = cell(x[t], h)
        np.testing.assert_allclose(h.array, expected[t].array, rtol=1e-5, atol=1e-6)


def test_dropout_acts_between_layers_in_training_only(rng, seeded):
    layer = nn.LSTM(2, 8, num_layers=2, dropout=0.5)
    x = Tensor(rng.normal(size=(3, 2, 2)).astype(np.float32))
    first, second = layer(x)[0].array, layer(x)[0].array
    assert not np.array_equal(first, second)
    layer.eval()
    np.testing.assert_array_equal(layer(x)[0].array, layer(x)[0].array)


def test_dropout_of_a_single_layer_is_said_to_do_nothing():
    with pytest.warns(UserWarning, match=r"dropout=0.5 acts between layers"):
        nn.GRU(2, 3, dropout=0.5)


def test_first_values_lie_within_one_over_the_root_of_the_hidden_size(seeded):
    for layer in (nn.LSTM(5, 16), nn.GRUCell(5, 16), nn.RNN(5, 16, bidirectional=True)):
        for parameter in layer.parameters():
            assert abs(parameter.array).max() <= 0.25
        assert abs(layer.state_dict()[next(iter(layer.state_dict()))].array).max() > 0.2


def test_an_input_of_another_type_is_named():
    with pytest.raises(DTypeError, match=r"LSTM: the input is float64 and the weights are float32"):
        nn.LSTM(2, 3)(Tensor(np.zeros((4, 1, 2))))


def z(m, *shape, dtype="float32"):
    return m.zeros(shape, dtype=getattr(m, dtype))


REFUSED = [
    refused("four dimensions", lambda m: m.nn.LSTM(3, 4)(z(m, 5, 2, 3, 1)), "LSTM", "(T, N, I)"),
    refused("another input size", lambda m: m.nn.GRU(3, 4)(z(m, 5, 2, 4)), "input_size=3", "4"),
    refused("no time step", lambda m: m.nn.RNN(3, 4)(z(m, 0, 2, 3)), "no time step"),
    refused("one state of two", lambda m: m.nn.LSTM(3, 4)(z(m, 5, 2, 3), (z(m, 1, 2, 4),)),
            "[(1, 2, 4), (1, 2, 4)]"),
    refused("a state of another size", lambda m: m.nn.GRU(3, 4)(z(m, 5, 2, 3), z(m, 1, 2, 5)),
            "(1, 2, 5)"),
    refused("batched states of one sequence", lambda m: m.nn.LSTM(3, 4)(z(m, 5, 3),
            (z(m, 1, 1, 4), z(m, 1, 1, 4)))),
    refused("another type", lambda m: m.nn.RNN(3, 4)(z(m, 5, 2, 3, dtype="float64")), "float64"),
    refused("whole numbers", lambda m: m.nn.RNN(3, 4)(z(m, 5, 2, 3, dtype="int64")), "int64"),
    refused("a projection that is not smaller", lambda m: m.nn.LSTM(3, 4, proj_size=4),
            "proj_size"),
    refused("no hidden unit", lambda m: m.nn.LSTM(3, 0), "hidden_size"),
    refused("a hidden size that is no integer", lambda m: m.nn.LSTM(3, 4.5), "hidden_size"),
    refused("no layer", lambda m: m.nn.GRU(3, 4, num_layers=0), "num_layers"),
    refused("dropout that is no number", lambda m: m.nn.LSTM(3, 4, 2, dropout="a"), "'a'"),
    refused("dropout that is a switch", lambda m: m.nn.LSTM(3, 4, 2, dropout=True), "True"),
    refused("too much dropout", lambda m: m.nn.GRU(3, 4, 2, dropout=2), "dropout"),
    refused("an unknown nonlinearity", lambda m: m.nn.RNN(3, 4, nonlinearity="sin"), "'sin'"),
    refused("a cell with three dimensions", lambda m: m.nn.LSTMCell(3, 4)(z(m, 2, 2, 3))),
    refused("a cell with another state", lambda m: m.nn.GRUCell(3, 4)(z(m, 2, 3), z(m, 3, 4)),
            "(2, 4)", "(3, 4)"),
]  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSED, ids=str)
def test_bad_input_is_refused_as_by_torch(refusal, torch):
    refusal.check(torch)


def test_an_unknown_nonlinearity_of_a_cell_is_refused():
    with pytest.raises(ArgumentError, match='nonlinearity must be "tanh" or "relu", got \'sin\''):
        nn.RNNCell(3, 4, nonlinearity="sin")
