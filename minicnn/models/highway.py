"""Highway networks: a gate decides how much of a layer's input passes it unchanged.

Paper: Srivastava, Greff, Schmidhuber 2015, "Highway networks", sections 2 to 4, arXiv:1505.00387,
and "Training very deep networks", arXiv:1507.06228.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from minicnn import nn
from minicnn.models.catalogue import published
from minicnn.nn import functional as F
from minicnn.nn import init
from minicnn.ops.shape import flatten

__all__ = ["highway_cnn", "highway_mlp"]

# Channels of the convolutions between poolings: those of Fitnet 4 (Romero et al. 2014, "FitNets:
# hints for thin deep nets", Table 7), which the paper makes a highway of.
STAGES = ((32, 32, 32, 48, 48), (80,) * 6, (128,) * 6)


class Highway(nn.Module):
    """y = T(x) H(x) + (1 - T(x)) x, H = relu(transform(x)), T = sigmoid(gate(x)).

    The gate's bias is negative at first, so that the input passes nearly unchanged through any
    number of layers, and gradients pass back.
    """

    def __init__(self, transform: nn.Module, gate: Any, bias: float) -> None:
        super().__init__()
        self.transform, self.gate = transform, gate
        init.constant_(gate.bias, bias)

    def forward(self, x: Any) -> Any:
        """Mix what the layer makes of its input with the input."""
        t = F.sigmoid(self.gate(x))
        return t * F.relu(self.transform(x)) + (1 - t) * x


@published(
    2015,
    "Srivastava: Highway networks",
    parameters=301_660,
    multiply_adds=296_700,
    input_shape=(1, 32, 32),
)
def highway_mlp(
    num_classes: int = 10,
    input_shape: Sequence[int] = (1, 32, 32),
    layers: int = 50,
    units: int = 50,
    gate_bias: float = -4.0,
) -> nn.Sequential:
    """Build `layers` dense layers, all but the first of them highways, and an output.

    A highway has two matrices; plain layers of as many parameters have 71 units instead of 50.  The
    deeper the network, the lower `gate_bias` should be: the paper tried -1 to -10.
    """
    model = nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), units), nn.ReLU())
    for _ in range(layers - 1):
        model.append(Highway(nn.Linear(units, units), nn.Linear(units, units), gate_bias))
    return model.append(nn.Linear(units, num_classes))


class HighwayCNN(nn.Module):
    """Stages of 3x3 convolutions with max-pooling between and behind, for 32x32 pixels or others.

    A layer is a highway where it keeps the number of channels, and plain where it changes it.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 3,
        stages: Sequence[Sequence[int]] = STAGES,
        gate_bias: float = -2.0,
    ) -> None:
        super().__init__()
        self.features, channels = nn.Sequential(), in_channels
        for number, stage in enumerate(stages):
            if number:
                self.features.append(nn.MaxPool2d(2))
            for out in stage:
                transform = nn.Conv2d(channels, out, 3, padding=1)
                if out == channels:
                    gate = nn.Conv2d(out, out, 3, padding=1)
                    self.features.append(Highway(transform, gate, gate_bias))
                else:
                    self.features.extend((transform, nn.ReLU(inplace=True)))
                channels = out
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Any) -> Any:
        """Return one logit per class."""
        return self.fc(flatten(F.adaptive_max_pool2d(self.features(x), (1, 1)), 1))


@published(
    2015,
    "Srivastava: Highway networks",
    parameters=2_274_186,
    multiply_adds=351_831_296,
    input_shape=(3, 32, 32),
)
def highway_cnn(**settings: Any) -> HighwayCNN:
    """Build the network of 2,274,186 parameters; the settings are those of the class."""
    return HighwayCNN(**settings)
