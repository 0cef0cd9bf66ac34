from __future__ import annotations

import numpy as np
import pytest

from minicnn.gradcheck import gradcheck_pair
from minicnn.gradcheck.compare import (
    AT_KINK,
    EXCUSED,
    INCONCLUSIVE,
    RIGHT,
    VANISHING,
    WRONG,
    Comparison,
    Ground,
    Tolerances,
    typical_size,
)
from minicnn.gradcheck.subject import from_pair, signs


def compared(forward, backward, *inputs, tolerances=None, eps=None):
    """Return a Comparison of a plain pair at `inputs`, with two dy."""
    subject = from_pair(forward, backward, inputs, cache=False)
    ground = Ground(subject, subject.checked)
    rng = np.random.default_rng(0)
    upstreams = [ground.usable([signs(rng, shape) for shape in ground.shapes]) for _ in range(2)]
    gradients = [subject.gradients(dy, subject.inputs) for dy in upstreams]
    return Comparison(
        subject, subject.checked, ground, upstreams, gradients, tolerances or Tolerances(), eps
    )


def states(comparison):
    """Return the state along every element, in order."""
    return [comparison.judge(unit).state for unit in np.eye(comparison.size)]


def verdict(forward, backward, *inputs, **settings):
    return gradcheck_pair(forward, backward, inputs, raise_exception=False, **settings).verdict


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    y = np.exp(x - x.max(-1, keepdims=True))
    return y / y.sum(-1, keepdims=True)


def softmax_backward(dy, x):
    y = softmax(x)
    return y * (dy - (dy * y).sum(-1, keepdims=True))


def normalized(x):
    return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)


def normalized_backward(dy, x):
    factor, y = 1 / np.sqrt(x.var(0) + 1e-5), normalized(x)
    return factor * (dy - dy.mean(0) - y * (dy * y).mean(0))


X = np.random.default_rng(0).normal(size=(3, 4))
SPREAD = 10.0 ** np.arange(-8, 9, 2)

# --- right ones -----------------------------------------------------------------------------------

