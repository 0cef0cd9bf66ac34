from __future__ import annotations

import numpy as np
import pytest

from minicnn_kernels import no_moments, per_channel
from minicnn_kernels.reference import normalization
from minicnn_kernels.reference.normalization import gradients_in_blocks, normalize_in_blocks

LAYOUTS = {
    "images first": (0, 1, 2, 3), "channels last": (0, 2, 3, 1), "images last": (1, 2, 3, 0)
}  # fmt: skip


def normalized(x, gamma, beta, axes, eps=1e-5):
    """Return y, and mean and variance."""
    statistics = no_moments(x, axes)
    y = normalize_in_blocks(x, gamma, beta, None, *statistics, axes=axes, eps=eps)
    return y, statistics


def gradients(dy, x, gamma, statistics, axes):
    """Return dx, dgamma and dbeta."""
    given = dy, x, gamma, None, None
    *found, dadd = gradients_in_blocks(*given, *statistics, axes=axes, eps=1e-5)
    assert dadd is None
    return found


def moments(x, axes):
    one = np.ones((1,) * x.ndim, x.dtype)
    return normalized(x, one, one, axes)[1]


def laid_out(x, order):
    """Return the same values with another order of the axes in memory."""
    return np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (2, 3, 4, 2), (1, 3, 2, 2), (1, 3, 1)])
def test_statistics_by_definition(rng, shape):
    x = rng.normal(3, 2, shape)
    mean, variance = moments(x, (0, *range(2, x.ndim)))
    assert mean.shape == variance.shape == (1, 3, *[1] * (x.ndim - 2))
    for c in range(3):
        values = [float(v) for v in x[:, c].ravel()]
        average = sum(values) / len(values)
        assert mean.ravel()[c] == pytest.approx(average)
        expected = sum((v - average) ** 2 for v in values) / len(values)
        assert variance.ravel()[c] == pytest.approx(expected)


def test_a_large_mean_does_not_swallow_the_variance(rng):
    x = (rng.normal(0, 1, (8, 1, 16, 16)) + 1e4).astype(np.float32)
    variance = moments(x, (0, 2, 3)).var
    np.testing.assert_allclose(variance.item(), x.astype(np.float64).var(), rtol=1e-3)


@pytest.mark.parametrize("order", LAYOUTS.values(), ids=list(LAYOUTS))
def test_statistics_of_many_float32_values_are_exact_to_five_digits(rng, order):
    x = laid_out(rng.normal(3, 1, (64, 4, 64, 64)).astype(np.float32), order)
    for axes in ((0, 2, 3), (1, 2, 3), (2, 3)):
        exact = x.astype(np.float64)
        found = moments(x, axes)
        np.testing.assert_allclose(found.mean, exact.mean(axes, keepdims=True), rtol=1e-5)
        np.testing.assert_allclose(found.var, exact.var(axes, keepdims=True), rtol=1e-5)


def test_statistics_are_float64_and_the_rest_stays_float32():
    x, one = np.ones((2, 3, 2), np.float32), np.ones((1, 3, 1), np.float32)
    y, statistics = normalized(x, one, one, (0, 2))
    assert {v.dtype for v in statistics} == {np.dtype("f8")}
    results = [y]
    results += gradients(x, x, one, statistics, (0, 2))
    assert {v.dtype for v in results} == {np.dtype("f4")}


@pytest.mark.parametrize("order", LAYOUTS.values(), ids=list(LAYOUTS))
@pytest.mark.parametrize(("axes", "scales"), [
    ((0, 2, 3), (1, 3, 1, 1)), ((2, 3), (1, 3, 1, 1)), ((1, 2, 3), (1, 3, 5, 4)),
    ((3,), (1, 1, 1, 4)),
], ids=["batch", "instance", "layer", "last"])  # fmt: skip
@pytest.mark.parametrize(("block_bytes", "run_bytes"), [(8, 0), (200, 0), (700, 0), (200, 100)])
def test_blocks_change_nothing(rng, monkeypatch, order, axes, scales, block_bytes, run_bytes):
    x, dy = (laid_out(v, order) for v in rng.normal(size=(2, 4, 3, 5, 4)))
    gamma, beta = rng.normal(size=(2, *scales))

    def everything():
        y, statistics = normalized(x, gamma, beta, axes)
        return [*statistics, y, *gradients(dy, x, gamma, statistics, axes)]

    whole = everything()
    monkeypatch.setattr(normalization, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(normalization, "RUN_BYTES", run_bytes)
    monkeypatch.setattr(normalization, "LONG_SUM", 5)
    for a, b in zip(everything(), whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


def test_the_result_has_the_layout_of_the_input(rng):
    x = laid_out(rng.normal(size=(4, 3, 5, 2)), (0, 2, 3, 1))
    one = np.ones((1, 3, 1, 1))
    y, statistics = normalized(x, one, one, (0, 2, 3))
    assert y.strides == x.strides
    dx, _, _ = gradients(x, x, one, statistics, (0, 2, 3))
    assert dx.strides == x.strides


@pytest.mark.parametrize("added", [False, True])
def test_rectified_by_definition(rng, added):
    """The gradient is that of the plain result, for what relu lets through."""
    x, dy, add = rng.normal(size=(3, 4, 3, 2, 5))
    gamma, beta, axes = *rng.normal(size=(2, 1, 3, 1, 1)), (0, 2, 3)
    plain, statistics = normalized(x, gamma, beta, axes)
    given = add if added else None
    y = normalize_in_blocks(x, gamma, beta, given, *statistics, axes=axes, eps=1e-5, relu=True)
    plain = plain + add if added else plain
    np.testing.assert_allclose(y, np.where(plain > 0, plain, 0), rtol=1e-12)
    left = np.where(plain > 0, dy, 0)
    arrays = dy, x, gamma, None if added else beta, y
    *found, dadd = gradients_in_blocks(*arrays, *statistics, axes=axes, eps=1e-5)
    for a, b in zip(found, gradients(left, x, gamma, statistics, axes), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    if added:
        np.testing.assert_array_equal(dadd, left)
    else:
        assert dadd is None


@pytest.mark.parametrize("ndim", [2, 3, 4, 5])
@pytest.mark.parametrize("channels", [3, 0])
def test_per_channel_is_a_view_that_broadcasts(ndim, channels):
    v = np.arange(float(channels))
    seen = per_channel(v, ndim)
    assert seen.shape == (1, channels, *[1] * (ndim - 2))
    assert np.shares_memory(seen, v) or not channels
