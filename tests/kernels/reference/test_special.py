from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special as scipy_special

from minicnn_kernels.reference import special

NAN, INF = np.nan, np.inf


def powers_of_ten(rng, low, high, count=2000):
    return 10.0 ** rng.uniform(low, high, count)


def assert_close(found, expected, rtol, atol=0.0):
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)


@pytest.fixture
def wide(rng):
    """Numbers of both signs, small and large."""
    x = np.concatenate([rng.uniform(-6, 6, 5000), powers_of_ten(rng, -20, 0.8)])
    return np.concatenate([x, -x, [0.46875, np.nextafter(0.46875, 1), 4.0, np.nextafter(4, 5)]])


# --- the error function ---------------------------------------------------------------------------


def test_erf(wide):
    assert_close(special.erf(wide), [math.erf(v) for v in wide], rtol=8e-16)


def test_erfc_and_its_tail(wide):
    x = np.concatenate([wide, np.linspace(6, 26, 500)])
    assert_close(special.erfc(x), [math.erfc(v) for v in x], rtol=3e-15)


def test_the_normal_distribution_and_its_tail(wide):
    x = np.concatenate([wide, np.linspace(-37, 0, 500)])
    expected = [math.erfc(-v * math.sqrt(0.5)) / 2 for v in x]
    assert_close(special.normal_cdf(x), expected, rtol=1e-13)


def test_erfinv(rng):
    x = np.concatenate([rng.uniform(-1, 1, 5000), powers_of_ten(rng, -30, -1)])
    x = np.concatenate([x, 1 - powers_of_ten(rng, -15, -1), [0.85, np.nextafter(0.85, 1)]])
    assert_close(special.erfinv(x), scipy_special.erfinv(x), rtol=2e-15)


def test_erf_and_erfinv_undo_each_other(rng):
    x = rng.uniform(-2.5, 2.5, 500)
    assert_close(special.erfinv(special.erf(x)), x, rtol=2e-13)


def test_float32_error_functions(wide):
    x = wide.astype(np.float32)
    assert_close(special.erf(x), scipy_special.erf(x.astype(np.float64)), rtol=5e-7)
    x = x[np.abs(x) < 5]
    for name, oracle in (("erfc", scipy_special.erfc), ("normal_cdf", scipy_special.ndtr)):
        y = getattr(special, name)(x)
        assert y.dtype == np.float32
        assert_close(y, oracle(x.astype(np.float64)), rtol=5e-6)
    y = np.linspace(-0.99999, 0.99999, 2001, dtype=np.float32)
    assert_close(special.erfinv(y), scipy_special.erfinv(y.astype(np.float64)), rtol=5e-7)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_special_values_of_the_error_functions(dtype):
    x = np.array([0.0, -0.0, INF, -INF, NAN], dtype)
    np.testing.assert_array_equal(special.erf(x), [0, 0, 1, -1, NAN])
    np.testing.assert_allclose(special.erfc(x), [1, 1, 0, 2, NAN], rtol=1e-7)
    np.testing.assert_allclose(special.normal_cdf(x), [0.5, 0.5, 1, 0, NAN], rtol=1e-7)
    x = np.array([0, 1, -1, 2, -2, NAN], dtype)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(special.erfinv(x), [0, INF, -INF, NAN, NAN, NAN])
    for name in ("erf", "erfc", "normal_cdf", "erfinv"):
        assert getattr(special, name)(np.zeros(3, dtype)).dtype == dtype


def test_erf_never_leaves_its_bounds():
    x = np.linspace(-8, 8, 20001, dtype=np.float32)
    assert np.abs(special.erf(x)).max() == 1
    y = special.normal_cdf(x)
    assert 0 <= y.min() <= y.max() <= 1


# --- the gamma function ---------------------------------------------------------------------------


def test_lgamma_above_0(rng):
    x = np.concatenate([rng.uniform(0, 12, 5000), powers_of_ten(rng, -300, 300)])
    assert_close(special.lgamma(x), [math.lgamma(v) for v in x], rtol=2e-15, atol=2e-15)


@pytest.mark.parametrize("root", [1.0, 2.0])
def test_lgamma_keeps_its_digits_at_its_roots(root):
    step = np.array([1e-3, 1e-6, 1e-9, 1e-12])
    step = (root + step) - root
    slope = scipy_special.psi(root)  # ln Gamma(root + h) = slope h + curvature h^2 / 2 + ...
    curvature, third = (scipy_special.polygamma(n, root) for n in (1, 2))
    fourth = scipy_special.polygamma(3, root)
    series = step * (slope + step * (curvature / 2 + step * (third / 6 + step * fourth / 24)))
    assert_close(special.lgamma(root + step), series, rtol=1e-11)
    assert special.lgamma(np.array([root])).tolist() == [0]


def test_lgamma_below_0(rng):
    x = np.concatenate([rng.uniform(-20, 0, 3000), [-0.5, -1e-20, -170.5, -500.3]])
    assert_close(special.lgamma(x), [math.lgamma(v) for v in x], rtol=3e-15, atol=3e-14)


def test_digamma(rng):
    x = np.concatenate([rng.uniform(0, 12, 3000), powers_of_ten(rng, -300, 300)])
    assert_close(special.digamma(x), scipy_special.psi(x), rtol=4e-15, atol=1e-15)
    x = rng.uniform(-20, 0, 3000)
    distance = np.abs(x - np.rint(x))
    assert_close(
        special.digamma(x[distance > 0.1]), scipy_special.psi(x[distance > 0.1]), 1e-13, 1e-14
    )


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_polygamma(rng, n):
    x = np.concatenate([rng.uniform(0.01, 12, 2000), powers_of_ten(rng, -5, 15)])
    assert_close(special.polygamma(n, x), scipy_special.polygamma(n, x), rtol=5e-15)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4])
def test_polygamma_below_0_by_its_recurrence(rng, n):
    x = rng.uniform(-4, 0, 200)
    x = x[np.abs(x - np.rint(x)) > 0.1]
    expected = scipy_special.polygamma(n, x + 5) + sum(
        (-1) ** (n + 1) * math.factorial(n) * (x + k) ** -(n + 1.0) for k in range(5)
    )
    assert_close(special.polygamma(n, x), expected, rtol=1e-11)


def test_poles_and_infinities_of_the_gamma_family():
    x = np.array([0.0, -0.0, -1.0, -2.0, INF, -INF, NAN])
    with np.errstate(all="ignore"):
        found = [special.lgamma(x), special.digamma(x), special.polygamma(1, x)]
        third = special.polygamma(2, x)
    np.testing.assert_array_equal(found[0], [INF, INF, INF, INF, INF, INF, NAN])
    np.testing.assert_array_equal(found[1], [-INF, INF, NAN, NAN, INF, NAN, NAN])
    np.testing.assert_array_equal(found[2][:4], [INF] * 4)
    np.testing.assert_array_equal(third[:4], [-INF] * 4)


def test_the_gamma_family_of_float32_is_rounded_once(rng):
    x = rng.uniform(-4.9, 12, 1000).astype(np.float32)
    for function, oracle in (
        (special.lgamma, scipy_special.gammaln),
        (special.digamma, scipy_special.psi),
    ):
        y = function(x)
        assert y.dtype == np.float32
        assert_close(y, oracle(x.astype(np.float64)), rtol=2e-7)


def test_the_polynomial_is_that_of_numpy(rng):
    x, coefficients = rng.normal(size=7), rng.normal(size=5)
    expected = np.polynomial.Polynomial(coefficients)(x)
    np.testing.assert_allclose(special.polynomial(x, coefficients), expected, rtol=1e-13)
