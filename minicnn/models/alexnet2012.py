"""AlexNet as printed in 2012: two towers, one for each graphics card, that meet in some layers.

Paper: Krizhevsky, Sutskever, Hinton 2012, "ImageNet classification with deep convolutional neural
networks", sections 3.3 to 3.5 and 5.
"""

from __future__ import annotations

from typing import Any

from minicnn import nn
from minicnn.models.catalogue import published
from minicnn.nn import init
from minicnn.ops.shape import flatten

__all__ = ["alexnet2012"]

# Figure 2: channels of both towers, kernel, stride, padding, groups (2: each tower sees itself
# only), what follows, and the first bias (section 5: 1 gives ReLU positive inputs to start with).
CONVOLUTIONS = (
    (96, 11, 4, 0, 1, "norm pool", 0),
    (256, 5, 1, 2, 2, "norm pool", 1),
    (384, 3, 1, 1, 1, "", 0),
    (384, 3, 1, 1, 2, "", 1),
    (256, 3, 1, 1, 2, "pool", 1),
)
UNITS = 4096  # of each of the two hidden dense layers


class AlexNet2012(nn.Module):
    """Five convolutions, three overlapping max-poolings, three dense layers, for 227x227 pixels.

    The paper says 224, but only 227 gives its 55x55 without padding.  Local response normalisation
    has the paper's k = 2, alpha = 1e-4, beta = 0.75 over n = 5 channels; PyTorch, Caffe and we
    divide alpha by n, so it reads 5e-4 here.  `width` is the part of the channels and units.
    """

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5, width: float = 1.0) -> None:
        super().__init__()
        self.features = nn.Sequential()
        channels, units = 3, round(UNITS * width)
        for wanted, kernel, stride, padding, groups, then, bias in CONVOLUTIONS:
            out = round(wanted * width)
            conv = nn.Conv2d(channels, out, kernel, stride, padding, groups=groups)
            self.features.append(filled(conv, bias))
            self.features.append(nn.ReLU(inplace=True))
            if "norm" in then:
                self.features.append(nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0))
            if "pool" in then:
                self.features.append(nn.MaxPool2d(3, stride=2))
            channels = out
        self.classifier = nn.Sequential(
            filled(nn.Linear(channels * 6 * 6, units), 1), nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            filled(nn.Linear(units, units), 1), nn.ReLU(inplace=True), nn.Dropout(dropout),
            filled(nn.Linear(units, num_classes), 0),
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        """Return one logit per class."""
        return self.classifier(flatten(self.features(x), 1))


def filled(layer: Any, bias: float) -> Any:
    """Draw the first weights of a layer (section 5)."""
    init.normal_(layer.weight, std=0.01)
    init.constant_(layer.bias, bias)
    return layer


@published(
    2012,
    "Krizhevsky: ImageNet classification with deep convolutional neural networks",
    parameters=60_965_224,
    multiply_adds=724_406_816,
    input_shape=(3, 227, 227),
)
def alexnet2012(**settings: Any) -> AlexNet2012:
    """Build AlexNet of 2012 with 60,965,224 parameters; the settings are those of the class."""
    return AlexNet2012(**settings)
