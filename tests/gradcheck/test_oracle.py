from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicnn.gradcheck.compare import Ground, typical_size
from minicnn.gradcheck.oracle import (
    FIRST,
    KINK,
    LADDERS,
    LOW_ORDER,
    RUNGS,
    SMOOTH,
    UNRESOLVED,
    ladder,
    measure,
)
from minicnn.gradcheck.subject import from_pair


def slopes(function, x):
    """Return all slopes of a function of one number, as (value, bound, low, high, kind)."""
    x = np.array([x])
    ground = Ground(from_pair(function, lambda dy, x: dy, [x], cache=False), [0])
    scale = typical_size(x)

    def curve(t):
        return np.ravel(function(x + t * scale)).astype(float)

    found = []
    for slope in measure(curve, ground.values, ground.noise):
        numbers = [float(part[0]) / scale for part in slope[:4]]
        found.append((*numbers, int(slope.kind[0])))
    return found


def relu(x):
    return np.maximum(x, 0)


def huber(x):
    return np.where(np.abs(x) < 1, x**2 / 2, np.abs(x) - 0.5)


def selu(x):
    return 1.0507 * np.where(x > 0, x, 1.67326 * np.expm1(x))


SMOOTH_ONES = {
    "sine": (np.sin, 1.0, np.cos(1.0)),
    "cube": (lambda x: x**3, 2.0, 12.0),
    "linear": (lambda x: 3 * x, 0.1, 3.0),
    "constant": (lambda x: 0 * x + 5, 0.1, 0.0),
    "tiny outputs": (lambda x: np.exp(x) * 1e-12, 0.3, np.exp(0.3) * 1e-12),
    "tiny inputs": (lambda x: x**2, 1e-150, 2e-150),
    "huge outputs": (np.exp, 300.0, np.exp(300.0)),
    "large offset": (lambda x: 1e8 + x**2, 0.7, 1.4),
    "fast sine": (lambda x: np.sin(50 * x), 0.7, 50 * np.cos(35.0)),
    "very fast sine": (lambda x: np.sin(1e4 * x), 0.7, 1e4 * np.cos(7000.0)),
    "logarithm near 0": (np.log, 1e-4, 1e4),
    "root near 0": (np.sqrt, 1e-8, 5e3),
    "narrow bump": (
        lambda x: np.exp(-(((x - 0.5) / 2.0**-16) ** 2)) + x,
        0.5 + 2.0**-18,
        1 - 2.0**15 * np.exp(-(2.0**-4)),
    ),
    "relu 1e-4 beside": (relu, 1e-4, 1.0),
    "relu 3e-6 beside": (relu, 3e-6, 1.0),
    "relu 2e-8 beside": (relu, 2e-8, 1.0),
    "relu 1e-10 beside": (relu, 1e-10, 1.0),
    "relu 1e-10 below": (relu, -1e-10, 0.0),
    "a kink 1e-7 to the right": (lambda x: x + relu(x - 0.5 - 1e-7), 0.5, 1.0),
    "a kink 1e-7 to the left": (lambda x: x + relu(x - 0.5 + 1e-7), 0.5, 2.0),
    "a kink 1e-3 to the right": (lambda x: x + relu(x - 0.501), 0.5, 1.0),
    "saturated": (np.tanh, 20.0, 1 / np.cosh(20.0) ** 2),
    "power 3/2": (lambda x: np.abs(x) ** 1.5, 0.0, 0.0),
}
LOW_ORDER_ONES = {
    "x |x|": (lambda x: x * np.abs(x), 0.0, 0.0),
    "joint of huber": (huber, 1.0, 1.0),
    "relu squared": (lambda x: 3 * x + relu(x - 0.5) ** 2, 0.5, 3.0),
}
KINKS = {
    "relu": (relu, 0.0, 0.0, 1.0),
    "minus relu": (lambda x: -relu(x), 0.0, -1.0, 0.0),
    "|x|": (np.abs, 0.0, -1.0, 1.0),
    "|x| + x^2": (lambda x: np.abs(x) + x**2, 0.0, -1.0, 1.0),
    "selu": (selu, 0.0, 1.0507, 1.0507 * 1.67326),
    "small kink": (lambda x: x + 1e-6 * np.abs(x - 0.5), 0.5, 1 - 1e-6, 1 + 1e-6),
    "smaller kink": (lambda x: x + 1e-9 * np.abs(x - 0.5), 0.5, 1 - 1e-9, 1 + 1e-9),
    "kink of tiny numbers": (lambda x: 1e-20 * relu(x), 0.0, 0.0, 1e-20),
}
WITHOUT = {
    "root of |x|": (lambda x: np.sqrt(np.abs(x)), 0.0),
    "cube root": (np.cbrt, 0.0),
    "step": (lambda x: np.where(x > 0, 1.0, 0.0), 0.0),
    "x log |x|": (lambda x: x * np.log(np.abs(x) + 1e-300), 0.0),
    "edge of the domain": (np.sqrt, 0.0),
    "rough everywhere": (
        lambda x: sum(0.5**k * np.cos(3**k * np.pi * x) for k in range(30)),
        0.3,
    ),
}


