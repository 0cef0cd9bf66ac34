from __future__ import annotations

import numpy as np
import pytest

from minicnn_kernels import batch_statistics, per_channel


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (2, 3, 4, 2), (1, 3, 2, 2), (1, 3, 1)])
def test_statistics_by_definition(rng, shape):
    x = rng.normal(3, 2, shape)
    mean, variance = batch_statistics(x)
    for c in range(3):
        values = [float(v) for v in x[:, c].ravel()]
        average = sum(values) / len(values)
        assert mean[c] == pytest.approx(average)
        assert variance[c] == pytest.approx(sum((v - average) ** 2 for v in values) / len(values))


def test_a_large_mean_does_not_swallow_the_variance(rng):
    x = (rng.normal(0, 1, (8, 1, 16, 16)) + 1e4).astype(np.float32)
    _, variance = batch_statistics(x)
    np.testing.assert_allclose(variance, x.astype(np.float64).var(), rtol=1e-3)


def test_float32_stays_float32():
    assert {v.dtype for v in batch_statistics(np.ones((2, 3, 2), np.float32))} == {np.dtype("f4")}


@pytest.mark.parametrize("ndim", [2, 3, 4, 5])
@pytest.mark.parametrize("channels", [3, 0])
def test_per_channel_is_a_view_that_broadcasts(ndim, channels):
    v = np.arange(float(channels))
    seen = per_channel(v, ndim)
    assert seen.shape == (1, channels, *[1] * (ndim - 2))
    assert np.shares_memory(seen, v) or not channels
