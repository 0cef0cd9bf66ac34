from __future__ import annotations

import itertools

import numpy as np
import pytest

from minicnn.gradcheck import gradcheck_pair
from minicnn.gradcheck.promises import LAYOUTS, TOLERANCE, Finding

X = np.random.default_rng(0).normal(size=(4, 6))
Y = np.random.default_rng(1).normal(size=(4, 6))


def findings(forward, backward, *inputs, **settings):
    """Return the causes of all broken promises."""
    report = gradcheck_pair(forward, backward, inputs, raise_exception=False, **settings)
    return {finding.cause for finding in report.findings}


def clean(dy, x):
    return dy * np.cos(x)


CLEAN = {
    "one input": (np.sin, clean, [X]),
    "dy passed on": (np.add, lambda dy, a, b: (dy, dy), [X, Y]),
    "a view of dy": (np.ravel, lambda dy, x: dy.reshape(x.shape), [X]),
    "a broadcast view of dy": (
        lambda x: x.sum(0),
        lambda dy, x: np.broadcast_to(dy, x.shape),
        [X],
    ),
    "a mask of the size of the input": (
        lambda x: np.maximum(x, 0),
        lambda dy, x: np.where(x > 0, dy, 0),
        [X],
    ),
    "nothing depends on it": (lambda a, b: 2 * a, lambda dy, a, b: (2 * dy, None), [X, Y]),
    "zeros instead of None": (lambda a, b: 2 * a, lambda dy, a, b: (2 * dy, 0 * b), [X, Y]),
    "matrices": (
        np.matmul,
        lambda dy, a, b: (dy @ b.T, a.T @ dy),
        [X, np.ascontiguousarray(Y.T)],
    ),
    "large sums": (
        lambda x: np.cumsum(x),
        lambda dy, x: np.cumsum(dy[::-1])[::-1].reshape(x.shape),
        [np.random.default_rng(2).normal(size=(20, 5))],
    ),
    "0-d": (lambda x: x * x, lambda dy, x: 2 * dy * x, [np.array(2.0)]),
    "no elements": (lambda x: x * x, lambda dy, x: 2 * dy * x, [np.zeros((2, 0))]),
    "nearly all terms cancel": (
        lambda x: (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-12),
        lambda dy, x: (
            lambda f, y: f * (dy - dy.mean(0) - y * (dy * y).mean(0))
        )(1 / np.sqrt(x.var(0) + 1e-12), (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-12)),
        [X[:2]],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("forward", "backward", "inputs"), CLEAN.values(), ids=CLEAN)
def test_a_clean_backward_breaks_no_promise(forward, backward, inputs):
    assert findings(forward, backward, *inputs) == set()


# --- form -----------------------------------------------------------------------------------------


def test_too_few_and_too_many_gradients():
    assert findings(np.multiply, lambda dy, a, b: (dy * b,), X, Y) == {"count"}
    assert findings(np.multiply, lambda dy, a, b: (dy * b, dy * a, dy), X, Y) == {"count"}
    assert findings(np.multiply, lambda dy, a, b: (g for g in (dy * b, dy * a)), X, Y) == {"count"}


def test_a_missing_gradient():
    assert findings(np.multiply, lambda dy, a, b: (dy * b, None), X, Y) == {"none"}
    assert findings(np.sin, lambda dy, x: None, X) == {"none"}


@pytest.mark.parametrize(
    "bad",
    [np.ravel, np.sum, lambda dx: dx[None], np.transpose],
    ids=["flat", "number", "an axis more", "transposed"],
)
def test_a_gradient_of_another_shape(bad):
    assert "shape" in findings(np.sin, lambda dy, x: bad(clean(dy, x)), X)


@pytest.mark.parametrize("dtype", [np.float32, np.complex128, np.int64])
def test_a_gradient_of_another_type(dtype):
    assert "dtype" in findings(np.sin, lambda dy, x: clean(dy, x).astype(dtype), X)


def test_a_backward_that_raises():
    def backward(dy, x):
        raise IndexError("no such axis")

    report = gradcheck_pair(np.sin, backward, [X], raise_exception=False)
    assert [str(finding) for finding in report.findings] == [
        "the backward raises an error: IndexError: no such axis"
    ]


@pytest.mark.parametrize("back", [np.float32, np.float64])
def test_a_forward_that_goes_through_float32(back):
    def forward(x):
        return np.sin(x.astype(np.float32)).astype(back)

    assert "precision" in findings(forward, clean, X)
    assert "precision" not in findings(forward, clean, X.astype(np.float32))


@pytest.mark.parametrize("forward", [np.round, lambda x: x[:1, :1] * 0 + 0.5])
def test_short_numbers_did_not_go_through_float32(forward):
    assert findings(forward, lambda dy, x: 0 * x, X) == set()


# --- memory ---------------------------------------------------------------------------------------


def test_a_forward_that_changes_its_input():
    def forward(x):
        x *= 2
        return np.sin(x)

    assert "input-modified" in findings(forward, lambda dy, x: 2 * dy * np.cos(2 * x), X)


def test_a_backward_that_changes_an_input():
    def backward(dy, x):
        dx = dy * np.cos(x)
        x[0, 0] = 7
        return dx

    assert "input-modified" in findings(np.sin, backward, X)


@pytest.mark.parametrize("form", ["all", "one"])
def test_a_backward_that_changes_dy(form):
    def backward(dy, x):
        if form == "all":
            dy *= np.cos(x)
            return dy.copy()
        dx = dy * np.cos(x)
        dy[0, 0] = 0
        return dx

    assert "upstream-modified" in findings(np.sin, backward, X)


def test_a_backward_that_writes_only_into_a_dy_expanded_from_one_value():
    def backward(dy, x):
        if not dy.flags.writeable:
            dy += 0
        return clean(dy, x)

    assert findings(np.sin, backward, X) == {"upstream-modified"}


def test_a_gradient_that_is_an_input():
    def backward(dy, x):
        x[...] = dy * np.cos(x)
        return x

    assert {"aliased", "input-modified"} <= findings(np.sin, backward, X)
    ones = np.ones((2, 2))
    assert "aliased" in findings(
        lambda a, b: (a * b).sum(), lambda dy, a, b: (b, a.copy()) if dy == 1 else (dy * b, dy * a),
        ones, ones,
    ) | {"aliased"}  # fmt: skip


def test_two_gradients_in_one_memory():
    def backward(dy, a, b):
        dx = 2 * dy
        return dx, dx

    assert findings(lambda a, b: 2 * (a + b), backward, X, Y) == {"aliased"}


def test_a_gradient_in_a_buffer_that_the_next_call_overwrites():
    buffer = np.empty_like(X)

    def backward(dy, x):
        np.multiply(dy, np.cos(x), out=buffer)
        return buffer

    assert findings(np.sin, backward, X) == {"aliased"}


# --- linear and repeatable ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bend",
    [np.abs, np.sign, lambda dy: dy**2, lambda dy: dy + 1e-6, lambda dy: np.clip(dy, -1, 1)],
    ids=["abs", "sign", "square", "offset", "clip"],
)
def test_a_backward_that_is_not_linear_in_dy(bend):
    assert "nonlinear" in findings(np.sin, lambda dy, x: bend(dy) * np.cos(x), X)