@pytest.mark.parametrize(("function", "x", "truth"), SMOOTH_ONES.values(), ids=SMOOTH_ONES)
def test_every_bound_on_a_smooth_function_holds_and_the_last_is_sharp(function, x, truth):
    found = slopes(function, x)
    for value, bound, _low, _high, kind in found:
        if kind in (SMOOTH, LOW_ORDER):
            assert abs(value - truth) <= bound
    assert found[-1][4] == SMOOTH
    assert found[-1][1] <= 2e-5 * max(abs(truth), 1e-6)


@pytest.mark.parametrize(("function", "x", "truth"), LOW_ORDER_ONES.values(), ids=LOW_ORDER_ONES)
def test_where_only_the_second_derivative_jumps_the_bound_shrinks_with_the_ladders(
    function, x, truth
):
    found = slopes(function, x)
    assert found[0][4] == LOW_ORDER
    assert all(abs(value - truth) <= bound for value, bound, *_ in found)
    assert found[-1][1] < 5e-3 * found[0][1]
    assert found[-1][1] < 1e-6


@pytest.mark.parametrize(("function", "x", "low", "high"), KINKS.values(), ids=KINKS)
def test_a_kink_is_seen_with_both_of_its_slopes(function, x, low, high):
    found = slopes(function, x)
    for value, bound, lowest, highest, kind in found:
        assert kind == KINK
        rounding = 1e-15 * max(abs(low), abs(high))
        assert abs(lowest - low) <= bound + rounding
        assert abs(highest - high) <= bound + rounding
        assert lowest <= value <= highest
    assert found[-1][1] < 1e-3 * (high - low)


@pytest.mark.parametrize(("function", "x"), WITHOUT.values(), ids=WITHOUT)
def test_where_there_is_no_derivative_nothing_is_claimed(function, x):
    for value, bound, _low, _high, kind in slopes(function, x):
        assert kind == UNRESOLVED
        assert not bound <= 0.1 * abs(value)


def test_a_function_with_several_kinks_close_together_is_settled_by_the_lowest_ladders():
    found = slopes(lambda x: np.abs(x - 0.5) + np.abs(x - 0.5 - 1e-7), 0.5)
    _, bound, low, high, kind = found[-1]
    assert kind == KINK
    assert (low, high) == pytest.approx((-2, 0), abs=bound + 1e-6)


def test_a_ladder_costs_two_calls_a_rung_and_the_whole_search_is_limited():
    calls = []

    def curve(t):
        calls.append(t)
        return np.array([np.abs(t)])

    ladder(curve, np.zeros(1), np.zeros(1), FIRST)
    assert sorted(map(abs, calls)) == sorted(2 * [FIRST / 2**k for k in range(RUNGS)])
    calls.clear()
    assert len(list(measure(curve, np.zeros(1), np.zeros(1)))) <= LADDERS + 2
    assert len(calls) <= 2 * RUNGS * (LADDERS + 2)


