"""Recording: what is noted, what computes itself, and which formulas are recorded at all."""

import numpy as np
import pytest

pytest.importorskip("numba", reason="Numba is not installed")

from minicnn_kernels.one_pass import in_one_pass
from minicnn_kernels.pointwise import (
    Lazy,
    can_change_in_one_pass,
    change_all,
    changes_in_one_pass,
    computed,
    one_step,
    record_from,
)


@pytest.fixture(autouse=True)
def small_arrays_too():
    with record_from(2):
        yield


def draw(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).uniform(-2, 2, shape).astype(dtype)


def assert_same(formula, *arrays, **settings):
    """Compare with NumPy: values, type, shape, and the inputs left alone."""
    before = [np.array(a) for a in arrays]
    with np.errstate(all="ignore"):
        expected = formula(*arrays, **settings)
        found = in_one_pass(formula)(*arrays, **settings)
    assert type(found) is np.ndarray
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(found, expected, rtol=3e-6, atol=1e-6)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


def is_noted(formula, *arrays):
    return isinstance(formula(*map(Lazy.of, arrays)), Lazy)


FORMULAS = {
    "arithmetic": lambda x: (1 - x * x) / (2 + abs(x)),
    "from the left": lambda x: 3 - x,
    "powers": lambda x: x**2 + abs(x) ** 0.5 + abs(x) ** -0.5 + x**-1 + x**-2 + x**1,
    "whole numbers": lambda x: x * 3 + 1,
    "maximum": lambda x: np.maximum(x, 0),
    "clip": lambda x: np.clip(x, -0.5, 1),
    "clip below": lambda x: np.clip(x, -0.5, None),
    "clip above": lambda x: np.clip(x, None, 1.0),
    "where": lambda x: np.where(x > 0, x, 0.1 * x),
    "where of numbers in one place": lambda x: np.where(np.isnan(x), 0.0, x),
    "booleans as numbers": lambda x: x * (x > 0),
    "logic": lambda x: x * ((x > 0.5) | ~(x >= -1) & (x != 0)),
    "signs": lambda x: ((x > 0).view(np.int8) - (x < 0).view(np.int8)).astype(x.dtype),
    "rounded": lambda x: np.floor(x) + np.ceil(x) + np.trunc(x) + np.rint(x),
    "functions": lambda x: np.exp(x) + np.log(abs(x)) + np.tanh(x) + np.sin(x) + np.arctan(x),
    "a comparison": lambda x: x > 0.3,
    "a type": lambda x: x.astype(np.float64) / 3,
    "polynomials": lambda x: (lambda y: y.__imul__(x))(np.full_like(x, 0.3)) + np.ones_like(x) * x,
    "a single value": lambda x: x * np.float32(0.1) + np.array(2, np.float32),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("formula", FORMULAS.values(), ids=FORMULAS)
def test_a_formula_is_noted_and_computes_what_numpy_does(formula, dtype):
    assert is_noted(formula, draw(5, dtype=dtype))
    assert_same(formula, draw(4, 5, dtype=dtype))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.0])
@pytest.mark.parametrize("name", ["maximum", "clip", "where", "arithmetic", "logic", "signs"])
def test_odd_numbers_are_numpys(name, value):
    assert_same(FORMULAS[name], np.array([1, value, -1, value], np.float32))


def test_changes_in_place_change_only_what_they_name():
    def formula(x):
        y = x * 2
        z = y + 1
        y += x
        np.maximum(y, 0, out=y)
        copy = y.copy()
        copy *= 10
        return y + z

    assert is_noted(formula, draw(3))
    assert_same(formula, draw(3))


def test_what_is_changed_keeps_its_type():
    def formula(x):
        y = x * 2
        y += np.ones(3, np.float64)
        return y

    assert_same(formula, draw(3))


