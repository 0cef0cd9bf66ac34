from __future__ import annotations

import numpy as np
import pytest
from refusals import refused
from scipy import special as scipy_special

import minicnn
from minicnn.tensor import Tensor

INF, NAN = np.inf, np.nan


def leaf(*values):
    return Tensor(np.array(values), requires_grad=True)


def derivatives(function, x, order):
    """Return the value and the first derivatives at each element of x."""
    y, found = function(x), []
    for _ in range(order + 1):
        found.append(y.array)
        (y,) = minicnn.grad(y.sum(), x, create_graph=True)
    return found


@pytest.mark.parametrize("values", [[0.3, 1.0, 1.46, 2.5, 9.7, 30.0], [-0.4, -1.5, -3.3]])
def test_the_gamma_family_differentiates_into_itself(values):
    x = leaf(*values)
    found = derivatives(minicnn.lgamma, x, 4)
    step = 3 if values[0] < 0 else 0  # SciPy has polygamma for positive numbers only
    assert np.allclose(found[0], scipy_special.gammaln(values), rtol=1e-13)
    assert np.allclose(found[1], scipy_special.psi(values), rtol=1e-12)
    for n, y in enumerate(found[2:], start=1):
        shifted = np.array(values) + step + 1
        expected = scipy_special.polygamma(n, shifted)
        for k in range(step + 1):
            steps = (np.array(values) + k) ** -(n + 1.0)
            expected = expected + (-1) ** (n + 1) * scipy_special.factorial(n) * steps
        np.testing.assert_allclose(y, expected, rtol=1e-10)


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_polygamma_as_function_and_method(n):
    x = leaf(0.7, 3.2)
    expected = scipy_special.polygamma(n, x.tolist())
    np.testing.assert_allclose(minicnn.polygamma(n, x).array, expected, rtol=1e-13)
    np.testing.assert_allclose(x.polygamma(n).array, expected, rtol=1e-13)


def test_error_functions_beside_those_of_scipy():
    x = leaf(-3.0, -0.2, 0.0, 0.4, 5.0)
    for name in ("erf", "erfc"):
        expected = getattr(scipy_special, name)(x.tolist())
        np.testing.assert_allclose(getattr(minicnn, name)(x).array, expected, rtol=1e-14)
    y = minicnn.erfinv(minicnn.erf(leaf(-1.2, 0.3)))
    np.testing.assert_allclose(y.array, [-1.2, 0.3], rtol=1e-14)


@pytest.mark.parametrize("name", ["erf", "erfc", "erfinv", "lgamma", "digamma", "sinc", "logit"])
def test_integers_become_float32(torch, name):
    x = np.array([1, 3])
    y, expected = (getattr(m, name)(t) for m, t in ((minicnn, Tensor(x)), (torch, torch.tensor(x))))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.array, expected.numpy(), rtol=1e-5, atol=1e-6)


def test_sinc_at_0():
    x = leaf(0.0, -0.0, 1e-9)
    value, slope, bend = derivatives(minicnn.sinc, x, 2)
    assert value.tolist() == [1, 1, 1]
    assert slope[:2].tolist() == [0, 0]
    assert np.isfinite(bend).all()


def test_xlogy_where_a_factor_is_0(torch):
    a, b = np.array([0.0, 0.0, 0.0, 2.0, 0.0]), np.array([0.0, NAN, 2.0, 0.0, -1.0])
    mine, theirs = (leaf(*a), leaf(*b)), [torch.tensor(v, requires_grad=True) for v in (a, b)]
    y, z = minicnn.xlogy(*mine), torch.xlogy(*theirs)
    np.testing.assert_array_equal(y.array, z.detach().numpy())
    for dx, expected in zip(
        minicnn.grad(y.sum(), mine), torch.autograd.grad(z.sum(), theirs), strict=True
    ):
        np.testing.assert_array_equal(dx.array, expected.numpy())


def test_logit_at_its_bounds(torch):
    for eps in (None, 0.1):
        values = [0.0, 1.0, 0.1, 0.9, 0.05, 0.5]
        x, z = leaf(*values), torch.tensor(values, dtype=torch.float64, requires_grad=True)
        y, expected = minicnn.logit(x, eps), torch.logit(z, eps)
        np.testing.assert_allclose(y.array, expected.detach().numpy(), rtol=1e-14)
        (dx,), (dz,) = minicnn.grad(y.sum(), x), torch.autograd.grad(expected.sum(), z)
        np.testing.assert_allclose(dx.array, dz.numpy(), rtol=1e-13)


REFUSALS = [
    refused("negative order", lambda m: m.polygamma(-1, m.ones(2)), "polygamma", "-1"),
    refused("no order", lambda m: m.polygamma(m.ones(2), 1), "polygamma", "Tensor"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_refusals(refusal, torch):
    refusal.check(torch)


def test_logit_of_integers_and_booleans_is_floating():
    assert minicnn.logit(minicnn.tensor([0, 1], dtype=minicnn.uint8)).tolist() == [-np.inf, np.inf]
    assert minicnn.logit(minicnn.tensor([False, True])).tolist() == [-np.inf, np.inf]


def test_logit_has_no_gradient_outside_of_0_and_1():
    x = minicnn.tensor([-0.5, 0.0, 0.5, 1.0, 1.5], requires_grad=True)
    minicnn.logit(x).sum().backward()
    np.testing.assert_array_equal(x.grad.array, [np.nan, np.inf, 4, np.inf, np.nan])
