"""Inception-ResNet v2: what the branches of a module find is added to its input.

Paper: Szegedy, Ioffe, Vanhoucke, Alemi 2016, "Inception-v4, Inception-ResNet and the impact of
residual connections on learning", Figures 15 to 20, arXiv:1602.07261.

This is the network of the published weights, which differs from the figures: its first layers are
those of Inception v3, and the modules have the channels of the table below.
"""

from __future__ import annotations

from typing import Any

from minicnn import nn
from minicnn.models.catalogue import published
from minicnn.models.googlenet import ConvBNReLU
from minicnn.models.inception_v3 import Mixed, conv
from minicnn.nn import functional as F
from minicnn.ops.shape import cat, flatten

__all__ = ["inception_resnet_v2"]

# The convolutions of each branch: (channels, kernel), and a stride where the image is reduced.
MIXED_5B = {
    "branch1x1": ((96, 1),),
    "branch5x5": ((48, 1), (64, 5)),
    "branch3x3dbl": ((64, 1), (96, 3), (96, 3)),
    "branch_pool": ((64, 1),),
}
MIXED_6A = {
    "branch3x3": ((384, 3, 2),),
    "branch3x3dbl": ((256, 1), (256, 3), (384, 3, 2)),
}
MIXED_7A = {
    "branch3x3_1": ((256, 1), (384, 3, 2)),
    "branch3x3_2": ((256, 1), (288, 3, 2)),
    "branch3x3dbl": ((256, 1), (288, 3), (320, 3, 2)),
}
BLOCK_35 = (((32, 1),), ((32, 1), (32, 3)), ((32, 1), (48, 3), (64, 3)))  # Figure 16
BLOCK_17 = (((192, 1),), ((128, 1), (160, (1, 7)), (192, (7, 1))))  # Figure 17
BLOCK_8 = (((192, 1),), ((192, 1), (224, (1, 3)), (256, (3, 1))))  # Figure 19
# A module that changes the channels, the block behind it, and its scale (section 3.3).
STAGES: tuple[tuple[Any, ...], ...] = (
    (MIXED_5B, BLOCK_35, 0.17),
    (MIXED_6A, BLOCK_17, 0.1),
    (MIXED_7A, BLOCK_8, 0.2),
)


class Block(nn.Module):
    """y = relu(x + scale W cat(branches(x))); the last block of all has neither scale nor ReLU."""

    def __init__(self, channels: int, rows: Any, scale: float, width: float, last: bool) -> None:
        super().__init__()
        self.scale, self.last, total = scale, last, 0
        self.branches = nn.ModuleList()
        for row in rows:
            branch, seen = nn.Sequential(), channels
            for step in row:
                branch.append(conv(seen, width, *step))
                seen = round(step[0] * width)
            self.branches.append(branch)
            total += seen
        self.conv = nn.Conv2d(total, channels, 1)

    def forward(self, x: Any) -> Any:
        """Add what the branches have found to their input."""
        found = self.conv(cat([branch(x) for branch in self.branches], 1))
        return x + found if self.last else F.relu(x + self.scale * found, inplace=True)


class InceptionResNetV2(nn.Module):
    """Forty residual Inception blocks for 299x299 pixels.

    `blocks` says how many blocks each stage has.  `width` is the part of the channels to have.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        dropout: float = 0.2,
        blocks: tuple[int, int, int] = (10, 20, 10),
        width: float = 1.0,
    ) -> None:
        super().__init__()
        c32, c64, c80, channels, last = (round(c * width) for c in (32, 64, 80, 192, 1536))
        self.stem = nn.Sequential(
            ConvBNReLU(3, c32, 3, stride=2), ConvBNReLU(c32, c32, 3),
            ConvBNReLU(c32, c64, 3, padding=1), nn.MaxPool2d(3, stride=2),
            ConvBNReLU(c64, c80, 1), ConvBNReLU(c80, channels, 3), nn.MaxPool2d(3, stride=2),
        )  # fmt: skip
        self.stages = nn.Sequential()
        for (mixed, rows, scale), repeats in zip(STAGES, blocks, strict=True):
            stage = nn.Sequential(Mixed(channels, mixed, width))
            channels = stage[0].out_channels
            for i in range(repeats):
                final = rows is BLOCK_8 and i == repeats - 1
                stage.append(Block(channels, rows, scale, width, final))
            self.stages.append(stage)
        self.conv = ConvBNReLU(channels, last, 1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(last, num_classes)

    def features(self, x: Any) -> Any:
        """Return the maps before global pooling."""
        return self.conv(self.stages(self.stem(x)))

    def forward(self, x: Any) -> Any:
        """Return one logit per class."""
        x = F.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.fc(self.dropout(flatten(x, 1)))


@published(
    2016,
    "Szegedy: Inception-v4, Inception-ResNet and the impact of residual connections on learning",
    parameters=55_843_464,
    multiply_adds=13_155_794_016,
    input_shape=(3, 299, 299),
)
def inception_resnet_v2(**settings: Any) -> InceptionResNetV2:
    """Build Inception-ResNet v2 with 55,843,464 parameters; the settings are those of the class."""
    return InceptionResNetV2(**settings)
