from __future__ import annotations

from math import prod

import numpy as np
import pytest
from small_models import count, shapes_along

import minicnn
from minicnn import models, nn

# Krizhevsky et al. 2012, Figure 2 and section 3.5, for both towers together.
UNITS = [(96, 55, 55), (256, 27, 27), (384, 13, 13), (384, 13, 13), (256, 13, 13)]


@pytest.fixture
def narrow(seeded):
    return models.alexnet2012(width=1 / 16, num_classes=7)


def convolutions(model):
    return {f"features.{i}": m for i, m in enumerate(model.features) if isinstance(m, nn.Conv2d)}


def test_size_of_every_convolution(narrow):
    found = shapes_along(narrow.eval(), minicnn.rand(1, 3, 227, 227), convolutions(narrow))
    assert list(found.values()) == [(c // 16, h, w) for c, h, w in UNITS]


def test_units_and_weights(undrawn):
    """Section 3.5: 60 million parameters, 650,000 neurons (253,440 + 186,624 + ... + 1000).

    The paper counts 253,440 in the first layer, which do not fit its 55x55x96.
    """
    model = models.alexnet2012()
    assert count(model) == 60_965_224
    assert sum(map(prod, UNITS[1:])) == 186_624 + 64_896 + 64_896 + 43_264
    assert sum(map(prod, UNITS)) + 4096 + 4096 + 1000 == 659_272
    assert count(model.features[0]) == 34_944  # (11*11*3 + 1) * 96
    assert [c.weight.shape for c in convolutions(model).values()] == [
        (96, 3, 11, 11), (256, 48, 5, 5), (384, 256, 3, 3), (384, 192, 3, 3), (256, 192, 3, 3)
    ]  # fmt: skip


def test_the_towers_meet_in_the_third_layer_only(narrow):
    """A change in the second tower's half of a map moves its own half of the next, or all of it."""
    for conv in convolutions(narrow).values():
        x = minicnn.rand(1, conv.in_channels, 11, 11)
        changed = x.array.copy()
        changed[:, conv.in_channels // 2 :] += 1
        moved = np.abs(conv(minicnn.tensor(changed)).array - conv(x).array).max(axis=(0, 2, 3)) > 0
        first, second = np.split(moved, 2)
        assert second.all()
        assert first.all() == (conv.groups == 1)
    assert [conv.groups for conv in convolutions(narrow).values()] == [1, 2, 1, 2, 2]


def test_local_response_normalisation_is_the_papers(narrow):
    """b = a / (2 + 1e-4 * sum of a^2 over 5 neighbours)^0.75, section 3.3."""
    layer = next(m for m in narrow.features if isinstance(m, nn.LocalResponseNorm))
    a = np.random.default_rng(0).normal(size=(1, 8, 2, 3)) * 50
    expected = [
        a[:, i] / (2 + 1e-4 * (a[:, max(0, i - 2) : i + 3] ** 2).sum(axis=1)) ** 0.75
        for i in range(8)
    ]
    np.testing.assert_allclose(layer(minicnn.tensor(a)).array, np.stack(expected, 1), rtol=1e-12)


def test_first_weights(seeded):
    model = models.alexnet2012(width=1 / 4)
    biases = [conv.bias.array[0] for conv in convolutions(model).values()]
    biases += [layer.bias.array[0] for layer in model.classifier if isinstance(layer, nn.Linear)]
    assert biases == [0, 1, 0, 1, 1, 1, 1, 0]
    assert model.classifier[0].weight.array.std() == pytest.approx(0.01, rel=0.02)
