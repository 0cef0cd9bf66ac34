"""Network in Network: a small dense network, made of 1x1 convolutions, slides over the image.

Paper: Lin, Chen, Yan 2013, "Network in network", Figure 2, arXiv:1312.4400.  The paper prints no
channels: they are those of the two networks of Caffe's model zoo, by the paper's first author.

Deviation from these: first weights are Kaiming's, with which it learns sooner.
"""

from __future__ import annotations

from typing import Any

from minicnn import nn
from minicnn.models.catalogue import published
from minicnn.nn import init

__all__ = ["nin_cifar", "nin_imagenet"]

# Each mlpconv: kernel, stride, padding; its channels (the last has one more, the classes); pooling.
CIFAR = (
    (5, 1, 2, (192, 160, 96), "max"),
    (5, 1, 2, (192, 192, 192), "mean"),
    (3, 1, 1, (192, 192), ""),
)
IMAGENET = (
    (11, 4, 0, (96, 96, 96), "max"),
    (5, 1, 2, (256, 256, 256), "max"),
    (3, 1, 1, (384, 384, 384), "max"),
    (3, 1, 1, (1024, 1024), ""),
)
POOLING: dict[str, Any] = {"max": nn.MaxPool2d, "mean": nn.AvgPool2d}


class NetworkInNetwork(nn.Module):
    """Convolutions with two 1x1 convolutions behind each; a logit is the mean of a map.

    `dropped` are the rows with dropout behind their pooling.  `width` is the part of the channels
    to have.
    """

    def __init__(
        self,
        table: tuple[Any, ...],
        dropped: tuple[int, ...],
        num_classes: int,
        in_channels: int = 3,
        dropout: float = 0.5,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        self.features, channels = nn.Sequential(), in_channels
        for number, (kernel, stride, padding, row, pooling) in enumerate(table):
            for i, wanted in enumerate(row):
                out, window = round(wanted * width), (1, 1, 0) if i else (kernel, stride, padding)
                self.features.append(nn.Conv2d(channels, out, *window))
                self.features.append(nn.ReLU(inplace=True))
                channels = out
            if pooling:
                self.features.append(POOLING[pooling](3, stride=2, ceil_mode=True))
            if number in dropped:
                self.features.append(nn.Dropout(dropout))
        self.classifier = nn.Sequential(
            nn.Conv2d(channels, num_classes, 1), nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(),
        )  # fmt: skip
        self.apply(_fill)

    def forward(self, x: Any) -> Any:
        """Return one logit per class."""
        return self.classifier(self.features(x))


def _fill(module: Any) -> None:
    """Draw the first weights of a convolution."""
    if isinstance(module, nn.Conv2d):
        init.kaiming_normal_(module.weight)


PAPER = 2013, "Lin: Network in network"


@published(*PAPER, parameters=966_986, multiply_adds=222_486_528, input_shape=(3, 32, 32))
def nin_cifar(num_classes: int = 10, **settings: Any) -> NetworkInNetwork:
    """Build three mlpconv layers for 32x32 pixels or others, 966,986 parameters."""
    return NetworkInNetwork(CIFAR, (0, 1), num_classes, **settings)


@published(*PAPER, parameters=7_595_176, multiply_adds=1_100_188_800)
def nin_imagenet(num_classes: int = 1000, **settings: Any) -> NetworkInNetwork:
    """Build four mlpconv layers for 224x224 pixels or others, 7,595,176 parameters."""
    return NetworkInNetwork(IMAGENET, (2,), num_classes, **settings)
