from __future__ import annotations

import numpy as np
import pytest
from geometries import integers
from hypothesis import example, given
from hypothesis import strategies as st

import minicnn
from minicnn.nn import functional as F
from minicnn.ops import resample
from minicnn.ops.resample import (
    Taps,
    cubic,
    cubic_taps,
    cubic_weights,
    lanczos,
    linear_taps,
    nearest_taps,
    smoothed_taps,
    step_between,
    triangle,
    weighted_sums,
)
from minicnn.tensor import Tensor
from minicnn_kernels.reference import resampling

SIZES = st.integers(1, 9)
TABLES = {
    "nearest": lambda n, m, step: nearest_taps(n, m, step, exact=False),
    "nearest-exact": lambda n, m, step: nearest_taps(n, m, step, exact=True),
    "linear": lambda n, m, step: linear_taps(n, m, step, align_corners=False),
    "cubic": lambda n, m, step: cubic_taps(n, m, step, align_corners=False),
    "triangle": lambda n, m, step: smoothed_taps(n, m, step, triangle, 1),
    "smooth cubic": lambda n, m, step: smoothed_taps(n, m, step, cubic, 2),
    "lanczos": lambda n, m, step: smoothed_taps(n, m, step, lanczos, 3),
}
each_table = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)


def taps_of(table, n, m):
    return table(n, m, step_between(n, m, None, False, np.float64))


def matrix(taps):
    """Write a table out as a matrix, entry by entry."""
    rows = np.zeros((taps.places.shape[1], taps.size))
    for k, i in np.ndindex(taps.places.shape):
        rows[i, taps.places[k, i]] += taps.weights[k, i]
    return rows


# --- the operation --------------------------------------------------------------------------------


@each_table
@given(SIZES, SIZES)
def test_a_table_is_a_sparse_matrix_and_its_adjoint_the_transposed(table, n, m):
    taps = taps_of(table, n, m)
    x = integers((2, n, 3))
    expected = np.einsum("ij,ajb->aib", matrix(taps), x)
    np.testing.assert_allclose(weighted_sums(x, taps, 1), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(matrix(taps.transposed()), matrix(taps).T, rtol=1e-14)


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_any_dimension_in_many_passes(monkeypatch, dim):
    x = integers((4, 4, 4))
    taps = taps_of(TABLES["linear"], 4, 7)
    at_once = weighted_sums(x, taps, dim)
    monkeypatch.setattr(resampling, "PASS_BYTES", 100)
    np.testing.assert_array_equal(weighted_sums(x, taps, dim), at_once)


@each_table
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_stays_near(table, value):
    taps = taps_of(table, 20, 40)
    x = np.zeros(20)
    x[15] = value
    assert np.isfinite(weighted_sums(Tensor(x), taps, 0).array[:20]).all()
    dy = np.zeros(40)
    dy[0] = value
    assert np.isfinite(weighted_sums(Tensor(dy), taps.transposed(), 0).array[5:]).all()


def test_values_that_go_nowhere_have_no_gradient():
    taps = Taps(np.array([[0, 0]]), np.ones((1, 2)), 3)
    assert weighted_sums(np.array([2.0, 5.0]), taps.transposed(), 0).tolist() == [7, 0, 0]


# --- the tables -----------------------------------------------------------------------------------


@each_table
@given(SIZES, SIZES)
def test_the_weights_of_a_new_value_add_up_to_one(table, n, m):
    taps = taps_of(table, n, m)
    np.testing.assert_allclose(taps.weights.sum(axis=0), 1, rtol=1e-12)
    assert taps.places.min() >= 0
    assert taps.places.max() < n


@given(SIZES, SIZES)
@example(2, 98)  # in double precision 2 / 98 * 49 is a hair less than 1
def test_the_nearest_value_by_definition(n, m):
    assert taps_of(TABLES["nearest"], n, m).places[0].tolist() == [i * n // m for i in range(m)]
    middles = [(2 * i + 1) * n // (2 * m) for i in range(m)]
    assert taps_of(TABLES["nearest-exact"], n, m).places[0].tolist() == middles


@given(SIZES, SIZES)
def test_linear_with_corners_aligned_is_numpys(n, m):
    taps = linear_taps(n, m, step_between(n, m, None, True, np.float64), align_corners=True)
    x = integers((n,))
    expected = np.interp(np.linspace(0, n - 1, m), np.arange(n), x)
    np.testing.assert_allclose(weighted_sums(x, taps, 0), expected, rtol=1e-12, atol=1e-12)


def test_a_straight_line_stays_straight_inside():
    x = np.arange(12.0)
    for name in ("linear", "triangle", "smooth cubic"):  # cubic with a = -0.75 bends it a little
        y = weighted_sums(x, taps_of(TABLES[name], 12, 24), 0)
        np.testing.assert_allclose(y[6:18], (np.arange(6, 18) + 0.5) / 2 - 0.5, rtol=1e-12)


def test_cubic_weights_are_those_of_the_kernel():
    t = np.linspace(0, 1, 7)
    distances = np.abs(np.array([[-1], [0], [1], [2]]) - t)
    np.testing.assert_allclose(cubic_weights(t), cubic(distances, a=-0.75), atol=1e-15)
    assert cubic_weights(0.5) == [-0.09375, 0.59375, 0.59375, -0.09375]


def test_smoothing_sees_every_value():
    for name in ("triangle", "smooth cubic", "lanczos"):
        assert (matrix(taps_of(TABLES[name], 30, 4)) != 0).any(axis=0).all()


def test_a_scale_is_used_as_it_is():
    assert step_between(5, 6, 1.25, False, np.float64) == 0.8
    assert step_between(5, 6, None, False, np.float64) == 5 / 6
    assert step_between(5, 6, 1.25, True, np.float64) == 4 / 5
    assert step_between(5, 1, None, True, np.float64) == 0


@pytest.mark.parametrize(("kernel", "reach"), [(triangle, 1), (cubic, 2), (lanczos, 3)])
def test_a_kernel_is_one_at_its_middle_and_zero_at_the_other_whole_numbers(kernel, reach):
    np.testing.assert_allclose(kernel(np.arange(6.0)), [1, 0, 0, 0, 0, 0], atol=1e-15)
    assert (kernel(np.linspace(reach, 9, 40)) == 0).all()


# --- bytes ----------------------------------------------------------------------------------------


def test_bytes_are_rounded_and_limited():
    half = Taps(np.array([[0], [1]]), np.array([[0.5], [0.5]]), 2)
    assert resample.resample(np.array([1, 2], np.uint8), half, 0).tolist() == [2]
    sharp = Taps(np.array([[0], [1]]), np.array([[1.5], [-0.5]]), 2)
    assert resample.resample(np.array([250, 10], np.uint8), sharp, 0).tolist() == [255]
    assert resample.resample(np.array([10, 250], np.uint8), sharp, 0).tolist() == [0]
    y = resample.resample(Tensor(np.array([1, 2], np.uint8)), half, 0)
    assert isinstance(y, Tensor)
    assert y.dtype == np.uint8


def test_the_gradient_of_no_values_is_0():
    x = minicnn.ones(1, 2, 4, 4, requires_grad=True)
    F.adaptive_avg_pool2d(x, 0).sum().backward()
    assert x.grad.tolist() == np.zeros((1, 2, 4, 4)).tolist()
