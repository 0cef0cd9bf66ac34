"""Geometries and arrays for algorithms of 3x3 convolutions with stride 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minicnn_kernels import conv, conv_input, conv_weight


@dataclass
class Convolution3x3:
    """Arrays and settings of one convolution, seen from its three sides."""

    x: np.ndarray
    w: np.ndarray
    dy: np.ndarray
    padding: tuple[int, int]

    @property
    def settings(self) -> dict[str, Any]:
        return {"stride": (1, 1), "padding": self.padding, "dilation": (1, 1), "groups": 1}

    def forward(self, algorithm: str) -> np.ndarray:
        return conv(self.x, self.w, algorithm=algorithm, **self.settings)

    def input(self, algorithm: str) -> np.ndarray:
        size = self.x.shape[2:]
        return conv_input(self.dy, self.w, algorithm=algorithm, size=size, **self.settings)

    def weight(self, algorithm: str) -> np.ndarray:
        return conv_weight(self.x, self.dy, algorithm=algorithm, size=(3, 3), **self.settings)

    def all_three(self, algorithm: str) -> list[np.ndarray]:
        return [self.forward(algorithm), self.input(algorithm), self.weight(algorithm)]

    def converted(self, change: Any) -> Convolution3x3:
        return Convolution3x3(change(self.x), change(self.w), change(self.dy), self.padding)


def convolution(
    images: int = 2,
    channels: int = 3,
    filters: int = 4,
    size: tuple[int, int] = (7, 9),
    padding: tuple[int, int] = (1, 1),
    dtype: Any = np.float64,
    seed: int = 0,
) -> Convolution3x3:
    """Make normal values for a convolution."""
    rng = np.random.default_rng(seed)
    output = [n + 2 * p - 2 for n, p in zip(size, padding, strict=True)]
    shapes = (images, channels, *size), (filters, channels, 3, 3), (images, filters, *output)
    return Convolution3x3(*(rng.standard_normal(shape).astype(dtype) for shape in shapes), padding)


def sides() -> st.SearchStrategy[tuple[int, int]]:
    """Draw the size of one side and its padding; at least one window fits."""
    pairs = st.tuples(st.integers(1, 11), st.integers(0, 3))
    return pairs.filter(lambda side: side[0] + 2 * side[1] >= 3)


def convolutions(most: int = 5) -> st.SearchStrategy[Convolution3x3]:
    """Draw convolutions of odd sizes, with up to `most` channels and filters."""
    return st.builds(
        lambda rows, columns, **sizes: convolution(
            size=(rows[0], columns[0]), padding=(rows[1], columns[1]), **sizes
        ),
        sides(),
        sides(),
        images=st.integers(0, 3),
        channels=st.integers(1, most),
        filters=st.integers(1, most),
        seed=st.integers(0, 9),
    )


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Return |found - expected| / |expected|, with Euclidean norms."""
    norm = np.linalg.norm(expected)
    return float(np.linalg.norm(found - expected) / norm) if norm else 0.0
