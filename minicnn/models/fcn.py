"""FCN: a classifier slid over the image, its coarse scores refined by those of earlier layers.

Paper: Long, Shelhamer, Darrell 2014, "Fully convolutional networks for semantic segmentation",
Figure 3 and section 4, arXiv:1411.4038.  Padding, sizes and offsets are those of the authors' Caffe
files (voc-fcn8s and its sisters, https://github.com/shelhamer/fcn.berkeleyvision.org).
"""

from __future__ import annotations

from typing import Any

from minicnn import nn
from minicnn.factories import arange, eye
from minicnn.models.catalogue import published
from minicnn.models.vgg import CHANNELS, UNITS, stages
from minicnn.nn import init

__all__ = ["fcn8s", "fcn16s", "fcn32s"]

BORDER = 100  # pixels of zeros around the image, so that fc6 has 7x7 of any
OFFSETS = {  # first row and column that Caffe keeps of pool4's scores, of pool3's, of the last map
    32: (19,),
    16: (5, 27),
    8: (5, 9, 31),
}


def bilinear(channels: int, factor: int) -> nn.ConvTranspose2d:
    """Return an enlargement whose first weights interpolate each channel linearly.

    w[c,c,a,b] = t(a) t(b), with t(a) = 1 - |a - (k - 1) / 2| / factor, k = 2 factor
    """
    size = 2 * factor
    layer = nn.ConvTranspose2d(channels, channels, size, stride=factor, bias=False)
    tent = 1 - (arange(size) - (size - 1) / 2).abs() / factor
    weights = eye(channels).reshape(channels, channels, 1, 1) * (tent.reshape(size, 1) * tent)
    layer.weight = nn.Parameter(weights)
    return layer


def crop(x: Any, offset: int, like: Any) -> Any:
    """Keep the rows and columns from `offset` on, as many as the other has."""
    height, width = like.shape[2:]
    return x[:, :, offset : offset + height, offset : offset + width]


class FCN(nn.Module):
    """VGG-16 without its last layer as convolutions, and scores of every 32nd, 16th or 8th pixel.

    The last enlargement stays bilinear, those before are learned (section 4.3).  `features` has
    the keys of VGG-16, and `load_vgg` takes its weights.  `width` is the part of the channels.

    Shapes:
        x: (N, 3, H, W)
        result: (N, num_classes, H, W)
    """

    def __init__(
        self, stride: int, num_classes: int = 21, dropout: float = 0.5, width: float = 1.0
    ) -> None:
        super().__init__()
        self.offsets = OFFSETS[stride]
        self.features = stages(16, width=width)
        self.features[0].padding = (BORDER, BORDER)
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                layer.ceil_mode = True  # as in Caffe
        *_, pool3, pool4, pool5 = (round(c * width) for c in CHANNELS)
        units = round(UNITS * width)
        self.classifier = nn.Sequential(
            nn.Conv2d(pool5, units, 7), nn.ReLU(inplace=True), nn.Dropout(dropout),
            nn.Conv2d(units, units, 1), nn.ReLU(inplace=True), nn.Dropout(dropout),
            nn.Conv2d(units, num_classes, 1),
        )  # fmt: skip
        finer = (pool4, pool3)[: len(self.offsets) - 1]
        self.scores = nn.ModuleList(nn.Conv2d(channels, num_classes, 1) for channels in finer)
        self.enlarged = nn.ModuleList(bilinear(num_classes, 2) for _ in finer)
        self.last = bilinear(num_classes, stride)
        self.last.weight.requires_grad_(False)
        for score in (self.classifier[6], *self.scores):
            init.zeros_(score.weight)
            init.zeros_(score.bias)

    def forward(self, x: Any) -> Any:
        """Return the logits of each pixel."""
        y, pooled = x, []
        for layer in self.features:
            y = layer(y)
            if isinstance(layer, nn.MaxPool2d):
                pooled.append(y)
        y = self.classifier(pooled.pop())
        for score, enlarge, offset in zip(self.scores, self.enlarged, self.offsets, strict=False):
            y = enlarge(y)
            y = y + crop(score(pooled.pop()), offset, y)
        return crop(self.last(y), self.offsets[-1], x)

    def load_vgg(self, vgg: Any) -> None:
        """Take over a VGG-16: a dense layer is a convolution over all of its 7x7 (section 3.1)."""
        self.features.load_state_dict(vgg.features.state_dict())
        for ours, theirs in ((0, 0), (3, 3)):
            dense, conv = vgg.classifier[theirs], self.classifier[ours]
            weight = dense.weight.detach().reshape(conv.weight.shape)
            conv.load_state_dict({"weight": weight, "bias": dense.bias.detach()})


PAPER = 2014, "Long: Fully convolutional networks for semantic segmentation"
SIZE = (3, 500, 500)


@published(*PAPER, parameters=136_152_917, multiply_adds=181_365_854_976, input_shape=SIZE)
def fcn32s(**settings: Any) -> FCN:
    """Build FCN-32s with 134,346,581 parameters and 1,806,336 fixed ones that interpolate."""
    return FCN(32, **settings)


@published(*PAPER, parameters=134_815_994, multiply_adds=181_448_086_272, input_shape=SIZE)
def fcn16s(**settings: Any) -> FCN:
    """Build FCN-16s, which adds scores of pool4; the settings are those of the class."""
    return FCN(16, **settings)


@published(*PAPER, parameters=134_489_759, multiply_adds=181_529_034_048, input_shape=SIZE)
def fcn8s(**settings: Any) -> FCN:
    """Build FCN-8s, which adds scores of pool4 and pool3."""
    return FCN(8, **settings)
