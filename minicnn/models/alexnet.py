"""AlexNet in its one-tower form, the one PyTorch's weights are for.

Papers: Krizhevsky, Sutskever, Hinton 2012, "ImageNet classification with deep convolutional neural
networks", section 3.5; the single tower: Krizhevsky 2014, "One weird trick for parallelizing
convolutional neural networks", section 5, arXiv:1404.5997.
"""

from __future__ import annotations

from typing import Any

from minicnn import nn
from minicnn.models.catalogue import published
from minicnn.ops.shape import flatten

__all__ = ["alexnet"]

# Channels, kernel, stride, padding, and whether a pooling follows.
CONVOLUTIONS = (
    (64, 11, 4, 2, "pool"),
    (192, 5, 1, 2, "pool"),
    (384, 3, 1, 1, ""),
    (256, 3, 1, 1, ""),
    (256, 3, 1, 1, "pool"),
)
UNITS = 4096  # of each of the two hidden dense layers


class AlexNet(nn.Module):
    """Five convolutions, three overlapping max-poolings, three dense layers, for 224x224 pixels.

    Deviations from 2012: one tower instead of two joined in places, so no groups; 64, 192, 384, 256
    and 256 channels; no local response normalisation; dropout before both hidden layers; the image
    is padded by 2; images of other sizes are pooled to the 6x6 that the dense layers expect.
    `width` is the part of the channels and units to have.
    """

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5, width: float = 1.0) -> None:
        super().__init__()
        self.features = nn.Sequential()
        channels, units = 3, round(UNITS * width)
        for wanted, kernel, stride, padding, pool in CONVOLUTIONS:
            out = round(wanted * width)
            self.features.append(nn.Conv2d(channels, out, kernel, stride, padding))
            self.features.append(nn.ReLU(inplace=True))
            if pool:
                self.features.append(nn.MaxPool2d(3, stride=2))
            channels = out
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(channels * 6 * 6, units), nn.ReLU(inplace=True),
            nn.Dropout(dropout), nn.Linear(units, units), nn.ReLU(inplace=True),
            nn.Linear(units, num_classes),
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        """Return one logit per class."""
        return self.classifier(flatten(self.avgpool(self.features(x)), 1))


@published(
    2014,
    "Krizhevsky: One weird trick for parallelizing convolutional neural networks",
    parameters=61_100_840,
    multiply_adds=714_188_480,
)
def alexnet(**settings: Any) -> AlexNet:
    """Build AlexNet with 61,100,840 parameters; the settings are those of the class."""
    return AlexNet(**settings)
