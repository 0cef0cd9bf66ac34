from __future__ import annotations

import numpy as np
import pytest
from refusals import refused

import minicnn
from minicnn.ops.scan import accumulated, recurrence
from minicnn.tensor import Tensor


@pytest.mark.parametrize("length", [0, 1, 2, 3, 8, 13])
def test_a_recurrence_by_definition(rng, length):
    x, a = rng.normal(size=(2, length, 3))
    expected, y = [], np.zeros(3)
    for i in range(length):
        y = x[i] + a[i] * y
        expected.append(y)
    np.testing.assert_allclose(recurrence(x, a, 0), np.reshape(expected, (length, 3)))


@pytest.mark.parametrize("step", [np.add, np.multiply, np.maximum, np.logaddexp])
@pytest.mark.parametrize("shape", [(3, 5), (5, 2000), (0, 2000), (2, 3, 2000)])
def test_long_slices_are_accumulated_as_short_ones(rng, step, shape):
    x = rng.normal(size=shape)
    for dim in range(len(shape)):
        np.testing.assert_allclose(accumulated(step, x, dim), step.accumulate(x, dim), rtol=1e-12)


@pytest.mark.parametrize("zeros", [[], [0], [2], [0, 2], [3], [1, 3], [0, 1, 2, 3]])
def test_cumprod_has_exact_gradients_at_zeros(rng, zeros):
    values, dy = rng.normal(size=(2, 4))
    values[zeros] = 0
    x = Tensor(values, requires_grad=True)
    x.cumprod(0).backward(Tensor(dy))
    for k in range(4):
        others = [np.prod([values[j] for j in range(i + 1) if j != k]) for i in range(k, 4)]
        assert x.grad.array[k] == pytest.approx(np.dot(dy[k:], others), abs=1e-12)


def test_cumprod_has_a_second_derivative_at_zeros():
    x = Tensor(np.array([2.0, 0.0, 3.0]), requires_grad=True)
    (dx,) = minicnn.grad(x.cumprod(0)[2], x, create_graph=True)
    (ddx,) = minicnn.grad(dx[1], x)  # of x[0] * x[2]
    assert ddx.tolist() == [3, 0, 2]


def test_logcumsumexp_does_not_overflow():
    x = Tensor(np.array([1000.0, 1001.0, -1000.0]), requires_grad=True)
    y = x.logcumsumexp(0)
    np.testing.assert_allclose(y.array, [1000, 1001 + np.log1p(np.exp(-1)), 1001.313261687518])
    y.sum().backward()
    small = np.exp(-1) / (1 + np.exp(-1))
    np.testing.assert_allclose(x.grad.array, [1 + 2 * small, 2 * (1 - small), 0], atol=1e-300)


def test_logcumsumexp_of_values_without_weight():
    x = Tensor(np.array([-np.inf, -np.inf, 1.0, 2.0]), requires_grad=True)
    y = x.logcumsumexp(0)
    assert y.tolist()[:3] == [-np.inf, -np.inf, 1]
    y.sum().backward()
    np.testing.assert_allclose(x.grad.array, [0, 0, 1.2689414213699952, 0.7310585786300049])


@pytest.mark.parametrize(("name", "values", "indices"), [
    ("cummax", [1, 1, 0, 1], [0, 1, 1, 3]), ("cummin", [1, 1, 0, 1, 0], [0, 1, 2, 2, 4]),
    ("cummax", [2, np.nan, 1, np.nan], [0, 1, 1, 3]), ("cummin", [2, np.nan, 1], [0, 1, 1]),
])  # fmt: skip
def test_of_equal_extremes_the_last_is_named(torch, name, values, indices):
    for m in (minicnn, torch):
        assert getattr(m, name)(m.tensor(values), 0).indices.tolist() == indices


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool", "float32", "float64"])
@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
def test_whole_numbers_are_added_in_int64(torch, name, dtype):
    values = np.array([3, 1, 0]).astype(dtype)
    ours, theirs = (getattr(m, name)(m.tensor(values), 0) for m in (minicnn, torch))
    assert str(ours.dtype) == str(theirs.dtype).removeprefix("torch.")
    assert ours.tolist() == theirs.tolist()


def test_diff_undoes_cumsum(rng):
    x = rng.integers(-9, 9, (3, 7))
    sums = Tensor(x).cumsum(1)
    np.testing.assert_array_equal(sums.diff(prepend=Tensor(np.zeros((3, 1), int))).array, x)


REFUSALS = [
    refused("beyond", lambda m: m.cumsum(m.ones(2), 1), "dimension 1"),
    refused("no dimension of a single value", lambda m: m.cumprod(m.tensor(1.0), 1)),
    refused("extremes beyond", lambda m: m.cummax(m.ones(2), -2), "-2"),
    refused("logarithms of integers", lambda m: m.logcumsumexp(m.arange(3), 0), "int64"),
    refused("neighbours of a single value", lambda m: m.diff(m.tensor(1.0))),
    refused("less than no differences", lambda m: m.diff(m.ones(3), -1), "-1"),
    refused("other ends", lambda m: m.diff(m.ones(2, 3), prepend=m.ones(1, 1))),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_refused_as_by_torch(refusal, torch):
    refusal.check(torch)
