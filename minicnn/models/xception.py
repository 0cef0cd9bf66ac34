"""Xception: Inception's idea to the end, one window for each channel, with shortcuts.

Paper: Chollet 2016, "Xception: Deep learning with depthwise separable convolutions", Figure 5,
arXiv:1610.02357.
"""

from __future__ import annotations

from typing import Any

from minicnn import nn
from minicnn.models.catalogue import published
from minicnn.models.googlenet import ConvBNReLU
from minicnn.nn import functional as F
from minicnn.ops.shape import flatten

__all__ = ["xception"]

# Figure 5: the channels of the separable convolutions of each block.
ENTRY = ((128, 128), (256, 256), (728, 728))
MIDDLE = ((728, 728, 728),) * 8
EXIT = ((728, 1024),)
FIRST, LAST = (32, 64), (1536, 2048)  # of the convolutions before the blocks; behind them


class SeparableBN(nn.Sequential):
    """3x3 on each channel alone, 1x1, BN: no ReLU between them."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.Conv2d(channels, out, 1, bias=False),
            nn.BatchNorm2d(out, eps=0.001),
        )


class Block(nn.Module):
    """ReLU and separable convolution, two or three times, + shortcut.

    Where the channels change, a max-pooling halves the image and the shortcut is a 1x1 convolution.
    The very first block has no ReLU in front, as its input comes from one.
    """

    def __init__(self, channels: int, outs: list[int], relu_first: bool) -> None:
        super().__init__()
        self.residual, self.shortcut = nn.Sequential(), nn.Sequential()
        if channels != outs[-1]:
            self.shortcut.append(nn.Conv2d(channels, outs[-1], 1, stride=2, bias=False))
            self.shortcut.append(nn.BatchNorm2d(outs[-1], eps=0.001))
        for i, out in enumerate(outs):
            if i or relu_first:
                self.residual.append(nn.ReLU(inplace=i > 0))  # the shortcut sees x as it was
            self.residual.append(SeparableBN(channels, out))
            channels = out
        if len(self.shortcut):
            self.residual.append(nn.MaxPool2d(3, stride=2, padding=1))

    def forward(self, x: Any) -> Any:
        """Add what the block has learned to its input."""
        return self.residual(x) + self.shortcut(x)


class Xception(nn.Module):
    """Entry, middle and exit flow for 299x299 pixels or others.

    `width` is the part of the channels to have.  Images of an even size are padded on both sides by
    the poolings, where TensorFlow pads at the end.
    """

    def __init__(self, num_classes: int = 1000, width: float = 1.0, dropout: float = 0.5) -> None:
        super().__init__()
        first, second = (round(c * width) for c in FIRST)
        self.conv1 = ConvBNReLU(3, first, 3, stride=2)
        self.conv2 = ConvBNReLU(first, second, 3)
        channels, self.blocks = second, nn.Sequential()
        for row in (*ENTRY, *MIDDLE, *EXIT):
            outs = [round(c * width) for c in row]
            self.blocks.append(Block(channels, outs, relu_first=len(self.blocks) > 0))
            channels = outs[-1]
        third, last = (round(c * width) for c in LAST)
        self.last = nn.Sequential(
            SeparableBN(channels, third), nn.ReLU(inplace=True),
            SeparableBN(third, last), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(last, num_classes)

    def features(self, x: Any) -> Any:
        """Return the maps before global pooling."""
        return self.last(self.blocks(self.conv2(self.conv1(x))))

    def forward(self, x: Any) -> Any:
        """Return one logit per class."""
        x = F.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.fc(self.dropout(flatten(x, 1)))


@published(
    2016,
    "Chollet: Xception: Deep learning with depthwise separable convolutions",
    parameters=22_855_952,
    multiply_adds=8_357_403_496,
    input_shape=(3, 299, 299),
)
def xception(**settings: Any) -> Xception:
    """Build Xception with 22,855,952 parameters; the settings are those of the class."""
    return Xception(**settings)