COMPUTED = {
    "a sum": lambda x: x - x.sum(axis=1, keepdims=True),
    "an index": lambda x: x[:, 1] * 2,
    "a shape": lambda x: (x * 2).reshape(-1),
    "a function that is not noted": lambda x: np.cbrt(x) + 1,
    "another power": lambda x: abs(x) ** 1.3,
    "a power of arrays": lambda x: abs(x) ** x,
    "into an array": lambda x: np.add(x, 1, out=np.zeros(x.shape, x.dtype)),
    "a reduction by method": lambda x: np.add.reduce(x * 2, axis=0),
    "a list of arrays": lambda x: np.concatenate([x, x * 2]),
    "an integer type": lambda x: (x * 10).astype(np.int64) * x,
    "integers": lambda x: x * np.arange(x.shape[1]),
    "bits": lambda x: (x * 2).view(np.int32 if x.itemsize == 4 else np.int64),
    "a new array": lambda x: np.zeros_like(x) + x,
    "numbers on both sides": lambda x: np.where(x > 0, 1.0, 0.0),
    "its values": lambda x: x if len(x) == 4 and float(x[0, 0]) < 9 and bool(x[0, 0]) else None,
    "as an array": lambda x: np.asarray(x * 2) + 1,
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("formula", COMPUTED.values(), ids=COMPUTED)
def test_what_cannot_be_noted_is_computed(formula, dtype):
    assert_same(formula, draw(4, 5, dtype=dtype))


def test_looking_twice_computes_once():
    lazy = Lazy.of(draw(3)) * 2
    assert lazy.compute() is lazy.compute()
    assert computed(lazy) is lazy.compute()
    assert computed(3) == 3


def test_broadcasting_has_numpys_shape():
    assert_same(lambda a, b: a * b + 1, draw(2, 3, 4, 5), draw(3, 1, 1))
    assert_same(lambda a, b: a * b + 1, draw(3, 1), draw(1, 4))
    assert_same(lambda a, b: np.where(a > 0, b, 2.0), draw(3, 1), draw(4))
    with pytest.raises(ValueError, match="broadcast"):
        in_one_pass(lambda a, b: a + b)(draw(3), draw(4))


def test_the_body_of_a_loop_changes_arrays_in_one_pass():
    w, m, dw = (draw(6, seed=seed) for seed in range(3))
    new_m = 0.5 * m + dw
    new_w = w - 0.1 * np.sqrt(np.abs(new_m))
    given = dw.copy()
    arrays = {"w": w, "m": m, "dw": dw}
    for each in changes_in_one_pass(arrays):
        assert all(isinstance(value, Lazy) for value in each.values())
        each["m"] *= 0.5
        each["m"] += each["dw"]
        each["w"] -= 0.1 * np.sqrt(np.abs(each["m"]))
    np.testing.assert_allclose(m, new_m, rtol=1e-6)
    np.testing.assert_allclose(w, new_w, rtol=1e-6)
    np.testing.assert_array_equal(dw, given)


def test_only_arrays_alike_in_memory_are_changed_in_one_pass():
    x = draw(4, 3)
    assert can_change_in_one_pass([x, x.copy()])
    assert can_change_in_one_pass([x.T, x.copy().T])
    assert not can_change_in_one_pass([x, np.asfortranarray(x)])
    assert not can_change_in_one_pass([draw(4, 6)[:, ::2]])
    assert not can_change_in_one_pass([x, x.astype(np.float64)])
    assert not can_change_in_one_pass([x.astype(np.float16)])
    with record_from(100):
        assert not can_change_in_one_pass([x])


def test_a_named_formula_is_one_step():
    @one_step("expm1")
    def formula(x):
        return np.exp(x) - 1

    assert str(formula(Lazy.of(draw(3))).node) == "(expm1(x))"
    assert formula(np.zeros(1)) == 0


def test_arrays_of_all_types_are_changed_in_place():
    arrays = [draw(3, 4), draw(5, dtype=np.float64), draw(1), draw(4, 6)[:, ::2], draw(7).T]
    expected = [2 * array + 1 for array in arrays]
    scale = np.array(2.0)

    def change(x):
        x *= scale.astype(x.dtype)
        x += 1

    change_all(arrays, change)
    for array, wanted in zip(arrays, expected, strict=True):
        np.testing.assert_allclose(array, wanted, rtol=1e-6)
