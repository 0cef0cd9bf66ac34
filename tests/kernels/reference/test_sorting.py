"""The order of values, against Python's `sorted`."""

import numpy as np
import pytest

from minicnn_kernels import threads
from minicnn_kernels.reference import copying
from minicnn_kernels.reference.sorting import foremost, order

DTYPES = [np.float32, np.float64, np.float16, np.int64, np.uint8, bool]
CASES = [((6,), 0), ((3, 5), 0), ((3, 5), 1), ((2, 3, 4), 1), ((1, 1), 0), ((0, 3), 1), ((2, 0), 1)]


@pytest.fixture(params=[1, 2], ids=lambda n: f"{n} threads", autouse=True)
def small_parts(request, monkeypatch):
    monkeypatch.setattr(copying, "PART_BYTES", 1)
    monkeypatch.setattr(threads, "_pool", pool := threads._Pool(request.param))
    yield
    pool.stop()


def special(rng, shape, dtype):
    """Return values with many equal ones, and for floating-point types the special ones."""
    if np.dtype(dtype).kind != "f":
        return rng.integers(0, 3, shape).astype(dtype)
    values = [0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1e-40, -1e-40, 1.0, -1.0, 2.5]
    return rng.choice(np.array(values, dtype), shape)


def in_order(row, descending):
    def key(i):
        return (np.isnan(row[i]), 0 if np.isnan(row[i]) else row[i].item())

    return sorted(range(len(row)), key=key, reverse=descending)  # equal values keep their order


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "dim"), CASES)
def test_order(rng, shape, dim, dtype, descending):
    for turned in (False, True):
        x = special(rng, shape, dtype)
        x = np.flip(x) if turned else x
        found = order(x, dim, descending)
        assert found.dtype == np.int64
        assert found.flags.c_contiguous
        expected = np.apply_along_axis(in_order, dim, x, descending) if x.size else found
        np.testing.assert_array_equal(found, expected)
        assert found.shape == shape


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "dim"), CASES)
def test_foremost(rng, shape, dim, dtype, largest):
    x = special(rng, shape, dtype)
    for k in range(shape[dim] + 1):
        found = foremost(x, k, dim, largest)
        assert found.shape == (*shape[:dim], k, *shape[dim + 1 :])
        chosen = np.sort(np.take_along_axis(x, found, dim), dim)
        expected = np.sort(x, dim)
        expected = np.flip(np.flip(expected, dim).take(range(k), dim), dim) if largest else expected
        np.testing.assert_array_equal(chosen, expected.take(range(k), dim))


def test_many_values_are_sorted_in_parts(rng):
    x = rng.normal(size=(40, 300)).astype(np.float32)
    np.testing.assert_array_equal(order(x, 1), np.argsort(x, 1, stable=True))