RIGHT_ONES = {
    "gradients of 1e-20": (lambda x: 1e-20 * x**2, lambda dy, x: 2e-20 * dy * x, X),
    "gradients of 1e-200": (lambda x: 1e-200 * x**2, lambda dy, x: 2e-200 * dy * x, X),
    "outputs of 1e8": (lambda x: 1e8 + x**2, lambda dy, x: 2 * dy * x, X),
    "outputs of 1e30": (lambda x: 1e30 * np.sin(x), lambda dy, x: 1e30 * dy * np.cos(x), X),
    "inputs of 1e-100": (lambda x: x**2, lambda dy, x: 2 * dy * x, 1e-100 * X),
    "inputs of 1e150": (lambda x: x**2, lambda dy, x: 2 * dy * x, 1e150 * X),
    "inputs from 1e-8 to 1e8": (lambda x: x**2, lambda dy, x: 2 * dy * x, SPREAD),
    "inputs far from 0": (lambda x: (x - 1e6) ** 2, lambda dy, x: 2 * dy * (x - 1e6), 1e6 + X),
    "constant": (lambda x: np.full(3, 7.0), lambda dy, x: 0 * x, X),
    "saturated sigmoid": (
        sigmoid,
        lambda dy, x: dy * sigmoid(x) * sigmoid(-x),
        np.array([-700.0, -40, 0, 3, 37, 40, 700]),
    ),
    "saturated tanh": (
        np.tanh,
        lambda dy, x: dy * (1 - np.tanh(x) ** 2),
        np.array([-800.0, -18.5, 0, 1e-9, 3, 15, 20]),
    ),
    "softmax": (softmax, softmax_backward, X),
    "saturated softmax": (softmax, softmax_backward, 10 * X),
    "batch norm": (normalized, normalized_backward, X),
    "batch norm far from 0": (normalized, normalized_backward, 300 + X),
    "batch norm of nearly nothing": (normalized, normalized_backward, 1e-6 * X),
    "batch norm of one item": (normalized, normalized_backward, X[:1]),
    "large sum": (lambda x: (x**2).sum(), lambda dy, x: 2 * dy * x, np.tile(X, (5, 5))),
    "logarithm near 0": (np.log, lambda dy, x: dy / x, np.array([1e-6, 3e-5, 0.2, 1.5])),
    "root near 0": (np.sqrt, lambda dy, x: dy / 2 / np.sqrt(x), np.array([1e-8, 2e-6, 1.5])),
    "fast sine": (lambda x: np.sin(1e5 * x), lambda dy, x: 1e5 * dy * np.cos(1e5 * x), X),
    "sine of large numbers": (np.sin, lambda dy, x: dy * np.cos(x), 1e5 * X),
    "flat joint everywhere": (
        lambda x: np.maximum(x, 0) ** 2,
        lambda dy, x: 2 * dy * np.maximum(x, 0),
        np.zeros(4),
    ),
    "root of a variance of 0": (
        lambda x: np.sqrt(x.var() + 1e-12),
        lambda dy, x: dy * (x - x.mean()) / x.size / np.sqrt(x.var() + 1e-12),
        np.ones(5),
    ),
    "output in float32": (
        lambda x: np.sin(x).astype(np.float32),
        lambda dy, x: dy * np.cos(x),
        X.astype(np.float32),
    ),
    "spectrum": (
        lambda x: np.abs(np.fft.fft(x)) ** 2,
        lambda dy, x: 2 * np.real(np.fft.fft(dy * np.conj(np.fft.fft(x)))),
        X[0],
    ),
    "1 kink beside 1e-15": (
        lambda x: np.maximum(x, 0),
        lambda dy, x: dy * (x > 0),
        np.array([1e-15, -1e-15, 1e-30, 1.0]),
    ),
    "step far away": (lambda x: np.floor(x), lambda dy, x: 0 * x, np.array([0.5, 2.25])),
}


@pytest.mark.parametrize("mode", ["full", "fast"])
@pytest.mark.parametrize(("forward", "backward", "x"), RIGHT_ONES.values(), ids=RIGHT_ONES)
def test_a_right_backward_passes(forward, backward, x, mode):
    assert verdict(forward, backward, x, mode=mode) == "pass"


HARD_ONES = {
    "cancellation": (lambda x: (1e8 + x * x) - 1e8, lambda dy, x: 2 * dy * x, X),
    "one huge input": (np.sin, lambda dy, x: dy * np.cos(x), np.array([0.1, 0.2, 1e9, 0.3])),
    "drowned": (lambda x: 1e14 + x, lambda dy, x: dy, X),
    "float32 inside": (
        lambda x: np.sin(x.astype(np.float32)).astype(float),
        lambda dy, x: dy * np.cos(x),
        X.astype(np.float32),
    ),
    "batch norm very far from 0": (normalized, normalized_backward, 1e6 + X),
    "inverse of an ill-conditioned matrix": (
        np.linalg.inv,
        lambda dy, x: -np.linalg.inv(x).T @ dy @ np.linalg.inv(x).T,
        1 / (np.arange(6)[:, None] + np.arange(6) + 1),
    ),
    "infinite slope": (np.sqrt, lambda dy, x: dy / 2 / np.sqrt(x), np.array([0.0, 1.0, 2.0])),
    "undefined": (np.log, lambda dy, x: dy / x, np.array([0.0, 1.0, 2.0])),
    "edge of the domain": (
        np.arccos,
        lambda dy, x: -dy / np.sqrt((1 - x) * (1 + x)),
        np.array([1 - 1e-9, 1 - 1e-12, 0.5]),
    ),
    "everything from 1e-20 to 1e18": (
        lambda x: 1 / x,
        lambda dy, x: -dy / x**2,
        10.0 ** np.arange(-20, 19, 3),
    ),
}


