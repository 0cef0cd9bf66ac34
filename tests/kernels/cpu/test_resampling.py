"""Compiled weighted sums against NumPy's."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from minicnn_kernels import weighted_sums

pytest.importorskip("minicnn_kernels.cpu.resampling", reason="Numba is not installed")


def table(n, count, terms, dtype):
    draw = np.random.default_rng(1)
    return draw.integers(0, n, (terms, count)), draw.standard_normal((terms, count)).astype(dtype)


def both(x, places, weights, dim):
    return [weighted_sums(x, places, weights, dim=dim, algorithm=a) for a in ("lines", "numpy")]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("terms", [0, 1, 2, 5])
@pytest.mark.parametrize("dim", [0, 1, 2, 3])
def test_every_dimension_in_every_layout(dtype, terms, dim):
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(dtype)
    places, weights = table(x.shape[dim], 7, terms, dtype)
    for order in itertools.permutations(range(4)):
        laid = np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
        laid.flags.writeable = False
        y, expected = both(laid, places, weights, dim)
        assert y.dtype == dtype
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layout", [
    lambda x: np.flip(np.flip(x).copy()), lambda x: np.broadcast_to(x[:, :1], x.shape),
    lambda x: np.repeat(x, 2, 1)[:, ::2], lambda x: x[:0],
], ids=["backwards", "repeated", "gaps", "none"])  # fmt: skip
def test_any_strides(layout):
    x = layout(np.arange(24, dtype=np.float32).reshape(4, 3, 2))
    y, expected = both(x, *table(3, 4, 2, np.float32), 1)
    np.testing.assert_allclose(y, expected, rtol=1e-5)


def test_images_keep_their_channels_last():
    x = np.ones((2, 5, 6, 3), np.float32).transpose(0, 3, 1, 2)
    y = weighted_sums(x, *table(6, 4, 2, np.float32), dim=3, algorithm="lines")
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous


def test_nan_reaches_only_those_that_look_at_it():
    x = np.zeros((1, 4), np.float32)
    x[0, 2] = np.nan
    y = weighted_sums(
        x, np.array([[0, 1, 2], [1, 2, 3]]), np.ones((2, 3), np.float32), dim=1, algorithm="lines"
    )
    assert np.isnan(y).tolist() == [[False, True, True]]
