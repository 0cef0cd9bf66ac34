"""Autoencoders: draw the input again from a code that is too short to copy it.

Papers: dense, Hinton, Salakhutdinov 2006, "Reducing the dimensionality of data with neural
networks", Science 313.  Convolutional: Masci, Meier, Cireşan, Schmidhuber 2011, "Stacked
convolutional auto-encoders for hierarchical feature extraction", ICANN.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from minicnn import nn
from minicnn.errors import ArgumentError
from minicnn.models.catalogue import published

__all__ = ["conv_autoencoder", "dense_autoencoder"]

UNITS = (784, 1000, 500, 250, 30)  # Hinton and Salakhutdinov, of the encoder for MNIST
CHANNELS = (16, 32)


class Autoencoder(nn.Module):
    """y = decoder(encoder(x)): both are trained as one, by the distance of y and x."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x: Any) -> Any:
        """Return the input drawn again, as logits of its values between 0 and 1."""
        return self.decoder(self.encoder(x))


def dense(units: tuple[int, ...]) -> nn.Sequential:
    """Return dense layers with logistic units in between."""
    layers = nn.Sequential()
    for number, pair in enumerate(pairwise(units)):
        if number:
            layers.append(nn.Sigmoid())
        layers.append(nn.Linear(*pair))
    return layers


@published(
    2006,
    "Hinton: Reducing the dimensionality of data with neural networks",
    parameters=2_837_314,
    multiply_adds=2_833_000,
    input_shape=(784,),
)
def dense_autoencoder(units: tuple[int, ...] = UNITS) -> Autoencoder:
    """Build the 784-1000-500-250-30 autoencoder and its mirror, 2,837,314 parameters.

    The code is linear, everything else logistic.  Deviation from the paper: it is trained at once,
    not first layer by layer as restricted Boltzmann machines.

    Shapes:
        x: (N, units[0]), and the result
        code: (N, units[-1])
    """
    return Autoencoder(dense(units), dense(units[::-1]))


@published(
    2011,
    "Masci: Stacked convolutional auto-encoders for hierarchical feature extraction",
    parameters=117_377,
    multiply_adds=1_003_520,
    input_shape=(1, 28, 28),
)
def conv_autoencoder(
    in_channels: int = 1, image_size: int = 28, code: int = 32, width: float = 1.0
) -> Autoencoder:
    """Build an autoencoder whose decoder mirrors every convolution by its transpose.

    Two strided convolutions, and one over all pixels that are left.  4x4 windows that are 2 apart
    cover each pixel equally often, so that none stands out in the result.  Deviations from the
    paper: strides for its max-pooling, and all layers trained at once.

    Shapes:
        x: (N, in_channels, image_size, image_size), a multiple of 4, and the result
        code: (N, code, 1, 1)
    """
    first, second = (round(c * width) for c in CHANNELS)
    size, rest = divmod(image_size, 4)
    if size < 1 or rest:
        raise ArgumentError(
            f"conv_autoencoder: image_size must be a multiple of 4, got {image_size}"
        )
    encoder = nn.Sequential(
        nn.Conv2d(in_channels, first, 4, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(first, second, 4, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(second, code, size),
    )  # fmt: skip
    decoder = nn.Sequential(
        nn.ConvTranspose2d(code, second, size), nn.ReLU(),
        nn.ConvTranspose2d(second, first, 4, stride=2, padding=1), nn.ReLU(),
        nn.ConvTranspose2d(first, in_channels, 4, stride=2, padding=1),
    )  # fmt: skip
    return Autoencoder(encoder, decoder)
