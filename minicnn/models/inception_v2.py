"""Inception v2, or BN-Inception: GoogLeNet with batch normalisation and two 3x3 for a 5x5.

Paper: Ioffe, Szegedy 2015, "Batch normalization: Accelerating deep network training by reducing
internal covariate shift", Figure 5, arXiv:1502.03167.

Deviation from the paper, as in the published weights: the first convolution is a full 7x7, not one
window for each channel.
"""

from __future__ import annotations

from typing import Any

from minicnn import nn
from minicnn.models.catalogue import published
from minicnn.models.googlenet import ConvBNReLU
from minicnn.nn import functional as F
from minicnn.nn import init
from minicnn.ops.shape import cat, flatten

__all__ = ["inception_v2"]

# Figure 5: #1x1, #3x3 reduce, #3x3, double #3x3 reduce, double #3x3, and the pooling's kind and
# projection.  Without a projection (pass through) the module halves the image.
INCEPTION: dict[str, tuple[Any, ...]] = {
    "3a": (64, 64, 64, 64, 96, "mean", 32),
    "3b": (64, 64, 96, 64, 96, "mean", 64),
    "3c": (0, 128, 160, 64, 96, "max", 0),
    "4a": (224, 64, 96, 96, 128, "mean", 128),
    "4b": (192, 96, 128, 96, 128, "mean", 128),
    "4c": (160, 128, 160, 128, 160, "mean", 96),
    "4d": (96, 128, 192, 160, 192, "mean", 96),
    "4e": (0, 128, 192, 192, 256, "max", 0),
    "5a": (352, 192, 320, 160, 224, "mean", 128),
    "5b": (352, 192, 320, 192, 224, "max", 128),
}
STEM = (64, 64, 192)
POOLING: dict[str, Any] = {"max": nn.MaxPool2d, "mean": nn.AvgPool2d}


class Inception(nn.Module):
    """1x1, 3x3, two 3x3, and pooling side by side, concatenated."""

    def __init__(
        self, channels: int, one: int, r3: int, three: int, rd: int, double: int, kind: str, to: int
    ) -> None:
        super().__init__()
        self.out_channels = one + three + double + (to or channels)
        stride = 1 if to else 2
        self.branches = nn.ModuleList([
            nn.Sequential(
                ConvBNReLU(channels, r3, 1), ConvBNReLU(r3, three, 3, stride=stride, padding=1)
            ),
            nn.Sequential(
                ConvBNReLU(channels, rd, 1), ConvBNReLU(rd, double, 3, padding=1),
                ConvBNReLU(double, double, 3, stride=stride, padding=1),
            ),
            nn.Sequential(POOLING[kind](3, stride, padding=1)),
        ])  # fmt: skip
        if to:
            self.branches[2].append(ConvBNReLU(channels, to, 1))
        if one:
            self.branches.insert(0, ConvBNReLU(channels, one, 1))

    def forward(self, x: Any) -> Any:
        """Return all branches' channels."""
        return cat([branch(x) for branch in self.branches], 1)


class InceptionV2(nn.Module):
    """Ten Inception modules for 224x224 pixels or others.

    `width` is the part of the channels to have.
    """

    def __init__(self, num_classes: int = 1000, width: float = 1.0) -> None:
        super().__init__()
        stem1, stem2, channels = (round(c * width) for c in STEM)
        self.conv1 = ConvBNReLU(3, stem1, 7, stride=2, padding=3)
        self.conv2 = ConvBNReLU(stem1, stem2, 1)
        self.conv3 = ConvBNReLU(stem2, channels, 3, padding=1)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.inception = nn.Sequential()
        for name, row in INCEPTION.items():
            scaled: list[Any] = [c if isinstance(c, str) else round(c * width) for c in row]
            module = Inception(channels, *scaled)
            self.inception.add_module(name, module)
            channels = module.out_channels
        self.fc = nn.Linear(channels, num_classes)
        self.apply(_fill)

    def features(self, x: Any) -> Any:
        """Return the maps before global pooling."""
        x = self.pool(self.conv1(x))
        return self.inception(self.pool(self.conv3(self.conv2(x))))

    def forward(self, x: Any) -> Any:
        """Return one logit per class."""
        return self.fc(flatten(F.adaptive_avg_pool2d(self.features(x), (1, 1)), 1))


def _fill(module: Any) -> None:
    """Draw the first weights of a convolution."""
    if isinstance(module, nn.Conv2d):
        init.kaiming_normal_(module.weight, nonlinearity="relu")


@published(
    2015,
    "Ioffe: Batch normalization: Accelerating deep network training by reducing internal "
    "covariate shift",
    parameters=11_194_984,
    multiply_adds=2_018_851_840,
)
def inception_v2(**settings: Any) -> InceptionV2:
    """Build Inception v2 with 11,194,984 parameters; the settings are those of the class."""
    return InceptionV2(**settings)
