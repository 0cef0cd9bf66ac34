"""LeNet-5, as printed in 1998 and as it is built today.

Paper: LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document
recognition", section II.B.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from minicnn.factories import ones, zeros
from minicnn.models.catalogue import published
from minicnn.nn import Conv2d, Flatten, Linear, MaxPool2d, Module, Parameter, ReLU, Sequential, Tanh
from minicnn.nn import functional as F

__all__ = ["lenet5"]


class Subsampling(Module):
    """S2, S4: the mean of 2x2 pixels, times a coefficient, plus a bias, one pair per map.

    y[n,c,i,j] = mean_ab x[n, c, 2i + a, 2j + b] * coefficient[c] + bias[c]
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.coefficient = Parameter(ones(channels, 1, 1))
        self.bias = Parameter(zeros(channels, 1, 1))

    def forward(self, x: Any) -> Any:
        """Halve the image."""
        return F.avg_pool2d(x, 2) * self.coefficient + self.bias


class LeNet5(Sequential):
    """The layers in their order."""

    def features(self, x: Any) -> Any:
        """Return the maps before the dense layers."""
        return self[:8](x)


@published(
    1998,
    "LeCun: Gradient-based learning applied to document recognition",
    parameters=61_750,
    multiply_adds=416_520,
    input_shape=(1, 32, 32),
)
def lenet5(num_classes: int = 10, in_channels: int = 1, modern: bool = False) -> LeNet5:
    """Build LeNet-5 for 32x32 images.

    The 1998 form has tanh and trainable mean pooling; `modern=True` takes ReLU and max-pooling.
    Two deviations from the paper: C3 sees all six maps of S2 instead of its Table I, and the output
    is linear for softmax cross-entropy instead of radial basis functions.

    >>> model = lenet5()
    >>> sum(parameter.array.size for parameter in model[0].parameters())  # C1: (5*5*1 + 1) * 6
    156
    """
    squash = ReLU if modern else Tanh

    def pooling(channels: int) -> Module:
        return MaxPool2d(2) if modern else Subsampling(channels)

    return LeNet5(OrderedDict(
        c1=Conv2d(in_channels, 6, 5),  # 6 @ 28x28
        squash1=squash(),
        s2=pooling(6),  # 6 @ 14x14
        c3=Conv2d(6, 16, 5),  # 16 @ 10x10
        squash3=squash(),
        s4=pooling(16),  # 16 @ 5x5
        c5=Conv2d(16, 120, 5),  # 120 @ 1x1
        squash5=squash(),
        flatten=Flatten(),
        f6=Linear(120, 84),
        squash6=squash(),
        output=Linear(84, num_classes),
    ))  # fmt: skip
