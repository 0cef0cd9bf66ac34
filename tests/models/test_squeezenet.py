from __future__ import annotations

import pytest
from small_models import count, shapes_along

import minicnn
from minicnn import models

FIRE = {"squeezenet1_0": (3, 4, 5, 7, 8, 9, 10, 12), "squeezenet1_1": (3, 4, 6, 7, 9, 10, 11, 12)}


@pytest.mark.parametrize(("name", "parameters"), [
    ("squeezenet1_0", 1_248_424), ("squeezenet1_1", 1_235_496),
])  # fmt: skip
def test_parameters_and_keys(name, parameters):
    model = models.create(name)
    assert count(model) == parameters
    layers = [
        "features.0",
        *(
            f"features.{i}.{part}"
            for i in FIRE[name]
            for part in ("squeeze", "expand1x1", "expand3x3")
        ),
        "classifier.1",
    ]
    assert list(model.state_dict()) == [
        f"{x}.{kind}" for x in layers for kind in ("weight", "bias")
    ]


@pytest.mark.parametrize(("name", "sizes"), [
    ("squeezenet1_0", [(96, 109, 109), (96, 54, 54), (256, 27, 27), (512, 13, 13), (512, 13, 13)]),
    ("squeezenet1_1", [(64, 111, 111), (64, 55, 55), (128, 27, 27), (256, 13, 13), (512, 13, 13)]),
])  # fmt: skip
def test_sizes_along_the_network(name, sizes):
    places = {"squeezenet1_0": (0, 2, 6, 11, 12), "squeezenet1_1": (0, 2, 5, 8, 12)}[name]
    names = [f"features.{i}" for i in places]
    found = shapes_along(models.create(name).eval(), minicnn.rand(1, 3, 224, 224), names)
    assert list(found.values()) == sizes


def test_first_weights(seeded):
    model = models.squeezenet1_1()
    assert model.classifier[1].weight.array.std() == pytest.approx(0.01, rel=0.02)
    expand = model.features[12].expand3x3
    assert abs(expand.weight.array).max() == pytest.approx((6 / (9 * 64)) ** 0.5, rel=0.01)
    assert not expand.bias.array.any()
