"""Elementary functions in compiled loops: units in the last place, and every kind of odd number."""

import math

import numpy as np
import pytest

from minicnn_kernels.reference import special

pytest.importorskip("numba", reason="Numba is not installed")

from minicnn_kernels.cpu import mathematics
from minicnn_kernels.cpu.jit import SUMS, jit

ODD = [
    0.0,
    -0.0,
    1,
    -1,
    0.5,
    np.inf,
    -np.inf,
    np.nan,
    2**-149,
    -(2**-149),
    2**-126,
    3.4e38,
    -3.4e38,
]
EXACT = {  # in float64
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log2": np.log2,
    "log10": np.log10, "log1p": np.log1p, "tanh": np.tanh, "erf": special.erf, "erfc": special.erfc,
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "atan": np.arctan, "asin": np.arcsin,
    "acos": np.arccos, "lgamma": special.lgamma,
}  # fmt: skip
CIRCULAR = {"sin", "cos", "tan"}


def loop_over(name):
    """Return a compiled loop, which may add up in any order: a formula must not depend on that."""
    function = getattr(mathematics, name)

    @jit(SUMS, inline=True)
    def loop(x, y):
        for i in range(x.size):
            y[i] = function(x[i])

    def call(x):
        y = np.empty_like(x)
        loop(x, y)
        return y

    return call


def samples(name):
    """Numbers of every exponent, and many where a function of courses bends."""
    rng = np.random.default_rng(0)
    everywhere = rng.integers(0, 2**32, 100_000, dtype=np.uint32).view(np.float32)
    near = [rng.uniform(-size, size, 50_000) for size in (1, 2, 12, 110)]
    x = np.concatenate([everywhere, *near, ODD]).astype(np.float32)
    return x[~(np.abs(x) > 2.0**50)] if name in CIRCULAR else x


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", EXACT)
def test_float32_is_right_to_two_units_in_the_last_place(name):
    x = samples(name)
    found, exact = loop_over(name)(x), EXACT[name](x.astype(np.float64))
    rounded = exact.astype(np.float32)
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(found[~finite], rounded[~finite])
    error = np.abs(found - exact)[finite] / np.spacing(np.abs(rounded[finite]))
    worst = np.argmax(error)
    assert error[worst] <= 2, (x[finite][worst], found[finite][worst], exact[finite][worst])
    zero = x == 0
    np.testing.assert_array_equal(np.signbit(found[zero]), np.signbit(rounded[zero]))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", EXACT)
def test_float64_is_that_of_the_c_library(name):
    x = np.array([*ODD[:-2], 0.3, -0.7, 2.5, 20])
    np.testing.assert_allclose(loop_over(name)(x), EXACT[name](x), rtol=1e-14)


@pytest.mark.parametrize("name", EXACT)
def test_a_loop_of_float32_becomes_vector_instructions(name):
    function = getattr(mathematics, name)

    @jit(inline=True)
    def loop(x, y):
        for i in range(x.size):
            y[i] = function(x[i])

    x = np.ones(4, np.float32)
    loop(x, x)
    (code,) = loop.inspect_llvm().values()
    assert "x float>" in code


@pytest.mark.parametrize("name", EXACT)
def test_called_from_python_it_is_the_function_itself(name):
    assert getattr(mathematics, name)(0.25) == pytest.approx(EXACT[name](np.array([0.25]))[0])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_circular_functions_of_huge_numbers_stay_bounded():
    x = np.array([2.0**60, 2.0**100, 3.4e38], np.float32)
    assert np.all(np.abs(loop_over("sin")(x)) <= 1)
    assert np.all(np.abs(loop_over("cos")(x)) <= 1)


def test_powers_and_logarithms_of_2_are_exact():
    n = np.arange(-149, 128).astype(np.float32)
    assert np.array_equal(loop_over("exp2")(n), [math.ldexp(1, int(i)) for i in n])
    assert np.array_equal(loop_over("log2")(np.ldexp(np.float32(1), n.astype(int))), n)


# --- of two numbers -------------------------------------------------------------------------------

OF_TWO = {"atan2": np.arctan2, "hypot": np.hypot, "logaddexp": np.logaddexp}


def loop_over_two(name):
    function = getattr(mathematics, name)

    @jit(SUMS, inline=True)
    def loop(a, b, y):
        for i in range(y.size):
            y[i] = function(a[i], b[i])

    def call(a, b):
        y = np.empty_like(a)
        loop(a, b, y)
        return y

    return call


@pytest.mark.parametrize("name", OF_TWO)
def test_functions_of_two_numbers(name):
    """logaddexp loses digits where its result is near 0: its error is one of the larger number."""
    rng = np.random.default_rng(0)
    odd = np.array([*ODD, 1e-40, 3e38, -2.5], np.float32)
    a, b = (part.ravel() for part in np.meshgrid(odd, odd))
    spread = rng.standard_normal((2, 50_000)) * 10 ** rng.uniform(-3, 3, (2, 50_000))
    a, b = np.append(a, spread[0]).astype(np.float32), np.append(b, spread[1]).astype(np.float32)
    found = loop_over_two(name)(a, b)
    with np.errstate(all="ignore"):
        exact = OF_TWO[name](a.astype(np.float64), b.astype(np.float64))
        rounded = exact.astype(np.float32)
        size = np.maximum(abs(a), abs(b)) if name == "logaddexp" else abs(rounded)
        near = abs(found - exact) <= 2.5 * np.spacing(np.maximum(size, abs(rounded)))
    equal = (found == rounded) | (np.isnan(found) & np.isnan(rounded))
    assert (near | equal).all()
    if name == "atan2":
        assert (np.signbit(found) == np.signbit(rounded))[~np.isnan(found)].all()


@pytest.mark.parametrize("name", OF_TWO)
def test_functions_of_two_float64_are_numpys(name):
    a, b = np.random.default_rng(0).standard_normal((2, 100))
    np.testing.assert_allclose(loop_over_two(name)(a, b), OF_TWO[name](a, b), rtol=1e-15)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_exp_below_0():
    x = np.linspace(-87.33, 0, 100_001).astype(np.float32)
    exact = np.exp(x.astype(np.float64))
    error = np.abs(loop_over("exp_below_0")(x) - exact) / np.spacing(exact.astype(np.float32))
    assert error.max() <= 2
    edges = np.array([-0.0, -87.4, -104, -np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(loop_over("exp_below_0")(edges), [1, 0, 0, 0, np.nan])
    assert loop_over("exp_below_0")(np.array([-100.0]))[0] == pytest.approx(np.exp(-100.0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_extremes_are_those_of_numpy(dtype, name):
    function = getattr(mathematics, name)

    @jit(inline=True)
    def loop(x, y, found):
        for i in range(x.size):
            found[i] = function(x[i], y[i])

    x, y = np.array([(a, b) for a in ODD for b in ODD], dtype).T.copy()
    found = np.empty_like(x)
    loop(x, y, found)
    np.testing.assert_array_equal(found, getattr(np, name)(x, y))
