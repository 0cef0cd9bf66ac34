from __future__ import annotations

import numpy as np
import pytest

from minicnn_kernels.reference.blockwise import BLOCK, choose, in_blocks


def double(part):
    return part * 2


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
def test_blocks_of_every_size_make_the_whole(size):
    x = np.arange(size, dtype=np.float32)
    np.testing.assert_array_equal(in_blocks(double, x), x * 2)


def test_no_block_is_longer_than_asked_for():
    seen = []

    def formula(part):
        seen.append(part.size)
        return part

    in_blocks(formula, np.zeros(100), length=30)
    assert max(seen) == 30
    assert sum(seen) == 100


@pytest.mark.parametrize("layout", [
    lambda x: x, lambda x: x.transpose(2, 0, 1), np.asfortranarray, lambda x: x[:, ::2],
    lambda x: x[::-1, :, ::-1], lambda x: np.broadcast_to(x[:1], x.shape),
], ids=["rows", "permuted", "columns", "gaps", "backwards", "repeated"])  # fmt: skip
def test_any_strides(layout):
    x = layout(np.arange(60.0).reshape(3, 4, 5))
    before = x.copy()
    y = in_blocks(double, x, length=7)
    np.testing.assert_array_equal(y, before * 2)
    np.testing.assert_array_equal(x, before)
    assert y.flags.owndata or y.base.flags.owndata
    assert y.flags.writeable


def test_the_memory_order_is_kept():
    x = np.zeros((2, 3, 4, 5)).transpose(0, 3, 1, 2)
    assert in_blocks(double, x).strides == x.strides


def test_the_type_is_kept():
    for dtype in (np.float16, np.float32, np.float64):
        y = in_blocks(lambda part: part.astype(np.float64), np.ones(3, dtype))
        assert y.dtype == dtype


def test_a_single_value_and_two_operands():
    assert in_blocks(double, np.array(3.0)).shape == ()
    a, b = np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(3, 2).T
    np.testing.assert_array_equal(in_blocks(np.subtract, a, b, length=2), a - b)


def test_what_is_no_numpy_array_is_computed_in_one_piece():
    class OfAnotherLibrary:
        dtype = np.dtype("f4")
        factors = ()

        def __mul__(self, factor):
            self.factors += (factor,)
            return self

        def astype(self, dtype, copy):
            assert (dtype, copy) == (self.dtype, False)
            return self

    assert in_blocks(double, OfAnotherLibrary()).factors == (2,)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_choosing_by_bits_is_where(rng, dtype):
    a = (rng.normal(size=(300, 250)) * 9).astype(dtype)
    b = a[::-1].copy()
    if dtype != np.int64:
        a[:3, 0] = np.nan, np.inf, -0.0
    for condition, first, second in (
        (a > b, a, b),
        ((a > b).T, a.T, b.T),
        (a > b, a, dtype(3)),
        (a > b, dtype(-1), b[0]),
        ((a > b)[:, :1], a, b),
    ):
        y, expected = choose(condition, first, second), np.where(condition, first, second)
        assert y.dtype == expected.dtype
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(np.signbit(y), np.signbit(expected))
