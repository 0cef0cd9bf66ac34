from __future__ import annotations

import operator

import numpy as np
import pytest
from refusals import refused

import minicnn
from minicnn.errors import ArgumentError, DTypeError, ShapeError
from minicnn.ops import arithmetic
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
        ("fmax", np.fmax),
        ("fmin", np.fmin),
        ("floor_divide", np.floor_divide),
        ("remainder", np.remainder),
        ("fmod", np.fmod),
        ("atan2", np.arctan2),
        ("hypot", np.hypot),
        ("logaddexp", np.logaddexp),
        ("copysign", np.copysign),
    ],
)
def test_two_operands(name, oracle):
    with np.errstate(all="ignore"):
        expected = oracle(A, B)
    result = getattr(minicnn, name)(Tensor(A), Tensor(B))
    np.testing.assert_array_equal(result.array, expected)
    assert result.dtype == expected.dtype


@pytest.mark.parametrize("name", ["add", "maximum", "fmod", "atan2"])
def test_shapes_that_do_not_broadcast_are_named(name):
    with pytest.raises(ShapeError, match=rf"{name}: does not take \(2, 3\) and \(2,\)"):
        getattr(minicnn, name)(Tensor(A), Tensor(np.ones(2)))


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


# --- where ----------------------------------------------------------------------------------------


def test_where_broadcasts_all_three(rng):
    condition, a, b = rng.random((4, 1, 3)) < 0.5, rng.normal(size=(2, 1)), rng.normal(size=3)
    result = minicnn.where(minicnn.tensor(condition), Tensor(a), Tensor(b))
    np.testing.assert_array_equal(result.array, np.where(condition, a, b))


@pytest.mark.parametrize("condition", [
    [True, False], np.array([True, False]), minicnn.tensor([True, False]),
], ids=["list", "array", "tensor"])  # fmt: skip
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


# --- what is not refused, and what is -------------------------------------------------------------


@pytest.mark.parametrize("name", ["add", "maximum", "eq", "where"])
def test_two_floating_point_types_are_refused(name):
    f4, f8 = minicnn.ones(2), minicnn.ones(2, dtype=np.float64)
    arguments = ([True, False], f4, f8) if name == "where" else (f4, f8)
    with pytest.raises(DTypeError, match="got float32 and float64; convert one"):
        getattr(minicnn, name)(*arguments)


def test_operations_on_plain_arrays_give_plain_arrays():
    assert type(arithmetic.mul(np.ones(2), 3.0)) is np.ndarray


# --- division -------------------------------------------------------------------------------------

DIVIDENDS, DIVISORS = [7, -7, 7, -7, 6, -6, 0], [3, 3, -3, -3, 3, 3, -3]


@pytest.mark.parametrize("dtype", ["int64", "int32", "float32", "float64"])
@pytest.mark.parametrize("mode", [None, "floor", "trunc"])
def test_rounded_quotients(torch, dtype, mode):
    a, b = np.array(DIVIDENDS, dtype), np.array(DIVISORS, dtype)
    y = minicnn.div(Tensor(a), Tensor(b), rounding_mode=mode)
    expected = torch.div(torch.tensor(a), torch.tensor(b), rounding_mode=mode).numpy()
    assert y.dtype == expected.dtype
    np.testing.assert_allclose(y.array, expected, rtol=1e-6)


