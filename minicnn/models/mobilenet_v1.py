"""MobileNet: a 3x3 window on each channel alone, then 1x1 across channels.

Paper: Howard, Zhu, Chen, Kalenichenko, Wang, Weyand, Andreetto, Adam 2017, "MobileNets: Efficient
convolutional neural networks for mobile vision applications", Table 1, arXiv:1704.04861.
"""

from __future__ import annotations

from typing import Any

from minicnn import nn
from minicnn.models.catalogue import published
from minicnn.models.googlenet import ConvBNReLU
from minicnn.nn import functional as F
from minicnn.ops.shape import flatten

__all__ = ["mobilenet_v1"]

FIRST = 32
BLOCKS = (  # Table 1: stride of the depthwise convolution, channels of the pointwise one
    (1, 64),
    (2, 128), (1, 128),
    (2, 256), (1, 256),
    (2, 512), (1, 512), (1, 512), (1, 512), (1, 512), (1, 512),
    (2, 1024), (1, 1024),
)  # fmt: skip


class DepthwiseSeparable(nn.Sequential):
    """3x3 on each channel alone, BN-ReLU, 1x1, BN-ReLU."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__(
            ConvBNReLU(channels, channels, 3, stride=stride, padding=1, groups=channels),
            ConvBNReLU(channels, out, 1),
        )


class MobileNetV1(nn.Module):
    """Thirteen depthwise separable convolutions for 224x224 pixels or others.

    `width` is the paper's multiplier alpha, the part of the channels to have.  The last block has
    stride 1, as its output size in Table 1 says, where the table's stride is a misprint.
    """

    def __init__(self, num_classes: int = 1000, width: float = 1.0, dropout: float = 0.001) -> None:
        super().__init__()
        channels = round(FIRST * width)
        self.features = nn.Sequential(ConvBNReLU(3, channels, 3, stride=2, padding=1))
        for stride, wanted in BLOCKS:
            out = round(wanted * width)
            self.features.append(DepthwiseSeparable(channels, out, stride))
            channels = out
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Any) -> Any:
        """Return one logit per class."""
        x = F.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.fc(self.dropout(flatten(x, 1)))


@published(
    2017,
    "Howard: MobileNets: Efficient convolutional neural networks for mobile vision applications",
    parameters=4_231_976,
    multiply_adds=568_740_352,
)
def mobilenet_v1(**settings: Any) -> MobileNetV1:
    """Build MobileNet with 4,231,976 parameters; the settings are those of the class."""
    return MobileNetV1(**settings)
