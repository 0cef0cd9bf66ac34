from __future__ import annotations

import numpy as np
import pytest
from small_models import count

import minicnn
from minicnn import models, nn
from minicnn.nn import functional as F
from minicnn.optim import SGD


@pytest.mark.parametrize(("units", "parameters"), [
    ((10, 2, 1), 25), ((10, 25, 25, 1), 951), ((7, 3), 24), ((65_536 * 3, 256), 50_331_904),
])  # fmt: skip
def test_parameters(units, parameters, undrawn):
    first, *hidden, last = units
    model = models.mlp(hidden, num_classes=last, input_shape=(first,))
    assert count(model) == parameters


def test_values_by_the_definition(seeded):
    model = models.mlp((4, 3), num_classes=2, input_shape=(2, 5), activation=nn.Sigmoid).double()
    x = np.random.default_rng(0).normal(size=(6, 2, 5))
    (w1, b1), (w2, b2), (w3, b3) = (
        (layer.weight.array, layer.bias.array) for layer in model if isinstance(layer, nn.Linear)
    )
    h = 1 / (1 + np.exp(-(x.reshape(6, 10) @ w1.T + b1)))
    h = 1 / (1 + np.exp(-(h @ w2.T + b2)))
    np.testing.assert_allclose(model(minicnn.tensor(x)).array, h @ w3.T + b3, rtol=1e-12)


def test_it_learns_what_no_single_layer_can(seeded):
    """Exclusive or."""
    x = minicnn.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    labels = np.array([0, 1, 1, 0])
    model = models.mlp((8,), num_classes=2, input_shape=(2,), activation=nn.Tanh)
    optimizer = SGD(model.parameters(), lr=0.3, momentum=0.9)
    for _ in range(100):
        optimizer.zero_grad()
        F.cross_entropy(model(x), labels).backward()
        optimizer.step()
    np.testing.assert_array_equal(model(x).array.argmax(1), labels)
