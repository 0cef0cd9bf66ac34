from __future__ import annotations

import numpy as np
import pytest
from small_models import count, shapes_along

import minicnn
from minicnn import models, nn
from minicnn.data import Digits
from minicnn.models.highway import Highway
from minicnn.nn import functional as F
from minicnn.optim import SGD


def test_parameters(undrawn):
    highway = models.highway_mlp(input_shape=(784,))
    assert count(highway) == 785 * 50 + 49 * 2 * (51 * 50) + 51 * 10
    plain = models.mlp((71,) * 50, input_shape=(784,))  # section 3: as many, without gates
    assert count(highway[3]) == pytest.approx(count(plain[3]), rel=0.003)
    convolutional = models.highway_cnn()
    assert round(count(convolutional) / 1e6, 1) == 2.3  # 1507.06228, Table 1: of Fitnet 4


def test_values_by_the_definition(seeded):
    layer = Highway(nn.Linear(4, 4), nn.Linear(4, 4), -0.5).double()
    x = np.random.default_rng(0).normal(size=(3, 4))
    assert (layer.gate.bias.array == -0.5).all()
    h = np.maximum(x @ layer.transform.weight.array.T + layer.transform.bias.array, 0)
    t = 1 / (1 + np.exp(-(x @ layer.gate.weight.array.T + layer.gate.bias.array)))
    np.testing.assert_allclose(layer(minicnn.tensor(x)).array, t * h + (1 - t) * x, rtol=1e-12)


@pytest.mark.parametrize("bias", [-40.0, 40.0], ids=["closed", "open"])
def test_a_closed_gate_lets_the_input_pass_and_an_open_one_the_layer(bias, seeded):
    layer, x = (
        Highway(nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1), bias),
        minicnn.randn(2, 3, 5, 4),
    )
    expected = x if bias < 0 else F.relu(layer.transform(x))
    np.testing.assert_allclose(layer(x).array, expected.array, rtol=1e-6, atol=1e-6)


def test_layers_that_change_the_channels_are_plain():
    features = models.highway_cnn().features
    kinds = [type(m).__name__ for m in features if isinstance(m, (Highway, nn.Conv2d))]
    plain, gated = "Conv2d", "Highway"
    assert kinds == [plain, gated, gated, plain, gated, *[plain, *[gated] * 5] * 2]
    closed = {float(m.gate.bias.array.max()) for m in features if isinstance(m, Highway)}
    assert closed == {-2.0}


def test_size_of_every_stage():
    model = models.highway_cnn(in_channels=1, stages=((2, 2), (3,), (4, 4)), num_classes=7).eval()
    names = [f"features.{name}" for name in ("2", "3", "5", "6", "9")]
    found = shapes_along(model, minicnn.rand(1, 1, 32, 32), names)
    assert list(found.values()) == [(2, 32, 32), (2, 16, 16), (3, 16, 16), (3, 8, 8), (4, 8, 8)]
    assert model(minicnn.rand(2, 1, 13, 9)).shape == (2, 7)


def test_fifty_layers_learn_where_plain_ones_do_not(seeded):
    images, labels = Digits("train", size=8)[:128]
    shape, units = (1, 8, 8), 71

    def train(model):
        optimizer = SGD(model.parameters(), lr=0.3, momentum=0.9)
        for _ in range(15):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(minicnn.tensor(images)), np.asarray(labels))
            loss.backward()
            optimizer.step()
        return loss.item()

    assert train(models.highway_mlp(input_shape=shape)) < 1.0
    assert train(models.mlp((units,) * 50, input_shape=shape)) > 2.2  # log(10) is 2.303
