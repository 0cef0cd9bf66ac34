from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.errors import ArgumentError
from minicnn.nn.layers import dropout


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


@pytest.mark.parametrize("name", ["Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout"])
def test_layers_drop_whole_channels_in_training_only(name):
    layer, x = getattr(nn, name)(0.5), minicnn.ones(8, 9, 2, 1, 2)
    x = x[:, :, :, 0] if name == "Dropout2d" else x[:, :, :, 0, 0] if name == "Dropout1d" else x
    channels = layer(x).array.reshape(72, -1)
    assert (channels == channels[:, :1]).all()
    assert len(np.unique(channels)) == 2
    assert layer.eval()(x) is x


def test_alpha_dropout_in_training_keeps_the_variance():
    x = minicnn.randn(50_000)
    y = nn.AlphaDropout(0.4)(x).array
    assert abs(y.mean()) < 0.04
    assert abs(y.var() - 1) < 0.04


@pytest.mark.parametrize("name", dropout.__all__)
def test_a_layer_needs_a_probability(name):
    with pytest.raises(ArgumentError, match=rf"{name}: p must be in \[0, 1\], got 1.5"):
        getattr(nn, name)(1.5)
