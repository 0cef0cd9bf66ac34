"""The norm of several arrays on a card."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn_kernels import kernels, norm_of_all
from minicnn_kernels.cuda.pointwise import CHUNK

SHAPES = [(3,), (2, CHUNK + 4), (0,), (2, 3, 2, 2), (7, 5)]


def draw(dtype):
    draw = np.random.default_rng(0)
    arrays = [draw.standard_normal(shape).astype(dtype) for shape in SHAPES]
    arrays[3] = arrays[3].transpose(0, 3, 1, 2)
    return arrays


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_arrays_are_one_long_vector(card, dtype):
    arrays = draw(dtype)
    together = np.concatenate([array.ravel() for array in arrays]).astype(np.float64)
    there = [card.array(array) for array in arrays]
    assert kernels["norm_of_all"].choose(*there, order=2.0).name == "two_launches"
    for order in (2.0, 1.0, 3.5, np.inf):
        with card.no_copies():
            found = norm_of_all(*there, order=order)
        assert (found.shape, found.dtype) == ((), dtype)
        expected = np.linalg.norm(together, order)
        np.testing.assert_allclose(
            found.get(), expected, rtol=1e-5 if dtype is np.float32 else 1e-12
        )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_seen_in_every_order(card, value):
    x = np.ones(300, np.float32)
    x[297] = value
    for order in (2.0, 1.0, np.inf):
        found = norm_of_all(card.array(np.zeros(3, np.float32)), card.array(x), order=order)
        np.testing.assert_equal(float(found.get()), abs(value))


def test_other_orders_and_types_are_left_to_cupy(card):
    there = [card.array(np.array([3.0, 0.0, -4.0])), card.array(np.array([2.0]))]
    assert float(norm_of_all(*there, order=-np.inf).get()) == 0
    mixed = [there[0], card.array(np.ones(2, np.float32))]
    assert kernels["norm_of_all"].choose(*mixed, order=2.0).name == "numpy"
