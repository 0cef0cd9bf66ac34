from __future__ import annotations

import numpy as np
import pytest
from small_models import count, shapes_along

import minicnn
from minicnn import models, nn
from minicnn.models.resnet import Basic, Bottleneck

PARAMETERS = {  # and the number of keys
    "resnet18": (11_689_512, 122),
    "resnet34": (21_797_672, 218),
    "resnet50": (25_557_032, 320),
    "resnet101": (44_549_160, 626),
    "resnet152": (60_192_808, 932),
    "resnext50_32x4d": (25_028_904, 320),
    "wide_resnet50_2": (68_883_240, 320),
}
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_and_number_of_keys(name, undrawn):
    model = models.create(name)
    assert (count(model), len(model.state_dict())) == PARAMETERS[name]


@pytest.mark.parametrize(("name", "blocks", "convolutions"), [
    ("resnet18", (2, 2, 2, 2), 2), ("resnet50", (3, 4, 6, 3), 3),
])  # fmt: skip
def test_keys(name, blocks, convolutions):
    def normalised(conv, bn):
        return [f"{conv}.weight", *(f"{bn}.{kind}" for kind in NORM)]

    expected = normalised("conv1", "bn1")
    for stage, n in enumerate(blocks, 1):
        for block in (f"layer{stage}.{i}" for i in range(n)):
            for i in range(1, convolutions + 1):
                expected += normalised(f"{block}.conv{i}", f"{block}.bn{i}")
            if block.endswith(".0") and (stage > 1 or convolutions == 3):
                expected += normalised(f"{block}.downsample.0", f"{block}.downsample.1")
    assert list(models.create(name, width=1 / 8).state_dict()) == [
        *expected, "fc.weight", "fc.bias"
    ]  # fmt: skip


def test_size_of_every_stage():
    stages = [f"layer{i}" for i in (1, 2, 3, 4)]  # Table 1: conv2_x to conv5_x
    found = shapes_along(models.resnet50(width=1 / 16).eval(), minicnn.rand(1, 3, 224, 224), stages)
    assert list(found.values()) == [(16, 56, 56), (32, 28, 28), (64, 14, 14), (128, 7, 7)]


def test_bottlenecks_stride_in_the_3x3():
    block = models.resnet50(width=1 / 16).layer2[0]
    assert [block.conv1.stride, block.conv2.stride, block.conv3.stride] == [(1, 1), (2, 2), (1, 1)]


def test_groups_and_wide_bottlenecks(undrawn):
    grouped = models.resnext50_32x4d().layer1[0].conv2
    assert (grouped.groups, grouped.weight.shape) == (32, (128, 4, 3, 3))
    assert models.wide_resnet50_2().layer1[0].conv2.weight.shape == (128, 128, 3, 3)


def test_the_stride_is_where_the_paper_has_it(undrawn):
    ours, papers = (models.resnet50(stride_in_1x1=paper).layer2[0] for paper in (False, True))
    assert (ours.conv1.stride, ours.conv2.stride) == ((1, 1), (2, 2))
    assert (papers.conv1.stride, papers.conv2.stride) == ((2, 2), (1, 1))
    assert papers.conv2.padding == ours.conv2.padding
    with minicnn.no_grad():
        assert papers(minicnn.zeros(1, 256, 6, 5)).shape == (1, 512, 3, 3)


@pytest.mark.parametrize("block", [Basic, Bottleneck])
def test_a_block_adds_its_input(block, seeded):
    layer = block(4 * block.expansion, 4, 1, 1, 64)
    assert isinstance(layer.downsample, nn.Identity)
    x = minicnn.randn(2, 4 * block.expansion, 5, 4)
    layers = [layer.conv1, layer.bn1, nn.ReLU(), layer.conv2, layer.bn2]
    if block is Bottleneck:
        layers += [nn.ReLU(), layer.conv3, layer.bn3]
    expected = np.maximum(nn.Sequential(*layers)(x).array + x.array, 0)
    np.testing.assert_allclose(layer(x).array, expected, rtol=1e-6, atol=1e-6)


def test_first_weights(seeded):
    model = models.resnet50(width=1 / 2)
    conv = model.layer3[1].conv2.weight
    assert conv.array.std() == pytest.approx(np.sqrt(2 / (9 * 128)), rel=0.02)
    assert (model.bn1.weight.array == 1).all()


@pytest.mark.parametrize(("name", "last"), [("resnet18", "bn2"), ("resnet50", "bn3")])
def test_blocks_that_begin_as_the_identity(name, last, seeded):
    model = models.create(name, width=1 / 16, zero_init_residual=True)
    for block in model.layer3:
        assert not getattr(block, last).weight.array.any()
    block, x = model.layer3[1], minicnn.rand(2, model.layer3[1].conv1.weight.shape[1], 4, 4)
    np.testing.assert_array_equal(block(x).array, x.array)
