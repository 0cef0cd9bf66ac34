"""Odd window geometries for property tests, and loops that follow the definitions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from minicnn_kernels.geometry import Windows


def pairs(least: int, most: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(least, most), st.integers(least, most))


@st.composite
def windows(draw: st.DrawFn) -> Windows:
    """Draw windows of which at least one fits; often with left-over rows, overlap or gaps."""
    found = Windows(
        image=draw(pairs(1, 7)),
        kernel=draw(pairs(1, 3)),
        stride=draw(pairs(1, 4)),
        padding=draw(pairs(0, 3)),
        dilation=draw(pairs(1, 3)),
    )
    assume(min(found.output) >= 1)
    return found


def pixels(found: Windows) -> Iterator[tuple[tuple[int, int], tuple[int, int], tuple[int, int]]]:
    """Go over (window [i, j], cell [a, b], pixel) for every pixel inside the image."""
    settings = zip(found.stride, found.padding, found.dilation, strict=True)
    (s, p, d), (t, q, e) = settings
    for i, j in product(*map(range, found.output)):
        for a, b in product(*map(range, found.kernel)):
            row, column = i * s - p + a * d, j * t - q + b * e
            if 0 <= row < found.image[0] and 0 <= column < found.image[1]:
                yield (i, j), (a, b), (row, column)


def integers(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Make small whole numbers in float64: their sums are exact in any order."""
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(np.float64)
