from __future__ import annotations

import math

import numpy as np
import pytest

import minicnn
from minicnn.errors import ArgumentError, DTypeError, ShapeError
from minicnn.ops import arithmetic
from minicnn.ops.arithmetic import cast
from minicnn.tensor import Tensor

INF, NAN = np.inf, np.nan
A = np.array([[1.5, -2.0, 0.0], [-0.0, INF, NAN]])
B = np.array([2.0, -2.0, NAN])


def leaf(*values):
    return Tensor(np.array(values), requires_grad=True)


def gradient(y, x):
    return minicnn.grad(y.sum(), x, retain_graph=True)[0].tolist()


@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("add", np.add),
        ("sub", np.subtract),
        ("mul", np.multiply),
        ("div", np.divide),
        ("pow", np.power),
        ("maximum", np.maximum),
        ("minimum", np.minimum),
        ("eq", np.equal),
        ("ne", np.not_equal),
        ("lt", np.less),
        ("le", np.less_equal),
        ("gt", np.greater),
        ("ge", np.greater_equal),
        ("logical_and", np.logical_and),
        ("logical_or", np.logical_or),
    ],
)
def test_two_operands(name, oracle):
    with np.errstate(all="ignore"):
        expected = oracle(A, B)
    result = getattr(minicnn, name)(Tensor(A), Tensor(B))
    np.testing.assert_array_equal(result.array, expected)
    assert result.dtype == expected.dtype


@pytest.mark.parametrize("name", ["add", "maximum", "eq", "logical_or"])
def test_shapes_that_do_not_broadcast_are_named(name):
    with pytest.raises(ShapeError, match=rf"{name}: does not take \(2, 3\) and \(2,\)"):
        getattr(minicnn, name)(Tensor(A), Tensor(np.ones(2)))


@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("neg", np.negative),
        ("exp", np.exp),
        ("log", np.log),
        ("sqrt", np.sqrt),
        ("abs", np.abs),
        ("logical_not", np.logical_not),
    ],
)
def test_one_operand(name, oracle):
    with np.errstate(all="ignore"):
        expected = oracle(A)
    np.testing.assert_array_equal(getattr(minicnn, name)(Tensor(A)).array, expected)


@pytest.mark.parametrize("name", ["exp", "log", "sqrt"])
def test_integers_become_float32(name):
    result = getattr(minicnn, name)(minicnn.tensor([1, 4]))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result.array, getattr(np, name)([1, 4]), rtol=1e-6)


# --- powers ---------------------------------------------------------------------------------------


def test_the_power_0_has_no_slope_anywhere():
    x = leaf(-2.0, 0.0, 3.0)
    assert gradient(x**0, x) == [0, 0, 0]
    assert gradient(x ** Tensor(np.zeros(3)), x) == [0, 0, 0]


def test_the_power_1_has_slope_1_at_0():
    x = leaf(0.0, 2.0)
    assert gradient(x**1, x) == [1, 1]


def test_the_slope_of_a_root_at_0_is_infinite():
    x = leaf(0.0, 4.0)
    assert gradient(x**0.5, x) == [INF, 0.25]


def test_zero_to_a_positive_power_stays_zero():
    b = leaf(1.0, 2.5)
    assert gradient(0.0**b, b) == [0, 0]
    assert gradient(Tensor(np.zeros(2)) ** b, b) == [0, 0]


@pytest.mark.parametrize("base", [-2.0, -2, Tensor(np.array([-2.0, -2.0]))])
def test_a_negative_base_has_no_slope_in_the_exponent(base):
    b = leaf(1.0, 2.0)
    y = base**b
    assert y.tolist() == [-2, 4]
    assert np.isnan(gradient(y, b)).all()


def test_one_to_any_power_has_no_slope_in_the_exponent():
    b = leaf(3.0)
    assert gradient(1**b, b) == [0]


# --- extremes and bounds --------------------------------------------------------------------------


@pytest.mark.parametrize("choose", [minicnn.maximum, minicnn.minimum])
@pytest.mark.parametrize("value", [0.0, 2.0, INF, -INF])
def test_equal_values_share_the_gradient(choose, value):
    a, b = leaf(value), leaf(value)
    y = choose(a, b)
    assert gradient(y, a) == gradient(y, b) == [0.5]


@pytest.mark.parametrize(("choose", "share"), [(minicnn.maximum, 1), (minicnn.minimum, 0)])
def test_the_chosen_value_takes_the_gradient(choose, share):
    a, b = leaf(3.0, INF), leaf(1.0, 1.0)
    y = choose(a, b)
    assert gradient(y, a) == [share, share]
    assert gradient(y, b) == [1 - share, 1 - share]


def test_nan_wins_extremes():
    assert np.isnan(minicnn.maximum(leaf(NAN, 1.0), leaf(1.0, NAN)).array).all()
    assert np.isnan(minicnn.minimum(leaf(NAN, 1.0), leaf(1.0, NAN)).array).all()


def test_clamp_passes_the_gradient_inside_and_at_its_bounds():
    x = leaf(-2.0, -1.0, 0.0, 1.0, 2.0)
    y = minicnn.clamp(x, -1, 1)
    assert y.tolist() == [-1, -1, 0, 1, 1]
    assert gradient(y, x) == [0, 1, 1, 1, 0]


