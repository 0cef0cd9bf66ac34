"""GoogLeNet as printed in 2014: windows of 5x5, local response normalisation, no batch norm.

Paper: Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich 2014, "Going deeper
with convolutions", Table 1, Figures 2 and 3, section 5, arXiv:1409.4842.  The constants of the
normalisation, which it does not give, are those of Caffe's GoogLeNet.
"""

from __future__ import annotations

from typing import Any

from minicnn import nn
from minicnn.models.catalogue import published
from minicnn.models.googlenet import HEAD, INCEPTION, STEM, GoogLeNetOutputs, pool
from minicnn.nn import functional as F
from minicnn.ops.shape import cat, flatten

__all__ = ["googlenet2014"]


class ConvReLU(nn.Sequential):
    """y = relu(conv(x) + b), the size of the image kept."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2), nn.ReLU(inplace=True)
        )


class Inception(nn.Module):
    """Figure 2(b): 1x1, 3x3, 5x5 and pooling side by side, after 1x1 reductions."""

    def __init__(self, channels: int, one: int, r3: int, three: int, r5: int, five: int, pool: int):
        super().__init__()
        self.conv1x1 = ConvReLU(channels, one, 1)
        self.conv3x3 = nn.Sequential(ConvReLU(channels, r3, 1), ConvReLU(r3, three, 3))
        self.conv5x5 = nn.Sequential(ConvReLU(channels, r5, 1), ConvReLU(r5, five, 5))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, padding=1), ConvReLU(channels, pool, 1))

    def forward(self, x: Any) -> Any:
        """Return all branches' channels."""
        return cat([self.conv1x1(x), self.conv3x3(x), self.conv5x5(x), self.pool(x)], 1)


class NaiveInception(nn.Module):
    """Figure 2(a): the module without reductions, to count what they save."""

    def __init__(self, channels: int, one: int, three: int, five: int) -> None:
        super().__init__()
        self.conv1x1 = ConvReLU(channels, one, 1)
        self.conv3x3 = ConvReLU(channels, three, 3)
        self.conv5x5 = ConvReLU(channels, five, 5)
        self.pool = nn.MaxPool2d(3, 1, padding=1)

    def forward(self, x: Any) -> Any:
        """Return all branches' channels, those of the input among them."""
        return cat([self.conv1x1(x), self.conv3x3(x), self.conv5x5(x), self.pool(x)], 1)


class GoogLeNet2014(nn.Module):
    """Nine Inception modules for 224x224 pixels, with two auxiliary heads in training.

    In training with `aux_logits` the result is a `GoogLeNetOutputs`, else the logits alone.
    `width` is the part of the channels to have.
    """

    def __init__(
        self, num_classes: int = 1000, aux_logits: bool = True, dropout: float = 0.4,
        dropout_aux: float = 0.7, width: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.aux_logits = aux_logits
        stem1, stem2, stem3 = (round(c * width) for c in STEM)
        self.conv1 = ConvReLU(3, stem1, 7, stride=2)
        self.norm1 = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
        self.conv2 = nn.Sequential(ConvReLU(stem1, stem2, 1), ConvReLU(stem2, stem3, 3))
        self.norm2 = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
        channels, seen = stem3, {}
        for name, row in INCEPTION.items():
            one, r3, three, r5, five, proj = (round(c * width) for c in row)
            self.add_module(f"inception{name}", Inception(channels, one, r3, three, r5, five, proj))
            seen[name] = channels = one + three + five + proj
        conv, units = (round(c * width) for c in HEAD)
        for name, place in (("aux1", "4a"), ("aux2", "4d")) if aux_logits else ():
            self.add_module(name, nn.Sequential(
                nn.AvgPool2d(5, stride=3), ConvReLU(seen[place], conv, 1), nn.Flatten(),
                nn.Linear(conv * 4 * 4, units), nn.ReLU(inplace=True), nn.Dropout(dropout_aux),
                nn.Linear(units, num_classes),
            ))  # fmt: skip
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)

    def features(self, x: Any) -> Any:
        """Return the maps before global pooling."""
        return self.stages(x)[0]

    def stages(self, x: Any) -> Any:
        """Return the last maps, and those that the auxiliary heads see."""
        x = self.norm1(pool(self.conv1(x)))
        x = pool(self.norm2(self.conv2(x)))
        x = pool(self.inception3b(self.inception3a(x)))
        x = in_4a = self.inception4a(x)
        x = in_4d = self.inception4d(self.inception4c(self.inception4b(x)))
        x = pool(self.inception4e(x))
        return self.inception5b(self.inception5a(x)), in_4a, in_4d

    def forward(self, x: Any) -> Any:
        """Return one logit per class, in training also those of the auxiliary heads."""
        x, in_4a, in_4d = self.stages(x)
        logits = self.fc(self.dropout(flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1)))
        if not (self.training and self.aux_logits):
            return logits
        return GoogLeNetOutputs(logits, self.aux2(in_4d), self.aux1(in_4a))


@published(
    2014,
    "Szegedy: Going deeper with convolutions",
    parameters=13_378_280,
    multiply_adds=1_582_671_872,
)
def googlenet2014(**settings: Any) -> GoogLeNet2014:
    """Build the paper's GoogLeNet: 6,998,552 parameters, and 6,379,728 in its auxiliary heads."""
    return GoogLeNet2014(**settings)
