"""DenseNet: every layer sees the channels of all layers before it, and adds a few.

Paper: Huang, Liu, van der Maaten, Weinberger 2016, "Densely connected convolutional networks",
Table 1, arXiv:1608.06993.  These are its DenseNet-BC: bottlenecks, and compression by 2.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from minicnn import nn
from minicnn.models.catalogue import published
from minicnn.nn import functional as F
from minicnn.nn import init
from minicnn.ops.shape import cat, flatten

__all__ = ["densenet121", "densenet169", "densenet201"]

LAYERS = {  # Table 1: how many layers each block has
    121: (6, 12, 24, 16),
    169: (6, 12, 32, 32),
    201: (6, 12, 48, 32),
}


class DenseLayer(nn.Module):
    """BN-ReLU-1x1, BN-ReLU-3x3, beside the input."""

    def __init__(self, channels: int, growth: int, bn_size: int, drop_rate: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, bn_size * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(bn_size * growth)
        self.conv2 = nn.Conv2d(bn_size * growth, growth, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(drop_rate)

    def forward(self, x: Any) -> Any:
        """Return the input with `growth` more channels."""
        return cat([x, self.dropout(self.new_features(x))], 1)

    def new_features(self, x: Any) -> Any:
        """Return the channels that this layer adds."""
        x = self.conv1(self.norm1(x, relu=True))
        return self.conv2(self.norm2(x, relu=True))


def transition(channels: int, out: int) -> nn.Sequential:
    """Halve the image between two blocks, with as many channels or fewer."""
    return nn.Sequential(OrderedDict(
        norm=nn.BatchNorm2d(channels),
        relu=nn.ReLU(inplace=True),
        conv=nn.Conv2d(channels, out, 1, bias=False),
        pool=nn.AvgPool2d(2, stride=2),
    ))  # fmt: skip


class DenseNet(nn.Module):
    """7x7 convolution, max-pooling, four dense blocks, for 224x224 pixels.

    A layer adds `growth_rate` channels (the paper's k) and has `bn_size` times as many in its
    bottleneck.
    """

    def __init__(
        self,
        growth_rate: int = 32,
        block_config: tuple[int, ...] = LAYERS[121],
        num_init_features: int = 64,
        bn_size: int = 4,
        drop_rate: float = 0.0,
        num_classes: int = 1000,
    ) -> None:
        super().__init__()
        channels = num_init_features
        self.features = nn.Sequential(OrderedDict(
            conv0=nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False),
            norm0=nn.BatchNorm2d(channels),
            relu0=nn.ReLU(inplace=True),
            pool0=nn.MaxPool2d(3, stride=2, padding=1),
        ))  # fmt: skip
        for number, layers in enumerate(block_config, 1):
            if number > 1:
                self.features.add_module(
                    f"transition{number - 1}", transition(channels, channels // 2)
                )
                channels //= 2
            block = nn.Sequential()
            for i in range(layers):
                layer = DenseLayer(channels, growth_rate, bn_size, drop_rate)
                block.add_module(f"denselayer{i + 1}", layer)
                channels += growth_rate
            self.features.add_module(f"denseblock{number}", block)
        self.features.add_module("norm5", nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, num_classes)
        self.apply(fill)

    def forward(self, x: Any) -> Any:
        """Return one logit per class."""
        x = F.relu(self.features(x), inplace=True)
        return self.classifier(flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1))


def fill(module: Any) -> None:
    """Draw the first weights of a convolution; the bias of the classifier is 0."""
    if isinstance(module, nn.Conv2d):
        init.kaiming_normal_(module.weight)
    elif isinstance(module, nn.Linear):
        init.zeros_(module.bias)


PAPER = 2016, "Huang: Densely connected convolutional networks"


@published(*PAPER, parameters=7_978_856, multiply_adds=2_834_161_664)
def densenet121(**settings: Any) -> DenseNet:
    """Build DenseNet-121 with 7,978,856 parameters; the settings are those of the class."""
    return DenseNet(**{"block_config": LAYERS[121], **settings})


@published(*PAPER, parameters=14_149_480, multiply_adds=3_359_843_328)
def densenet169(**settings: Any) -> DenseNet:
    """Build DenseNet-169 with 14,149,480 parameters."""
    return DenseNet(**{"block_config": LAYERS[169], **settings})


@published(*PAPER, parameters=20_013_928, multiply_adds=4_291_365_888)
def densenet201(**settings: Any) -> DenseNet:
    """Build DenseNet-201 with 20,013,928 parameters."""
    return DenseNet(**{"block_config": LAYERS[201], **settings})
