from __future__ import annotations

import numpy as np
import pytest
from small_models import count, shapes_along

import minicnn
from minicnn import models, nn

STAGES = {  # Zeiler, Fergus 2013, Figure 3: convolutions, poolings
    "features.0": (96, 110, 110), "features.2": (96, 55, 55), "features.4": (256, 26, 26),
    "features.6": (256, 13, 13), "features.8": (384, 13, 13), "features.10": (384, 13, 13),
    "features.12": (256, 13, 13), "features.14": (256, 6, 6),
}  # fmt: skip


def test_parameters(undrawn):
    assert count(models.zfnet()) == 62_357_608  # as osmr's imgclsmob counts them


def test_shapes_of_all_stages():
    model = models.zfnet(width=1 / 32).eval()
    found = shapes_along(model, minicnn.rand(1, 3, 224, 224), STAGES)
    assert found == {name: (c // 32, *sides) for name, (c, *sides) in STAGES.items()}


def test_contrast_is_normalised_after_the_first_two_poolings():
    features = models.zfnet(width=1 / 32).features
    norms = [i for i, m in enumerate(features) if isinstance(m, nn.LocalResponseNorm)]
    assert norms == [3, 7]
    assert all(isinstance(features[i - 1], nn.MaxPool2d) for i in norms)


def test_first_weights(seeded):
    model = models.zfnet(width=1 / 4)
    assert model.features[8].weight.array.std() == pytest.approx(0.01, rel=0.02)
    assert model.classifier[3].weight.array.std() == pytest.approx(0.01, rel=0.02)
    assert not model.classifier[3].bias.array.any()


def test_larger_images_are_pooled_to_what_the_dense_layers_expect():
    model = models.zfnet(width=1 / 64, num_classes=7).eval()
    assert model(minicnn.rand(1, 3, 301, 255)).shape == (1, 7)
    assert np.isfinite(model(minicnn.rand(2, 3, 63, 63)).array).all()
