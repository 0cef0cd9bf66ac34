"""MobileNetV2: thin blocks that widen in the middle, where only depthwise convolutions work.

Paper: Sandler, Howard, Zhu, Zhmoginov, Chen 2018, "MobileNetV2: Inverted residuals and linear
bottlenecks", Table 2, arXiv:1801.04381.
"""

from __future__ import annotations

from typing import Any

from minicnn import nn
from minicnn.models.catalogue import published
from minicnn.nn import functional as F
from minicnn.nn import init
from minicnn.ops.shape import flatten

__all__ = ["mobilenet_v2"]

BLOCKS = (  # Table 2: expansion t, channels c, repeats n, stride s of the first
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
FIRST, LAST = 32, 1280  # channels before and after the blocks


class ConvBNReLU6(nn.Sequential):
    """y = min(max(bn(conv(x)), 0), 6)."""

    def __init__(self, channels: int, out: int, kernel_size: int, stride: int = 1, groups: int = 1):
        padding = kernel_size // 2
        super().__init__(
            nn.Conv2d(channels, out, kernel_size, stride, padding, groups=groups, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU6(inplace=True),
        )


class InvertedResidual(nn.Module):
    """1x1 to t times the channels, 3x3 on each channel alone, linear 1x1, + x if it fits."""

    def __init__(self, channels: int, out: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.fits = stride == 1 and channels == out
        self.conv = nn.Sequential()
        if expansion != 1:
            self.conv.append(ConvBNReLU6(channels, wide, 1))
        self.conv.append(ConvBNReLU6(wide, wide, 3, stride, groups=wide))
        self.conv.append(nn.Conv2d(wide, out, 1, bias=False))
        self.conv.append(nn.BatchNorm2d(out))

    def forward(self, x: Any) -> Any:
        """Add what the block has learned to its input, where the shapes agree."""
        return x + self.conv(x) if self.fits else self.conv(x)


class MobileNetV2(nn.Module):
    """Seventeen inverted residuals for 224x224 pixels.

    `width_mult` is the part of the channels to have, each rounded to a multiple of `round_nearest`.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        width_mult: float = 1.0,
        round_nearest: int = 8,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        channels = to_multiple(FIRST * width_mult, round_nearest)
        last = to_multiple(LAST * max(1.0, width_mult), round_nearest)
        self.features = nn.Sequential(ConvBNReLU6(3, channels, 3, stride=2))
        for expansion, wanted, repeats, first_stride in BLOCKS:
            out = to_multiple(wanted * width_mult, round_nearest)
            for i in range(repeats):
                stride = 1 if i else first_stride
                self.features.append(InvertedResidual(channels, out, stride, expansion))
                channels = out
        self.features.append(ConvBNReLU6(channels, last, 1))
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, num_classes))
        self.apply(_fill)

    def forward(self, x: Any) -> Any:
        """Return one logit per class."""
        return self.classifier(flatten(F.adaptive_avg_pool2d(self.features(x), (1, 1)), 1))


def to_multiple(channels: float, divisor: int) -> int:
    """Round to a multiple, but never below the divisor, nor to less than 90 %."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * channels else rounded + divisor


def _fill(module: Any) -> None:
    """Draw the first weights; the bias of the classifier is 0."""
    if isinstance(module, nn.Conv2d):
        init.kaiming_normal_(module.weight, mode="fan_out")
    elif isinstance(module, nn.Linear):
        init.normal_(module.weight, 0, 0.01)
        init.zeros_(module.bias)


@published(
    2018,
    "Sandler: MobileNetV2: Inverted residuals and linear bottlenecks",
    parameters=3_504_872,
    multiply_adds=300_774_272,
)
def mobilenet_v2(**settings: Any) -> MobileNetV2:
    """Build MobileNetV2 with 3,504,872 parameters; the settings are those of the class."""
    return MobileNetV2(**settings)