@pytest.mark.parametrize("mode", ["full", "fast"])
@pytest.mark.parametrize(("forward", "backward", "x"), HARD_ONES.values(), ids=HARD_ONES)
def test_a_right_backward_that_cannot_be_measured_is_never_called_wrong(forward, backward, x, mode):
    with np.errstate(all="ignore"):
        assert verdict(forward, backward, x, mode=mode) != "fail"


# --- wrong ones -----------------------------------------------------------------------------------

WRONG_ONES = {
    "1e-6 too large": (np.sin, lambda dy, x: dy * np.cos(x) * (1 + 1e-6), X),
    "1 % at gradients of 1e-20": (lambda x: 1e-20 * x**2, lambda dy, x: 2.02e-20 * dy * x, X),
    "0 at gradients of 1e-20": (lambda x: 1e-20 * x**2, lambda dy, x: 0 * x, X),
    "1 % at outputs of 1e8": (lambda x: 1e8 + x**2, lambda dy, x: 2.02 * dy * x, X),
    "0 at outputs of 1e10": (lambda x: 1e10 + x, lambda dy, x: 0 * x, X),
    "slope of a constant": (lambda x: 0 * x + 3, lambda dy, x: dy, X),
    "tiny slope of a constant": (lambda x: 0 * x + 3, lambda dy, x: 1e-9 * dy, X),
    "slope of steps": (np.floor, lambda dy, x: dy, X),
    "NaN": (lambda x: x**2, lambda dy, x: np.where(x > 0, 2 * dy * x, np.nan), X),
    "infinity": (lambda x: x**2, lambda dy, x: np.where(x > 0.3, np.inf, 2 * dy * x), X),
    "twice at a fast sine": (
        lambda x: np.sin(1e5 * x),
        lambda dy, x: 2e5 * dy * np.cos(1e5 * x),
        X,
    ),
    "twice where float32 is inside": (
        lambda x: np.sin(x.astype(np.float32)).astype(float),
        lambda dy, x: 2 * dy * np.cos(x),
        X,
    ),
    "twice where it saturates": (
        sigmoid,
        lambda dy, x: 2 * dy * sigmoid(x) * sigmoid(-x),
        np.array([20.0, 25, 30]),
    ),
    "twice beside an output that is NaN": (
        np.log,
        lambda dy, x: 2 * dy / x,
        np.array([-1.0, 2, 3]),
    ),
}


@pytest.mark.parametrize("mode", ["full", "fast"])
@pytest.mark.parametrize(("forward", "backward", "x"), WRONG_ONES.values(), ids=WRONG_ONES)
def test_a_wrong_backward_fails(forward, backward, x, mode):
    with np.errstate(invalid="ignore"):
        assert verdict(forward, backward, x, mode=mode) == "fail"


@pytest.mark.parametrize("factor", [1e-8, 1e-12])
def test_an_input_that_hardly_matters_is_checked_beside_one_that_does(factor):
    def forward(x, w):
        return x + factor * w

    assert verdict(forward, lambda dy, x, w: (dy, factor * dy), X, X) == "pass"
    assert verdict(forward, lambda dy, x, w: (dy, 2 * factor * dy), X, X) == "fail"


# --- tolerances -----------------------------------------------------------------------------------


def off_by(error):
    return np.sin, lambda dy, x: dy * (np.cos(x) + error), X


def test_atol_excuses_but_does_not_certify():
    assert states(compared(*off_by(1e-4)))[0] == WRONG
    excused = compared(*off_by(1e-4), tolerances=Tolerances(atol=1e-3))
    assert set(states(excused)) == {EXCUSED}
    assert verdict(*off_by(1e-4), atol=1e-3) == "inconclusive"
    assert verdict(*off_by(1e-4), atol=1e-5) == "fail"