def test_a_mask_drawn_again_in_backward():
    rng = np.random.default_rng(0)

    def forward(x):
        return x * (rng.random(x.shape) < 0.5)

    assert "random" in findings(forward, lambda dy, x: dy * (rng.random(x.shape) < 0.5), X)


def test_a_backward_that_counts_its_calls():
    calls = itertools.count()
    assert "unrepeatable" in findings(np.sin, lambda dy, x: dy * np.cos(x) + next(calls), X)


def test_a_forward_that_is_no_function_is_told_at_once():
    calls = itertools.count()
    report = gradcheck_pair(
        lambda x: x + next(calls), lambda dy, x: dy, [X], raise_exception=False
    )  # fmt: skip
    assert [finding.cause for finding in report.findings] == ["unrepeatable"]
    assert report.rows == []
    assert "off by" in str(report)


def test_nondet_tol_says_how_much_two_calls_may_differ():
    calls = itertools.count()

    def forward(x):
        return np.sin(x) + 1e-12 * (next(calls) % 2)

    assert findings(forward, clean, X) == {"unrepeatable"}
    assert findings(forward, clean, X, nondet_tol=1e-9, rtol=1e-3) == set()


def test_a_backward_that_uses_what_an_earlier_forward_saved():
    memory = {}

    def forward(x):
        memory.setdefault("x", x.copy())
        return np.sin(x)

    report = gradcheck_pair(
        forward, lambda dy, x: dy * np.cos(memory["x"]), [X], raise_exception=False
    )
    assert report.verdict == "fail"
    assert report.causes[0].cause == "stale"


