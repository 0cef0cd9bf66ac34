"""What the hypotheses share: Jacobians, trials and the judge."""

from __future__ import annotations

import numpy as np
import pytest
from evidence_of_pair import evidence_of
from right_pairs import linear, normal, softmax

from minicnn.gradcheck.diagnosis.case import Candidate, Case


@pytest.fixture
def case():
    right = softmax()
    return Case(
        evidence_of(right.forward, lambda dy, x: (2 * right.backward(dy, x)[0],), right.inputs)
    )


def test_the_measured_and_the_claimed_jacobian(case):
    y = case.y[0]
    for row in range(3):
        part = slice(6 * row, 6 * row + 6)
        expected = np.diag(y[row]) - np.outer(y[row], y[row])
        np.testing.assert_allclose(case.jacobian[part, part], expected, atol=1e-9)
        np.testing.assert_allclose(case.claimed[part, part], 2 * expected, atol=1e-12)


def test_trials_have_different_upstreams(case):
    first, second, third = case.trials
    assert not np.allclose(first.dy[0], second.dy[0])
    assert not np.allclose(second.dy[0], third.dy[0])
    for trial in case.trials:
        np.testing.assert_allclose(trial.found, 2 * trial.right, rtol=1e-7, atol=1e-9)


def test_a_candidate_has_to_fit_every_trial(case):
    assert case.accepts(Candidate("factor", "", lambda t: 2 * t.right, 0)) < 1e-8
    assert case.accepts(Candidate("factor", "", lambda t: 2.001 * t.right, 0)) is None
    assert case.accepts(Candidate("zero", "", lambda t: case.found, 0)) is None
    assert case.accepts(Candidate("shape", "", lambda t: t.right[0], 0)) is None
    nothing = Candidate("shifted", "", lambda t: np.full_like(t.right, np.nan), 0)
    assert case.accepts(nothing) is None


def test_elements_at_a_kink_are_unknown():
    x = np.array([-1.0, 0.0, 2.0, 3.0])
    case = Case(evidence_of(np.abs, lambda dy, x: (dy * 5,), (x,)))
    np.testing.assert_array_equal(case.unknown, [False, True, False, False])


def test_a_curve_is_no_kink():
    x = np.array([0.0, 1e-3, 1.0, -2.0])
    case = Case(evidence_of(lambda x: x**2 + 3 * x, lambda dy, x: (dy,), (x,)))
    assert not case.unknown.any()


def test_an_input_in_fortran_order_is_measured():
    x, w, b = linear().inputs
    evidence = evidence_of(linear().forward, linear().backward, (x, w, b), 0)
    evidence.inputs[0] = np.asfortranarray(evidence.inputs[0])
    np.testing.assert_allclose(Case(evidence).jacobian.reshape(6, 3, 6, 4)[2, :, 2], w.T, atol=1e-9)


def test_a_slow_forward_is_not_called_a_thousand_times(monkeypatch):
    evidence = evidence_of(np.sin, lambda dy, x: (dy,), normal((3, 4)))
    case = Case(evidence)
    monkeypatch.setattr(type(case), "_seconds", 10.0)
    assert case.jacobian is None
    assert len(case.trials) == 1