def test_atol_that_excuses_a_single_element_lets_the_rest_pass():
    def backward(dy, x):
        dx = dy * np.cos(x)
        dx[0, 0] += 1e-4 * dy[0, 0]
        return dx

    assert verdict(np.sin, backward, X, atol=1e-3) == "pass"
    assert verdict(np.sin, backward, X) == "fail"


@pytest.mark.parametrize(("rtol", "expected"), [(1e-3, "pass"), (1e-6, "fail")])
def test_rtol_says_how_large_an_error_may_be(rtol, expected):
    backward = lambda dy, x: dy * np.cos(x) * (1 + 1e-4)  # noqa: E731
    assert verdict(np.sin, backward, X, rtol=rtol) == expected


def test_eps_is_the_first_step_of_the_ladder():
    reached = []

    def forward(x):
        reached.append(float(np.abs(x - X).max()))
        return np.sin(x)

    comparison = compared(forward, lambda dy, x: 2 * dy * np.cos(x), X, eps=1e-3)
    reached.clear()
    assert comparison.judge(np.eye(comparison.size)[0]).state == WRONG
    assert reached[2] == pytest.approx(1e-3)  # after a quick look
    assert verdict(np.sin, lambda dy, x: dy * np.cos(x), X, eps=1e-3) == "pass"


def test_a_difference_below_the_bound_is_inconclusive_and_not_wrong():
    comparison = compared(lambda x: 1e14 + x, lambda dy, x: 1.001 * dy, X)
    assert set(states(comparison)) == {INCONCLUSIVE}


@pytest.mark.parametrize("offset", [1e14, 1e16, 1e18])
@pytest.mark.parametrize("factor", [1, 1.001, 2, 0])
def test_what_drowns_in_the_outputs_is_never_certified(offset, factor):
    pair = (lambda x: offset + np.real(x), lambda dy, x: factor * dy)
    assert verdict(*pair, X) in (["inconclusive", "pass"] if factor == 0 else ["inconclusive"])


def test_a_slope_of_0_is_not_certified_where_only_large_steps_move_the_output():
    assert verdict(lambda x: 1 + 1e-14 * x, lambda dy, x: 0 * x, X) != "pass"


def test_a_gradient_that_is_only_rounding_of_zero_passes():
    def backward(dy, x):
        return softmax_backward(np.full(x.shape, dy), x)

    assert verdict(lambda x: softmax(x).sum(), backward, X) == "pass"


def test_a_claim_below_the_rounding_of_the_largest_is_lost():
    comparison = compared(
        lambda x, w: x + 0 * w, lambda dy, x, w: (dy, 1e-18 * dy), np.array([1.0]), np.array([1.0])
    )
    assert states(comparison) in ([RIGHT, VANISHING], [RIGHT, RIGHT])


# --- outputs without a derivative -----------------------------------------------------------------


def test_outputs_that_are_nan_are_left_out():
    with np.errstate(invalid="ignore"):
        comparison = compared(np.log, lambda dy, x: dy / x, np.array([-1.0, 2.0, 3.0]))
        assert states(comparison) == [RIGHT, RIGHT, RIGHT]
    assert comparison.ground.defined.tolist() == [False, True, True]
    assert all(dy[0][0] == 0 for dy in comparison.upstreams)


def test_outputs_that_jump_at_x_itself_are_left_out():
    ground = compared(np.round, lambda dy, x: 0 * dy, np.array([0.5, 0.7, 1.5])).ground
    assert ground.defined[1]
    assert not ground.defined.all()


def test_noise_is_what_the_last_bits_of_the_inputs_do():
    large, small = np.array([1e6]), np.array([1.0])
    noise = compared(lambda x: x - 1e6 + 1, lambda dy, x: dy, large).ground.noise
    assert 1e-10 < noise[0] < 1e-8
    assert compared(lambda x: x, lambda dy, x: dy, small).ground.noise[0] < 1e-14


