from __future__ import annotations

import numpy as np
import pytest
from small_models import count, shapes_along

import minicnn
from minicnn import models, nn
from minicnn.models.inception_v2 import INCEPTION, Inception

MODULES = {  # Ioffe, Szegedy 2015, Figure 5: output size, for 224x224 pixels
    "3a": (256, 28, 28), "3b": (320, 28, 28), "3c": (576, 14, 14), "4a": (576, 14, 14),
    "4b": (576, 14, 14), "4c": (576, 14, 14), "4d": (576, 14, 14), "4e": (1024, 7, 7),
    "5a": (1024, 7, 7), "5b": (1024, 7, 7),
}  # fmt: skip


def test_parameters(undrawn, monkeypatch):
    """The weights published for Caffe have other projections in 4c and 4d, and biases."""
    assert count(models.inception_v2()) == 11_194_984
    for name in ("4c", "4d"):
        monkeypatch.setitem(INCEPTION, name, (*INCEPTION[name][:-1], 128))
    model = models.inception_v2()
    biases = sum(m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d))
    assert count(model) + biases == 11_295_240


def test_size_of_every_module():
    model = models.inception_v2(width=1 / 16).eval()
    names = ["conv1", "conv3", *(f"inception.{name}" for name in MODULES)]
    found = shapes_along(model, minicnn.rand(1, 3, 224, 224), names)
    assert found["conv1"] == (4, 112, 112)
    assert found["conv3"] == (12, 56, 56)
    assert {name: found[f"inception.{name}"] for name in MODULES} == {
        name: (c // 16, *sides) for name, (c, *sides) in MODULES.items()
    }


@pytest.mark.parametrize("size", [(7, 6), (8, 9), (4, 1)])
def test_a_module_without_projection_halves_any_image_and_passes_its_pooling(size, seeded):
    module = Inception(3, 0, 2, 4, 2, 5, "max", 0)
    x = minicnn.randn(2, 3, *size)
    y = module(x).array
    sides = [(side + 1) // 2 for side in size]
    assert y.shape == (2, 4 + 5 + 3, *sides)
    padded = np.pad(x.array, [(0, 0), (0, 0), (1, 2), (1, 2)], constant_values=-np.inf)
    for i, j in np.ndindex(*sides):
        window = padded[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        np.testing.assert_array_equal(y[:, 9:, i, j], window.max(axis=(2, 3)))


def test_a_module_with_projection_keeps_the_size(seeded):
    module = Inception(3, 1, 2, 4, 2, 5, "mean", 6)
    assert module(minicnn.randn(2, 3, 7, 6)).shape == (2, 1 + 4 + 5 + 6, 7, 6)
    assert module.out_channels == 16
    assert isinstance(module.branches[3][0], nn.AvgPool2d)
