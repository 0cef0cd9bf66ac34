"""Windows over images, one at a time, for the right results of convolution and pooling."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from minicnn.bench.problem import Images
from minicnn.bench.work import Work
from minicnn_kernels.arrays import Array


class ImageWork(Work):
    """Work on windows: which pixels a window sees, and which windows see a pixel."""

    problem: Images

    def seen_by(self, window: Sequence[int]) -> list[Array]:
        """Return, for each side, the pixels i*s + a*d - p that the window [i, j] sees."""
        return [
            i * s + np.arange(k) * d - p for i, (k, s, d, p) in zip(window, self.sides, strict=True)
        ]

    def seeing(self, pixel: Sequence[int]) -> list[Array]:
        """Return, for each side and cell, the window (k + p - a*d) / s; -1 where s does not divide.

        A window that is not there may be named too.
        """
        found = []
        for at, (k, s, d, p) in zip(pixel, self.sides, strict=True):
            start = at + p - np.arange(k) * d
            found.append(np.where(start % s == 0, start // s, -1))
        return found

    @property
    def sides(self) -> list[tuple[int, int, int, int]]:
        """(kernel, stride, dilation, padding) of each side."""
        problem = self.problem
        geometry = (problem.kernel, problem.stride, problem.dilation, problem.padding)
        return list(zip(*geometry, strict=True))


def gathered(image: Array, coordinates: Sequence[Array], outside: float = 0.0) -> Array:
    """Take image[:, k, l] for all k and l of the coordinates, in float64.

    >>> gathered(np.array([[5.0, 6.0]]), [np.array([-1, 0, 1])])
    array([[0., 5., 6.]])
    """
    inside, clipped = [], []
    for along, size in zip(coordinates, image.shape[1:], strict=True):
        inside.append((along >= 0) & (along < size))
        clipped.append(along.clip(0, size - 1))
    valid = reduce(np.multiply.outer, inside)
    index: tuple[Any, ...] = (slice(None), *np.ix_(*clipped))
    return np.where(valid, image[index], outside).astype(np.float64)
