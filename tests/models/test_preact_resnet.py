from __future__ import annotations

import numpy as np
import pytest
from small_models import count, shapes_along

import minicnn
from minicnn import models, nn
from minicnn.models.preact_resnet import Basic, Bottleneck

PARAMETERS = {  # the paper's millions (Table 4); the exact number of osmr's imgclsmob
    "preact_resnet110": (1.7, 1_730_522),
    "preact_resnet164": (1.7, 1_703_258),
    "preact_resnet1001": (10.2, 10_327_706),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_and_layers_of_the_paper(name, undrawn):
    model = models.create(name)
    millions, exact = PARAMETERS[name]
    assert count(model) == exact == pytest.approx(millions * 1e6, rel=0.02)
    convolutions = {key for key, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    in_depth = [key for key in convolutions if "projection" not in key]
    assert len(in_depth) + 1 == int(name.removeprefix("preact_resnet"))


def test_size_of_every_stage():
    model = models.preact_resnet164(blocks=2, in_channels=1, num_classes=7).eval()
    stages = [f"layer{i}" for i in (1, 2, 3)]
    found = shapes_along(model, minicnn.rand(1, 1, 32, 32), stages)
    assert list(found.values()) == [(64, 32, 32), (128, 16, 16), (256, 8, 8)]
    assert model(minicnn.rand(1, 1, 19, 13)).shape == (1, 7)


@pytest.mark.parametrize("block", [Basic, Bottleneck])
def test_what_is_added_and_to_what(block, seeded):
    kept, x = block(8, 8 // block.expansion, 1), minicnn.randn(2, 8, 5, 4)
    active = np.maximum(kept.bn(x).array, 0)
    learned = kept.residual(minicnn.tensor(active)).array
    np.testing.assert_array_equal(kept(x).array, learned + x.array)
    assert "projection.weight" not in kept.state_dict()

    changed = block(8, 3, 2)
    active = minicnn.tensor(np.maximum(changed.bn(x).array, 0))
    expected = changed.residual(active).array + changed.projection(active).array
    np.testing.assert_array_equal(changed(x).array, expected)


def test_the_signal_of_a_block_that_learned_nothing_is_the_identity(seeded):
    model = models.preact_resnet110(blocks=3, width=1 / 2)
    for block in model.layer1:
        nn.init.zeros_(block.residual[3].weight)
    x = minicnn.randn(2, 8, 5, 4)  # of either sign: no ReLU stands behind the sum
    np.testing.assert_array_equal(model.layer1(x).array, x.array)
