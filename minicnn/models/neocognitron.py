"""Neocognitron: planes of S-cells that find a feature, planes of C-cells that forgive its place.

No gradient is needed: shown a pattern, the cells that answer most strongly strengthen the synapses
through which they were excited.

Paper: Fukushima 1980, "Neocognitron: a self-organizing neural network model for a mechanism of
pattern recognition unaffected by shift in position", Biological Cybernetics 36.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import nn
from minicnn.errors import ShapeError
from minicnn.factories import tensor, zeros
from minicnn.models.catalogue import published
from minicnn.nn import functional as F
from minicnn.nn import init
from minicnn.ops.elementwise import sqrt
from minicnn.ops.shape import flatten

__all__ = ["neocognitron"]

RETINA = 16, 16  # pixels
WINDOW = 5  # of S-cells
STAGES = (  # S-border, S-column, amount of reinforcement q, C-window, C-border
    (2, 5, 1.0, 5, -1),  # S 16x16, C 10x10
    (1, 5, 16.0, 5, 1),  # S 8x8, C 6x6
    (0, 2, 16.0, 2, 0),  # S 2x2, C 1x1
)
SELECTIVITY = (4.0, 1.5, 1.5)  # r of each stage
SATURATION = 0.5  # alpha
NEAR, SPREAD = 0.8, 0.9  # c[v] and d[v] fall like these to the power |v|


def falling(base: float, size: int, *repeats: int) -> Any:
    """Return windows of base^|v|, v the way from the middle in cells, as an array."""
    middle = np.arange(size) - (size - 1) / 2
    return np.tile(base ** np.hypot(middle[:, np.newaxis], middle), (*repeats, 1, 1))


class SCells(nn.Module):
    """Planes of cells that compare a window of the layer before with what they have learned.

    s[k,n] = r * relu((1 + sum_jv a[k,j,v] u[j,n+v]) / (1 + 2r / (1 + r) * b[k] * v[n]) - 1)
    v[n] = sqrt(sum_jv c[v] u[j,n+v]^2), and sum_jv c[v] = 1
    """

    def __init__(
        self, channels: int, planes: int, border: int, column: int, amount: float, r: float
    ) -> None:
        super().__init__()
        self.border, self.column, self.amount, self.r = border, column, amount, r
        shape = planes, channels, WINDOW, WINDOW
        self.a = nn.Parameter(zeros(*shape), requires_grad=False)
        self.b = nn.Parameter(zeros(planes, 1, 1), requires_grad=False)
        near = falling(NEAR, WINDOW, 1, channels)
        self.register_buffer("c", tensor((near / near.sum()).astype("float32")))
        init.uniform_(self.a, 0, 1e-3 / (channels * WINDOW**2))  # who is first is left to chance

    def forward(self, u: Any) -> Any:
        """Return the cells' activities."""
        excitation = F.conv2d(F.pad(u, (self.border,) * 4), self.a)
        inhibition = 2 * self.r / (1 + self.r) * self.b * self.inhibitors(u)
        return self.r * F.relu((1 + excitation) / (1 + inhibition) - 1)

    def inhibitors(self, u: Any) -> Any:
        """Return v, the root of the weighted mean square of each window."""
        return sqrt(F.conv2d(F.pad(u, (self.border,) * 4) ** 2, self.c))

    def reinforce(self, u: Any, s: Any) -> None:
        """Strengthen the synapses of each plane's representative, and so those of its plane.

        a[k,j,v] += q c[v] u[j,n+v], b[k] += q / 2 * v[n], where n is the representative of plane k
        """
        windows, v = F.pad(u, (self.border,) * 4).array[0], self.inhibitors(u).array[0, 0]
        for k, (i, j) in representatives(s.array[0], self.column).items():
            seen = windows[:, i : i + WINDOW, j : j + WINDOW]
            self.a.array[k] += self.amount * self.c.array[0] * seen
            self.b.array[k] += self.amount / 2 * v[i, j]


def representatives(s: Any, column: int) -> dict[int, tuple[int, int]]:
    """Return the place of the representative of each plane that has one.

    All cells in a square of this size, of every plane, are an S-column; columns overlap. The most
    active cell of a column is a candidate, the most active candidate of a plane represents it.
    """
    best: dict[int, float] = {}
    places = {}
    for i in range(s.shape[1] - column + 1):
        for j in range(s.shape[2] - column + 1):
            cells = s[:, i : i + column, j : j + column]
            k, di, dj = (int(n) for n in np.unravel_index(cells.argmax(), cells.shape))
            if cells[k, di, dj] > best.get(k, 0):
                best[k], places[k] = cells[k, di, dj], (i + di, j + dj)
    return places


class CCells(nn.Module):
    """Planes of cells that answer when any S-cell near their place does.

    c[k,n] = x / (alpha + x), x = relu((1 + e[k,n]) / (1 + mean_j e[j,n]) - 1)
    e[k,n] = sum_v d[v] s[k,n+v]
    """

    def __init__(self, planes: int, window: int, border: int) -> None:
        super().__init__()
        self.planes, self.border = planes, border
        self.register_buffer("d", tensor(falling(SPREAD, window, planes, 1).astype("float32")))

    def forward(self, s: Any) -> Any:
        """Return the cells' activities."""
        e = F.conv2d(F.pad(s, (self.border,) * 4), self.d, groups=self.planes)
        x = F.relu((1 + e) / (1 + e.mean(1, keepdim=True)) - 1)
        return x / (SATURATION + x)


class Neocognitron(nn.Module):
    """Three pairs of an S- and a C-layer for 16x16 pixels between 0 and 1; one C-cell a plane last.

    A last cell becomes active for one pattern and what resembles it, wherever it stands. Which
    pattern that is, nobody tells it: see which cell answers to which.

    Sizes, columns, `selectivity`, amounts of reinforcement and saturation are the paper's. Chosen
    here: how c and d fall with the distance, borders that lead to the paper's sizes, and random
    first synapses, where the paper gives each plane a faint orientation.
    """

    def __init__(
        self, planes: int = 24, in_channels: int = 1, selectivity: Any = SELECTIVITY
    ) -> None:
        super().__init__()
        self.in_channels = channels = in_channels
        self.stages = nn.ModuleList()
        for (border, column, q, window, c_border), r in zip(STAGES, selectivity, strict=True):
            s = SCells(channels, planes, border, column, q, r)
            self.stages.append(nn.Sequential(s, CCells(planes, window, c_border)))
            channels = planes

    def forward(self, x: Any) -> Any:
        """Return the activity of the last cell of each plane, (N, planes)."""
        for stage in self.stages:
            x = stage(x)
        return flatten(x, 1)

    def present(self, pattern: Any) -> None:
        """Show a single pattern, (1, in_channels, 16, 16); every S-layer learns from it.

        Raises:
            ShapeError: the pattern has another shape.
        """
        expected = 1, self.in_channels, *RETINA
        if tuple(pattern.shape) != expected:
            raise ShapeError(f"present: the pattern must be {expected}, got {tuple(pattern.shape)}")
        u = pattern
        for s_cells, c_cells in self.stages:
            s_cells.reinforce(u, s_cells(u))
            u = c_cells(s_cells(u))


@published(
    1980,
    "Fukushima: Neocognitron: a self-organizing neural network model",
    parameters=29_472,
    multiply_adds=1_261_696,
    input_shape=(1, 16, 16),
)
def neocognitron(**settings: Any) -> Neocognitron:
    """Build the Neocognitron with its 29,472 modifiable synapses; the settings are the class's."""
    return Neocognitron(**settings)