def test_large_integers_keep_all_digits_when_divided():
    a = minicnn.tensor([2**62 + 1, -(2**62) - 1])
    assert minicnn.div(a, 2, rounding_mode="trunc").tolist() == [2**61, -(2**61)]
    assert (a // 2).tolist() == [2**61, -(2**61) - 1]


@pytest.mark.parametrize("right", [3, -3, 2.5])
def test_python_operators_of_division(torch, right):
    x = np.array(DIVIDENDS)
    for apply in (lambda v: v // right, lambda v: v % right):
        ours, theirs = apply(Tensor(x)), apply(torch.tensor(x)).numpy()
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours.array, theirs, rtol=1e-6)
    y = Tensor(np.array([3, -3]))
    assert (7 // y).tolist() == [2, -3]
    assert (7 % y).tolist() == [1, -2]
    assert (np.array([7, 7]) % y).tolist() == [1, -2]


def test_rounded_quotients_have_no_slope():
    a, b = leaf(7.0, -7.0), leaf(2.0, 3.0)
    for y in (a // b, minicnn.div(a, b, rounding_mode="trunc")):
        assert gradient(y, a) == gradient(y, b) == [0, 0]


# --- several operands -----------------------------------------------------------------------------


def test_scaled_sums_keep_their_type():
    ones = minicnn.ones(2)
    assert minicnn.add(ones, ones, alpha=2).tolist() == [3, 3]
    assert ones.sub(2, alpha=3).tolist() == [-5, -5]
    mask = minicnn.tensor([True, False])
    assert minicnn.add(mask, mask, alpha=2).dtype == bool
    assert minicnn.add(minicnn.tensor([1]), minicnn.tensor([2]), alpha=3).tolist() == [7]


def test_other_names_are_the_same_functions():
    assert minicnn.true_divide is minicnn.divide is minicnn.div
    assert minicnn.clip is minicnn.clamp
    assert minicnn.multiply is minicnn.mul
    assert minicnn.subtract is minicnn.sub


def test_between_two_ends():
    a, b = leaf(0.0, 10.0), leaf(4.0, 20.0)
    assert minicnn.lerp(a, b, 0.25).tolist() == [1, 12.5]
    assert a.lerp(b, leaf(0.0, 1.0)).tolist() == [0, 20]


def test_the_step_function(torch):
    x, values = np.array([-1.0, 0.0, -0.0, 2.0, NAN]), np.array([0.5, 0.5, 7.0, 0.5, 0.5])
    expected = torch.heaviside(torch.tensor(x[:4]), torch.tensor(values[:4]))
    assert minicnn.heaviside(Tensor(x[:4]), Tensor(values[:4])).tolist() == expected.tolist()


@pytest.mark.parametrize("name", ["fmax", "fmin", "maximum", "minimum"])
def test_extremes_beside_nan_and_at_ties(torch, name):
    a, b = [1.0, NAN, 2.0, NAN, INF, 1.0], [NAN, 1.0, 2.0, NAN, INF, 3.0]
    mine = (leaf(*a), leaf(*b))
    theirs = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (a, b)]
    y, z = getattr(minicnn, name)(*mine), getattr(torch, name)(*theirs)
    np.testing.assert_array_equal(y.array, z.detach().numpy())
    for dx, expected in zip(
        minicnn.grad(y.sum(), mine), torch.autograd.grad(z.sum(), theirs), strict=True
    ):
        np.testing.assert_array_equal(dx.array, expected.numpy())


def test_clamp_has_no_slope_at_nan():
    x = leaf(NAN, 0.5)
    assert gradient(x.clamp(0, 1), x) == [0, 1]


@pytest.mark.parametrize("x", [[3, -2], [True, False]], ids=["integers", "booleans"])
@pytest.mark.parametrize("bounds", [(0, None), (None, 1), (0.5, None), (-1, 2)], ids=str)
def test_types_of_clamped_integers(torch, x, bounds):
    y, expected = minicnn.tensor(x).clamp(*bounds), torch.tensor(x).clamp(*bounds).numpy()
    assert y.dtype == expected.dtype
    assert y.tolist() == expected.tolist()


def test_the_sign_of_0_is_copied():
    x = leaf(1.5, -2.0, 0.0)
    y = minicnn.copysign(x, Tensor(np.array([-0.0, 0.0, -1.0])))
    assert y.tolist() == [-1.5, 2, 0]
    assert gradient(y, x) == [-1, -1, 0]
    assert np.signbit(y.array).tolist() == [True, False, True]


REFUSALS = [
    refused("booleans", lambda m: m.tensor([True]) - m.tensor([False]), "sub", "^"),
    refused("a number less a boolean", lambda m: 1 - m.tensor([True]), "sub"),
    refused("integers by 0", lambda m: m.tensor([1]) // 0, "div", "0"),
    refused("remainder of 0", lambda m: m.tensor([1]) % m.tensor([0]), "remainder"),
    refused("fmod of 0", lambda m: m.fmod(m.tensor([1]), 0), "fmod"),
    refused("way of rounding", lambda m: m.div(m.ones(1), 2, rounding_mode="up"), "'up'"),
    refused("fractional alpha", lambda m: m.add(m.tensor([1]), m.tensor([1]), alpha=0.5), "0.5"),
    refused("integer quotient", lambda m: m.addcdiv(*[m.tensor([1])] * 3), "addcdiv", "int64"),
    refused("no bound", lambda m: m.ones(2).clamp(), "clamp"),
    refused("unlike bounds", lambda m: m.ones(2).clamp(m.ones(2), 3.0), "clamp"),
    refused("power of integers", lambda m: m.tensor([2]) ** -1, "pow"),
    refused("shapes", lambda m: m.addcmul(m.ones(2), m.ones(3), m.ones(2)), "(3,)"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_refusals(refusal, torch):
    refusal.check(torch)


def test_the_angle_of_the_origin_has_gradient_0():
    y, x = (minicnn.zeros(1, requires_grad=True) for _ in range(2))
    minicnn.atan2(y, x).sum().backward()
    assert (y.grad.item(), x.grad.item()) == (0, 0)


BASES_AND_EXPONENTS = [(0.0, -1.0), (0.0, 0.0), (0.0, 0.5), (0.0, 2.0), (-2.0, 2.0), (-2.0, 0.5)]


@pytest.mark.parametrize(("base", "exponent"), BASES_AND_EXPONENTS)
def test_gradients_of_a_power_where_it_is_singular(torch, base, exponent):
    def gradients(m, only_exponent):
        a, b = (m.tensor([v], dtype=m.float64, requires_grad=True) for v in (base, exponent))
        m.pow(base if only_exponent else a, b).sum().backward()
        return [t.grad.tolist() for t in (a, b) if t.grad is not None]

    for only_exponent in (False, True):
        np.testing.assert_array_equal(
            gradients(minicnn, only_exponent), gradients(torch, only_exponent)
        )


@pytest.mark.parametrize("symbol", ["add", "lt", "floordiv", "pow", "and_", "matmul"])
def test_none_is_refused_by_an_error_that_names_the_operation(symbol):
    with pytest.raises(DTypeError, match="None"):
        getattr(operator, symbol)(minicnn.ones(2), None)


def test_a_matrix_product_with_a_number_is_refused():
    for product in (lambda x: x @ 2, lambda x: 2 @ x):
        with pytest.raises(DTypeError, match="matmul: needs two tensors, got int"):
            product(minicnn.ones(2, 2))
