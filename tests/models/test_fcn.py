from __future__ import annotations

import numpy as np
import pytest
from small_models import count, shapes_along
from twins import assert_twins

import minicnn
from minicnn import models, nn
from minicnn.models import fcn, in_torch
from minicnn.nn import functional as F
from minicnn.optim import Adam

NAMES = ("fcn32s", "fcn16s", "fcn8s")


def narrow(name, create=models.create, **settings):
    """Build a copy with 1/32 of the channels."""
    return create(name, **{"num_classes": 3, "dropout": 0.0, "width": 1 / 32, **settings})


def draw_scores(model, rng):
    """Give the scores, all zero at first, something to say."""
    for layer in (model.classifier[6], *model.scores):
        layer.weight.array[...] = rng.normal(size=layer.weight.shape)
    return model


def test_parameters(undrawn):
    counts = {name: count(models.create(name)) for name in NAMES}
    assert counts["fcn8s"] == 134_489_759  # as https://github.com/YBIGTA/DL_Models prints
    trunk = counts["fcn32s"] - 64 * 64 * 21 * 21
    assert round(trunk / 1e6) == 134  # Table 1
    assert trunk == 138_357_544 - (4096 + 1) * 1000 + (4096 + 1) * 21  # VGG-16, other scores
    assert counts["fcn16s"] == trunk + 21 * 21 * (4 * 4 + 32 * 32) + (512 + 1) * 21


def test_size_of_every_row():
    """As Caffe prints them for 500x500 pixels."""
    model = narrow("fcn8s", width=1 / 64)
    names = [f"features.{i}" for i in (0, 4, 9, 16, 23, 30)] + [
        "classifier.0", "enlarged.0", "enlarged.1", "last",
    ]  # fmt: skip
    found = shapes_along(model, minicnn.zeros(1, 3, 500, 500), names)
    assert [shape[1] for shape in found.values()] == [
        698, 349, 175, 88, 44, 22, 16, 34, 70, 568,
    ]  # fmt: skip


def test_receptive_field():
    """Table 1: 404 pixels, a stride of 32."""
    model, seen, jump = narrow("fcn32s"), 1, 1
    for layer in [*model.features, *model.classifier]:
        if isinstance(layer, (nn.Conv2d, nn.MaxPool2d)):
            size, stride = (np.atleast_1d(v)[0] for v in (layer.kernel_size, layer.stride))
            seen, jump = seen + (size - 1) * jump, jump * stride
    assert (seen, jump) == (404, 32)


@pytest.mark.parametrize("name", NAMES)
def test_every_pixel_gets_a_score_whatever_the_size(name):
    for size in ((1, 1), (37, 90)):
        assert narrow(name, width=1 / 64)(minicnn.zeros(1, 3, *size)).shape == (1, 3, *size)


@pytest.mark.parametrize("name", NAMES)
def test_added_scores_are_of_the_same_pixels(name):
    """Follow the centre of the first unit of each map, in pixels of the image."""

    def middle(layer):  # of the first window
        size, padding = (np.atleast_1d(v)[0] for v in (layer.kernel_size, layer.padding))
        return (size - 1) / 2 - padding

    model = narrow(name)
    centre, jump, pooled = 0.0, 1, []
    for layer in [*model.features, *model.classifier]:
        if isinstance(layer, (nn.Conv2d, nn.MaxPool2d)):
            centre, jump = centre + middle(layer) * jump, jump * np.atleast_1d(layer.stride)[0]
        if isinstance(layer, nn.MaxPool2d):
            pooled.append((centre, jump))
    pooled.pop()
    *offsets, last = model.offsets
    for enlarge, offset in zip(model.enlarged, offsets, strict=True):
        jump //= 2
        centre -= middle(enlarge) * jump
        beside, its_jump = pooled.pop()
        assert (beside + offset * its_jump, its_jump) == (centre, jump)
    assert centre - middle(model.last) + last == 0


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_enlargements_interpolate(factor):
    x = np.random.default_rng(0).normal(size=(1, 2, 5, 4))
    y = fcn.bilinear(2, factor).double()(minicnn.tensor(x)).array
    border = factor // 2  # y begins that much before x
    inner = y[:, :, border:, border:][:, :, : 5 * factor, : 4 * factor]
    expected = F.interpolate(
        minicnn.tensor(x), scale_factor=factor, mode="bilinear", align_corners=False
    ).array
    keep = np.s_[:, :, factor:-factor, factor:-factor]  # interpolate repeats the border
    if factor % 2 == 0:
        np.testing.assert_allclose(inner[keep], expected[keep], rtol=1e-6, atol=1e-7)
    constant = fcn.bilinear(1, factor)(minicnn.ones(1, 1, 4, 4)).array[0, 0]
    np.testing.assert_allclose(constant[factor:-factor, factor:-factor], 1, rtol=1e-6)


