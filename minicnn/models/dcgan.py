"""DCGAN: a network that draws pictures, and another that tells them from real ones.

Papers: Radford, Metz, Chintala 2015, "Unsupervised representation learning with deep convolutional
generative adversarial networks", Figure 1 and sections 3 and 4, arXiv:1511.06434.  The game:
Goodfellow et al. 2014, "Generative adversarial nets", Algorithm 1, arXiv:1406.2661.

Deviation from the paper: windows are 4x4 instead of 5x5, so that each image is exactly twice as
large as the one before and each of its pixels is drawn equally often.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

from minicnn import nn
from minicnn.errors import ArgumentError
from minicnn.factories import ones_like, randn, zeros_like
from minicnn.models.catalogue import published
from minicnn.nn import functional as F
from minicnn.nn import init
from minicnn.ops.shape import flatten

__all__ = ["adversarial_step", "dcgan_discriminator", "dcgan_generator"]

CHANNELS = (128, 256, 512, 1024)  # Figure 1: of the map half as large as the image, a quarter, ...
MAPS = {8: 1, 16: 2, 32: 3, 64: 4}  # how many it takes from 4x4 pixels to an image


def channels_of_maps(image_size: int, width: float) -> list[int]:
    """Return the channels of the maps that are smaller than the image, from the largest on."""
    if image_size not in MAPS:
        raise ArgumentError(f"dcgan: image_size must be 8, 16, 32 or 64, got {image_size}")
    return [round(c * width) for c in CHANNELS[: MAPS[image_size]]]


class Generator(nn.Module):
    """Draw images with values from -1 to 1 from random numbers.

    Shapes:
        z: (N, latent)
        result: (N, channels, image_size, image_size)
    """

    def __init__(self, channels: int, image_size: int, latent: int, width: float) -> None:
        super().__init__()
        self.latent = latent
        sizes = [*channels_of_maps(image_size, width)[::-1], channels]
        self.layers = nn.Sequential(nn.ConvTranspose2d(latent, sizes[0], 4, bias=False))
        for now, after in pairwise(sizes):
            enlarge = nn.ConvTranspose2d(now, after, 4, stride=2, padding=1, bias=False)
            self.layers.extend([nn.BatchNorm2d(now), nn.ReLU(inplace=True), enlarge])
        self.apply(_fill)

    def forward(self, z: Any) -> Any:
        """Draw an image from each row of z."""
        return F.tanh(self.layers(z.reshape(*z.shape, 1, 1)))

    def sample(self, n: int) -> Any:
        """Draw n images."""
        return self(randn(n, self.latent))


class Discriminator(nn.Module):
    """Tell whether images are real: the mirror of the generator, without normalisation at first.

    Shapes:
        x: (N, channels, image_size, image_size)
        result: (N,), logits
    """

    def __init__(self, channels: int, image_size: int, width: float) -> None:
        super().__init__()
        sizes = [channels, *channels_of_maps(image_size, width)]
        self.layers = nn.Sequential()
        for number, (before, now) in enumerate(pairwise(sizes)):
            self.layers.append(nn.Conv2d(before, now, 4, stride=2, padding=1, bias=False))
            if number:
                self.layers.append(nn.BatchNorm2d(now))
            self.layers.append(nn.LeakyReLU(0.2, inplace=True))
        self.layers.append(nn.Conv2d(sizes[-1], 1, 4, bias=False))
        self.apply(_fill)

    def forward(self, x: Any) -> Any:
        """Return one logit an image, large where it looks real."""
        return flatten(self.layers(x))


def _fill(module: Any) -> None:
    """Draw the first weights (section 4)."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        init.normal_(module.weight, 0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        init.normal_(module.weight, 1, 0.02)


class AdversarialLosses(NamedTuple):
    """Cross-entropies before the step, in nats: ln 2 = 0.69 is a guess."""

    discriminator: Any
    generator: Any


def adversarial_step(
    generator: Generator,
    discriminator: Discriminator,
    g_optimizer: Any,
    d_optimizer: Any,
    real: Any,
) -> AdversarialLosses:
    """Train the discriminator once, then the generator, each by its own optimiser.

    The paper takes Adam(lr=0.0002, betas=(0.5, 0.999)) for both.  The generator lowers -log D(G(z))
    instead of log(1 - D(G(z))), which is flat while its pictures are still bad.
    """
    fake = generator.sample(len(real))
    d_optimizer.zero_grad()
    real_loss = judged(discriminator(real), ones_like)
    fake_loss = judged(discriminator(fake.detach()), zeros_like)
    d_loss = (real_loss + fake_loss) / 2
    d_loss.backward()
    d_optimizer.step()
    g_optimizer.zero_grad()
    g_loss = judged(discriminator(fake), ones_like)
    g_loss.backward()
    g_optimizer.step()
    return AdversarialLosses(d_loss.detach(), g_loss.detach())


def judged(logits: Any, truth: Any) -> Any:
    """Return the cross-entropy of logits where the answer were ones, or zeros."""
    return F.binary_cross_entropy_with_logits(logits, truth(logits))


PAPER = (
    2015,
    "Radford: Unsupervised representation learning with deep convolutional generative adversarial "
    "networks",
)


@published(*PAPER, parameters=12_658_432, multiply_adds=410_583_040, input_shape=(100,))
def dcgan_generator(
    channels: int = 3, image_size: int = 64, latent: int = 100, width: float = 1.0
) -> Generator:
    """Build the generator of Figure 1 with 12,658,432 parameters; `width=1/2` is PyTorch's example.

    `image_size` is 8, 16, 32 or 64.  Random numbers are normal; the paper's are uniform.
    """
    return Generator(channels, image_size, latent, width)


@published(*PAPER, parameters=11_036_160, multiply_adds=5_011_554_304)
def dcgan_discriminator(
    channels: int = 3, image_size: int = 64, width: float = 1.0
) -> Discriminator:
    """Build the discriminator with 11,036,160 parameters."""
    return Discriminator(channels, image_size, width)