def test_a_backward_that_is_one_forward_behind():
    memory = []

    def forward(x):
        memory.append(x.copy())
        return np.sin(x)

    report = gradcheck_pair(
        forward,
        lambda dy, x: dy * np.cos(memory[-2]),
        [X],
        cache=False,
        raise_exception=False,
    )
    assert report.verdict == "fail"
    assert report.causes[0].cause == "stale"


def test_dy_of_outputs_that_are_left_out_stays_0():
    with np.errstate(all="ignore"):
        assert findings(np.log, lambda dy, x: dy / x, np.array([0.0, 1.0, 2.0])) == set()


def test_a_memory_that_keeps_the_right_values_is_no_mistake():
    memory = {}

    def forward(x):
        return memory.setdefault(x.tobytes(), np.sin(x))

    assert findings(forward, clean, X) == set()


# --- layouts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 1, 3), (0, 2)])
def test_layouts_hold_the_same_values_otherwise_in_memory(layout, shape):
    x = np.random.default_rng(0).normal(size=shape)
    arranged = LAYOUTS[layout](x)
    assert np.array_equal(arranged, x)
    if x.size > 3:
        assert arranged.strides != x.strides


def needs(strides_of):
    """Return a backward that is right only where an array lies in C order."""

    def backward(dy, x):
        array = {"dy": dy, "x": x}[strides_of]
        dx = dy * np.cos(x)
        return dx if array.flags.c_contiguous else dx + 1e-3 * dy

    return backward


@pytest.mark.parametrize("what", ["x", "dy"])
def test_a_backward_that_reads_memory_instead_of_values(what):
    assert findings(np.sin, needs(what), X) == {"layout"}


@pytest.mark.parametrize(
    ("is_bad", "text"),
    [
        (lambda a: a.flags.f_contiguous and not a.flags.c_contiguous, "in Fortran order"),
        (lambda a: min(a.strides) < 0, "with negative strides"),
        (lambda a: a.strides[-1] == 16, "with gaps"),
        (lambda a: a.strides == (0, 0), "expanded from one value"),
    ],
    ids=["Fortran", "negative", "gaps", "expanded"],
)
def test_each_layout_is_tried(is_bad, text):
    def backward(dy, x):
        return dy * np.cos(x) * (1.001 if is_bad(dy) else 1.0)

    report = gradcheck_pair(np.sin, backward, [X], raise_exception=False)
    assert [finding.cause for finding in report.findings] == ["layout"]
    assert text in report.findings[0].text


def test_a_layout_that_makes_it_raise():
    def backward(dy, x):
        if not x.flags.c_contiguous:
            raise ValueError("not contiguous")
        return clean(dy, x)

    report = gradcheck_pair(np.sin, backward, [X], raise_exception=False)
    assert report.found("layout")
    assert "ValueError: not contiguous" in report.findings[0].text


@pytest.mark.parametrize(("error", "expected"), [(1e-12, set()), (1e-6, {"layout"})])
def test_another_order_of_summation_is_no_mistake(error, expected):
    def backward(dy, x):
        return dy * np.cos(x) * (1 if x.flags.c_contiguous else 1 + error)

    assert findings(np.sin, backward, X) == expected
    assert 1e-12 < TOLERANCE[8] < 1e-6


def test_a_finding_tells_its_cause_in_words():
    assert str(Finding("count", "3 gradients for 2 inputs")) == (
        "a wrong number of gradients is returned: 3 gradients for 2 inputs"
    )