def test_it_is_vgg_slid_over_the_image(rng, seeded):
    vgg = models.vgg16(width=1 / 32, dropout=0.0).eval()
    model = narrow("fcn32s").eval()
    model.load_vgg(vgg)
    model.features[0].padding = (1, 1)
    x = minicnn.tensor(rng.normal(size=(2, 3, 224, 224)).astype(np.float32))
    expected = vgg.classifier[:6](vgg.features(x).reshape(2, -1)).array
    found = model.classifier[:6](model.features(x)).array
    assert found.shape == (*expected.shape, 1, 1)
    np.testing.assert_allclose(found[..., 0, 0], expected, rtol=1e-4, atol=1e-5 * expected.max())


@pytest.mark.parametrize("name", NAMES)
def test_the_same_in_torch(torch, name, rng, seeded):
    ours = draw_scores(narrow(name, width=1 / 64), rng)
    theirs = narrow(name, in_torch.create, width=1 / 64)
    assert_twins(torch, ours, theirs, rng.normal(size=(2, 3, 35, 22)))


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_the_slope_of_the_whole_network(name, rng, seeded):
    model = draw_scores(narrow(name, width=1 / 64).double(), rng)
    x = minicnn.tensor(rng.normal(size=(1, 3, 9, 14)), requires_grad=True)
    inputs = [x, *(p for p in model.parameters() if p.requires_grad)]
    weights = minicnn.tensor(rng.normal(size=(1, 3, 9, 14)))
    directions = [rng.normal(size=v.shape) * np.abs(v.array).mean() for v in inputs]
    (model(x) * weights).sum().backward()
    slope = sum((v.grad.array * d).sum() for v, d in zip(inputs, directions, strict=True))

    def value_at(t):
        for v, d in zip(inputs, directions, strict=True):
            v.array += t * d
        with minicnn.no_grad():
            value = (model(x) * weights).sum().item()
        for v, d in zip(inputs, directions, strict=True):
            v.array -= t * d
        return value

    measured = [(value_at(h) - value_at(-h)) / (2 * h) for h in (1e-5, 1e-6, 1e-7)]
    assert min(abs(m - slope) for m in measured) < 1e-6 * abs(slope), (slope, measured)


def test_only_the_last_enlargement_is_fixed():
    fixed = [k for k, p in narrow("fcn8s").named_parameters() if not p.requires_grad]
    assert fixed == ["last.weight"]


def test_it_learns_which_half_is_bright(rng, seeded):
    model = narrow("fcn8s", num_classes=2)
    image = np.zeros((2, 3, 32, 32), dtype=np.float32)
    image[0, :, :, 8:] = image[1, :, :, 24:] = 2
    labels, x = (image[:, 0] > 0).astype(np.int64), minicnn.tensor(image)
    optimizer = Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(np.log(2), rel=1e-5)  # scores of zero
    assert losses[-1] < 0.9 * losses[0]