def test_a_smooth_function_needs_eight_calls_for_its_first_slope():
    calls = []

    def curve(t):
        calls.append(t)
        return np.sin([1 + t])

    slope = next(measure(curve, np.sin([1.0]), np.array([np.finfo(float).eps])))
    assert slope.kind[0] == SMOOTH
    assert len(calls) == 8


def test_every_output_has_a_kind_of_its_own():
    def curve(t):
        return np.array([np.sin(t), np.abs(t), t * np.abs(t), np.sqrt(np.abs(t)), np.log(t - 1e-9)])

    with np.errstate(invalid="ignore"):
        slope = next(measure(curve, curve(0.0), np.full(5, 1e-18)))
    assert slope.kind.tolist() == [SMOOTH, KINK, LOW_ORDER, UNRESOLVED, UNRESOLVED]
    assert np.isinf(slope.bound[4])
    assert np.isnan(slope.value[4])


# --- random smooth functions ----------------------------------------------------------------------

PARTS = {  # function, derivative
    "sin": (np.sin, np.cos),
    "tanh": (np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    "bell": (lambda x: np.exp(-(x**2)), lambda x: -2 * x * np.exp(-(x**2))),
    "witch": (lambda x: 1 / (1 + x**2), lambda x: -2 * x / (1 + x**2) ** 2),
    "exp": (lambda x: np.exp(np.minimum(x, 20)), lambda x: np.exp(x) if x < 20 else 0.0),
    "square": (lambda x: x**2, lambda x: 2 * x),
    "stretch": (lambda x: 7 * x - 0.3, lambda x: 7.0),
    "shrink": (lambda x: 1e-6 * x, lambda x: 1e-6),
    "lift": (lambda x: x + 1e5, lambda x: 1.0),
    "softplus": (lambda x: np.logaddexp(0, x), lambda x: 1 / (1 + np.exp(-x))),
}


@given(
    names=st.lists(st.sampled_from(sorted(PARTS)), min_size=1, max_size=4),
    x=st.floats(-3, 3).filter(lambda x: abs(x) > 1e-3),
)
def test_the_error_is_within_the_bound_on_random_smooth_functions(names, x):
    def function(t):
        for name in names:
            t = PARTS[name][0](t)
        return t

    value, truth = x, 1.0
    with np.errstate(over="ignore", under="ignore"):
        for name in names:
            truth *= PARTS[name][1](value)
            value = PARTS[name][0](value)
        lifted = "lift" in names  # then rounding inside, which nobody tells the oracle of
        for measured, bound, _low, _high, kind in slopes(function, x):
            if kind != UNRESOLVED and not lifted:
                assert abs(measured - truth) <= bound + 1e-9 * abs(truth)


# --- one ladder -----------------------------------------------------------------------------------


def test_the_error_of_second_order_is_taken_away():
    def curve(t):
        return np.array([t + t**3 + t**5])

    slope = ladder(curve, np.zeros(1), np.array([1e-19]), 2.0**-6)
    step = 2.0**-8  # the central quotient alone is off by the square of it
    assert abs(slope.value[0] - 1) <= slope.bound[0] < 0.01 * step**2


def test_the_sharper_pair_of_rungs_counts():
    def curve(t):
        return np.sin([1 + t])

    (bound,) = ladder(curve, np.sin([1.0]), np.array([4e-16]), FIRST).bound
    assert bound < 3e-11


@pytest.mark.parametrize("size", [1e-13, 1e-10])
def test_the_bound_covers_rounding_that_is_known(size):
    rng = np.random.default_rng(0)

    def curve(t):
        return np.sin(20 * (1 + t)) + size * rng.choice([-1.0, 1.0], 300)

    slope = ladder(curve, np.full(300, np.sin(20.0)), np.full(300, size), FIRST)
    known = (slope.kind == SMOOTH) | (slope.kind == LOW_ORDER)
    assert np.count_nonzero(known) > 100
    assert np.all(np.abs(slope.value - 20 * np.cos(20.0))[known] <= slope.bound[known])
