"""A small network for 32x32 pixels, as Keras' first examples had it for CIFAR-10.

Source: the example cifar10_cnn.py of Keras (Chollet and others, 2015), which trains by RMSprop with
learning rate 1e-4 and decay 1e-6.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from minicnn import nn
from minicnn.models.catalogue import published
from minicnn.nn import init

__all__ = ["cifar_cnn"]

CHANNELS, UNITS = (32, 64), 512


class CifarCNN(nn.Sequential):
    """The layers in their order."""

    def features(self, x: Any) -> Any:
        """Return the maps before the dense layers."""
        return self[:12](x)


@published(
    2015,
    "Chollet: Keras, example of a small network for CIFAR-10",
    parameters=1_250_858,
    multiply_adds=20_741_120,
    input_shape=(3, 32, 32),
)
def cifar_cnn(
    num_classes: int = 10,
    in_channels: int = 3,
    width: float = 1.0,
    dropout: tuple[float, float, float] = (0.25, 0.25, 0.5),
) -> CifarCNN:
    """Build conv-conv-pool-dropout twice and two dense layers, 1,250,858 parameters.

    `dropout` is after each pooling and before the output.  `width` is the part of the channels and
    units to have.

    >>> model = cifar_cnn()
    >>> sum(parameter.array.size for parameter in model.dense.parameters())  # (6*6*64 + 1) * 512
    1180160
    """
    first, second, units = (round(c * width) for c in (*CHANNELS, UNITS))
    model = CifarCNN(OrderedDict(
        conv1=nn.Conv2d(in_channels, first, 3, padding=1),  # 32x32
        relu1=nn.ReLU(inplace=True),
        conv2=nn.Conv2d(first, first, 3),  # 30x30
        relu2=nn.ReLU(inplace=True),
        pool2=nn.MaxPool2d(2),  # 15x15
        dropout2=nn.Dropout(dropout[0]),
        conv3=nn.Conv2d(first, second, 3, padding=1),
        relu3=nn.ReLU(inplace=True),
        conv4=nn.Conv2d(second, second, 3),  # 13x13
        relu4=nn.ReLU(inplace=True),
        pool4=nn.MaxPool2d(2),  # 6x6
        dropout4=nn.Dropout(dropout[1]),
        flatten=nn.Flatten(),
        dense=nn.Linear(second * 6 * 6, units),
        relu5=nn.ReLU(inplace=True),
        dropout5=nn.Dropout(dropout[2]),
        output=nn.Linear(units, num_classes),
    ))  # fmt: skip
    return model.apply(_fill)


def _fill(module: Any) -> None:
    """Draw the first weights; biases are 0."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        init.xavier_uniform_(module.weight)
        init.zeros_(module.bias)
