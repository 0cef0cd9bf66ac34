"""LeNet-5 exactly as in 1998: partly connected maps, squashed pooling, distances to drawn letters.

Paper: LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document
recognition", section II.B, Table I, Figures 2 and 3, equations 5 to 9, appendix A.
"""

from __future__ import annotations

from typing import Any

from minicnn import nn
from minicnn.errors import ArgumentError
from minicnn.factories import tensor
from minicnn.models.catalogue import published
from minicnn.models.lenet import Subsampling
from minicnn.nn import init
from minicnn.ops.shape import cat

__all__ = ["lenet5_1998"]

TABLE_I = (  # which maps of S2 each map of C3 sees
    *((i, (i + 1) % 6, (i + 2) % 6) for i in range(6)),
    *((i, (i + 1) % 6, (i + 2) % 6, (i + 3) % 6) for i in range(6)),
    *((i, i + 1, (i + 3) % 6, (i + 4) % 6) for i in range(3)),
    (0, 1, 2, 3, 4, 5),
)
# What F6 should show for each digit, 12 rows of 7 pixels; drawn anew after Figure 3.
DIGITS = (
    "......./..###../.#...#./#.....#/#.....#/#.....#/#.....#/#.....#/#.....#/.#...#./..###../.......",
    "......./...#.../..##.../.#.#.../...#.../...#.../...#.../...#.../...#.../...#.../.#####./.......",
    "......./.#####./#.....#/......#/......#/.....#./...##../..#..../.#...../#....../#######/.......",
    "......./.#####./#.....#/......#/......#/..####./......#/......#/......#/#.....#/.#####./.......",
    "......./....##./...#.#./..#..#./.#...#./#....#./#....#./#######/.....#./.....#./.....#./.......",
    "......./#######/#....../#....../#....../######./......#/......#/......#/#.....#/.#####./.......",
    "......./..####./.#...../#....../#....../#.####./##....#/#.....#/#.....#/#.....#/.#####./.......",
    "......./#######/......#/.....#./.....#./....#../....#../...#.../...#.../..#..../..#..../.......",
    "......./.#####./#.....#/#.....#/#.....#/.#####./#.....#/#.....#/#.....#/#.....#/.#####./.......",
    "......./.#####./#.....#/#.....#/#.....#/#....##/.####.#/......#/......#/.....#./.####../.......",
)


class Squash(nn.Module):
    """y = 1.7159 tanh(2/3 x), so that f(1) = 1 and f(-1) = -1 (appendix A)."""

    def forward(self, x: Any) -> Any:
        """Return values between -1.7159 and 1.7159."""
        return 1.7159 * (x * (2 / 3)).tanh()


class PartlyConnected(nn.Module):
    """C3: each map is a 5x5 convolution of the maps that Table I gives it."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.ModuleList([nn.Conv2d(len(seen), 1, 5) for seen in TABLE_I])

    def forward(self, x: Any) -> Any:
        """Return 16 maps."""
        inputs = [x[:, i : i + 1] for i in range(x.shape[1])]
        return cat(
            [
                conv(cat([inputs[i] for i in seen], 1))
                for conv, seen in zip(self.maps, TABLE_I, strict=True)
            ],
            1,
        )


class Distances(nn.Module):
    """y[n,i] = -sum_j (x[n,j] - w[i,j])^2, w the fixed picture of digit i in -1 and 1 (equation 7).

    The paper has the distance itself, the smaller the better.  With the minus, cross-entropy of y
    is its equation 9 for a large constant j: the distance to the right digit, and the competition.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        pictures = [picture.replace("/", "") for picture in DIGITS[:num_classes]]
        values = [[1.0 if pixel == "#" else -1.0 for pixel in picture] for picture in pictures]
        self.register_buffer("pictures", tensor(values))

    def forward(self, x: Any) -> Any:
        """Return one number for each digit, 0 at most."""
        distances = x[:, None] - self.pictures
        return -(distances * distances).sum(-1)


class LeNet1998(nn.Sequential):
    """The layers in their order."""

    def features(self, x: Any) -> Any:
        """Return the maps before the dense layer."""
        return self[:10](x)


@published(
    1998,
    "LeCun: Gradient-based learning applied to document recognition",
    parameters=60_000,
    multiply_adds=325_680,
    input_shape=(1, 32, 32),
)
def lenet5_1998(num_classes: int = 10) -> LeNet1998:
    """Build LeNet-5 with all that is in the paper, 60,000 parameters, for 32x32 pixels.

    `num_classes` may leave out the last of the ten digits.  `lenet5` is the form that is usually
    meant: C3 sees all maps, and the output is linear.
    """
    if not 1 <= num_classes <= len(DIGITS):
        raise ArgumentError(
            f"lenet5_1998: num_classes must be 1 to {len(DIGITS)}, got {num_classes}"
        )
    layers = {
        "c1": nn.Conv2d(1, 6, 5),  # 6 @ 28x28
        "s2": Subsampling(6),  # 6 @ 14x14
        "c3": PartlyConnected(),  # 16 @ 10x10
        "s4": Subsampling(16),  # 16 @ 5x5
        "c5": nn.Conv2d(16, 120, 5),  # 120 @ 1x1
        "f6": nn.Sequential(nn.Flatten(), nn.Linear(120, 84)),
    }
    model = LeNet1998()
    for name, layer in layers.items():
        model.add_module(name, layer)
        model.add_module(f"squash{name[1]}", Squash())
    model.add_module("output", Distances(num_classes))
    return model.apply(_fill)


def _fill(module: Any) -> None:
    """Draw the first weights, between -2.4 and 2.4 by the number of inputs (appendix A)."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        bound = 2.4 / module.weight[0].flatten().shape[0]
        init.uniform_(module.weight, -bound, bound)
        init.zeros_(module.bias)
