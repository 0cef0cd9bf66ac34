"""What a division leaves, bit for bit as NumPy."""

import itertools

import numpy as np
import pytest

division = pytest.importorskip("minicnn_kernels.cpu.division", reason="Numba is not installed")

ODD = np.array(
    [0.0, -0.0, 1, -1, 0.5, 3, -3, 1e-45, 1.2e-38, 3e38, -3e38, np.inf, -np.inf, np.nan, 1e9, 7e20],
    np.float32,
)


def pairs():
    rng = np.random.default_rng(0)
    spread = rng.standard_normal((2, 40_000)) * 10.0 ** rng.uniform(-4, 4, (2, 40_000))
    multiples = rng.integers(-50, 50, 5000) * (divisors := rng.uniform(0.1, 9, 5000))
    odd = np.array(list(itertools.product(ODD, ODD))).T
    a, b = np.hstack([spread, [multiples, divisors], odd]).astype(np.float32)
    return a.reshape(4, -1), b.reshape(4, -1)


@pytest.mark.parametrize("name", ["fmod", "remainder"])
def test_bit_for_bit(name):
    a, b = pairs()
    found = getattr(division, name)(a, b)
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(a, b)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
    numbers = ~np.isnan(found)
    np.testing.assert_array_equal(np.signbit(found)[numbers], np.signbit(expected)[numbers])


@pytest.mark.parametrize("name", ["fmod", "remainder"])
def test_no_numbers(name):
    assert getattr(division, name)(*np.zeros((2, 0, 3), np.float32)).shape == (0, 3)
