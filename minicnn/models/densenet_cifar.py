"""DenseNet for small images: three dense blocks, with or without bottlenecks and compression.

Paper: Huang, Liu, van der Maaten, Weinberger 2016, "Densely connected convolutional networks",
section 3 and Table 2, arXiv:1608.06993.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from minicnn import nn
from minicnn.models.catalogue import published
from minicnn.models.densenet import PAPER, DenseLayer, fill, transition
from minicnn.nn import functional as F
from minicnn.ops.shape import cat, flatten

__all__ = ["densenet40", "densenet_bc100"]


class PlainLayer(nn.Module):
    """BN-ReLU-3x3, beside the input."""

    def __init__(self, channels: int, growth: int, drop_rate: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, growth, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(drop_rate)

    def forward(self, x: Any) -> Any:
        """Return the input with `growth` more channels."""
        return cat([x, self.dropout(self.conv(self.norm(x, relu=True)))], 1)


class CifarDenseNet(nn.Module):
    """3x3 convolution, three dense blocks of equal depth, for 32x32 pixels or others.

    `depth` is the paper's L, `growth_rate` its k: what each layer adds.  `bottleneck` makes the
    form B: a 1x1 convolution to 4k channels before each 3x3, which counts as a layer of the depth,
    and 2k channels at the start instead of 16.  `compression` is theta, the part of the channels
    that a transition keeps.  The paper drops 0.2 where it does not augment the data.
    """

    def __init__(
        self,
        depth: int,
        growth_rate: int = 12,
        bottleneck: bool = False,
        compression: float = 1.0,
        drop_rate: float = 0.0,
        num_classes: int = 10,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        channels = 2 * growth_rate if bottleneck else 16
        conv0 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.features = nn.Sequential(OrderedDict(conv0=conv0))
        for number in (1, 2, 3):
            if number > 1:
                out = int(channels * compression)
                self.features.add_module(f"transition{number - 1}", transition(channels, out))
                channels = out
            block = nn.Sequential()
            for _ in range((depth - 4) // (6 if bottleneck else 3)):
                if bottleneck:
                    block.append(DenseLayer(channels, growth_rate, 4, drop_rate))
                else:
                    block.append(PlainLayer(channels, growth_rate, drop_rate))
                channels += growth_rate
            self.features.add_module(f"denseblock{number}", block)
        self.features.add_module("norm", nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, num_classes)
        self.apply(fill)

    def forward(self, x: Any) -> Any:
        """Return one logit per class."""
        x = F.relu(self.features(x), inplace=True)
        return self.classifier(flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1))


IMAGE = (3, 32, 32)


@published(*PAPER, parameters=1_019_722, multiply_adds=264_812_928, input_shape=IMAGE)
def densenet40(**settings: Any) -> CifarDenseNet:
    """Build DenseNet (L = 40, k = 12), 1,019,722 parameters; the settings are those of the class.

    The L and k of the paper's other rows are settings, too.
    """
    return CifarDenseNet(**{"depth": 40, **settings})


@published(*PAPER, parameters=769_162, multiply_adds=287_929_692, input_shape=IMAGE)
def densenet_bc100(**settings: Any) -> CifarDenseNet:
    """Build DenseNet-BC (L = 100, k = 12) with 769,162 parameters."""
    return CifarDenseNet(**{"depth": 100, "bottleneck": True, "compression": 0.5, **settings})
