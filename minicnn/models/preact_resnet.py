"""Pre-activation ResNet: what a block adds to its input meets no ReLU on its way to the end.

Paper: He, Zhang, Ren, Sun 2016, "Identity mappings in deep residual networks", Figure 4 (e) and
Table 4, arXiv:1603.05027.
"""

from __future__ import annotations

from typing import Any

from minicnn import nn
from minicnn.models.catalogue import published
from minicnn.models.resnet import fill
from minicnn.ops.shape import flatten

__all__ = ["preact_resnet110", "preact_resnet164", "preact_resnet1001"]

CHANNELS = (16, 32, 64)  # of the 3x3 convolutions of the stages


class PreActivation(nn.Module):
    """y = F(relu(bn(x))) + x, or W relu(bn(x)) in the place of x where the shape changes."""

    expansion: int
    residual: nn.Module

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.changes = stride != 1 or channels != out
        if self.changes:
            self.projection = nn.Conv2d(channels, out, 1, stride, bias=False)

    def forward(self, x: Any) -> Any:
        """Add what the block has learned to its input."""
        active = self.bn(x, relu=True)
        return self.residual(active) + (self.projection(active) if self.changes else x)


class Basic(PreActivation):
    """BN-ReLU-3x3, BN-ReLU-3x3, + shortcut."""

    expansion = 1

    def __init__(self, channels: int, planes: int, stride: int) -> None:
        super().__init__(channels, planes, stride)
        self.residual = nn.Sequential(
            nn.Conv2d(channels, planes, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(planes), nn.ReLU(inplace=True),
            nn.Conv2d(planes, planes, 3, padding=1, bias=False),
        )  # fmt: skip


class Bottleneck(PreActivation):
    """BN-ReLU-1x1, BN-ReLU-3x3, BN-ReLU-1x1, + shortcut."""

    expansion = 4

    def __init__(self, channels: int, planes: int, stride: int) -> None:
        out = planes * self.expansion
        super().__init__(channels, out, stride)
        self.residual = nn.Sequential(
            nn.Conv2d(channels, planes, 1, stride, bias=False),
            nn.BatchNorm2d(planes), nn.ReLU(inplace=True),
            nn.Conv2d(planes, planes, 3, padding=1, bias=False),
            nn.BatchNorm2d(planes), nn.ReLU(inplace=True),
            nn.Conv2d(planes, out, 1, bias=False),
        )  # fmt: skip


class PreActResNet(nn.Module):
    """3x3 convolution, three stages of blocks, BN-ReLU, for 32x32 pixels or others.

    Each stage has `blocks` blocks.  `width` is the part of the channels to have.
    """

    def __init__(
        self,
        block: type[Basic] | type[Bottleneck],
        blocks: int,
        num_classes: int = 10,
        in_channels: int = 3,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        channels = round(CHANNELS[0] * width)
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        for stage, wanted in enumerate(CHANNELS):
            planes, layer = round(wanted * width), nn.Sequential()
            for i in range(blocks):
                layer.append(block(channels, planes, stride=2 if stage and not i else 1))
                channels = planes * block.expansion
            self.add_module(f"layer{stage + 1}", layer)
        self.bn = nn.BatchNorm2d(channels)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(channels, num_classes)
        self.apply(fill)

    def features(self, x: Any) -> Any:
        """Return the maps before global pooling."""
        return self.bn(self.layer3(self.layer2(self.layer1(self.conv(x)))), relu=True)

    def forward(self, x: Any) -> Any:
        """Return one logit per class."""
        return self.fc(flatten(self.avgpool(self.features(x)), 1))


PAPER = 2016, "He: Identity mappings in deep residual networks"
IMAGE = (3, 32, 32)


@published(*PAPER, parameters=1_730_522, multiply_adds=253_149_824, input_shape=IMAGE)
def preact_resnet110(**settings: Any) -> PreActResNet:
    """Build the network of 54 basic blocks, 1,730,522 parameters; the settings are the class's."""
    return PreActResNet(Basic, **{"blocks": 18, **settings})


@published(*PAPER, parameters=1_703_258, multiply_adds=244_500_992, input_shape=IMAGE)
def preact_resnet164(**settings: Any) -> PreActResNet:
    """Build the network of 54 bottlenecks, 1,703,258 parameters."""
    return PreActResNet(Bottleneck, **{"blocks": 18, **settings})


@published(*PAPER, parameters=10_327_706, multiply_adds=1_487_849_984, input_shape=IMAGE)
def preact_resnet1001(**settings: Any) -> PreActResNet:
    """Build the network of 333 bottlenecks, 10,327,706 parameters."""
    return PreActResNet(Bottleneck, **{"blocks": 111, **settings})
