from __future__ import annotations

import numpy as np
from small_models import count, shapes_along

import minicnn
from minicnn import models

STAGES = {  # of 224x224 pixels
    "features.0": (64, 55, 55),
    "features.2": (64, 27, 27),
    "features.3": (192, 27, 27),
    "features.5": (192, 13, 13),
    "features.6": (384, 13, 13),
    "features.8": (256, 13, 13),
    "features.10": (256, 13, 13),
    "features.12": (256, 6, 6),
}


def test_parameters_and_keys(undrawn):
    model = models.alexnet()
    assert count(model) == 61_100_840
    assert count(models.alexnet(num_classes=10)) == 61_100_840 - 990 * 4097
    layers = [f"features.{i}" for i in (0, 3, 6, 8, 10)] + [f"classifier.{i}" for i in (1, 4, 6)]
    assert list(model.state_dict()) == [
        f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")
    ]


def test_shapes_of_all_stages():
    model = models.alexnet(width=1 / 32).eval()
    found = shapes_along(model, minicnn.rand(1, 3, 224, 224), STAGES)
    assert found == {name: (c // 32, *sides) for name, (c, *sides) in STAGES.items()}


def test_dropout_is_before_both_hidden_layers():
    model = models.alexnet(width=1 / 32, dropout=0.25)
    drops = [i for i, layer in enumerate(model.classifier) if isinstance(layer, minicnn.nn.Dropout)]
    assert drops == [0, 3]
    assert {model.classifier[i].p for i in drops} == {0.25}


def test_larger_images_are_pooled_to_what_the_dense_layers_expect():
    model = models.alexnet(width=1 / 64, num_classes=7).eval()
    assert model(minicnn.rand(1, 3, 301, 255)).shape == (1, 7)
    assert np.isfinite(model(minicnn.rand(2, 3, 63, 63)).array).all()
