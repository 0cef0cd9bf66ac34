from __future__ import annotations

import math

import numpy as np
import pytest
from refusals import refused

import minicnn
from minicnn.tensor import Tensor

X = np.array([[3.0, -4.0, 0.0], [1.0, 2.0, -2.0]])
ORDERS = ["fro", None, 2, 1, 3, 0.5, -1, -2.5, 0, math.inf, -math.inf]


def gradient(y, x):
    return minicnn.grad(y.sum(), x)[0].array


@pytest.mark.parametrize("p", ORDERS, ids=str)
@pytest.mark.parametrize("dim", [None, 0, -1, (0, 1)], ids=str)
def test_values_and_gradients_are_those_of_torch(p, dim, torch):
    x, t = Tensor(X, requires_grad=True), torch.tensor(X, requires_grad=True)
    ours, theirs = x.norm(p, dim), t.norm(p, dim)
    np.testing.assert_allclose(ours.array, theirs.detach(), rtol=1e-12)
    if p != 0:
        (expected,) = torch.autograd.grad(theirs.sum(), t)
        np.testing.assert_allclose(gradient(ours, x), expected + 0.0, rtol=1e-12)


@pytest.mark.parametrize("p", [2, 1, 3, 1.5, 0.5, 0, math.inf, -math.inf], ids=str)
def test_the_gradient_at_0_is_0(p):
    x = Tensor(np.zeros(3), requires_grad=True)
    assert gradient(x.norm(p), x).tolist() == [0, 0, 0]


def test_equal_largest_values_share_the_gradient():
    x = Tensor(np.array([2.0, -2.0, 1.0]), requires_grad=True)
    assert gradient(x.norm(math.inf), x).tolist() == [0.5, -0.5, 0]


def test_nan_spreads():
    x = Tensor(np.array([np.nan, 1.0]), requires_grad=True)
    assert np.isnan([x.norm().item(), x.norm(1).item(), x.norm(math.inf).item()]).all()
    assert np.isnan(gradient(x.norm(), x)).all()


REFUSED = [
    refused("whole numbers", lambda m: m.norm(m.tensor([1, 2])), "norm", "int64"),
    refused("unknown name", lambda m: m.norm(m.ones(2, 2), "max"), "norm", "max"),
    refused("largest of nothing", lambda m: m.zeros(0).norm(math.inf), "norm", "(0,)"),
    refused("negative p of nothing", lambda m: m.zeros(0, 2).norm(-1, 0), "norm", "-1"),
    refused("a dimension too many", lambda m: m.ones(2).norm(2, 3), "norm", "dimension 3"),
    refused("distance of whole numbers", lambda m: m.dist(m.tensor([1]), m.tensor([2])), "int64"),
]


@pytest.mark.parametrize("refusal", REFUSED, ids=str)
def test_what_torch_refuses(refusal, torch):
    refusal.check(torch)


def test_nan_has_gradient_0_in_a_sum_of_distances_as_in_torch():
    x = minicnn.tensor([np.nan, 1.0], requires_grad=True)
    x.norm(1).backward()
    assert x.grad.tolist() == [0, 1]
