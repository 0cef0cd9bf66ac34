"""Vectors in compiled code against NumPy."""

import numpy as np
import pytest

jit = pytest.importorskip("minicnn_kernels.cpu.jit", reason="Numba is not installed")
from minicnn_kernels.cpu.lanes import add, load, multiply_add, repeat, store, zeros  # noqa: E402


@jit.jit()
def add_product(x, y, place):
    """Add x * x for a block of 64 values, one of 4 and one of 1."""
    store(y, place, multiply_add(load(x, place, 64), load(x, place, 64), load(y, place, 64)))
    place += 64
    store(y, place, multiply_add(load(x, place, 4), load(x, place, 4), load(y, place, 4)))
    place += 4
    store(y, place, multiply_add(load(x, place, 1), load(x, place, 1), load(y, place, 1)))


@jit.jit()
def clear(y, place):
    store(y, place, zeros(y, 8))


@jit.jit()
def fill(x, place, y):
    store(y, 1, repeat(x, place, 8))


@jit.jit()
def add_to(x, y, place):
    store(y, place, add(load(x, 1, 8), load(y, place, 8)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lanes_are_added(dtype):
    x, y = np.arange(9, dtype=dtype), np.full(12, 10, dtype)
    add_to(x, y, 3)
    assert y.tolist() == [10, 10, 10, *range(11, 19), 10]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_value_is_repeated_in_all_lanes(dtype):
    x, y = np.arange(5, dtype=dtype), np.zeros(10, dtype)
    fill(x, 3, y)
    assert y.tolist() == [0, *[3] * 8, 0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("place", [0, 1, 3])  # aligned or not
def test_only_the_lanes_named_are_computed(dtype, place):
    x, y = np.arange(80, dtype=dtype), np.ones(80, dtype)
    expected = y.copy()
    expected[place : place + 69] += x[place : place + 69] ** 2
    add_product(x, y, place)
    np.testing.assert_array_equal(y, expected)


def test_zeros_fill_their_lanes():
    y = np.ones(12, np.float32)
    clear(y, 2)
    assert y.tolist() == [1, 1, *[0] * 8, 1, 1]


def test_nan_and_inf_pass():
    x, y = np.zeros(80, np.float32), np.zeros(80, np.float32)
    x[[5, 66]] = np.nan, np.inf
    add_product(x, y, 0)
    assert np.isnan(y[5])
    assert y[66] == np.inf
    assert np.isfinite(np.delete(y, [5, 66])).all()
