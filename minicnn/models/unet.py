"""U-Net: a class for each pixel, from coarse maps that know what and fine ones that know where.

Paper: Ronneberger, Fischer, Brox 2015, "U-Net: convolutional networks for biomedical image
segmentation", Figure 1, arXiv:1505.04597.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from minicnn import nn
from minicnn.models.catalogue import published
from minicnn.nn import functional as F
from minicnn.nn import init
from minicnn.ops.shape import cat

__all__ = ["unet"]

CHANNELS = (64, 128, 256, 512, 1024)  # Figure 1, from the top of the U to its bottom


def two_convolutions(channels: int, out: int, padding: int) -> nn.Sequential:
    """3x3, 3x3, each rectified."""
    return nn.Sequential(
        nn.Conv2d(channels, out, 3, padding=padding), nn.ReLU(inplace=True),
        nn.Conv2d(out, out, 3, padding=padding), nn.ReLU(inplace=True),
    )  # fmt: skip


def crop(x: Any, like: Any) -> Any:
    """Cut the middle out of x, as large as the other."""
    (height, width), (rows, columns) = x.shape[2:], like.shape[2:]
    top, left = (height - rows) // 2, (width - columns) // 2
    return x[:, :, top : top + rows, left : left + columns]


class UNet(nn.Module):
    """Go down by max-pooling, and up again by transposed convolutions beside what was seen there.

    With `padding=0`, as in the paper, nothing is made up at the border: 572x572 pixels give the
    classes of the 388x388 in their middle.  `padding=1` gives as many as there are.  Sides that
    pooling cannot halve lose their last pixels.  `width` is the part of the channels to have.

    Shapes:
        x: (N, in_channels, H, W)
        result: (N, num_classes, H - 184, W - 184), and without the 184 where padded
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 2,
        padding: int = 0,
        dropout: float = 0.5,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        channels = [round(c * width) for c in CHANNELS]
        down, up = [in_channels, *channels], channels[::-1]
        self.contracting = nn.ModuleList(
            two_convolutions(*pair, padding) for pair in pairwise(down)
        )
        self.dropout = nn.Dropout(dropout)
        self.up = nn.ModuleList(nn.ConvTranspose2d(*pair, 2, stride=2) for pair in pairwise(up))
        self.expanding = nn.ModuleList(two_convolutions(2 * c, c, padding) for c in up[1:])
        self.output = nn.Conv2d(channels[0], num_classes, 1)
        self.apply(_fill)

    def forward(self, x: Any) -> Any:
        """Return the logits of each pixel."""
        seen = []
        for number, block in enumerate(self.contracting):
            x = block(F.max_pool2d(x, 2) if number else x)
            seen.append(x)
        x = self.dropout(seen.pop())
        for up, block in zip(self.up, self.expanding, strict=True):
            x = up(x)
            x = block(cat([crop(seen.pop(), x), x], 1))
        return self.output(x)


def _fill(module: Any) -> None:
    """Draw the first weights of a convolution with variance 2 / its inputs (section 3)."""
    if isinstance(module, nn.Conv2d):
        init.kaiming_normal_(module.weight, nonlinearity="relu")


@published(
    2015,
    "Ronneberger: U-Net: convolutional networks for biomedical image segmentation",
    parameters=31_030_658,
    multiply_adds=150_428_424_448,
    input_shape=(1, 572, 572),
)
def unet(**settings: Any) -> UNet:
    """Build U-Net with 31,030,658 parameters and 23 convolutions; the settings are the class's.

    >>> from minicnn import rand
    >>> unet(num_classes=3, padding=1, width=1 / 32)(rand(1, 1, 32, 48)).shape
    (1, 3, 32, 48)
    """
    return UNet(**settings)