def test_noise_is_larger_for_an_output_in_float32():
    forward = lambda x: (x.astype(np.float32), 2 * x)  # noqa: E731
    noise = compared(forward, lambda dy, dz, x: dy + 2 * dz, np.array([1.5])).ground.noise
    assert noise[0] > 1e-7 > 1e-13 > noise[1]


@pytest.mark.parametrize(
    ("x", "size"),
    [
        (np.zeros(3), 1),
        (np.zeros((0, 2)), 1),
        (np.array([np.inf, 1.0]), 1),
        (np.array([3.0, -3.0]), 4),
        (np.full(9, 1e-300), 2.0**-997),
        (np.array(0.26), 0.25),
    ],
)
def test_the_scale_of_steps_is_a_power_of_two_near_the_values(x, size):
    if 0 < np.abs(x).max(initial=0) < 1e-200:
        assert typical_size(x) in (size, 1.0)  # their squares are 0
    else:
        assert typical_size(x) == size


# --- kinks ----------------------------------------------------------------------------------------


def piecewise(function, left, at, right):
    """Return a pair with the given slopes left of 0, at 0 and right of it."""
    return function, lambda dy, x: dy * np.select([x < 0, x == 0], [left, at], right)


AT_ZERO = np.array([0.0, 1.0, -2.0])


@pytest.mark.parametrize("mode", ["full", "fast"])
@pytest.mark.parametrize(
    ("at", "expected"),
    [(0, "pass"), (0.5, "pass"), (1, "pass"), (1.2, "fail"), (-0.1, "fail"), (np.nan, "fail")],
)
def test_at_its_kink_relu_may_have_any_slope_from_0_to_1(at, expected, mode):
    pair = piecewise(lambda x: np.maximum(x, 0), 0, at, 1)
    assert verdict(*pair, AT_ZERO, mode=mode) == expected


@pytest.mark.parametrize(
    ("at", "expected"), [(-1, "pass"), (0, "pass"), (1, "pass"), (1.01, "fail"), (-1.5, "fail")]
)
def test_at_its_kink_the_absolute_value_may_have_any_slope_from_minus_1_to_1(at, expected):
    assert verdict(*piecewise(np.abs, -1, at, 1), AT_ZERO) == expected


def test_a_kink_is_reported_as_one():
    comparison = compared(*piecewise(np.abs, -1, 0, 1), AT_ZERO)
    assert states(comparison) == [AT_KINK, RIGHT, RIGHT]
    assert comparison.judge(np.eye(3)[0]).kinked.tolist() == [0]


@pytest.mark.parametrize(("at", "expected"), [(0.0, "pass"), (0.5, "pass"), (2.0, "fail")])
def test_several_kinks_in_one_output_add_up(at, expected):
    def forward(x):
        return np.maximum(x, 0).sum()

    x = np.array([0.0, 0.0, 0.0, 1.0, -2.0])
    assert verdict(forward, lambda dy, x: dy * np.where(x == 0, at, x > 0), x) == expected


