from __future__ import annotations

import numpy as np
import pytest
from small_models import count, shapes_along

import minicnn
from minicnn import models, nn
from minicnn.models.cifar_resnet import ZeroPadding

MILLIONS = {  # He et al. 2015, Table 6
    "resnet20": 0.27, "resnet32": 0.46, "resnet44": 0.66, "resnet56": 0.85, "resnet110": 1.7,
}  # fmt: skip


@pytest.mark.parametrize("name", MILLIONS)
def test_parameters_and_layers_of_the_paper(name, undrawn):
    model = models.create(name)
    assert count(model) == pytest.approx(MILLIONS[name] * 1e6, rel=0.02)
    weighted = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len(weighted) == int(name.removeprefix("resnet"))


def test_projections_are_the_only_difference_of_option_b(undrawn):
    plain, projected = models.resnet20(), models.resnet20(projection=True)
    assert count(projected) - count(plain) == 16 * 32 + 32 * 64 + 2 * (32 + 64)
    more = set(projected.state_dict()) - set(plain.state_dict())
    assert {key.rpartition(".")[0] for key in more} == {
        f"layer{stage}.0.downsample.{i}" for stage in (2, 3) for i in (0, 1)
    }


@pytest.mark.parametrize("projection", [False, True], ids=["A", "B"])
@pytest.mark.parametrize(("image", "sides"), [
    ((32, 32), [(32, 32), (16, 16), (8, 8)]), ((21, 15), [(21, 15), (11, 8), (6, 4)]),
])  # fmt: skip
def test_size_of_every_stage(image, sides, projection):
    model = models.resnet32(in_channels=2, num_classes=7, projection=projection).eval()
    x, stages = minicnn.rand(1, 2, *image), [f"layer{i}" for i in (1, 2, 3)]
    assert list(shapes_along(model, x, stages).values()) == [
        (channels, *size) for channels, size in zip((16, 32, 64), sides, strict=True)
    ]
    assert model(x).shape == (1, 7)


def test_a_shortcut_without_parameters_by_its_definition():
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 4))
    expected = np.zeros((2, 7, 3, 2))
    for n, c, i, j in np.ndindex(2, 3, 3, 2):
        expected[n, c, i, j] = x[n, c, 2 * i, 2 * j]
    np.testing.assert_array_equal(ZeroPadding(4)(minicnn.tensor(x)).array, expected)


def test_first_weights(seeded):
    conv = models.resnet20().layer3[1].conv2.weight
    assert conv.array.std() == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.02)
