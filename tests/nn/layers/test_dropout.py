from __future__ import annotations

import numpy as np

import minicnn
from minicnn import nn


def test_dropout_in_evaluation_is_the_identity():
    x = minicnn.rand(3, 4)
    assert nn.Dropout(0.7).eval()(x) is x
    assert nn.Dropout(0.0)(x) is x


def test_dropout_in_training_drops_and_scales():
    x = minicnn.ones(200, 100, requires_grad=True)
    y = nn.Dropout(0.25)(x)
    kept = y.array != 0
    np.testing.assert_allclose(y.array[kept], 1 / 0.75, rtol=1e-6)
    assert abs(kept.mean() - 0.75) < 5 * np.sqrt(0.75 * 0.25 / 20_000)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.array, y.array)


def test_dropout_draws_anew_each_time_and_repeats_with_the_seed():
    layer, x = nn.Dropout(0.5), minicnn.ones(50)
    minicnn.manual_seed(3)
    first, second = layer(x).tolist(), layer(x).tolist()
    assert first != second
    minicnn.manual_seed(3)
    assert layer(x).tolist() == first
