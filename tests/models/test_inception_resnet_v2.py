from __future__ import annotations

import numpy as np
from small_models import count, shapes_along

import minicnn
from minicnn import models, nn
from minicnn.models.inception_resnet_v2 import BLOCK_8, Block


def test_parameters(undrawn):
    """Keras has no gammas, and prints 55,873,736 with the running statistics."""
    model = models.inception_resnet_v2()
    assert count(model) == 55_843_464
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    channels = sum(m.num_features for m in norms)
    assert count(model) - channels + 2 * channels == 55_873_736


def test_sizes_along_the_network():
    model = models.inception_resnet_v2(width=1 / 16, blocks=(1, 1, 2)).eval()
    names = [f"stem.{i}" for i in (0, 1, 2, 3, 4, 5, 6)]
    names += [f"stages.{i}.{j}" for i in range(3) for j in (0, 1)] + ["conv"]
    found = shapes_along(model, minicnn.rand(1, 3, 299, 299), names)
    assert list(found.values()) == [  # Figure 15 and the channels of the weights, divided by 16
        (2, 149, 149), (2, 147, 147), (4, 147, 147), (4, 73, 73), (5, 73, 73), (12, 71, 71),
        (12, 35, 35), (20, 35, 35), (20, 35, 35), (68, 17, 17), (68, 17, 17), (130, 8, 8),
        (130, 8, 8), (96, 8, 8),
    ]  # fmt: skip


def test_what_a_block_adds(seeded):
    x = minicnn.randn(2, 4, 5, 3)
    block = Block(4, BLOCK_8, scale=0.2, width=1 / 32, last=False)
    found = block.conv(minicnn.cat([branch(x) for branch in block.branches], 1)).array
    expected = np.maximum(x.array + np.float32(0.2) * found, 0)
    np.testing.assert_allclose(block(x).array, expected, rtol=1e-6, atol=1e-6)
    block.last = True
    np.testing.assert_allclose(block(x).array, x.array + found, rtol=1e-6, atol=1e-6)


def test_only_the_very_last_block_is_linear():
    model = models.inception_resnet_v2(width=1 / 32)
    blocks = [m for m in model.modules() if isinstance(m, Block)]
    assert [block.scale for block in blocks] == [0.17] * 10 + [0.1] * 20 + [0.2] * 10
    assert [block.last for block in blocks] == [False] * 39 + [True]
