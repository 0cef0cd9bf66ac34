"""Products of a few rows against NumPy's, in float64: sizes around every step of the loops."""

import numpy as np
import pytest

few_rows = pytest.importorskip("minicnn_kernels.cpu.few_rows", reason="Numba is not installed")

DEPTHS = [1, 3, 4, 15, 16, 21]
COLUMNS = [1, 2, 16, 17, 511, 512, 1030]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("rows", [1, 3, 4, 9])
def test_as_numpy_in_double_precision(rng, rows, order, dtype, monkeypatch):
    monkeypatch.setattr(few_rows, "GRAIN", 1)  # so that all threads work
    for depth in DEPTHS:
        for columns in COLUMNS:
            a = rng.normal(size=(rows, depth)).astype(dtype)
            b = np.asarray(rng.normal(size=(depth, columns)), dtype, order=order)
            before = a.copy(), b.copy()
            c = few_rows.product(a, b)
            assert c.dtype == dtype
            assert c.shape == (rows, columns)
            tolerance = 1e-5 if dtype == np.float32 else 1e-13
            expected = a.astype(np.float64) @ b.astype(np.float64)
            np.testing.assert_allclose(c, expected, rtol=0, atol=tolerance * depth)
            np.testing.assert_array_equal(a, before[0])
            np.testing.assert_array_equal(b, before[1])


@pytest.mark.parametrize("order", ["C", "F"])
def test_nan_and_infinity_reach_their_results_only(order):
    a, b = np.ones((3, 20), np.float32), np.ones((20, 40), np.float32, order=order)
    a[1, 18], b[19, 39] = np.nan, np.inf
    c = few_rows.product(a, b)
    assert np.isnan(c[1]).all()
    assert c[[0, 2], 39].tolist() == [np.inf] * 2
    assert (c[[0, 2], :39] == 20).all()
