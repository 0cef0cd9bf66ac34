from __future__ import annotations

import pytest
from small_models import count, shapes_along

import minicnn
from minicnn import models, nn

MILLIONS = {1.0: 4.2, 0.75: 2.6, 0.5: 1.3, 0.25: 0.5}  # Howard et al. 2017, Table 6
MULTIPLY_ADDS = {1.0: 569, 0.75: 325, 0.5: 149, 0.25: 41}  # in millions, ibid.


@pytest.mark.parametrize("width", MILLIONS)
def test_parameters_of_every_width(width, undrawn):
    model = models.mobilenet_v1(width=width)
    assert round(count(model) / 1e6, 1) == MILLIONS[width]


def test_parameters(undrawn):
    """Keras' trainable parameters."""
    assert count(models.mobilenet_v1()) == 4_231_976


def test_sizes_along_the_network():
    names = [f"features.{i}" for i in range(14)]
    model = models.mobilenet_v1(width=1 / 4).eval()
    found = shapes_along(model, minicnn.rand(1, 3, 224, 224), names)
    assert [(4 * c, *sides) for c, *sides in found.values()] == [  # Table 1
        (32, 112, 112), (64, 112, 112), (128, 56, 56), (128, 56, 56), (256, 28, 28),
        (256, 28, 28), *[(512, 14, 14)] * 6, (1024, 7, 7), (1024, 7, 7),
    ]  # fmt: skip


@pytest.mark.parametrize("width", [0.25, 0.5])
def test_multiply_adds(width):
    model, total = models.mobilenet_v1(width=width).eval(), 0

    def add(layer, inputs, y):
        nonlocal total
        places = y.shape[2] * y.shape[3] if y.ndim == 4 else 1
        total += layer.weight.array.size * places

    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.register_forward_hook(add)
    with minicnn.no_grad():
        model(minicnn.rand(1, 3, 224, 224))
    assert round(total / 1e6) == pytest.approx(MULTIPLY_ADDS[width], abs=1)


def test_a_depthwise_convolution_keeps_channels_apart():
    groups = [m.groups for m in models.mobilenet_v1(width=1 / 4).modules() if hasattr(m, "groups")]
    assert groups[:7] == [1, 8, 1, 16, 1, 32, 1]
    assert len(groups) == 1 + 2 * 13
