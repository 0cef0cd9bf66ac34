"""The tile in registers against NumPy, with every meaning of its steps."""

import numpy as np
import pytest

vector = pytest.importorskip("minicnn_kernels.cpu.vector", reason="Numba is not installed")
jit = pytest.importorskip("minicnn_kernels.cpu.jit")


@jit.jit()
def whole(depth, a, at_a, row_step, depth_step, b, at_b, b_step, c, at_c, c_step, accumulate):
    vector.tile_product(
        depth, a, at_a, row_step, depth_step, b, at_b, b_step, c, at_c, c_step, accumulate
    )


@jit.jit()
def half(depth, a, at_a, row_step, depth_step, b, at_b, b_step, c, at_c, c_step, accumulate):
    vector.half_tile_product(
        depth, a, at_a, row_step, depth_step, b, at_b, b_step, c, at_c, c_step, accumulate
    )


@pytest.mark.parametrize(("product", "vectors"), [(whole, 2), (half, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("depth", [0, 1, 9])
@pytest.mark.parametrize("turned", [False, True])
def test_tile(product, vectors, dtype, depth, turned):
    rng = np.random.default_rng(0)
    rows, columns = vector.ROWS, vectors * vector.VECTOR_BYTES // np.dtype(dtype).itemsize
    a = rng.integers(-5, 5, (rows, depth)).astype(dtype)
    b = rng.integers(-5, 5, (depth, columns + 3)).astype(dtype)
    c = rng.integers(-5, 5, (rows, columns + 2)).astype(dtype)
    flat = np.concatenate([[7, 7], (a.T if turned else a).ravel()]).astype(dtype)
    steps = (1, rows) if turned else (depth, 1)
    for accumulate in (False, True):
        result, expected = c.copy(), c.copy()
        expected[:, 1:-1] = a @ b[:, 1:-2] + accumulate * c[:, 1:-1]
        product(
            depth, flat, 2, *steps, b.ravel(), 1, columns + 3,
            result.ravel(), 1, columns + 2, accumulate,
        )  # fmt: skip
        np.testing.assert_array_equal(result, expected)


def test_rounding_is_that_of_the_processor():
    """A product and a sum have one rounding or two, but never an element of another type."""
    a, b = np.full(vector.ROWS, 0.1, np.float32), np.full(128, 0.3, np.float32)
    c = np.zeros(vector.ROWS * 128, np.float32)
    whole(1, a, 0, 1, 1, b, 0, 1, c, 0, 128, False)
    assert c[0] == np.float32(0.1) * np.float32(0.3)