def test_clamp_with_one_bound():
    x = leaf(-2.0, 0.5, 2.0)
    assert x.clamp(min=0).tolist() == [0, 0.5, 2]
    assert x.clamp(max=1).tolist() == [-2, 0.5, 1]


def test_clamp_with_bounds_that_cross_gives_the_upper():
    assert leaf(-2.0, 0.5, 2.0).clamp(1, 0).tolist() == [0, 0, 0]


def test_clamp_with_tensors():
    x, low, high = leaf(-2.0, 0.5, 2.0), leaf(-1.0, 1.0, 1.0), leaf(1.5, 1.5, 1.5)
    assert x.clamp(low, high).tolist() == [-1, 1, 1.5]
    assert gradient(x.clamp(low, high), low) == [1, 1, 0]


def test_clamp_needs_a_bound():
    with pytest.raises(ArgumentError, match="clamp: at least one of min and max"):
        leaf(1.0).clamp()


def test_the_slope_of_abs_at_0_is_0():
    x = leaf(-3.0, 0.0, -0.0, 3.0)
    assert gradient(abs(x), x) == [-1, 0, 0, 1]


# --- where ----------------------------------------------------------------------------------------


def test_where_broadcasts_all_three(rng):
    condition, a, b = rng.random((4, 1, 3)) < 0.5, rng.normal(size=(2, 1)), rng.normal(size=3)
    result = minicnn.where(minicnn.tensor(condition), Tensor(a), Tensor(b))
    np.testing.assert_array_equal(result.array, np.where(condition, a, b))


@pytest.mark.parametrize("condition", [
    [True, False], np.array([True, False]), np.array([2, 0]), minicnn.tensor([True, False]),
], ids=["list", "array", "integers", "tensor"])  # fmt: skip
def test_where_takes_any_condition(condition):
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = minicnn.where(condition, a, b)
    assert y.tolist() == [1, 4]
    assert (gradient(y, a), gradient(y, b)) == ([1, 0], [0, 1])


@pytest.mark.parametrize(
    ("a", "b", "dtype"),
    [
        (1.0, 0.0, np.float32),
        (1, 0, np.int64),
        (1.0, 0, np.float32),
        (1, 0.5, np.float32),
        (np.float64([1, 1]), 0.0, np.float64),
        (True, False, np.bool_),
    ],
)
def test_where_between_numbers_gives_a_tensor(a, b, dtype):
    result = minicnn.where(minicnn.tensor([True, False]), a, b)
    assert type(result) is Tensor
    assert result.dtype == dtype
    np.testing.assert_array_equal(result.array, np.where([True, False], a, b))


def test_where_does_not_follow_a_condition_that_changes_later():
    condition = np.array([True, False])
    x = leaf(1.0, 2.0)
    y = minicnn.where(condition, x, 0.0)
    condition[:] = False
    assert gradient(y, x) == [1, 0]


# --- cast -----------------------------------------------------------------------------------------

TYPES = [np.float16, np.float32, np.float64, np.int32, np.int64, np.bool_]


@pytest.mark.parametrize("source", TYPES)
@pytest.mark.parametrize("target", TYPES)
def test_cast_between_types(source, target):
    x = Tensor(np.array([0, 1, 1]).astype(source))
    y = cast(x, np.dtype(target))
    assert y.dtype == target
    assert y.tolist() == x.tolist()


@pytest.mark.parametrize(
    ("source", "target"), [("f4", "f8"), ("f8", "f4"), ("f4", "f2"), ("f2", "f8")]
)
def test_the_gradient_of_a_cast_comes_back_in_the_type_of_x(source, target):
    x = Tensor(np.array([1.0, 2.0], source), requires_grad=True)
    (cast(x, np.dtype(target)) * 3).sum().backward()
    assert x.grad.dtype == np.dtype(source)
    assert x.grad.tolist() == [3, 3]


def test_a_cast_to_integers_has_no_gradient():
    y = cast(leaf(1.7, -1.7), np.dtype(np.int64))
    assert y.tolist() == [1, -1]
    assert not y.requires_grad


# --- what is not refused, and what is -------------------------------------------------------------


def test_infinite_results_need_no_warning():
    x = leaf(0.0, -1.0, 1e308)
    assert (1 / x).tolist()[0] == INF
    assert math.isnan(minicnn.log(x).tolist()[1])
    assert minicnn.exp(x).tolist()[2] == INF
    assert gradient(minicnn.log(x), x) == [INF, -1, 1e-308]


@pytest.mark.parametrize("name", ["add", "maximum", "eq", "where"])
def test_two_floating_point_types_are_refused(name):
    f4, f8 = minicnn.ones(2), minicnn.ones(2, dtype=np.float64)
    arguments = ([True, False], f4, f8) if name == "where" else (f4, f8)
    with pytest.raises(DTypeError, match="got float32 and float64; convert one"):
        getattr(minicnn, name)(*arguments)


def test_operations_on_plain_arrays_give_plain_arrays():
    assert type(arithmetic.mul(np.ones(2), 3.0)) is np.ndarray
