"""Windows and pixels, each seen from the other, against loops over all of them."""

from __future__ import annotations

from itertools import product

import numpy as np
from geometries import pixels, windows
from hypothesis import given

from minicnn.bench.conv import ConvWork
from minicnn.bench.images import gathered
from minicnn.bench.problem import ConvProblem


@given(windows((1, 2, 3)))
def test_who_sees_whom(found):
    problem = ConvProblem(
        1, 1, found.image, found.kernel, found.stride, found.padding, found.dilation
    )
    work = ConvWork(problem, "fwd")
    expected = {(window, cell): pixel for window, cell, pixel in pixels(found)}
    cells = list(product(*map(range, found.kernel)))
    for window in product(*map(range, found.output)):
        for cell, pixel in zip(cells, product(*work.seen_by(window)), strict=True):
            inside = all(0 <= k < n for k, n in zip(pixel, found.image, strict=True))
            assert expected.get((window, cell)) == (pixel if inside else None)
    seen = {(window, cell, pixel) for (window, cell), pixel in expected.items()}
    for pixel in product(*map(range, found.image)):
        for cell, window in zip(cells, product(*work.seeing(pixel)), strict=True):
            there = all(0 <= i < n for i, n in zip(window, found.output, strict=True))
            assert ((window, cell, pixel) in seen) == there


def test_pixels_outside_have_the_value_asked_for():
    image = np.arange(12.0, dtype=np.float32).reshape(1, 3, 4)
    found = gathered(image, [np.array([-1, 0]), np.array([3, 4])], outside=-np.inf)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [[[-np.inf, -np.inf], [3, -np.inf]]])
