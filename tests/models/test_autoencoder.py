from __future__ import annotations

import numpy as np
import pytest
from small_models import count
from twins import assert_twins

import minicnn
from minicnn import models, nn
from minicnn.data import Digits
from minicnn.errors import ArgumentError
from minicnn.models import in_torch
from minicnn.nn import functional as F
from minicnn.optim import Adam

SETTINGS = {
    "dense_autoencoder": {"units": (64, 40, 12)},
    "conv_autoencoder": {"image_size": 8, "code": 12, "width": 1 / 2},
}


def test_units_of_the_paper():
    model = models.dense_autoencoder()
    sizes = [layer.weight.shape[::-1] for layer in model.modules() if isinstance(layer, nn.Linear)]
    assert [*(first for first, _ in sizes), sizes[-1][1]] == [
        784, 1000, 500, 250, 30, 250, 500, 1000, 784,
    ]  # fmt: skip
    kinds = [type(layer) for layer in (*model.encoder, *model.decoder)]
    assert kinds == [nn.Linear, *[nn.Sigmoid, nn.Linear] * 3] * 2  # a linear code
    assert count(model) == 2_837_314  # as https://github.com/tensorflow/kfac prints


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 32), (2, 8)])
def test_the_convolutional_one_gives_the_size_back(channels, size):
    model = models.conv_autoencoder(channels, size, code=5, width=1 / 8)
    x = minicnn.zeros(2, channels, size, size)
    assert model.encoder(x).shape == (2, 5, 1, 1)
    assert model(x).shape == x.shape


def test_the_decoder_spreads_what_the_encoder_gathers(seeded):
    """With its layers turned around, the decoder's weights fit the encoder's."""
    model = models.conv_autoencoder(2, 12, width=1 / 4)
    convolutions = [layer for layer in model.encoder if isinstance(layer, nn.Conv2d)]
    transposed = [layer for layer in model.decoder if isinstance(layer, nn.ConvTranspose2d)]
    for conv, back in zip(convolutions, reversed(transposed), strict=True):
        assert conv.weight.shape == back.weight.shape
        assert (conv.stride, conv.padding) == (back.stride, back.padding)


def test_every_pixel_is_drawn_equally_often():
    layer = models.conv_autoencoder().decoder[-1]
    layer.weight.array[...], layer.bias.array[...] = 1, 0
    drawn = layer(minicnn.ones(1, 16, 6, 6)).array[0, 0, 1:-1, 1:-1]
    assert (drawn == drawn[0, 0]).all()


@pytest.mark.parametrize("name", SETTINGS)
def test_the_same_in_torch(torch, name, rng, seeded):
    ours, theirs = (make(name, **SETTINGS[name]) for make in (models.create, in_torch.create))
    assert_twins(torch, ours, theirs, rng.normal(size=(3, 1, 8, 8)).reshape(
        (3, 64) if name == "dense_autoencoder" else (3, 1, 8, 8)
    ))  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_a_short_code_tells_more_than_the_mean_of_all_digits(name, seeded):
    model = models.create(name, **SETTINGS[name])
    images = Digits(size=8, normalize=False)[:256][0]
    shape = (256, 64) if name == "dense_autoencoder" else images.shape
    x = minicnn.tensor(images.reshape(shape))
    optimizer = Adam(model.parameters(), lr=0.03 if name == "dense_autoencoder" else 0.01)
    for _ in range(200 if name == "dense_autoencoder" else 160):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(model(x), x).backward()
        optimizer.step()
    error = ((F.sigmoid(model(x)).array - x.array) ** 2).mean()
    assert error < 0.7 * np.var(images, axis=0).mean()


@pytest.mark.parametrize("size", [0, 30])
def test_sizes_that_cannot_be_halved_twice_are_refused(size):
    with pytest.raises(ArgumentError, match=f"a multiple of 4, got {size}"):
        models.conv_autoencoder(image_size=size)
