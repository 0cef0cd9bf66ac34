"""Mistakes of many kinds in functions of many kinds: the right name on top, or silence."""

from __future__ import annotations

import numpy as np
import pytest
from evidence_of_pair import evidence_of
from right_pairs import ALL, normal, spoiled

from minicnn.gradcheck.causes import CAUSES
from minicnn.gradcheck.diagnosis import MOST_HINTS, diagnose
from minicnn.gradcheck.evidence import Evidence
from minicnn.gradcheck.planted import all_planted

VALUES = {cause for cause in CAUSES if cause not in {"ties", "stale"}}
VALUES = {cause for cause in VALUES if list(CAUSES).index(cause) > list(CAUSES).index("stale")}
VALUES |= {"shape", "broadcast"}


def half(array):
    """Return 1 for the first half along the first axis, 0 for the rest."""
    return np.indices(array.shape)[0] < array.shape[0] // 2


def not_a_number(dx):
    dx = dx.copy()
    dx.flat[-1] = np.nan
    return dx


MISTAKES = {
    "sign": lambda dx, dy, x: -dx,
    "factor": lambda dx, dy, x: dx / 3,
    "zero": lambda dx, dy, x: np.zeros_like(dx),
    "not-finite": lambda dx, dy, x: not_a_number(dx),
    "partial": lambda dx, dy, x: dx * half(dx),
    "extra-term": lambda dx, dy, x: dx + 0.3 * x,
    "shape": lambda dx, dy, x: dx[None],
    "precision": lambda dx, dy, x: dx.astype(np.float32).astype(np.float64),
}


def hints_of(function, position, change, seed=0):
    right = spoiled(function(), position, change)
    return diagnose(evidence_of(right.forward, right.backward, right.inputs, position, seed))


@pytest.mark.parametrize("cause", MISTAKES)
@pytest.mark.parametrize("part", [0, 1])
def test_a_mistake_in_any_function_is_named(part, cause):
    turn = (part + list(MISTAKES).index(cause)) % 2
    for name in list(ALL)[turn::4]:
        named(name, cause)


def named(name, cause):
    hints = hints_of(*ALL[name], MISTAKES[cause])
    assert hints, "no hint"
    assert hints[0].cause == cause
    assert len(hints) <= MOST_HINTS


@pytest.mark.parametrize("name", sorted(ALL)[::2])
def test_an_ignored_upstream_is_named(name):
    function, position = ALL[name]
    right = function()

    def change(dx, dy, x):
        return right.backward(np.ones_like(dy), *right.inputs)[position]

    assert hints_of(function, position, change)[0].cause == "upstream-ignored"


@pytest.mark.parametrize("name", sorted(ALL)[1::2])
def test_a_squared_upstream_is_named(name):
    function, position = ALL[name]
    right = function()

    def change(dx, dy, x):
        return right.backward(dy**2, *right.inputs)[position]

    assert hints_of(function, position, change)[0].cause == "upstream-misused"


# --- silence --------------------------------------------------------------------------------------


def fixed(shape, seed=9):
    return np.random.default_rng(seed).standard_normal(shape)


def mixed(dy, shape, seed=8):
    """Multiply dy by a random matrix."""
    matrix = np.random.default_rng(seed).standard_normal((int(np.prod(shape)), dy.size))
    return (matrix @ dy.ravel()).reshape(shape)


RIDDLES = {
    "a random linear map of dy": lambda dx, dy, x: mixed(dy, dx.shape),
    "the right one and a little of that": lambda dx, dy, x: dx + 0.01 * mixed(dy, dx.shape),
    "a random factor for each element": lambda dx, dy, x: dx * fixed(dx.shape),
    "a smooth distortion": lambda dx, dy, x: dx * (1.3 + np.sin(3 * x + 0.7)),
    "a smooth function of the gradient": lambda dx, dy, x: dx + 0.1 * np.sin(2 * dx),
    "a random part of the elements": lambda dx, dy, x: dx * (1 + 0.4 * (fixed(dx.shape) > 0)),
    "noise": lambda dx, dy, x: dx + 1e-3 * fixed(dx.shape) * np.abs(dy).sum(),
    "the sign of a random part": lambda dx, dy, x: dx * np.sign(fixed(dx.shape)),
}


FACTORS = [
    "a random factor for each element",
    "a smooth distortion",
    "a random part of the elements",
    "the sign of a random part",
]
SUMS = ["a random linear map of dy", "the right one and a little of that"]
OWN = {"tanh": FACTORS, "squared_error": FACTORS + SUMS}


