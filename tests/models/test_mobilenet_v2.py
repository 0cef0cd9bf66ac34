from __future__ import annotations

import pytest
from small_models import count, shapes_along

import minicnn
from minicnn import models
from minicnn.models.mobilenet_v2 import to_multiple

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def test_parameters_and_keys():
    model = models.mobilenet_v2()
    assert count(model) == 3_504_872
    keys = list(model.state_dict())
    assert len(keys) == 314
    first = [f"features.0.0.{'weight'}", *(f"features.0.1.{kind}" for kind in NORM)]
    narrow = [  # expansion 1: no first 1x1
        "features.1.conv.0.0.weight", *(f"features.1.conv.0.1.{kind}" for kind in NORM),
        "features.1.conv.1.weight", *(f"features.1.conv.2.{kind}" for kind in NORM),
    ]  # fmt: skip
    wide = [
        "features.2.conv.0.0.weight", *(f"features.2.conv.0.1.{kind}" for kind in NORM),
        "features.2.conv.1.0.weight", *(f"features.2.conv.1.1.{kind}" for kind in NORM),
        "features.2.conv.2.weight", *(f"features.2.conv.3.{kind}" for kind in NORM),
    ]  # fmt: skip
    assert keys[: 6 + 12 + 18] == [*first, *narrow, *wide]
    assert keys[-2:] == ["classifier.1.weight", "classifier.1.bias"]
    assert keys[-8] == "features.18.0.weight"


def test_sizes_along_the_network():
    names = [f"features.{i}" for i in (0, 1, 3, 6, 10, 13, 16, 17, 18)]
    found = shapes_along(models.mobilenet_v2().eval(), minicnn.rand(1, 3, 224, 224), names)
    assert list(found.values()) == [  # Table 2
        (32, 112, 112), (16, 112, 112), (24, 56, 56), (32, 28, 28), (64, 14, 14), (96, 14, 14),
        (160, 7, 7), (320, 7, 7), (1280, 7, 7),
    ]  # fmt: skip


def test_the_input_is_added_where_it_fits():
    features = models.mobilenet_v2().features
    fits = [i for i in range(1, 18) if features[i].fits]
    assert fits == [3, 5, 6, 8, 9, 10, 12, 13, 15, 16]


@pytest.mark.parametrize(("channels", "multiple"), [
    (32, 32), (11.2, 16), (44.8, 48), (3, 8), (67.2, 64), (17, 16), (18.1, 24),
])  # fmt: skip
def test_channels_are_rounded_to_multiples(channels, multiple):
    assert to_multiple(channels, 8) == multiple


def test_narrow_networks_keep_the_last_channels():
    model = models.mobilenet_v2(width_mult=0.5)
    assert model.features[0][0].weight.shape[0] == 16
    assert model.classifier[1].weight.shape == (1000, 1280)
    assert models.mobilenet_v2(width_mult=1.4).classifier[1].weight.shape == (1000, 1792)
