from __future__ import annotations

import numpy as np
import pytest
from small_models import count, shapes_along
from twins import assert_twins

import minicnn
from minicnn import models, nn
from minicnn.data import Digits
from minicnn.errors import ArgumentError
from minicnn.models import adversarial_step, in_torch
from minicnn.optim import Adam

SMALL = {"channels": 1, "image_size": 8, "width": 1 / 8}


def test_parameters(undrawn):
    assert count(models.dcgan_generator()) == 12_658_432
    assert count(models.dcgan_discriminator()) == 11_036_160
    # half as wide they are PyTorch's example (pytorch/examples, dcgan)
    assert count(models.dcgan_generator(width=1 / 2)) == 3_576_704
    assert count(models.dcgan_discriminator(width=1 / 2)) == 2_765_568


def test_size_of_every_map():
    """Figure 1, its channels divided by 32."""
    model = models.dcgan_generator(width=1 / 32)
    names = [f"layers.{i}" for i in range(0, 13, 3)]
    found = shapes_along(model, minicnn.zeros(2, 100), names)
    assert list(found.values()) == [(32, 4, 4), (16, 8, 8), (8, 16, 16), (4, 32, 32), (3, 64, 64)]


@pytest.mark.parametrize("size", [8, 16, 32, 64])
def test_both_fit_each_other(size, seeded):
    settings = {"channels": 2, "image_size": size, "width": 1 / 64}
    images = models.dcgan_generator(latent=7, **settings).sample(3)
    assert images.shape == (3, 2, size, size)
    assert (np.abs(images.array) < 1).all()
    assert images.array.min() < 0 < images.array.max()
    assert models.dcgan_discriminator(**settings)(images).shape == (3,)


def test_what_section_3_asks_for():
    model = models.dcgan_discriminator(width=1 / 64)
    kinds = [type(layer).__name__ for layer in model.layers]
    first, middle = ["Conv2d", "LeakyReLU"], ["Conv2d", "BatchNorm2d", "LeakyReLU"]
    assert kinds == [*first, *middle * 3, "Conv2d"]
    assert {m.negative_slope for m in model.modules() if isinstance(m, nn.LeakyReLU)} == {0.2}
    kinds = [type(layer).__name__ for layer in models.dcgan_generator(width=1 / 64).layers]
    assert kinds == [*["ConvTranspose2d", "BatchNorm2d", "ReLU"] * 4, "ConvTranspose2d"]


def test_first_weights(seeded):
    model = models.dcgan_generator(width=1 / 8)
    for layer in model.layers:
        if isinstance(layer, nn.ConvTranspose2d):
            assert layer.weight.array.std() == pytest.approx(0.02, rel=0.1)
        elif isinstance(layer, nn.BatchNorm2d):
            assert layer.weight.array.mean() == pytest.approx(1, abs=0.02)
            assert layer.weight.array.std() == pytest.approx(0.02, rel=0.4)


@pytest.mark.parametrize(("name", "shape"), [
    ("dcgan_generator", (3, 9)), ("dcgan_discriminator", (3, 1, 8, 8)),
])  # fmt: skip
def test_the_same_in_torch(torch, name, shape, rng, seeded):
    settings = {**SMALL, "latent": 9} if name == "dcgan_generator" else SMALL
    ours, theirs = (make(name, **settings) for make in (models.create, in_torch.create))
    for parameter in ours.parameters():
        parameter.array[...] *= 5
    assert_twins(torch, ours, theirs, rng.normal(size=shape), tolerance=1e-8)


class Recorder:
    """In the place of an optimiser: notes what each parameter's gradient was."""

    def __init__(self, model):
        self.parameters = list(model.parameters())
        self.gradients = []

    def zero_grad(self):
        for parameter in self.parameters:
            parameter.grad = None

    def step(self):
        self.gradients = [parameter.grad.array.copy() for parameter in self.parameters]


def test_each_is_trained_by_its_own_loss(seeded):
    generator = models.dcgan_generator(latent=5, **SMALL)
    discriminator = models.dcgan_discriminator(**SMALL)
    g_optimizer, d_optimizer = Recorder(generator), Recorder(discriminator)
    real = minicnn.rand(6, 1, 8, 8)
    state = minicnn.random.default.get_state()
    losses = adversarial_step(generator, discriminator, g_optimizer, d_optimizer, real)
    minicnn.random.default.set_state(state)
    fake = generator.sample(6)
    on_real, on_fake = (1 / (1 + np.exp(-discriminator(x).array)) for x in (real, fake.detach()))
    expected = -np.log(on_real).mean() - np.log(1 - on_fake).mean()
    assert losses.discriminator.item() == pytest.approx(expected / 2, rel=1e-5)
    assert losses.generator.item() == pytest.approx(-np.log(on_fake).mean(), rel=1e-5)
    generator.zero_grad()
    (-nn.functional.logsigmoid(discriminator(fake)).mean()).backward()
    for parameter, gradient in zip(generator.parameters(), g_optimizer.gradients, strict=True):
        np.testing.assert_allclose(
            gradient, parameter.grad.array, rtol=1e-3, atol=1e-5 * np.abs(gradient).max()
        )
    assert all(gradient.any() for gradient in d_optimizer.gradients)


def test_they_learn_from_each_other(seeded):
    """The discriminator alone sees the difference; then the mean picture approaches digits'."""
    real = minicnn.tensor(2 * Digits(size=8, normalize=False)[:128][0] - 1)
    settings = {**SMALL, "width": 1 / 2}
    generator = models.dcgan_generator(latent=8, **settings)
    discriminator = models.dcgan_discriminator(**settings)
    still, g_optimizer, d_optimizer = (
        Adam(module.parameters(), lr=rate, betas=(0.5, 0.999))
        for module, rate in ((generator, 0.0), (generator, 5e-3), (discriminator, 5e-3))
    )

    def losses_of(g_optimizer, steps):
        return np.array([
            [loss.item() for loss in adversarial_step(
                generator, discriminator, g_optimizer, d_optimizer, real
            )]
            for _ in range(steps)
        ]).T  # fmt: skip

    def distance():
        drawn = generator.sample(128).array
        return np.abs(drawn.mean(axis=0) - real.array.mean(axis=0)).mean()

    before = distance()
    d_losses, g_losses = losses_of(still, 20)
    assert d_losses[0] == pytest.approx(np.log(2), abs=0.1)
    assert d_losses[-1] < 0.2  # it separates
    assert g_losses[-1] > 1.5
    d_losses, g_losses = losses_of(g_optimizer, 60)
    assert d_losses[-10:].mean() > 0.3  # no longer
    assert g_losses[-10:].mean() < 1.5
    assert distance() < 0.6 * before


@pytest.mark.parametrize("build", [models.dcgan_generator, models.dcgan_discriminator])
def test_sizes_that_no_chain_of_doublings_reaches_are_refused(build):
    with pytest.raises(ArgumentError, match="image_size must be 8, 16, 32 or 64, got 48"):
        build(image_size=48)
