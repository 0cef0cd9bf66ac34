from __future__ import annotations

import numpy as np
import pytest
from small_models import count, shapes_along

import minicnn
from minicnn import models
from minicnn.models.densenet import DenseLayer

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


@pytest.mark.parametrize(("name", "parameters", "keys"), [
    ("densenet121", 7_978_856, 727), ("densenet169", 14_149_480, 1015),
    ("densenet201", 20_013_928, 1207),
])  # fmt: skip
def test_parameters_and_number_of_keys(name, parameters, keys, undrawn):
    model = models.create(name)
    assert (count(model), len(model.state_dict())) == (parameters, keys)


def test_keys():
    def of_layer(name):
        return [
            *(f"{name}.norm1.{kind}" for kind in NORM), f"{name}.conv1.weight",
            *(f"{name}.norm2.{kind}" for kind in NORM), f"{name}.conv2.weight",
        ]  # fmt: skip

    def of_transition(name):
        return [*(f"{name}.norm.{kind}" for kind in NORM), f"{name}.conv.weight"]

    model = models.densenet121(growth_rate=2, num_init_features=4, block_config=(2, 1))
    assert list(model.state_dict()) == [
        "features.conv0.weight", *(f"features.norm0.{kind}" for kind in NORM),
        *of_layer("features.denseblock1.denselayer1"),
        *of_layer("features.denseblock1.denselayer2"),
        *of_transition("features.transition1"),
        *of_layer("features.denseblock2.denselayer1"),
        *(f"features.norm5.{kind}" for kind in NORM), "classifier.weight", "classifier.bias",
    ]  # fmt: skip


def test_size_of_every_block():
    model = models.densenet121(growth_rate=8, num_init_features=16).eval()
    names = [
        f"features.{name}"
        for i in (1, 2, 3)
        for name in (f"denseblock{i}", f"transition{i}")
    ] + ["features.denseblock4"]  # fmt: skip
    found = shapes_along(model, minicnn.rand(1, 3, 224, 224), names)
    assert list(found.values()) == [  # Table 1, its channels divided by 4
        (64, 56, 56), (32, 28, 28), (128, 28, 28), (64, 14, 14), (256, 14, 14), (128, 7, 7),
        (256, 7, 7),
    ]  # fmt: skip


def test_a_layer_keeps_its_input(seeded):
    layer = DenseLayer(3, 2, 4, 0.0)
    x = minicnn.randn(2, 3, 4, 5)
    y = layer(x).array
    assert y.shape == (2, 5, 4, 5)
    np.testing.assert_array_equal(y[:, :3], x.array)
    np.testing.assert_array_equal(y[:, 3:], layer.new_features(x).array)


def test_dropout_is_on_what_a_layer_adds(seeded):
    y = DenseLayer(3, 64, 1, 0.5)(minicnn.randn(2, 3, 4, 5)).array
    assert 0.4 < (y[:, 3:] == 0).mean() < 0.6
    assert (y[:, :3] != 0).all()
