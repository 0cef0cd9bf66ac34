"""Factors: constant ones, those of an axis, those of an output."""

from __future__ import annotations

import numpy as np
import pytest
from evidence_of_pair import causes_of, evidence_of
from right_pairs import conv1d, linear, normal, spoiled

from minicnn.gradcheck.diagnosis import diagnose

FACTORS = {
    1 / 6: "6 is the batch size",
    6.0: "a sum where a mean is due",
    0.5: "it is 0.5 times the right gradient",
    -2.0: "it is -2 times the right gradient",
    1 / 18: "over axes (0, 1)",
    0.123: "the same for all elements and every dy",
    3 / 2: "it is 1.5 times the right gradient, the same",
    0.3: "1 - p",
    1 / 0.3: "1 - p",
}


@pytest.mark.parametrize("c", FACTORS)
def test_a_factor_is_named(c):
    right = spoiled(linear(), 1, lambda dx, dy, x: c * dx)
    evidence = evidence_of(right.forward, right.backward, right.inputs, settings={"p": 0.7})
    hint = diagnose(evidence)[0]
    assert hint.cause == "factor"
    assert FACTORS[c] in hint.text


def test_one_number_has_any_factor():
    assert causes_of(np.sin, lambda dy, x: (0.1234 * dy * np.cos(x),), np.array([0.7])) == []
    assert causes_of(np.sin, lambda dy, x: (dy * np.cos(x) / 2,), np.array([0.7]))[0] == "factor"


@pytest.mark.parametrize("name", ["gamma left out", "gamma twice", "deviation left out"])
def test_a_factor_for_each_channel(name):
    x, gamma = normal((6, 4), (4,))

    def forward(x, gamma):
        return gamma * x / x.std(axis=0)

    def backward(dy, x, gamma):
        g, s = dy * gamma, x.std(axis=0)
        dx = g / s - (x - x.mean(axis=0)) * (g * x).mean(axis=0) / s**3
        changed = {"gamma left out": dx / gamma, "gamma twice": dx * gamma}
        return changed.get(name, dx * s), dy * x / s

    hint = diagnose(evidence_of(forward, backward, (x, gamma), 0))[0]
    assert hint.cause == "factor"
    assert name.split()[0] in hint.text


def test_the_divisor_of_windows_at_the_border():
    (x,) = normal((2, 8))

    def forward(x):
        p = np.pad(x, [(0, 0), (1, 1)])
        return np.stack([p[:, k : k + 3].sum(1) / 3 for k in range(0, 8)], axis=1)

    def backward(dy, x):
        inside = np.array([2, 3, 3, 3, 3, 3, 3, 2])
        dp = np.zeros((2, 10))
        for k in range(8):
            dp[:, k : k + 3] += (dy / inside)[:, k, None]
        return (dp[:, 1:-1],)

    assert causes_of(forward, backward, x)[0] in ("factor", "geometry")


def test_a_convolution_with_a_factor():
    right = spoiled(conv1d(), 1, lambda dx, dy, x: dx / 2)
    assert causes_of(right.forward, right.backward, *right.inputs, position=1)[0] == "factor"


def test_the_2_of_a_square_and_the_n_of_a_variance():
    (x,) = normal((5, 6))
    (hint,) = diagnose(evidence_of(np.square, lambda dy, x: (dy * x,), (x,)))
    assert hint.text.endswith("perhaps the 2 of a square's derivative")
    right = lambda x: (x - x.mean(1, keepdims=True)) / (6 * x.std(1, keepdims=True))  # noqa: E731
    evidence = evidence_of(
        lambda x: x.std(axis=1), lambda dy, x: (dy[:, None] * right(x) * 6 / 5,), (x,)
    )
    assert "perhaps n - 1 for n" in diagnose(evidence)[0].text


def test_some_indices_are_right():
    factors = np.array([1, 1, -1, 3])
    right = spoiled(linear(), 0, lambda dx, dy, x: dx * factors)
    hint = diagnose(evidence_of(right.forward, right.backward, right.inputs, 0))[0]
    assert hint.cause == "partial"
    assert hint.text.startswith("it is right for indices 0 to 1 of axis 1")
