"""SqueezeNet: few channels go into the 3x3 convolutions, and no dense layer follows.

Papers: Iandola, Han, Moskewicz, Ashraf, Dally, Keutzer 2016, "SqueezeNet: AlexNet-level accuracy
with 50x fewer parameters and <0.5MB model size", Table 1, arXiv:1602.07360.  Version 1.1, by the
same authors, does 2.4 times less work: a smaller first convolution, and pooling earlier.

Deviations from the paper, as in PyTorch's weights: the first convolution is 7x7 without padding.
"""

from __future__ import annotations

from typing import Any

from minicnn import nn
from minicnn.models.catalogue import published
from minicnn.nn import init
from minicnn.ops.shape import cat, flatten

__all__ = ["squeezenet1_0", "squeezenet1_1"]

POOL = "pool"
FIRST = {"1_0": (96, 7), "1_1": (64, 3)}  # channels and kernel of the first convolution
FIRE: dict[str, Any] = {  # Table 1: s1x1, e1x1 and e3x3 of each fire module, and where poolings are
    "1_0": (
        POOL, (16, 64, 64), (16, 64, 64), (32, 128, 128),
        POOL, (32, 128, 128), (48, 192, 192), (48, 192, 192), (64, 256, 256),
        POOL, (64, 256, 256),
    ),
    "1_1": (
        POOL, (16, 64, 64), (16, 64, 64),
        POOL, (32, 128, 128), (32, 128, 128),
        POOL, (48, 192, 192), (48, 192, 192), (64, 256, 256), (64, 256, 256),
    ),
}  # fmt: skip


class Fire(nn.Module):
    """Squeeze to a few channels with 1x1, expand them with 1x1 and 3x3 side by side."""

    def __init__(self, channels: int, squeezed: int, expand1x1: int, expand3x3: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expand1x1, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expand3x3, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Any) -> Any:
        """Return the channels of both."""
        x = self.relu(self.squeeze(x))
        return cat([self.relu(self.expand1x1(x)), self.relu(self.expand3x3(x))], 1)


class SqueezeNet(nn.Module):
    """Eight fire modules for 224x224 pixels; a 1x1 convolution and a global mean classify.

    `width` is the part of the channels to have.
    """

    def __init__(
        self,
        version: str = "1_0",
        num_classes: int = 1000,
        dropout: float = 0.5,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        wanted, kernel = FIRST[version]
        channels = round(wanted * width)
        self.features = nn.Sequential(
            nn.Conv2d(3, channels, kernel, stride=2), nn.ReLU(inplace=True)
        )
        for row in FIRE[version]:
            if row == POOL:
                self.features.append(nn.MaxPool2d(3, stride=2, ceil_mode=True))
            else:
                squeezed, one, three = (round(c * width) for c in row)
                self.features.append(Fire(channels, squeezed, one, three))
                channels = one + three
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Conv2d(channels, num_classes, 1), nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d((1, 1)),
        )  # fmt: skip
        self.apply(_fill)
        init.normal_(self.classifier[1].weight, 0.0, 0.01)

    def forward(self, x: Any) -> Any:
        """Return one logit per class."""
        return flatten(self.classifier(self.features(x)), 1)


def _fill(module: Any) -> None:
    """Draw the first weights of a convolution; its bias is 0."""
    if isinstance(module, nn.Conv2d):
        init.kaiming_uniform_(module.weight)
        init.zeros_(module.bias)


PAPER = 2016, "Iandola: SqueezeNet: AlexNet-level accuracy with 50x fewer parameters"


@published(*PAPER, parameters=1_248_424, multiply_adds=818_924_576)
def squeezenet1_0(**settings: Any) -> SqueezeNet:
    """Build SqueezeNet 1.0 with 1,248,424 parameters; the settings are those of the class."""
    return SqueezeNet("1_0", **settings)


@published(*PAPER, parameters=1_235_496, multiply_adds=349_151_936)
def squeezenet1_1(**settings: Any) -> SqueezeNet:
    """Build SqueezeNet 1.1 with 1,235,496 parameters."""
    return SqueezeNet("1_1", **settings)
