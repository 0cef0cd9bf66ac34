"""The matrices of short convolutions against sliding sums, written out."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn_kernels.cook_toom import cook_toom


@pytest.mark.parametrize("outputs", [2, 3, 4])
@pytest.mark.parametrize("taps", [2, 3])
def test_products_at_points_are_sliding_sums(outputs, taps):
    rng = np.random.default_rng(0)
    data, filter_ = rng.standard_normal(outputs + taps - 1), rng.standard_normal(taps)
    at, g, bt = cook_toom(outputs, taps)
    expected = [data[i : i + taps] @ filter_ for i in range(outputs)]
    np.testing.assert_allclose(at @ ((g @ filter_) * (bt @ data)), expected, rtol=1e-12)


def test_there_is_one_product_a_point():
    at, g, bt = cook_toom(4, 3)
    assert (at.shape, g.shape, bt.shape) == ((4, 6), (6, 3), (6, 6))


def test_the_matrices_of_two_outputs_and_three_taps():
    at, g, bt = cook_toom(2, 3)
    assert at.tolist() == [[1, 1, 1, 0], [0, 1, -1, 1]]
    assert g.tolist() == [[-1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]
    assert bt.tolist() == [[-1, 0, 1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]]


def test_images_and_results_are_transformed_without_rounding_of_the_factors():
    at, _, bt = cook_toom(4, 3)
    for matrix in (at, bt):
        np.testing.assert_array_equal(matrix * 8 % 1, 0)
