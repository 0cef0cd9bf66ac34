from __future__ import annotations

import numpy as np
import pytest
from small_models import count, shapes_along

import minicnn
from minicnn import models, nn
from minicnn.data import Digits
from minicnn.nn import functional as F
from minicnn.optim import Adam

# The output of each mlpconv layer and of each pooling, by Caffe's rules.
CIFAR = {
    "4": (96, 32, 32), "6": (96, 16, 16), "12": (192, 16, 16), "14": (192, 8, 8), "18": (192, 8, 8),
}  # fmt: skip
IMAGENET = {
    "4": (96, 54, 54), "6": (96, 27, 27), "11": (256, 27, 27), "13": (256, 13, 13),
    "18": (384, 13, 13), "20": (384, 6, 6), "24": (1024, 6, 6),
}  # fmt: skip


def test_parameters(undrawn):
    assert count(models.nin_cifar()) == 966_986  # as osmr's imgclsmob counts them
    rows = [  # Caffe's prototxt: inputs, window, outputs
        (3, 121, 96), (96, 1, 96), (96, 1, 96), (96, 25, 256), (256, 1, 256), (256, 1, 256),
        (256, 9, 384), (384, 1, 384), (384, 1, 384), (384, 9, 1024), (1024, 1, 1024),
        (1024, 1, 1000),
    ]  # fmt: skip
    assert count(models.nin_imagenet()) == sum((c * k + 1) * o for c, k, o in rows)


@pytest.mark.parametrize(("name", "image", "sizes"), [
    ("nin_cifar", 32, CIFAR), ("nin_imagenet", 224, IMAGENET),
])  # fmt: skip
def test_sizes_along_the_network(name, image, sizes):
    model, places = models.create(name, width=1 / 4).eval(), [f"features.{i}" for i in sizes]
    found = shapes_along(model, minicnn.rand(1, 3, image, image), [*places, "classifier.0"])
    classes, *side = found.pop("classifier.0")
    assert classes == {"nin_cifar": 10, "nin_imagenet": 1000}[name]
    assert tuple(side) == list(sizes.values())[-1][1:]
    assert [(4 * c, *sides) for c, *sides in found.values()] == list(sizes.values())


def test_a_logit_is_the_mean_of_a_map(seeded):
    model, x = models.nin_cifar(width=1 / 16).eval(), minicnn.rand(2, 3, 21, 15)
    maps = F.relu(model.classifier[0](model.features(x))).array
    assert maps.shape[:2] == (2, 10)
    np.testing.assert_allclose(model(x).array, maps.mean(axis=(2, 3)), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("name", "places"), [("nin_cifar", [7, 15]), ("nin_imagenet", [21])])
def test_dropout(name, places):
    model = models.create(name, width=1 / 32, dropout=0.25)
    drops = {i: m.p for i, m in enumerate(model.features) if isinstance(m, nn.Dropout)}
    assert drops == dict.fromkeys(places, 0.25)


def test_it_learns_digits(seeded):
    images, labels = Digits("train", size=16)[:64]
    model = models.nin_cifar(in_channels=1, width=1 / 8, dropout=0.0)
    optimizer = Adam(model.parameters(), lr=0.003)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(minicnn.tensor(images)), np.asarray(labels))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.4
