from __future__ import annotations

import numpy as np
import pytest

from minicnn.gradcheck.evidence import Evidence, jacobian


def product(inputs):
    a, b = inputs
    return [a * b, np.array(a.sum())]


def evidence_of(gradients, position=0):
    inputs = [np.array([2.0, 0.0, -1.0]), np.array([3.0, 5.0, 1e-9])]
    outputs = product(inputs)
    dy = [np.array([1.0, -2.0, 0.5]), np.array(3.0)]
    nothing = [None, None]
    return Evidence(product, gradients, inputs, outputs, dy, position, nothing, nothing, nothing)


def test_the_jacobian_holds_one_row_for_each_output():
    a, b = np.array([2.0, 0.0, -1.0]), np.array([3.0, 5.0, 1e-9])
    expected = np.vstack([np.diag(b), np.ones(3)])
    assert jacobian(product, [a, b], 0) == pytest.approx(expected, abs=1e-9)
    expected = np.vstack([np.diag(a), np.zeros(3)])
    assert jacobian(product, [a, b], 1) == pytest.approx(expected, abs=1e-9)
    assert a.tolist() == [2, 0, -1]


def test_the_jacobian_of_a_number_has_one_column():
    assert jacobian(lambda inputs: [inputs[0] ** 2], [np.array(3.0)], 0) == pytest.approx(
        np.array([[6.0]]), abs=1e-8
    )


def test_every_column_of_the_jacobian_is_measured_at_the_same_place():
    x = np.array([3.0, 5.0, 7.0])
    found = jacobian(lambda inputs: [np.prod(inputs[0] ** 2)], [x], 0)
    assert found[0] == pytest.approx(2 * np.prod(x) ** 2 / x, rel=1e-9)


def test_the_gradient_is_measured_at_other_inputs_too():
    evidence = evidence_of(lambda dy: [None, None])
    other = [np.ones(3), np.array([1.0, 2.0, 3.0])]
    found = evidence.measured_at(other, evidence.upstream)
    assert found == pytest.approx(np.array([1 + 3, -4 + 3, 1.5 + 3]), abs=1e-8)


def test_the_claimed_jacobian_asks_for_one_output_at_a_time():
    asked = []

    def gradients(dy):
        asked.append([part.tolist() for part in dy])
        return [dy[0] * 7 + dy[1], None]

    evidence = evidence_of(gradients)
    expected = np.vstack([7 * np.eye(3), np.ones(3)])
    assert np.array_equal(evidence.claimed_jacobian, expected)
    assert asked[0] == [[1, 0, 0], 0]
    assert asked[3] == [[0, 0, 0], 1]
    assert np.array_equal(evidence_of(gradients, position=1).claimed_jacobian, np.zeros((4, 3)))


def test_both_jacobians_are_computed_once():
    calls = []

    def gradients(dy):
        calls.append(1)
        return [dy[0], None]

    evidence = evidence_of(gradients)
    assert evidence.claimed_jacobian is evidence.claimed_jacobian
    assert evidence.jacobian is evidence.jacobian
    assert len(calls) == 4
