"""The packed matrix product against NumPy: sizes around those of tiles and blocks, any strides."""

from itertools import product

import numpy as np
import pytest

gemm = pytest.importorskip("minicnn_kernels.cpu.gemm", reason="Numba is not installed")

LAYOUTS = {
    "rows": np.ascontiguousarray,
    "columns": np.asfortranarray,
    "backwards": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "spread": lambda x: np.repeat(np.repeat(x, 2, 0), 3, 1)[::2, ::3],
}
SIZES = [
    (1, 1, 1),
    (3, 5, 2),
    (gemm.ROWS, 7, 32),
    (gemm.ROWS + 1, 257, 33),
    (gemm.ROW_BLOCK + 3, 20, 16),
    (40, 600, 50),
    (5, 300, 200),
    (0, 3, 2),
    (3, 0, 2),
    (3, 2, 0),
]


def matrices(rows, depth, columns, dtype):
    rng = np.random.default_rng(rows + depth + columns)
    return (rng.integers(-9, 9, shape).astype(dtype) for shape in ((rows, depth), (depth, columns)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", SIZES)
def test_sizes(sizes, dtype):
    a, b = matrices(*sizes, dtype)  # of small integers, so that no sum is rounded
    c = gemm.matmul(a, b)
    assert c.dtype == dtype
    np.testing.assert_array_equal(c, a @ b)


@pytest.mark.parametrize(("of_a", "of_b"), list(product(LAYOUTS, LAYOUTS)))
def test_layouts(of_a, of_b):
    a, b = matrices(31, 40, 37, np.float32)
    before = a.copy(), b.copy()
    np.testing.assert_array_equal(gemm.matmul(LAYOUTS[of_a](a), LAYOUTS[of_b](b)), a @ b)
    np.testing.assert_array_equal((a, b)[0], before[0])
    np.testing.assert_array_equal((a, b)[1], before[1])


def test_read_only_matrices():
    a, b = matrices(4, 5, 6, np.float64)
    a.flags.writeable = b.flags.writeable = False
    np.testing.assert_array_equal(gemm.matmul(a, b), a @ b)


def test_nan_and_inf_stay_in_their_row():
    a, b = np.ones((30, 20), np.float32), np.ones((20, 40), np.float32)
    a[3, 4], a[20, 1] = np.nan, np.inf
    c = gemm.matmul(a, b)
    assert np.isnan(c[3]).all()
    assert np.isinf(c[20]).all()
    assert (np.delete(c, [3, 20], 0) == 20).all()


def test_a_sum_in_several_sections(monkeypatch):
    monkeypatch.setattr(gemm, "PACKED_BYTES", 4 * 40 * 30)
    a, b = matrices(20, 100, 40, np.float32)
    np.testing.assert_array_equal(gemm.matmul(a, b), a @ b)


@pytest.mark.parametrize("sizes", [(300, 128, 256), (10, 300, 1000)])
def test_on_several_threads(sizes, monkeypatch):
    """Split by rows, and by columns where there are few rows."""
    parts = []

    def run(kernel, count, *arguments, grain):
        for begin, end in ((0, count // 3), (count // 3, count)):
            parts.append((begin, end))
            kernel(begin, end, *arguments)

    monkeypatch.setattr(gemm, "parallel", run)
    a, b = matrices(*sizes, np.float32)
    np.testing.assert_array_equal(gemm.matmul(a, b), a @ b)
    assert len(parts) == 4


def test_accuracy():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 500, 500))
    c = gemm.matmul(a.astype(np.float32), b.astype(np.float32))
    assert np.linalg.norm(c - a @ b) <= 2e-6 * np.linalg.norm(a @ b)
