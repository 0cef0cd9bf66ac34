"""VGG: nothing but 3x3 convolutions, deeper and deeper.

Two of them see 5x5 pixels, three see 7x7, with fewer weights and more nonlinearities.

Paper: Simonyan, Zisserman 2014, "Very deep convolutional networks for large-scale image
recognition", Table 1, arXiv:1409.1556.
"""

from __future__ import annotations

from typing import Any

from minicnn import nn
from minicnn.models.catalogue import published
from minicnn.nn import init
from minicnn.ops.shape import flatten

__all__ = ["vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"]

CHANNELS = (64, 128, 256, 512, 512)  # of each stage; a 2x2 max-pooling ends it
CONVOLUTIONS = {  # Table 1: how many 3x3 convolutions each stage has
    11: (1, 1, 2, 2, 2),  # A
    13: (2, 2, 2, 2, 2),  # B
    16: (2, 2, 3, 3, 3),  # D
    19: (2, 2, 4, 4, 4),  # E
}
UNITS = 4096  # of each of the two hidden dense layers


def stages(depth: int, batch_norm: bool = False, width: float = 1.0) -> nn.Sequential:
    """Return all layers before the dense ones."""
    layers, channels = nn.Sequential(), 3
    for wanted, convolutions in zip(CHANNELS, CONVOLUTIONS[depth], strict=True):
        for _ in range(convolutions):
            out = round(wanted * width)
            layers.append(nn.Conv2d(channels, out, 3, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm2d(out))
            layers.append(nn.ReLU(inplace=True))
            channels = out
        layers.append(nn.MaxPool2d(2, stride=2))
    return layers


class VGG(nn.Module):
    """Stages of 3x3 convolutions with ReLU, then three dense layers, for 224x224 pixels.

    Deviations from the paper: images of other sizes are pooled to the 7x7 that the dense layers
    expect; `batch_norm` puts a normalisation after each convolution.  `width` is the part of the
    channels and units to have.
    """

    def __init__(
        self,
        depth: int,
        batch_norm: bool = False,
        num_classes: int = 1000,
        init_weights: bool = True,
        dropout: float = 0.5,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        self.features = stages(depth, batch_norm, width)
        channels, units = round(CHANNELS[-1] * width), round(UNITS * width)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(channels * 7 * 7, units), nn.ReLU(inplace=True), nn.Dropout(dropout),
            nn.Linear(units, units), nn.ReLU(inplace=True), nn.Dropout(dropout),
            nn.Linear(units, num_classes),
        )  # fmt: skip
        if init_weights:
            self.apply(_fill)

    def forward(self, x: Any) -> Any:
        """Return one logit per class."""
        return self.classifier(flatten(self.avgpool(self.features(x)), 1))


def _fill(module: Any) -> None:
    """Draw the first weights; biases are 0."""
    if isinstance(module, nn.Conv2d):
        init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        init.normal_(module.weight, 0, 0.01)
        init.zeros_(module.bias)


PAPER = 2014, "Simonyan: Very deep convolutional networks for large-scale image recognition"


@published(*PAPER, parameters=132_863_336, multiply_adds=7_609_090_048)
def vgg11(**settings: Any) -> VGG:
    """Build configuration A with 132,863,336 parameters; the settings are those of the class."""
    return VGG(11, **settings)


@published(*PAPER, parameters=133_047_848, multiply_adds=11_308_466_176)
def vgg13(**settings: Any) -> VGG:
    """Build configuration B with 133,047,848 parameters."""
    return VGG(13, **settings)


@published(*PAPER, parameters=138_357_544, multiply_adds=15_470_264_320)
def vgg16(**settings: Any) -> VGG:
    """Build configuration D with 138,357,544 parameters."""
    return VGG(16, **settings)


@published(*PAPER, parameters=143_667_240, multiply_adds=19_632_062_464)
def vgg19(**settings: Any) -> VGG:
    """Build configuration E with 143,667,240 parameters."""
    return VGG(19, **settings)


@published(*PAPER, parameters=132_868_840, multiply_adds=7_609_090_048)
def vgg11_bn(**settings: Any) -> VGG:
    """Build configuration A with batch normalisation, 132,868,840 parameters."""
    return VGG(11, batch_norm=True, **settings)


@published(*PAPER, parameters=133_053_736, multiply_adds=11_308_466_176)
def vgg13_bn(**settings: Any) -> VGG:
    """Build configuration B with batch normalisation, 133,053,736 parameters."""
    return VGG(13, batch_norm=True, **settings)


@published(*PAPER, parameters=138_365_992, multiply_adds=15_470_264_320)
def vgg16_bn(**settings: Any) -> VGG:
    """Build configuration D with batch normalisation, 138,365,992 parameters."""
    return VGG(16, batch_norm=True, **settings)


@published(*PAPER, parameters=143_678_248, multiply_adds=19_632_062_464)
def vgg19_bn(**settings: Any) -> VGG:
    """Build configuration E with batch normalisation, 143,678,248 parameters."""
    return VGG(19, batch_norm=True, **settings)
