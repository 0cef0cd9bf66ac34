"""Rounding inside, and what only looks like it."""

from __future__ import annotations

import numpy as np
import pytest
from evidence_of_pair import causes_of, evidence_of
from right_pairs import linear, normal, softmax

from minicnn.gradcheck.diagnosis import diagnose

NARROW = np.float32


def rounded(a):
    return a.astype(NARROW).astype(np.float64)


(X,) = normal((5, 6))
right = linear()
CASES = {
    "the gradient": (np.sin, lambda dy, x: (rounded(dy * np.cos(x)),), (X,)),
    "the saved output": (np.exp, lambda dy, x: (dy * rounded(np.exp(x)),), (X,)),
    "the saved input": (np.sin, lambda dy, x: (dy * np.cos(rounded(x)),), (X,)),
    "something of the output": (
        np.tanh,
        lambda dy, x: (dy * (1 - rounded(np.tanh(x)) ** 2),),
        (X,),
    ),
    "dy": (np.sin, lambda dy, x: (rounded(dy) * np.cos(x),), (X,)),
    "a matrix product": (
        right.forward,
        lambda dy, x, w, b: (rounded(dy) @ rounded(w).T, x.T @ dy, dy.sum(axis=0)),
        right.inputs,
    ),
    "softmax": (
        softmax().forward,
        lambda dy, x: tuple(map(rounded, softmax().backward(dy, rounded(x)))),
        softmax().inputs,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_float32_inside(name):
    forward, backward, inputs = CASES[name]
    assert causes_of(forward, backward, *inputs) == ["precision"]


SMALL = {
    "factor": lambda dy, x: (dy * np.cos(x) * (1 + 3e-7),),
    "decay": lambda dy, x: (dy * np.cos(x) + 1e-7 * x,),
}


@pytest.mark.parametrize("name", SMALL)
def test_small_errors_with_a_formula_are_not_rounding(name):
    assert "precision" not in causes_of(np.sin, SMALL[name], X)


def test_float16():
    found = causes_of(np.sin, lambda dy, x: ((dy * np.cos(x)).astype(np.float16).astype(float),), X)
    assert found == ["precision"]


def test_a_small_error_without_a_name_may_be_an_approximation():
    evidence = evidence_of(np.sin, lambda dy, x: (dy * (np.cos(x) + 1e-7 * np.sin(5 * x)),), (X,))
    (hint,) = diagnose(evidence)
    assert hint.cause == "precision"
    assert hint.text.endswith("or an approximation")
