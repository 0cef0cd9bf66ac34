from __future__ import annotations

import numpy as np
from small_models import count, shapes_along

import minicnn
from minicnn import models, nn
from minicnn.models.xception import Block


def test_parameters(undrawn):
    """Keras' trainable parameters; with the running statistics 22,910,480."""
    model = models.xception()
    assert count(model) == 22_855_952
    buffers = dict(model.named_buffers())
    statistics = sum(value.array.size for key, value in buffers.items() if "running" in key)
    assert count(model) + statistics == 22_910_480


def test_size_of_every_block():
    model = models.xception(width=1 / 16).eval()
    names = ["conv1", "conv2", *(f"blocks.{i}" for i in range(12)), "last"]
    found = shapes_along(model, minicnn.rand(1, 3, 299, 299), names)
    assert list(found.values()) == [  # Figure 5; 728 / 16 is rounded
        (2, 149, 149), (4, 147, 147), (8, 74, 74), (16, 37, 37), *[(46, 19, 19)] * 9, (64, 10, 10),
        (128, 10, 10),
    ]  # fmt: skip


def test_blocks_add_their_input(seeded):
    x = minicnn.randn(2, 4, 6, 5)
    kept = Block(4, [4, 4, 4], relu_first=True)
    np.testing.assert_array_equal(kept(x).array, kept.residual(x).array + x.array)
    assert not list(kept.shortcut.parameters())

    changed = Block(4, [4, 6], relu_first=True)
    y = changed(x)
    assert y.shape == (2, 6, 3, 3)
    expected = changed.residual(x).array + changed.shortcut(x).array
    np.testing.assert_array_equal(y.array, expected)


def test_the_very_first_block_has_no_relu_in_front():
    blocks = models.xception(width=1 / 16).blocks
    relus = [[isinstance(layer, nn.ReLU) for layer in block.residual] for block in blocks]
    assert relus[0] == [False, True, False, False]
    assert relus[1] == relus[11] == [True, False, True, False, False]
    assert relus[3] == [True, False] * 3
