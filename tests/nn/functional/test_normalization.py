from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn.errors import ArgumentError, DTypeError, ShapeError
from minicnn.nn import functional as F
from minicnn.tensor import Tensor


def ones(*shape, dtype=np.float64):
    return Tensor(np.ones(shape, dtype))


def same(ours, theirs):
    assert ours.shape == tuple(theirs.shape)
    np.testing.assert_allclose(ours.array, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (2, 3, 2, 4), (1, 3, 2, 2)])
@pytest.mark.parametrize("momentum", [0.1, 0.0, 1.0])
def test_running_statistics_are_those_of_torch(torch, rng, shape, momentum):
    x, mean, variance = rng.normal(2, 3, shape), rng.normal(size=3), rng.uniform(1, 2, 3)
    ours = [Tensor(mean.copy()), Tensor(variance.copy())]
    theirs = [torch.tensor(mean), torch.tensor(variance)]
    for training in (True, False):
        settings = {"training": training, "momentum": momentum, "eps": 1e-3}
        expected = torch.nn.functional.batch_norm(torch.tensor(x), *theirs, **settings)
        same(F.batch_norm(Tensor(x), *ours, **settings), expected)
        for a, b in zip(ours, theirs, strict=True):
            same(a, b)


def test_running_statistics_may_be_arrays_and_stay_in_place():
    mean, variance = np.zeros(2), np.ones(2)
    F.batch_norm(Tensor(np.array([[0.0, 2.0], [2.0, 6.0]])), mean, variance, training=True)
    np.testing.assert_allclose(mean, [0.1, 0.4])
    np.testing.assert_allclose(variance, [1.1, 1.7])


def test_running_statistics_carry_no_graph():
    mean, x = minicnn.zeros(2), minicnn.rand(4, 2, requires_grad=True)
    F.batch_norm(x, mean, None, training=True)
    assert not mean.requires_grad
    assert mean.version == [1]


def test_float32_stays_float32_with_statistics_of_float64():
    x = minicnn.rand(4, 2)
    for training in (True, False):
        y = F.batch_norm(x, np.zeros(2), np.ones(2), training=training)
        assert y.dtype == np.float32


@pytest.mark.parametrize("name", ["running_mean", "running_var", "weight", "bias"])
def test_batch_norm_names_a_shape_that_does_not_fit(name):
    arguments = {"running_mean": ones(3), "running_var": ones(3), name: ones(2)}
    with pytest.raises(ShapeError, match=rf"batch_norm: {name} must have shape \(3,\), got \(2,\)"):
        F.batch_norm(ones(4, 3), **arguments)


@pytest.mark.parametrize(("shape", "kind", "message"), [
    ((3,), ShapeError, r"input must be \(N, C, ...\), got shape \(3,\)"),
    ((1, 3), ShapeError, r"more than one value per channel, got shape \(1, 3\)"),
    ((1, 3, 1, 1), ShapeError, r"more than one value per channel, got shape \(1, 3, 1, 1\)"),
    ((0, 3, 2, 2), ShapeError, r"more than one value per channel, got shape \(0, 3, 2, 2\)"),
])  # fmt: skip
def test_batch_norm_needs_a_batch_to_learn_from(shape, kind, message):
    mean = ones(3)
    with pytest.raises(kind, match=f"batch_norm: .*{message}"):
        F.batch_norm(ones(*shape), mean, ones(3), training=True)
    assert mean.tolist() == [1, 1, 1]


def test_inference_needs_statistics():
    with pytest.raises(ArgumentError, match="batch_norm: needs running_mean and running_var"):
        F.batch_norm(ones(4, 3), None, ones(3))


def test_batch_norm_needs_floating_point_numbers():
    with pytest.raises(DTypeError, match="batch_norm: input must be floating-point, got int64"):
        F.batch_norm(ones(4, 3, dtype=int), None, None, training=True)
