"""ResNet: each block learns what to add to its input.

Papers: He, Zhang, Ren, Sun 2015, "Deep residual learning for image recognition", Table 1 and
Figure 5, arXiv:1512.03385.  ResNeXt, with groups: Xie, Girshick, Dollár, Tu, He 2016, Table 1,
arXiv:1611.05431.  Wide: Zagoruyko, Komodakis 2016, "Wide residual networks", arXiv:1605.07146.
"""

from __future__ import annotations

from typing import Any

from minicnn import nn
from minicnn.models.catalogue import published
from minicnn.nn import init
from minicnn.ops.shape import flatten

__all__ = [
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "wide_resnet50_2",
]

CHANNELS = (64, 128, 256, 512)  # of the stages conv2_x to conv5_x


class Basic(nn.Module):
    """3x3, 3x3, + shortcut."""

    expansion = 1

    def __init__(self, channels: int, planes: int, stride: int, groups: int, per_group: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, planes, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = shortcut(channels, planes, stride)

    def forward(self, x: Any) -> Any:
        """Return relu(F(x) + x), or relu(F(x) + W x) where the shape changes."""
        y = self.bn1(self.conv1(x), relu=True)
        return self.bn2(self.conv2(y), add=self.downsample(x), relu=True)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1, + shortcut.

    Deviation from the paper, as in PyTorch's weights: the stride is in the 3x3, so that no pixel is
    left unseen (`stride_in_1x1` of ResNet is the paper's form).
    """

    expansion = 4

    def __init__(self, channels: int, planes: int, stride: int, groups: int, per_group: int):
        super().__init__()
        inner, out = planes * per_group // 64 * groups, planes * self.expansion
        self.conv1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample = shortcut(channels, out, stride)

    def forward(self, x: Any) -> Any:
        """Return relu(F(x) + x), or relu(F(x) + W x) where the shape changes."""
        y = self.bn1(self.conv1(x), relu=True)
        y = self.bn2(self.conv2(y), relu=True)
        return self.bn3(self.conv3(y), add=self.downsample(x), relu=True)


def shortcut(channels: int, out: int, stride: int) -> nn.Module:
    """Return the identity or, where it does not fit, a projection (the paper's option B)."""
    if stride == 1 and channels == out:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))


class ResNet(nn.Module):
    """7x7 convolution, max-pooling, four stages of blocks, for 224x224 pixels.

    `layers` says how many blocks each stage has.  `groups` and `width_per_group` shape the 3x3 of a
    bottleneck: ResNeXt has many groups, a wide network more channels there.  `zero_init_residual`
    lets every block begin as the identity.  `stride_in_1x1` strides where the paper does, in the
    first convolution of a bottleneck.  `width` is the part of the channels to have.
    """

    def __init__(
        self,
        block: type[Basic] | type[Bottleneck],
        layers: tuple[int, ...],
        num_classes: int = 1000,
        zero_init_residual: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
        width: float = 1.0,
        stride_in_1x1: bool = False,
    ) -> None:
        super().__init__()
        channels = round(CHANNELS[0] * width)
        self.conv1 = nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        for stage, blocks in enumerate(layers):
            layer = nn.Sequential()
            for i in range(blocks):
                planes, stride = round(CHANNELS[stage] * width), 2 if stage and not i else 1
                layer.append(block(channels, planes, stride, groups, width_per_group))
                channels = planes * block.expansion
            self.add_module(f"layer{stage + 1}", layer)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(channels, num_classes)
        self.apply(fill)
        for module in self.modules() if zero_init_residual else ():
            if isinstance(module, (Basic, Bottleneck)):
                init.zeros_((module.bn3 if isinstance(module, Bottleneck) else module.bn2).weight)
        for module in self.modules() if stride_in_1x1 else ():
            if isinstance(module, Bottleneck):
                module.conv1.stride, module.conv2.stride = module.conv2.stride, module.conv1.stride

    def features(self, x: Any) -> Any:
        """Return the maps before global pooling."""
        x = self.maxpool(self.bn1(self.conv1(x), relu=True))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def forward(self, x: Any) -> Any:
        """Return one logit per class."""
        return self.fc(flatten(self.avgpool(self.features(x)), 1))


def fill(module: Any) -> None:
    """Draw the first weights of a convolution."""
    if isinstance(module, nn.Conv2d):
        init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


# Table 1: the blocks of conv2_x to conv5_x.


PAPER = 2015, "He: Deep residual learning for image recognition"


@published(*PAPER, parameters=11_689_512, multiply_adds=1_814_073_344)
def resnet18(**settings: Any) -> ResNet:
    """Build ResNet-18 with 11,689,512 parameters; the settings are those of the class."""
    return ResNet(Basic, (2, 2, 2, 2), **settings)


@published(*PAPER, parameters=21_797_672, multiply_adds=3_663_761_408)
def resnet34(**settings: Any) -> ResNet:
    """Build ResNet-34 with 21,797,672 parameters."""
    return ResNet(Basic, (3, 4, 6, 3), **settings)


@published(*PAPER, parameters=25_557_032, multiply_adds=4_089_184_256)
def resnet50(**settings: Any) -> ResNet:
    """Build ResNet-50 with 25,557,032 parameters."""
    return ResNet(Bottleneck, (3, 4, 6, 3), **settings)


@published(*PAPER, parameters=44_549_160, multiply_adds=7_801_405_440)
def resnet101(**settings: Any) -> ResNet:
    """Build ResNet-101 with 44,549,160 parameters."""
    return ResNet(Bottleneck, (3, 4, 23, 3), **settings)


@published(*PAPER, parameters=60_192_808, multiply_adds=11_513_626_624)
def resnet152(**settings: Any) -> ResNet:
    """Build ResNet-152 with 60,192,808 parameters."""
    return ResNet(Bottleneck, (3, 8, 36, 3), **settings)


@published(
    2016,
    "Xie: Aggregated residual transformations for deep neural networks",
    parameters=25_028_904,
    multiply_adds=4_230_479_872,
)
def resnext50_32x4d(**settings: Any) -> ResNet:
    """Build ResNeXt-50 of 32 groups of 4 channels, 25,028,904 parameters."""
    return ResNet(Bottleneck, (3, 4, 6, 3), groups=32, width_per_group=4, **settings)


@published(
    2016, "Zagoruyko: Wide residual networks", parameters=68_883_240, multiply_adds=11_398_021_120
)
def wide_resnet50_2(**settings: Any) -> ResNet:
    """Build the ResNet-50 whose 3x3 convolutions are twice as wide, 68,883,240 parameters."""
    return ResNet(Bottleneck, (3, 4, 6, 3), width_per_group=128, **settings)
