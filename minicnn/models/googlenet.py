"""GoogLeNet: windows of several sizes side by side, after 1x1 convolutions that make them cheap.

Paper: Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich 2014, "Going deeper
with convolutions", Table 1 and section 5, arXiv:1409.4842.

Deviations, all of them those of PyTorch's weights: batch normalisation after each convolution
instead of local response normalisation; 3x3 in the place of 5x5; the auxiliary heads average to
4x4 bins instead of windows of 5x5.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from minicnn import nn
from minicnn.models.catalogue import published
from minicnn.nn import functional as F
from minicnn.nn import init
from minicnn.ops.shape import cat, flatten

__all__ = ["googlenet"]

INCEPTION = {  # Table 1: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
STEM, HEAD = (64, 64, 192), (128, 1024)  # channels of the first convolutions; of an auxiliary head


class GoogLeNetOutputs(NamedTuple):
    """What training sees: the paper adds 0.3 times the loss of each auxiliary head."""

    logits: Any
    aux_logits2: Any
    aux_logits1: Any


class ConvBNReLU(nn.Module):
    """y = relu(bn(conv(x)))."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, **settings: Any):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, bias=False, **settings)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Any) -> Any:
        """Convolve, normalise, rectify."""
        return self.bn(self.conv(x), relu=True)


class Inception(nn.Module):
    """1x1, 3x3, 5x5 and pooling side by side, concatenated."""

    def __init__(self, channels: int, one: int, r3: int, three: int, r5: int, five: int, pool: int):
        super().__init__()
        self.branch1 = ConvBNReLU(channels, one, 1)
        self.branch2 = nn.Sequential(
            ConvBNReLU(channels, r3, 1), ConvBNReLU(r3, three, 3, padding=1)
        )
        self.branch3 = nn.Sequential(
            ConvBNReLU(channels, r5, 1), ConvBNReLU(r5, five, 3, padding=1)
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True), ConvBNReLU(channels, pool, 1)
        )

    def forward(self, x: Any) -> Any:
        """Return all branches' channels."""
        return cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class AuxiliaryHead(nn.Module):
    """Classify from the middle of the network, so that gradients start there too (section 5)."""

    def __init__(self, channels: int, conv: int, units: int, num_classes: int, dropout: float):
        super().__init__()
        self.conv = ConvBNReLU(channels, conv, 1)
        self.fc1 = nn.Linear(conv * 4 * 4, units)
        self.fc2 = nn.Linear(units, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Any) -> Any:
        """Return one logit per class."""
        x = flatten(self.conv(F.adaptive_avg_pool2d(x, (4, 4))), 1)
        return self.fc2(self.dropout(F.relu(self.fc1(x), inplace=True)))


class GoogLeNet(nn.Module):
    """Nine Inception modules for 224x224 pixels, with two auxiliary heads in training.

    In training with `aux_logits` the result is a `GoogLeNetOutputs`, else the logits alone.
    `transform_input` takes images normalised as PyTorch does to what TensorFlow's weights expect.
    `width` is the part of the channels to have.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        aux_logits: bool = True,
        transform_input: bool = False,
        init_weights: bool = True,
        dropout: float = 0.2,
        dropout_aux: float = 0.7,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        self.aux_logits, self.transform_input = aux_logits, transform_input
        stem1, stem2, stem3 = (round(c * width) for c in STEM)
        self.conv1 = ConvBNReLU(3, stem1, 7, stride=2, padding=3)
        self.conv2 = ConvBNReLU(stem1, stem2, 1)
        self.conv3 = ConvBNReLU(stem2, stem3, 3, padding=1)
        channels, seen = stem3, {}
        for name, row in INCEPTION.items():
            one, r3, three, r5, five, pool = (round(c * width) for c in row)
            self.add_module(f"inception{name}", Inception(channels, one, r3, three, r5, five, pool))
            seen[name] = channels = one + three + five + pool
        conv, units = (round(c * width) for c in HEAD)
        for name, place in (("aux1", "4a"), ("aux2", "4d")) if aux_logits else ():
            head = AuxiliaryHead(seen[place], conv, units, num_classes, dropout_aux)
            self.add_module(name, head)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        if init_weights:
            self.apply(_fill)

    def features(self, x: Any) -> Any:
        """Return the maps before global pooling."""
        return self.stages(x)[0]

    def stages(self, x: Any) -> Any:
        """Return the last maps, and those that the auxiliary heads see."""
        if self.transform_input:
            x = as_tensorflow_saw_it(x)
        x = self.conv3(self.conv2(pool(self.conv1(x))))
        x = self.inception3b(self.inception3a(pool(x)))
        x = in_4a = self.inception4a(pool(x))
        x = in_4d = self.inception4d(self.inception4c(self.inception4b(x)))
        x = self.inception4e(x)
        return self.inception5b(self.inception5a(pool(x, 2))), in_4a, in_4d

    def forward(self, x: Any) -> Any:
        """Return one logit per class, in training also those of the auxiliary heads."""
        x, in_4a, in_4d = self.stages(x)
        logits = self.fc(self.dropout(flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1)))
        if not (self.training and self.aux_logits):
            return logits
        return GoogLeNetOutputs(logits, self.aux2(in_4d), self.aux1(in_4a))


def pool(x: Any, size: int = 3) -> Any:
    """Halve the image, rounding up."""
    return F.max_pool2d(x, size, stride=2, ceil_mode=True)


def as_tensorflow_saw_it(x: Any) -> Any:
    """Turn (v - mean) / std per channel, PyTorch's way, into (v - 0.5) / 0.5."""
    scaled = [(0.229, 0.485), (0.224, 0.456), (0.225, 0.406)]
    return cat(
        [x[:, c : c + 1] * (s / 0.5) + (m - 0.5) / 0.5 for c, (s, m) in enumerate(scaled)], 1
    )


def _fill(module: Any) -> None:
    """Draw the first weights."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        init.trunc_normal_(module.weight, mean=0.0, std=0.01, a=-2, b=2)


@published(
    2014,
    "Szegedy: Going deeper with convolutions",
    parameters=13_004_888,
    multiply_adds=1_498_376_192,
)
def googlenet(**settings: Any) -> GoogLeNet:
    """Build GoogLeNet with 6,624,904 parameters, and 6,379,984 in its auxiliary heads."""
    return GoogLeNet(**settings)
