"""Pooling as work: the right result by loops, and our kernels beside it."""

from __future__ import annotations

import numpy as np
import pytest
from geometries import pixels

from minicnn.bench import pool
from minicnn.bench.kinds import work
from minicnn.bench.work import in_layout, relative_error
from minicnn.errors import AlgorithmError, UsageError

PROBLEMS = [
    "mb2ic3ih6iw5kh3kw2sh2ph1",
    "mb1ic2ih7kh2sh3",
    "mb3ic2iw9kw3pw1",
    "mb2ic2id3ih4iw5kd2",
    "mb9ic2ih9kh5ph2",  # more places than are checked
]


def by_loops(found, operands):
    """Compute the whole result from the definition."""
    windows, direction = found.problem.windows, found.direction
    given = operands["dy" if direction.endswith("_d") else "x"].astype(np.float64)
    sizes = windows.image if direction.endswith("_d") else windows.output
    result = np.zeros((*given.shape[:2], *sizes))
    if direction == "max":
        result -= np.inf
        for window, _, pixel in pixels(windows):
            at = (..., *window)
            result[at] = np.maximum(result[at], given[(..., *pixel)])
    elif direction == "max_d":
        best, place = {}, {}
        for window, _, pixel in pixels(windows):
            values = operands["x"][(..., *pixel)]
            for channel, value in np.ndenumerate(values):
                if value > best.get((channel, window), -np.inf):
                    best[channel, window], place[channel, window] = value, pixel
        for (channel, window), pixel in place.items():
            result[(*channel, *pixel)] += given[(*channel, *window)]
    else:
        for window, _, pixel in pixels(windows):
            target, source = (window, pixel) if direction == "avg" else (pixel, window)
            result[(..., *target)] += given[(..., *source)] / windows.cells
    return result


@pytest.mark.parametrize("text", PROBLEMS)
@pytest.mark.parametrize("direction", pool.DIRECTIONS)
def test_what_is_right_is_what_loops_compute(text, direction):
    found = work("pool", text, direction)
    operands = found.operands()
    (right,), (sample,) = found.expected(operands), found.sampled([by_loops(found, operands)])
    np.testing.assert_allclose(sample, right, rtol=1e-12)
    for layout in ("nchw", "nhwc"):
        for name in (*pool.served_by(found, operands, "cpu"), "auto"):
            built = pool.build(name, found, in_layout(operands, layout))
            (sample,) = found.sampled(built.fetch(built.call()))
            assert relative_error(sample, right) <= found.tolerance(direction, name)


def test_operands_are_not_changed():
    found = work("pool", PROBLEMS[0], "avg_d")
    operands = found.operands()
    before = operands["dy"].copy()
    pool.build("auto", found, operands).call()
    np.testing.assert_array_equal(operands["dy"], before)


def test_refusals():
    with pytest.raises(UsageError, match="no dilation"):
        work("pool", "mb2ic3ih9kh3dh1", "avg")
    found = work("pool", PROBLEMS[0], "max")
    with pytest.raises(AlgorithmError, match="unknown algorithm"):
        pool.build("fft", found, found.operands())
    assert "taps" in pool.known(["max"])
