from __future__ import annotations

import numpy as np
import pytest

from minicnn_kernels.reference import elementwise

NAN, INF = np.nan, np.inf
ORACLES = {
    "expm1": np.expm1, "log1p": np.log1p, "tan": np.tan, "sinh": np.sinh, "cosh": np.cosh,
    "atanh": np.arctanh,
}  # fmt: skip
each = pytest.mark.parametrize("name", ORACLES)


def samples(name, rng):
    signs = rng.choice([-1.0, 1.0], 3000)
    x = np.concatenate([rng.uniform(-3, 3, 3000), signs * 10 ** rng.uniform(-30, 1.9, 3000)])
    if name == "atanh":
        return x[np.abs(x) < 1]
    return x[x > -1] if name == "log1p" else x


@each
def test_float32_to_seven_units_in_the_last_place(name, rng):
    x = samples(name, rng).astype(np.float32)
    y = getattr(elementwise, name)(x)
    assert y.dtype == np.float32
    expected = ORACLES[name](x.astype(np.float64))
    np.testing.assert_allclose(y, expected, rtol=7 * 2**-23, atol=0)


@each
def test_other_types_are_those_of_numpy(name, rng):
    for dtype in (np.float64, np.float16):
        x = rng.uniform(-0.9, 0.9, 20).astype(dtype)
        y = getattr(elementwise, name)(x)
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, ORACLES[name](x))


@each
def test_special_values(name):
    x = np.array([0.0, -0.0, INF, -INF, NAN, 1.0, -1.0, 200.0, -200.0], np.float32)
    with np.errstate(all="ignore"):
        y, expected = getattr(elementwise, name)(x), ORACLES[name](x)
    np.testing.assert_allclose(y, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["log1p", "tan", "sinh", "atanh"])
def test_the_sign_of_0_is_kept(name):
    y = getattr(elementwise, name)(np.array([0.0, -0.0], np.float32))
    assert np.signbit(y).tolist() == [False, True]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softplus_has_all_digits_and_no_overflow(dtype):
    x = np.array([-1e4, -80.0, -20.0, -1.0, 0.0, 1.0, 50.0, 1e4], dtype)
    expected = np.logaddexp(0, x.astype(np.float64))
    rtol = 5 * np.finfo(dtype).eps
    np.testing.assert_allclose(elementwise.softplus(x), expected, rtol=rtol, atol=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_elu_by_definition(dtype, rng):
    x = np.concatenate([rng.normal(size=50), [0.0, -1e-8, 1e4, -1e4, INF, -INF]]).astype(dtype)
    y = elementwise.elu(x, 1.5, 2.0, 0.5)
    wide = x.astype(np.float64)
    expected = np.where(wide > 0, 2 * wide, 3 * np.expm1(0.5 * np.minimum(wide, 0)))
    np.testing.assert_allclose(y, expected, rtol=7 * np.finfo(dtype).eps)
