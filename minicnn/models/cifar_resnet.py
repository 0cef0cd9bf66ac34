"""ResNet for small images: three stages of basic blocks, shortcuts without parameters.

Paper: He, Zhang, Ren, Sun 2015, "Deep residual learning for image recognition", section 4.2,
arXiv:1512.03385.
"""

from __future__ import annotations

from typing import Any

from minicnn import nn
from minicnn.models.catalogue import published
from minicnn.models.resnet import PAPER, Basic, fill
from minicnn.nn import functional as F
from minicnn.ops.shape import flatten

__all__ = ["resnet20", "resnet32", "resnet44", "resnet56", "resnet110"]

CHANNELS = (16, 32, 64)  # of the stages: 32x32, 16x16 and 8x8 pixels of a 32x32 image


class ZeroPadding(nn.Module):
    """Shortcut of option A: every second pixel, and zeros in the new channels.

    y[n,c,i,j] = x[n, c, 2i, 2j], and 0 for the channels that x lacks
    """

    def __init__(self, more: int) -> None:
        super().__init__()
        self.more = more

    def forward(self, x: Any) -> Any:
        """Halve the image and add channels."""
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.more))


class CifarResNet(nn.Module):
    """3x3 convolution, three stages of (depth - 2) / 6 basic blocks, for 32x32 pixels or others.

    `projection` makes shortcuts of 1x1 convolutions where the shape changes (the paper's option B).
    `width` is the part of the channels to have.
    """

    def __init__(
        self,
        depth: int,
        num_classes: int = 10,
        in_channels: int = 3,
        projection: bool = False,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        channels = round(CHANNELS[0] * width)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        for stage, wanted in enumerate(CHANNELS):
            out, layer = round(wanted * width), nn.Sequential()
            for i in range((depth - 2) // 6):
                stride = 2 if stage and not i else 1
                block = Basic(channels, out, stride, groups=1, per_group=64)
                if stride == 2 and not projection:
                    block.downsample = ZeroPadding(out - channels)
                layer.append(block)
                channels = out
            self.add_module(f"layer{stage + 1}", layer)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(channels, num_classes)
        self.apply(fill)

    def features(self, x: Any) -> Any:
        """Return the maps before global pooling."""
        x = self.bn1(self.conv1(x), relu=True)
        return self.layer3(self.layer2(self.layer1(x)))

    def forward(self, x: Any) -> Any:
        """Return one logit per class."""
        return self.fc(flatten(self.avgpool(self.features(x)), 1))


IMAGE = (3, 32, 32)


@published(*PAPER, parameters=269_722, multiply_adds=40_551_040, input_shape=IMAGE)
def resnet20(**settings: Any) -> CifarResNet:
    """Build ResNet-20 with 269,722 parameters; the settings are those of the class."""
    return CifarResNet(20, **settings)


@published(*PAPER, parameters=464_154, multiply_adds=68_862_592, input_shape=IMAGE)
def resnet32(**settings: Any) -> CifarResNet:
    """Build ResNet-32 with 464,154 parameters."""
    return CifarResNet(32, **settings)


@published(*PAPER, parameters=658_586, multiply_adds=97_174_144, input_shape=IMAGE)
def resnet44(**settings: Any) -> CifarResNet:
    """Build ResNet-44 with 658,586 parameters."""
    return CifarResNet(44, **settings)


@published(*PAPER, parameters=853_018, multiply_adds=125_485_696, input_shape=IMAGE)
def resnet56(**settings: Any) -> CifarResNet:
    """Build ResNet-56 with 853,018 parameters."""
    return CifarResNet(56, **settings)


@published(*PAPER, parameters=1_727_962, multiply_adds=252_887_680, input_shape=IMAGE)
def resnet110(**settings: Any) -> CifarResNet:
    """Build ResNet-110 with 1,727,962 parameters."""
    return CifarResNet(110, **settings)
