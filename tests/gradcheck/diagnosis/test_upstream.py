"""What is done to dy before it is used."""

from __future__ import annotations

import numpy as np
import pytest
from evidence_of_pair import causes_of
from right_pairs import conv1d, linear, normal, softmax, squared_error, tanh

USES = {
    "sign": np.sign,
    "absolute": np.abs,
    "squared": np.square,
    "positive part": lambda dy: np.maximum(dy, 0),
    "sum": lambda dy: np.full_like(dy, dy.sum()),
    "mean": lambda dy: np.full_like(dy, dy.mean()),
    "mean over the batch": lambda dy: 0 * dy + dy.mean(axis=0),
    "centered": lambda dy: dy - dy.mean(),
    "normalized": lambda dy: dy / np.linalg.norm(dy),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    ("function", "position"), [(tanh, 0), (linear, 0), (linear, 1), (conv1d, 1), (softmax, 0)]
)
def test_misuse(use, function, position):
    right = function()
    found = causes_of(
        right.forward,
        lambda dy, *inputs: right.backward(USES[use](dy), *inputs),
        *right.inputs,
        position=position,
    )
    if function is softmax and use in ("sum", "mean"):  # the gradient of a constant dy is zero
        assert found in (["zero"], [])
    elif function is softmax and use == "centered":  # a constant makes no difference
        assert found == []
    else:
        assert found[0] == "upstream-misused"


def test_a_loss_without_its_upstream():
    right = squared_error()
    found = causes_of(
        right.forward, lambda dy, *inputs: right.backward(1.0, *inputs), *right.inputs
    )
    assert found[0] == "upstream-ignored"


def two(x):
    return np.sin(x), (x**2).sum(axis=1)


PARTS = {
    "second not read": (lambda d1, d2, x: (d1 * np.cos(x),), "upstream-ignored"),
    "second overwrites": (lambda d1, d2, x: (d2[:, None] * 2 * x,), "assigned"),
}


@pytest.mark.parametrize("name", PARTS)
def test_one_of_two_outputs(name):
    backward, cause = PARTS[name]
    assert causes_of(two, backward, normal((3, 4))[0])[0] == cause


def test_what_comes_by_an_output_is_missing_in_one_gradient_only():
    def backward(d1, d2, a, b):
        return d1 * b, d1 * a + d2

    found = causes_of(lambda a, b: (a * b, a + b), backward, *normal((3, 4), (3, 4)))
    assert found[0] == "missing-term"
