from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn.ops.normalization import divide_by_neighbours, neighbour_sum, normalize, rescale
from minicnn.tensor import Tensor
from minicnn_kernels import Moments

GROUPS = {
    "batch": ((4, 3, 2, 5), (0, 2, 3), (1, 3, 1, 1)),
    "rows": ((8, 3), (0,), (1, 3)),
    "instance": ((4, 3, 2, 5), (2, 3), (1, 3, 1, 1)),
    "group": ((4, 2, 3, 5), (2, 3), (1, 2, 3, 1)),
    "layer": ((4, 3, 5), (1, 2), (1, 3, 5)),
}
each_kind = pytest.mark.parametrize(("shape", "axes", "scales"), GROUPS.values(), ids=list(GROUPS))


@each_kind
def test_values_by_definition(rng, shape, axes, scales):
    x, gamma, beta = rng.normal(3, 2, shape), rng.normal(size=scales), rng.normal(size=scales)
    y = normalize(Tensor(x), Tensor(gamma), Tensor(beta), axes, 1e-3)
    average, spread = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    expected = gamma * (x - average) / np.sqrt(spread + 1e-3) + beta
    np.testing.assert_allclose(y.array, expected, rtol=1e-10, atol=1e-12)


def test_fixed_statistics_by_definition(rng):
    x, gamma, beta, mean = rng.normal(3, 2, (4, 3, 2)), *rng.normal(size=(3, 1, 3, 1))
    variance = rng.uniform(0.5, 2, (1, 3, 1))
    y = rescale(Tensor(x), Tensor(gamma), Tensor(beta), Moments(mean, variance), 1e-3)
    expected = gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta
    np.testing.assert_allclose(y.array, expected, rtol=1e-12)


def test_the_result_has_mean_beta_and_deviation_gamma(rng):
    gamma, beta = np.array([0.5, 2.0]), np.array([-1.0, 3.0])
    scale, shift = (v.reshape(1, 2, 1, 1) for v in (gamma, beta))
    y = normalize(Tensor(rng.normal(9, 5, (16, 2, 4, 4))), scale, shift, (0, 2, 3), 1e-9)
    np.testing.assert_allclose(y.array.mean((0, 2, 3)), beta, atol=1e-9)
    np.testing.assert_allclose(y.array.std((0, 2, 3)), gamma, rtol=1e-9)


@each_kind
def test_neither_a_shift_nor_a_scale_of_a_group_has_a_gradient(rng, shape, axes, scales):
    """The result does not change when a group is shifted or stretched, so dx is orthogonal."""
    x = Tensor(rng.normal(size=shape), requires_grad=True)
    y = normalize(x, Tensor(rng.normal(size=scales)), None, axes, 0.0)
    (dx,) = minicnn.grad(y, x, Tensor(rng.normal(size=y.shape)))
    np.testing.assert_allclose(dx.array.sum(axes), 0, atol=1e-11)
    np.testing.assert_allclose((dx.array * x.array).sum(axes), 0, atol=1e-11)


def test_a_constant_group_becomes_beta():
    y = normalize(Tensor(np.full((4, 1), 7.0)), np.array([[2.0]]), np.array([[0.5]]), (0,), 1e-5)
    assert y.tolist() == [[0.5]] * 4


def test_a_large_mean_costs_float32_no_more_than_its_own_rounding(rng):
    x = rng.normal(50, 3, (8, 2, 6, 6)).astype(np.float32)
    y = normalize(Tensor(x), None, None, (0, 2, 3), 1e-5)
    assert y.dtype == np.float32
    exact = normalize(Tensor(x.astype(np.float64)), None, None, (0, 2, 3), 1e-5)
    np.testing.assert_allclose(y.array, exact.array, atol=1e-5)


@pytest.mark.parametrize("shape", [(0, 2, 3), (2, 0, 3), (2, 2, 0)])
@pytest.mark.parametrize("create_graph", [False, True])
def test_nothing_to_normalise_has_no_nan(shape, create_graph):
    x, gamma = Tensor(np.zeros(shape), True), Tensor(np.ones((1, shape[1], 1)), True)
    y = normalize(x, gamma, None, (0, 2), 1e-5)
    dx, dgamma = minicnn.grad(y, (x, gamma), Tensor(np.ones(shape)), create_graph=create_graph)
    assert y.shape == dx.shape == shape
    assert not dgamma.array.any()


# --- neighbouring channels ------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 1), (2, 1), (0, 3), (9, 9)])
def test_neighbours_by_definition(rng, before, after):
    x = rng.normal(size=(2, 5, 3))
    y = neighbour_sum(x, before, after)
    for c in range(5):
        expected = sum(x[:, j] for j in range(max(0, c - before), min(5, c + after + 1)))
        np.testing.assert_allclose(y[:, c], expected, rtol=1e-13, atol=1e-14)


def test_neighbour_sums_are_each_others_adjoint(rng):
    a, b = rng.normal(size=(2, 2, 6, 3))
    forth, back = (neighbour_sum(a, 3, 1) * b).sum(), (a * neighbour_sum(b, 1, 3)).sum()
    np.testing.assert_allclose(forth, back, rtol=1e-12)


def test_a_channel_is_weakened_by_strong_neighbours_only():
    x = np.zeros((1, 6, 1))
    x[0, 0] = x[0, 5] = 1.0
    y = divide_by_neighbours(Tensor(x), size=5, alpha=3.0, beta=0.5, k=1.0)
    assert y.array.ravel().tolist() == [0.5, 0, 0, 0, 0, 0.5]
