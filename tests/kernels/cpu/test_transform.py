"""Products with constant matrices, written out, against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn_kernels.cook_toom import cook_toom

transform = pytest.importorskip("minicnn_kernels.cpu.transform", reason="Numba is not installed")

from minicnn_kernels.cpu.jit import jit  # noqa: E402 - only where Numba is there
from minicnn_kernels.cpu.vector import VECTOR_BYTES  # noqa: E402

pixels = transform.between(lambda matrices: matrices.bt)
results = transform.between(lambda matrices: matrices.at)


@jit()
def transform_both(m, x, lanes, v, y):
    """V = B^T X B, Y = A^T X A, for X of (n, n) vectors in rows, V in columns, Y two apart."""
    n = m + 2
    pixels(m, x, 0, n * lanes, lanes, v, 0, lanes, n * lanes)
    results(m, x, 0, n * lanes, lanes, y, 1, 2 * m * lanes, 2 * lanes)


@pytest.mark.parametrize("m", [2, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_matrices_of_vectors_between_constants(m, dtype):
    n, lanes = m + 2, VECTOR_BYTES // np.dtype(dtype).itemsize
    x = np.random.default_rng(0).standard_normal((n, n, lanes)).astype(dtype)
    v, y = np.zeros((n, n, lanes), dtype), np.full(2 * m * m * lanes + 1, 7, dtype)
    transform_both(m, x.reshape(-1), lanes, v.reshape(-1), y)
    at, _, bt = cook_toom(m, 3)
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == np.float32 else {"atol": 1e-12}
    np.testing.assert_allclose(v, np.einsum("ia,abv,jb->jiv", bt, x, bt), **tolerance)
    found = y[1:].reshape(m, m, 2, lanes)
    np.testing.assert_allclose(found[:, :, 0], np.einsum("ia,abv,jb->ijv", at, x, at), **tolerance)
    assert (found[:, :, 1] == 7).all()
    assert y[0] == 7


@jit()
def move_one(x, at_x, y, at_y):
    """Copy a vector."""
    transform.move(x, at_x, y, at_y)


def test_a_vector_is_moved():
    lanes = VECTOR_BYTES // 8
    x, y = np.arange(3.0 * lanes), np.zeros(3 * lanes)
    move_one(x, 2, y, 3)
    assert y.tolist() == [0] * 3 + x[2 : lanes + 2].tolist() + [0] * (2 * lanes - 3)
