from __future__ import annotations

import numpy as np
import pytest
from small_models import count, shapes_along

import minicnn
from minicnn import models, nn
from minicnn.models.densenet_cifar import CifarDenseNet, PlainLayer

BC = {"bottleneck": True, "compression": 0.5}
MILLIONS = [  # Huang et al. 2016, Table 2: L, k, form
    (40, 12, {}, 1.0), (100, 12, {}, 7.0), (100, 24, {}, 27.2),
    (100, 12, BC, 0.8), (250, 24, BC, 15.3), (190, 40, BC, 25.6),
]  # fmt: skip


@pytest.mark.parametrize(("depth", "growth", "form", "millions"), MILLIONS)
def test_parameters_and_layers_of_the_paper(depth, growth, form, millions, undrawn):
    model = CifarDenseNet(depth, growth, **form)
    assert round(count(model) / 1e6, 1) == millions
    weighted = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len(weighted) == depth


def test_parameters(undrawn):
    """As Keras' implementations and osmr's imgclsmob count them."""
    assert count(models.densenet40()) == 1_019_722
    assert count(models.densenet_bc100()) == 769_162


@pytest.mark.parametrize(("name", "channels"), [
    ("densenet40", (160, 160, 304, 304, 448)), ("densenet_bc100", (216, 108, 300, 150, 342)),
])  # fmt: skip
def test_size_of_every_block(name, channels):
    model = models.create(name, in_channels=1, num_classes=7).eval()
    places = [f"features.{part}" for part in (
        "denseblock1", "transition1", "denseblock2", "transition2", "denseblock3",
    )]  # fmt: skip
    found = shapes_along(model, minicnn.rand(1, 1, 16, 16), places)
    sides = (16, 8, 8, 4, 4)
    assert list(found.values()) == [(c, n, n) for c, n in zip(channels, sides, strict=True)]
    assert model(minicnn.rand(2, 1, 9, 7)).shape == (2, 7)


def test_a_plain_layer_keeps_its_input_and_drops_of_what_it_adds(seeded):
    layer, x = PlainLayer(3, 64, 0.5), minicnn.randn(2, 3, 4, 5)
    y = layer(x).array
    assert y.shape == (2, 67, 4, 5)
    np.testing.assert_array_equal(y[:, :3], x.array)
    assert 0.4 < (y[:, 3:] == 0).mean() < 0.6
