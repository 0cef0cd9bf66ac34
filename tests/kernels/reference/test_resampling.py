"""Weighted sums against a matrix product."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn_kernels import weighted_sums
from minicnn_kernels.reference import resampling
from minicnn_kernels.registry import can_compile

needs_numba = pytest.mark.skipif(not can_compile(), reason="Numba is not installed")

PLACES, WEIGHTS = np.array([[0, 2, 1, 3, 3], [1, 2, 0, 0, 3]]), np.arange(10.0).reshape(2, 5)


def by_matrix(x, places, weights, dim):
    matrix = np.zeros((places.shape[1], x.shape[dim]))
    for k, i in np.ndindex(places.shape):
        matrix[i, places[k, i]] += weights[k, i]
    return np.moveaxis(np.tensordot(matrix, x, (1, dim)), 0, dim)


@pytest.mark.parametrize("shape", [(4,), (3, 4), (4, 3), (2, 4, 3), (0, 4), (4, 0)])
@pytest.mark.parametrize("pass_bytes", [1, 2**19])
def test_weighted_sums(shape, pass_bytes, monkeypatch):
    monkeypatch.setattr(resampling, "PASS_BYTES", pass_bytes)
    x, dim = np.random.default_rng(0).standard_normal(shape), shape.index(4)
    y = weighted_sums(x, PLACES, WEIGHTS, dim=dim, algorithm="numpy")
    np.testing.assert_allclose(y, by_matrix(x, PLACES, WEIGHTS, dim), atol=1e-12)


def test_a_sum_of_nothing_is_0():
    y = weighted_sums(np.ones((2, 4)), PLACES[:0], WEIGHTS[:0], dim=1, algorithm="numpy")
    np.testing.assert_array_equal(y, np.zeros((2, 5)))


@needs_numba
def test_large_arrays_are_compiled():
    weights = WEIGHTS.astype(np.float32)
    assert weighted_sums.choose(
        np.ones((8000, 4), np.float32), PLACES, weights, dim=1
    ).name == "lines"  # fmt: skip
    assert weighted_sums.choose(np.ones((9, 4), np.float32), PLACES, weights, dim=1).name == "numpy"
    assert weighted_sums.choose(np.ones((9000, 4), int), PLACES, WEIGHTS, dim=1).name == "numpy"
