from __future__ import annotations

import numpy as np
import pytest
from small_models import count, shapes_along

import minicnn
from minicnn import models, nn

PARAMETERS = {
    "vgg11": 132_863_336, "vgg11_bn": 132_868_840, "vgg13": 133_047_848, "vgg13_bn": 133_053_736,
    "vgg16": 138_357_544, "vgg16_bn": 138_365_992, "vgg19": 143_667_240, "vgg19_bn": 143_678_248,
}  # fmt: skip
# Where the convolutions of VGG-16 stand: Table 1, column D, with ReLU after each, and poolings.
VGG16 = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
VGG16_BN = (0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(name, undrawn):
    assert count(models.create(name)) == PARAMETERS[name]


def test_parameters_of_each_layer_of_vgg16(undrawn):
    model = models.vgg16()
    counts = [count(model.features[i]) for i in VGG16]
    assert counts == [
        1_792, 36_928, 73_856, 147_584, 295_168, 590_080, 590_080, 1_180_160, 2_359_808, 2_359_808,
        2_359_808, 2_359_808, 2_359_808,
    ]  # fmt: skip
    dense = [count(model.classifier[i]) for i in (0, 3, 6)]
    assert dense == [102_764_544, 16_781_312, 4_097_000]


def test_keys():
    dense = [f"classifier.{i}.{kind}" for i in (0, 3, 6) for kind in ("weight", "bias")]
    plain = models.vgg16(width=1 / 64, init_weights=False)
    assert list(plain.state_dict()) == [
        *(f"features.{i}.{kind}" for i in VGG16 for kind in ("weight", "bias")), *dense
    ]  # fmt: skip
    kinds = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    normalised = [
        key
        for i in VGG16_BN
        for key in (
            f"features.{i}.weight",
            f"features.{i}.bias",
            *(f"features.{i + 1}.{kind}" for kind in kinds),
        )
    ]
    keys = list(models.vgg16_bn(width=1 / 64, init_weights=False).state_dict())
    assert keys == [*normalised, *dense]
    assert len(keys) == 97


def test_each_stage_halves_the_image():
    model = models.vgg11(width=1 / 64).eval()
    pools = [f"features.{i}" for i, m in enumerate(model.features) if isinstance(m, nn.MaxPool2d)]
    found = shapes_along(model, minicnn.rand(1, 3, 224, 224), pools)
    assert list(found.values()) == [(1, 112, 112), (2, 56, 56), (4, 28, 28), (8, 14, 14), (8, 7, 7)]


def test_first_weights(seeded):
    model = models.vgg13(width=1 / 4)
    conv, dense = model.features[10], model.classifier[3]  # 3x3 with 64 outputs; 1024 units
    assert conv.weight.array.std() == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.02)
    assert dense.weight.array.std() == pytest.approx(0.01, rel=0.02)
    assert not conv.bias.array.any()
    assert not dense.bias.array.any()
