"""The peak loops compute what they say, so that none of their work can be left out."""

import numpy as np
import pytest

peak = pytest.importorskip("minicnn_kernels.cpu.peak", reason="Numba is not installed")


def by_loops(steps, factor):
    """Add up the first lane of all chains: sum = sum * factor + factor, in float32."""
    factor, total = np.float32(factor), np.float32(0)
    for number in range(peak.CHAINS):
        value = np.float32(number)
        for _ in range(steps):
            value = np.float32(value * factor + factor)
        total += value
    return total


@pytest.mark.parametrize("steps", [1, 2, 9])
def test_multiply_adds(steps):
    sums = np.array([0.5, 0.25, 0.5], np.float32)
    peak.multiply_add(1, 3, steps, sums)
    assert sums[0] == 0.5  # not of this part
    assert sums[1:] == pytest.approx([by_loops(steps, 0.25), by_loops(steps, 0.5)], rel=1e-6)


def test_triad(rng):
    a, b, c = rng.standard_normal((3, 50)).astype(np.float32)
    before, factor = a.copy(), np.float32(0.5)
    peak.triad(10, 40, a, b, c, factor)
    np.testing.assert_allclose(a[10:40], (b + factor * c)[10:40], rtol=1e-6)
    np.testing.assert_array_equal(a[:10], before[:10])
    np.testing.assert_array_equal(a[40:], before[40:])
