from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn.ops.normalization import batch_norm_inference, batch_norm_training
from minicnn.tensor import Tensor

SHAPES = [(8, 3), (4, 3, 5), (4, 3, 2, 5), (1, 3, 4, 4)]


def others(x):
    return (0, *range(2, x.ndim))


def by_channel(v, x):
    return v.reshape(1, -1, *[1] * (x.ndim - 2))


@pytest.mark.parametrize("shape", SHAPES)
def test_training_by_definition(rng, shape):
    x, gamma, beta = rng.normal(3, 2, shape), rng.normal(size=3), rng.normal(size=3)
    y, (mean, variance) = batch_norm_training(Tensor(x), Tensor(gamma), Tensor(beta), 1e-3)
    average, spread = x.mean(others(x), keepdims=True), x.var(others(x), keepdims=True)
    expected = by_channel(gamma, x) * (x - average) / np.sqrt(spread + 1e-3) + by_channel(beta, x)
    np.testing.assert_allclose(y.array, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(mean, average.ravel())
    np.testing.assert_allclose(variance, spread.ravel())


@pytest.mark.parametrize("shape", SHAPES)
def test_inference_by_definition(rng, shape):
    x, gamma, beta, mean = rng.normal(3, 2, shape), *rng.normal(size=(3, 3))
    variance = rng.uniform(0.5, 2, 3)
    y = batch_norm_inference(Tensor(x), Tensor(gamma), Tensor(beta), mean, variance, 1e-3)
    standard = (x - by_channel(mean, x)) / np.sqrt(by_channel(variance, x) + 1e-3)
    expected = by_channel(gamma, x) * standard + by_channel(beta, x)
    np.testing.assert_allclose(y.array, expected, rtol=1e-12)


def test_the_result_has_mean_beta_and_deviation_gamma(rng):
    gamma, beta = np.array([0.5, 2.0]), np.array([-1.0, 3.0])
    y, _ = batch_norm_training(Tensor(rng.normal(9, 5, (16, 2, 4, 4))), gamma, beta, 1e-9)
    np.testing.assert_allclose(y.array.mean((0, 2, 3)), beta, atol=1e-9)
    np.testing.assert_allclose(y.array.std((0, 2, 3)), gamma, rtol=1e-9)


def test_neither_a_shift_nor_a_scale_of_the_batch_has_a_gradient(rng):
    """The result does not change when the batch is shifted or stretched, so dx is orthogonal."""
    x = Tensor(rng.normal(size=(6, 2, 3)), requires_grad=True)
    y, _ = batch_norm_training(x, Tensor(np.ones(2)), Tensor(np.zeros(2)), 0.0)
    (dx,) = minicnn.grad(y, x, Tensor(rng.normal(size=y.shape)))
    np.testing.assert_allclose(dx.array.sum((0, 2)), 0, atol=1e-12)
    np.testing.assert_allclose((dx.array * x.array).sum((0, 2)), 0, atol=1e-12)


def test_a_constant_channel_becomes_beta():
    y, _ = batch_norm_training(Tensor(np.full((4, 1), 7.0)), np.array([2.0]), np.array([0.5]), 1e-5)
    assert y.tolist() == [[0.5]] * 4


def test_float32_stays_float32_and_close(rng):
    x = rng.normal(50, 3, (8, 2, 6, 6))
    one, zero = np.ones(2), np.zeros(2)
    narrow = [a.astype(np.float32) for a in (x, one, zero)]
    y, (mean, variance) = batch_norm_training(Tensor(narrow[0]), *narrow[1:], 1e-5)
    assert y.dtype == mean.dtype == variance.dtype == np.float32
    np.testing.assert_allclose(y.array, batch_norm_training(x, one, zero, 1e-5)[0], atol=1e-4)


def test_no_channels():
    x = Tensor(np.zeros((2, 0, 3)), requires_grad=True)
    y, _ = batch_norm_training(x, np.zeros(0), np.zeros(0), 1e-5)
    y.sum().backward()
    assert y.shape == x.grad.shape == (2, 0, 3)
