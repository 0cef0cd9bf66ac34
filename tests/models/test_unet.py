from __future__ import annotations

import numpy as np
import pytest
from small_models import count, shapes_along
from twins import assert_twins

import minicnn
from minicnn import models, nn
from minicnn.data import Digits
from minicnn.models import in_torch
from minicnn.models.unet import crop
from minicnn.nn import functional as F
from minicnn.optim import Adam


def test_parameters(undrawn):
    model = models.unet()
    assert count(model) == 31_030_658
    assert count(models.unet(num_classes=1)) == 31_030_593  # as printed for many a port
    convolutions = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    assert len(convolutions) == 23  # section 2


def test_size_of_every_row():
    model = models.unet(width=1 / 64)
    names = [f"{part}.{i}" for part in ("contracting", "up", "expanding") for i in range(4)]
    found = shapes_along(model, minicnn.zeros(1, 1, 572, 572), [*names, "contracting.4", "output"])
    assert [shape[1] for shape in found.values()] == [  # Figure 1
        568, 280, 136, 64, 28,
        56, 52, 104, 100, 200, 196, 392, 388, 388,
    ]  # fmt: skip
    assert [shape[0] for shape in found.values()] == [1, 2, 4, 8, 16, 8, 8, 4, 4, 2, 2, 1, 1, 2]


def test_padded_it_gives_a_class_for_every_pixel():
    model = models.unet(in_channels=3, num_classes=5, padding=1, width=1 / 32)
    assert model(minicnn.zeros(2, 3, 48, 32)).shape == (2, 5, 48, 32)
    assert model(minicnn.zeros(1, 3, 41, 37)).shape == (1, 5, 32, 32)


def test_without_padding_every_pixel_sees_the_same_around_it(seeded):
    """Moved by the 16 pixels of the coarsest map, an image gives the moved result."""
    model = models.unet(width=1 / 64).double().eval()
    image = minicnn.randn(1, 1, 220, 220, dtype=np.float64)
    with minicnn.no_grad():
        whole, part = model(image).array, model(image[:, :, 16:, 16:204]).array
    assert part.shape == (1, 2, 20, 4)
    np.testing.assert_allclose(part, whole[:, :, 16:, 16:20], rtol=1e-9, atol=1e-12)


def test_cropping_keeps_the_middle():
    x = minicnn.tensor(np.arange(7 * 6).reshape(1, 1, 7, 6))
    expected = x.array[:, :, 2:5, 1:5]
    np.testing.assert_array_equal(crop(x, minicnn.zeros(1, 9, 3, 4)).array, expected)


def test_first_weights(seeded):
    model = models.unet(width=1 / 4)
    conv = model.expanding[1][0].weight
    assert conv.array.std() == pytest.approx(np.sqrt(2 / (9 * conv.shape[1])), rel=0.02)


@pytest.mark.parametrize(("padding", "shape"), [(0, (2, 1, 188, 204)), (1, (2, 1, 35, 48))])
def test_the_same_in_torch(torch, padding, shape, rng):
    settings = {"padding": padding, "width": 1 / 32, "dropout": 0.0}
    ours, theirs = (make("unet", **settings) for make in (models.create, in_torch.create))
    assert_twins(torch, ours, theirs, rng.normal(size=shape))


def test_it_learns_where_the_ink_is(seeded, rng):
    """Digits under noise: which pixels are ink?"""
    clean = Digits(size=16, normalize=False)[:32][0]
    ink = (clean[:, 0] > 0.5).astype(np.int64)
    noisy = minicnn.tensor(np.float32(clean + 0.3 * rng.normal(size=clean.shape)))
    model = models.unet(padding=1, width=1 / 16)
    optimizer = Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(noisy), ink)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    right = (model.eval()(noisy).array.argmax(axis=1) == ink).mean()
    assert losses[-1] < 0.6 * losses[0]
    assert right > 0.8 > max(ink.mean(), 1 - ink.mean())