@pytest.mark.parametrize("riddle", RIDDLES)
@pytest.mark.parametrize(
    "name", ["tanh", "linear w", "softmax", "layer_norm x", "squared_error", "conv1d x"]
)
def test_what_cannot_be_explained_is_left_alone(name, riddle):
    hints = hints_of(*ALL[name], RIDDLES[riddle])
    if riddle in OWN.get(name, ()):  # with one element behind each derivative that says it all
        assert [hint.cause for hint in hints] == ["local-derivative"]
    else:
        assert hints == []


def test_a_right_gradient_gets_no_hint():
    for function, position in ALL.values():
        assert hints_of(function, position, lambda dx, dy, x: dx) == []


def test_a_backward_that_does_not_repeat_itself_is_left_alone():
    random = np.random.default_rng(0)

    class Backward:
        def __call__(self, dy, x):
            return (dy * random.standard_normal(),)

    evidence = evidence_of(np.sin, lambda dy, x: (dy,), normal((3, 4)))
    evidence.gradients = lambda dy: list(Backward()(dy[0], evidence.inputs[0]))
    assert diagnose(evidence) == []


# --- guards ---------------------------------------------------------------------------------------


def made_up(x, found, right, gradients=None) -> Evidence:
    """Evidence about y = 2 x."""
    dy = np.ones_like(x)
    return Evidence(
        values=lambda inputs: [2 * inputs[0]],
        gradients=gradients or (lambda dy: [found]),
        inputs=[x],
        outputs=[2 * x],
        upstream=[dy],
        position=0,
        analytic=[found],
        numeric=[right],
        bounds=[np.zeros_like(x)],
    )


def test_what_is_missing_is_no_error():
    (x,) = normal((3, 4))
    empty = np.zeros((0, 3))
    assert diagnose(made_up(x, None, 2 * x)) == []
    assert diagnose(made_up(empty, empty, empty)) == []
    assert diagnose(made_up(x, 3 * x, None)) == []
    assert diagnose(made_up(x, 3 * x, np.full_like(x, np.nan))) == []


def test_a_backward_that_fails_is_no_evidence():
    (x,) = normal((3, 4))

    def fails(dy):
        raise ValueError("no")

    assert diagnose(made_up(x, fixed((3, 4)), 2 * np.ones_like(x), fails)) == []
    assert diagnose(made_up(x, x, 2 * np.ones_like(x), lambda dy: [None])) == []


def test_elements_that_were_not_measured_are_left_out():
    right = spoiled(ALL["tanh"][0](), 0, lambda dx, dy, x: -dx)
    evidence = evidence_of(right.forward, right.backward, right.inputs)
    evidence.numeric[0][0] = np.nan
    assert diagnose(evidence)[0].cause == "sign"


def test_large_inputs_are_compared_without_a_jacobian():
    x = np.linspace(-2, 2, 4000)
    evidence = made_up(x, -2 * np.ones_like(x), 2 * np.ones_like(x))
    evidence.gradients = lambda dy: [-2 * dy[0]]
    calls = []
    evidence.values = lambda inputs: calls.append(1) or [2 * inputs[0]]
    assert diagnose(evidence)[0].cause == "sign"
    assert len(calls) < 2000


def test_nothing_is_changed():
    right = spoiled(ALL["conv1d x"][0](), 0, lambda dx, dy, x: 2 * dx)
    evidence = evidence_of(right.forward, right.backward, right.inputs, 0)
    before = [a.copy() for a in (*evidence.inputs, *evidence.upstream, evidence.analytic[0])]
    diagnose(evidence)
    for a, b in zip(
        before, (*evidence.inputs, *evidence.upstream, evidence.analytic[0]), strict=True
    ):
        np.testing.assert_array_equal(a, b)


# --- the planted mistakes -------------------------------------------------------------------------


def test_most_planted_mistakes_are_named():
    named, silent, wrong = [], [], []
    for case in all_planted()[::9]:
        if not VALUES.intersection(case.causes) or set(case.causes) & {"random", "stale"}:
            continue
        pair = case.build()
        hints = diagnose(evidence_of(pair.forward, pair.backward, pair.inputs))
        place = named if hints and hints[0].cause in case.causes else wrong if hints else silent
        place.append(case.name)
    assert len(named) >= 0.92 * len(named + silent + wrong), (silent, wrong)
    assert len(wrong) <= 1, wrong
