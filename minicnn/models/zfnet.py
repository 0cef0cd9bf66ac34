"""ZFNet: AlexNet with a finer first look, chosen by looking at what its layers see.

Paper: Zeiler, Fergus 2013, "Visualizing and understanding convolutional networks", Figure 3 and
section 3, arXiv:1311.2901.
"""

from __future__ import annotations

from typing import Any

from minicnn import nn
from minicnn.models.catalogue import published
from minicnn.nn import init
from minicnn.ops.shape import flatten

__all__ = ["zfnet"]

# Figure 3: channels, kernel, stride, padding, and what follows.
CONVOLUTIONS = (
    (96, 7, 2, 1, "pool, normalise"),
    (256, 5, 2, 0, "pool, normalise"),
    (384, 3, 1, 1, ""),
    (384, 3, 1, 1, ""),
    (256, 3, 1, 1, "pool"),
)
UNITS = 4096  # of each of the two hidden dense layers


class ZFNet(nn.Module):
    """Five convolutions, three overlapping max-poolings, three dense layers, for 224x224 pixels.

    Where the paper is silent, contrast normalisation is AlexNet's, over five maps.  Images of other
    sizes are pooled to the 6x6 that the dense layers expect.  `width` is the part of the channels
    and units to have.
    """

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5, width: float = 1.0) -> None:
        super().__init__()
        self.features = nn.Sequential()
        channels, units = 3, round(UNITS * width)
        for wanted, kernel, stride, padding, then in CONVOLUTIONS:
            out = round(wanted * width)
            self.features.append(nn.Conv2d(channels, out, kernel, stride, padding))
            self.features.append(nn.ReLU(inplace=True))
            if "pool" in then:
                self.features.append(nn.MaxPool2d(3, stride=2, ceil_mode=True))
            if "normalise" in then:
                self.features.append(nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0))
            channels = out
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Linear(channels * 6 * 6, units), nn.ReLU(inplace=True), nn.Dropout(dropout),
            nn.Linear(units, units), nn.ReLU(inplace=True), nn.Dropout(dropout),
            nn.Linear(units, num_classes),
        )  # fmt: skip
        self.apply(_fill)

    def forward(self, x: Any) -> Any:
        """Return one logit per class."""
        return self.classifier(flatten(self.avgpool(self.features(x)), 1))


def _fill(module: Any) -> None:
    """Draw the first weights; biases are 0."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        init.normal_(module.weight, 0, 0.01)
        init.zeros_(module.bias)


@published(
    2013,
    "Zeiler: Visualizing and understanding convolutional networks",
    parameters=62_357_608,
    multiply_adds=1_168_032_896,
)
def zfnet(**settings: Any) -> ZFNet:
    """Build ZFNet with 62,357,608 parameters; the settings are those of the class."""
    return ZFNet(**settings)
