"""Odd window geometries for property tests, and loops that follow the definitions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from minicnn_kernels.geometry import Sides, Windows

ANY_SIDES = (1, 2, 3)


@st.composite
def windows(draw: st.DrawFn, ndims: tuple[int, ...] = (2,)) -> Windows:
    """Draw windows of which at least one fits; often with left-over rows, overlap or gaps."""
    ndim = draw(st.sampled_from(ndims))

    def numbers(least: int, most: int) -> Sides:
        return draw(st.tuples(*[st.integers(least, most)] * ndim))

    found = Windows(
        image=numbers(1, 7 if ndim < 3 else 4),
        kernel=numbers(1, 3),
        stride=numbers(1, 4),
        padding=numbers(0, 3 if ndim < 3 else 1),
        dilation=numbers(1, 3),
    )
    assume(min(found.output) >= 1)
    return found


def pixels(found: Windows) -> Iterator[tuple[Sides, Sides, Sides]]:
    """Go over (window [i, j], cell [a, b], pixel) for every pixel inside the image."""
    steps = list(zip(found.stride, found.padding, found.dilation, strict=True))
    cells = list(product(*map(range, found.kernel)))
    for window in product(*map(range, found.output)):
        for cell in cells:
            pixel = tuple(
                i * s - p + a * d for i, a, (s, p, d) in zip(window, cell, steps, strict=True)
            )
            if all(0 <= k < n for k, n in zip(pixel, found.image, strict=True)):
                yield window, cell, pixel


def integers(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Make small whole numbers in float64: their sums are exact in any order."""
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(np.float64)
