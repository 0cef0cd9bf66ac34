from __future__ import annotations

import math

import numpy as np
import pytest

from minicnn_kernels.reference import softmax as kernels


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_by_definition(rng, dim):
    x = rng.normal(size=(3, 4, 2))
    scale = rng.normal(size=np.max(x, axis=dim, keepdims=True).shape)
    y = kernels.softmax_by_numpy(x, dim=dim)
    scaled = kernels.softmax_by_numpy(x, scale, dim=dim)
    logarithm = kernels.log_softmax_by_numpy(x, dim=dim)
    top, rest = kernels.log_total_by_numpy(x, dim=dim)
    for place in np.ndindex(x.shape):
        line = x[tuple(slice(None) if i == dim else k for i, k in enumerate(place))]
        total = sum(math.exp(v) for v in line)
        first = tuple(0 if i == dim else k for i, k in enumerate(place))
        assert y[place] == pytest.approx(math.exp(x[place]) / total)
        assert scaled[place] == pytest.approx(y[place] * scale[first])
        assert logarithm[place] == pytest.approx(x[place] - math.log(total))
        assert top[first] == max(line)
        assert rest[first] == pytest.approx(math.log(total) - max(line))


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("dim", [0, 1])
def test_gradients_are_the_slopes(rng, name, dim):
    x, dy, step = rng.normal(size=(3, 3, 4))
    forward = getattr(kernels, f"{name}_by_numpy")
    dx = getattr(kernels, f"{name}_gradient_by_numpy")(dy, forward(x, dim=dim), dim=dim)
    difference = forward(x + 1e-6 * step, dim=dim) - forward(x - 1e-6 * step, dim=dim)
    assert (dx * step).sum() == pytest.approx((dy * difference).sum() / 2e-6)


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_cross_entropy_by_definition(rng, dim):
    x, step = rng.normal(size=(2, 3, 4, 2))
    labels = rng.integers(0, x.shape[dim], x.shape[:dim] + x.shape[dim + 1 :])
    dy = rng.normal(size=labels.shape)
    y = kernels.cross_entropy_by_numpy(x, labels, dim=dim)
    logarithm = np.moveaxis(kernels.log_softmax_by_numpy(x, dim=dim), dim, -1)
    for place in np.ndindex(labels.shape):
        assert y[place] == pytest.approx(-logarithm[place][labels[place]])
    dx = kernels.cross_entropy_gradient_by_numpy(dy, x, labels, dim=dim)
    above, below = (
        kernels.cross_entropy_by_numpy(x + sign * 1e-6 * step, labels, dim=dim) for sign in (1, -1)
    )
    assert (dx * step).sum() == pytest.approx((dy * (above - below)).sum() / 2e-6)


def test_nothing_overflows():
    x = np.array([[1e4, 1e4 + 1], [-1e4, -1e4]])
    assert np.isfinite(kernels.softmax_by_numpy(x, dim=1)).all()
    assert np.isfinite(kernels.log_softmax_by_numpy(x, dim=1)).all()