@pytest.mark.parametrize("distance", [1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize("side", [-1, 1])
def test_beside_a_kink_only_the_slope_of_this_side_will_do(distance, side):
    x = np.array([side * distance, 1.0, -2.0])

    def forward(x):
        return np.maximum(x, 0)

    assert verdict(forward, lambda dy, x: dy * (x > 0), x) == "pass"
    near = np.abs(x) <= distance
    swapped = verdict(forward, lambda dy, x: dy * np.where(near, x <= 0, x > 0), x)
    assert swapped == "fail"


@pytest.mark.parametrize("distance", [1e-9, 1e-12, 1e-15, -1e-9, -1e-12, -1e-15])
def test_too_close_to_a_kink_to_tell_a_right_slope_is_still_no_failure(distance):
    x = np.array([distance, 1.0, -2.0])
    assert verdict(lambda x: np.maximum(x, 0), lambda dy, x: dy * (x > 0), x) != "fail"


def test_one_wrong_kink_in_a_large_input_is_found_in_fast_mode():
    x = np.random.default_rng(1).normal(size=(40, 40))
    x[5, 7] = 0

    def forward(x):
        return np.maximum(x, 0)

    report = gradcheck_pair(
        forward, lambda dy, x: dy * np.where(x == 0, 1.5, x > 0), [x],
        mode="fast", raise_exception=False, budget=0.1,
    )  # fmt: skip
    assert report.verdict == "fail"
    assert report.rows[0].worst == 5 * 40 + 7
    assert verdict(forward, lambda dy, x: dy * (x > 0), x, mode="fast") == "pass"


def test_where_kinks_of_overlapping_windows_meet_fast_mode_looks_beside():
    def windows(x):
        return np.lib.stride_tricks.sliding_window_view(x, (2, 2)).reshape(-1, 4)

    cells = windows(np.arange(25).reshape(5, 5))

    def backward(dy, x):
        dx = np.zeros(25)
        np.add.at(dx, cells[np.arange(16), windows(x).argmax(axis=1)], dy)
        return dx.reshape(5, 5)

    def forward(x):
        return windows(x).max(axis=1).sum()

    for x in (np.ones((5, 5)), np.floor(np.arange(25) / 3).reshape(5, 5) % 3):
        assert verdict(forward, backward, x, mode="fast") == "pass"
        assert verdict(forward, lambda dy, x: 1.2 * backward(dy, x), x, mode="fast") == "fail"


def test_many_kinks_at_once_are_no_failure_in_fast_mode():
    x = np.zeros((20, 20))
    for slope in (0.0, 1.0):
        backward = lambda dy, x, s=slope: dy * np.where(x == 0, s, x > 0)  # noqa: E731
        assert verdict(lambda x: np.maximum(x, 0).sum(), backward, x, mode="fast") == "pass"


# --- beside x -------------------------------------------------------------------------------------


def test_beside_moves_every_element_a_little_and_stays_where_the_outputs_are_defined():
    comparison = compared(np.log, lambda dy, x: dy / x, np.array([1e-5, 1.0]))
    beside = comparison.beside(4)
    assert np.all(beside.subject.inputs[0] > 0)
    moved = beside.subject.inputs[0] - comparison.subject.inputs[0]
    assert np.all(moved != 0)
    assert np.abs(moved).max() < 1e-3
    assert np.array_equal(comparison.subject.inputs[0], [1e-5, 1.0])


def test_beside_is_the_same_place_where_there_is_no_other():
    nowhere_else = lambda x: np.where(x == 1, x, np.nan)  # noqa: E731
    comparison = compared(nowhere_else, lambda dy, x: dy, np.ones(2))
    assert comparison.beside(4) is comparison


# --- complex step ---------------------------------------------------------------------------------


def test_a_complex_step_confirms_what_differences_cannot_resolve():
    assert verdict(lambda x: 1e10 + x * x, lambda dy, x: 2 * dy * x, X) == "pass"
    assert verdict(lambda x: 1e10 + x * x, lambda dy, x: 4 * dy * x, X) == "fail"


def test_a_complex_step_certifies_nothing_where_it_is_wrong():
    """abs, conj and the real part are not analytic: there the imaginary part says 0."""
    assert verdict(lambda x: 1e12 + np.abs(x), lambda dy, x: 0 * dy, X) != "pass"
    assert verdict(lambda x: 1e12 + np.conj(x), lambda dy, x: -dy, X) != "pass"


@pytest.mark.parametrize("cast", [np.real, lambda y: np.array(y, dtype=float)])
def test_a_function_that_takes_no_complex_numbers_is_left_undecided(cast):
    found = verdict(lambda x: cast(1e12 + x * x), lambda dy, x: 2 * dy * x, X)
    assert found == "inconclusive"
