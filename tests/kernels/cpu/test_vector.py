"""The tile in registers against NumPy, with every meaning of its steps."""

import numpy as np
import pytest

vector = pytest.importorskip("minicnn_kernels.cpu.vector", reason="Numba is not installed")
jit = pytest.importorskip("minicnn_kernels.cpu.jit")


@jit.jit()
def whole(depth, a, at_a, row_step, depth_step, b, at_b, b_step, c, at_c, c_step, accumulate):
    place = vector.address(c, at_c)
    vector.tile_product(
        depth, a, at_a, row_step, depth_step, b, at_b, b_step, place, c_step, accumulate, place, 4
    )


@jit.jit()
def half(depth, a, at_a, row_step, depth_step, b, at_b, b_step, c, at_c, c_step, accumulate):
    place = vector.address(c, at_c)
    vector.half_tile_product(
        depth, a, at_a, row_step, depth_step, b, at_b, b_step, place, c_step, accumulate, place, 4
    )


@jit.jit()
def low(depth, a, at_a, row_step, depth_step, b, at_b, b_step, c, at_c, c_step, accumulate):
    place = vector.address(c, at_c)
    vector.low_tile_product(
        depth, a, at_a, row_step, depth_step, b, at_b, b_step, place, c_step, accumulate, place, 4
    )


SIZES = [(whole, vector.ROWS, 2), (half, vector.ROWS, 1), (low, vector.LOW_ROWS, 2)]


@pytest.mark.parametrize(("product", "rows", "vectors"), SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("depth", [0, 1, 9])
@pytest.mark.parametrize("turned", [False, True])
def test_tile(product, rows, vectors, dtype, depth, turned):
    rng = np.random.default_rng(0)
    columns = vectors * vector.VECTOR_BYTES // np.dtype(dtype).itemsize
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


@jit.jit()
def copied(source, at_source, target, at_target, count):
    vector.copy(source, at_source, target, at_target, count)


@jit.jit()
def copied_row(source, at_source, target, at_target):
    vector.copy_row(source, at_source, target, at_target)


@jit.jit()
def cleared(target, at, count):
    vector.clear(target, at, count)


@jit.jit()
def transposed(source, at_source, source_step, target, at_target, target_step):
    vector.transpose_square(source, at_source, source_step, target, at_target, target_step)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_copies(dtype):
    source, target = np.arange(1, 101, dtype=dtype), np.zeros(100, dtype)
    copied(source, 3, target, 5, 4)
    assert target.nonzero()[0].tolist() == [5, 6, 7, 8]
    assert target[5:9].tolist() == [4, 5, 6, 7]
    cleared(target, 6, 2)
    assert target.nonzero()[0].tolist() == [5, 8]
    width = vector.VECTORS * vector.VECTOR_BYTES // target.itemsize
    copied_row(source, 2, target, 10)
    assert target[10:].tolist() == [*range(3, 3 + width), *[0] * (90 - width)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_transpose(dtype):
    lanes = vector.VECTOR_BYTES // np.dtype(dtype).itemsize
    source = np.arange(lanes * (lanes + 3), dtype=dtype)
    target = np.full((lanes, lanes + 2), -1, dtype)
    transposed(source, 1, lanes + 3, target.reshape(-1), 2, lanes + 2)
    np.testing.assert_array_equal(target[:, 2:], source.reshape(lanes, -1)[:, 1 : lanes + 1].T)
    assert (target[:, :2] == -1).all()
