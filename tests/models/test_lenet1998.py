from __future__ import annotations

from math import prod

import numpy as np
import pytest
from small_models import count, shapes_along

import minicnn
from minicnn import models, nn
from minicnn.data import Digits
from minicnn.errors import ArgumentError
from minicnn.models.lenet1998 import DIGITS, TABLE_I, Distances, PartlyConnected, Squash
from minicnn.nn import functional as F
from minicnn.optim import SGD

LAYERS = {  # section II.B: size, trainable parameters, connections
    "c1": ((6, 28, 28), 156, 122_304),
    "s2": ((6, 14, 14), 12, 5_880),
    "c3": ((16, 10, 10), 1_516, 151_600),
    "s4": ((16, 5, 5), 32, 2_000),
    "c5": ((120, 1, 1), 48_120, 48_120),
    "f6": ((84,), 10_164, 10_164),
}


def test_every_layer_has_the_papers_size_and_parameters(seeded):
    model = models.lenet5_1998()
    found = shapes_along(model, minicnn.rand(1, 1, 32, 32), LAYERS)
    for name, (shape, parameters, connections) in LAYERS.items():
        layer = getattr(model, name)
        assert (found[name], count(layer)) == (shape, parameters)
        if name not in ("s2", "s4"):
            assert count(layer) * prod(shape[1:]) == connections
        else:  # four pixels and a bias for each value
            assert 5 * prod(shape) == connections
    assert count(model) == 60_000


def test_table_1():
    rows = [
        "X   XXX  XXXX XX", "XX   XXX  XXXX X", "XXX   XXX  X XXX",
        " XXX  XXXX  X XX", "  XXX  XXXX XX X", "   XXX  XXXX XXX",
    ]  # fmt: skip
    table = [{s for s in range(6) if rows[s][c] == "X"} for c in range(16)]
    assert [set(seen) for seen in TABLE_I] == table


def test_a_map_of_c3_sees_what_the_table_says(seeded):
    layer, x = PartlyConnected(), np.random.default_rng(0).normal(size=(1, 6, 6, 7))
    layer = layer.double()
    before = layer(minicnn.tensor(x)).array
    for s in range(6):
        changed = x.copy()
        changed[:, s] += 1
        moved = np.abs(layer(minicnn.tensor(changed)).array - before).max(axis=(0, 2, 3)) > 1e-9
        assert {c for c in range(16) if moved[c]} == {c for c in range(16) if s in TABLE_I[c]}


def test_the_squashing_function_goes_through_1():
    y = Squash()(minicnn.tensor([-1.0, 0.0, 1.0, 100.0])).array
    np.testing.assert_allclose(y, [-1, 0, 1, 1.7159], atol=1e-4)


def test_the_nearest_picture_wins():
    assert [len(p.replace("/", "")) for p in DIGITS] == [84] * 10
    layer = Distances(10)
    assert len(np.unique(layer.pictures.array, axis=0)) == 10
    y = layer(layer.pictures + 0.25).array
    np.testing.assert_allclose(np.diag(y), -84 / 16)
    assert (y.argmax(axis=1) == np.arange(10)).all()
    assert not list(layer.parameters())


@pytest.mark.parametrize("number", [0, 11])
def test_there_are_ten_digits(number):
    with pytest.raises(ArgumentError, match="num_classes must be 1 to 10"):
        models.lenet5_1998(num_classes=number)


def test_first_weights(seeded):
    model = models.lenet5_1998()
    for layer in (m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))):
        bound = 2.4 / prod(layer.weight.shape[1:])
        assert 0.5 * bound < np.abs(layer.weight.array).max() <= bound
        assert not layer.bias.array.any()


def test_it_learns_digits(seeded):
    x, labels = Digits("train")[:200]
    model = models.lenet5_1998()
    optimizer = SGD(model.parameters(), lr=0.002, momentum=0.9)
    losses = []
    for _ in range(4):
        for i in range(0, 200, 20):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(minicnn.tensor(x[i : i + 20])), labels[i : i + 20])
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
