"""Shapes, zeros and NaN: what needs no comparison."""

from __future__ import annotations

import numpy as np
import pytest
from evidence_of_pair import causes_of, evidence_of
from right_pairs import normal

from minicnn.gradcheck.diagnosis import diagnose

X, W = normal((3, 4), (4,))

SHAPES = {
    "bias not summed": ("broadcast", lambda x, b: x + b, lambda dy, x, b: (dy, dy), 1),
    "column not summed": (
        "broadcast",
        lambda x, b: x * b[:3, None],
        lambda dy, x, b: (dy, dy * x),
        1,
    ),
    "kept axis": ("shape", lambda x, b: x + b, lambda dy, x, b: (dy, dy.sum(0, keepdims=True)), 1),
    "summed too far": ("shape", lambda x, b: x * b, lambda dy, x, b: ((dy * b).sum(0), dy), 0),
    "flat": ("shape", lambda x, b: x * b, lambda dy, x, b: ((dy * b).ravel(), dy), 0),
    "transposed": ("transposed", lambda x, b: 2 * x, lambda dy, x, b: (2 * dy.T, b), 0),
    "not repeated": ("shape", lambda x, b: x.sum(0) * b, lambda dy, x, b: (dy * b, b), 0),
    "nothing in common": ("shape", np.add, lambda dy, x, b: (np.ones(7), b), 0),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_wrong_shape_is_explained(name):
    cause, forward, backward, position = SHAPES[name]
    if name == "column not summed":
        found = causes_of(
            lambda x, b: x * b, lambda dy, x, b: (dy * b, dy * x), X, W[:3, None], position=1
        )
    else:
        found = causes_of(forward, backward, X, W, position=position)
    assert found[0] == cause
    assert "shape" in found


def test_per_channel_bias_of_images():
    x, b = normal((2, 3, 4, 4), (3,))
    found = causes_of(
        lambda x, b: x + b[:, None, None], lambda dy, x, b: (dy, dy.sum(axis=0)), x, b, position=1
    )
    assert found[0] == "broadcast"


def test_the_gradient_of_another_input_by_its_shape():
    a, b = normal((3, 4), (4, 2))
    found = causes_of(np.matmul, lambda dy, a, b: (a.T @ dy, dy @ b.T), a, b, position=0)
    assert found[0] == "swapped"


def test_padding_that_is_not_cut_off_and_left_over_rows():
    (x,) = normal((2, 7))
    grown = causes_of(lambda x: np.pad(x, 2) ** 2, lambda dy, x: (2 * dy * np.pad(x, 2),), x)
    assert grown[0] == "shape"
    short = causes_of(lambda x: x[:, :6] ** 2, lambda dy, x: (2 * dy * x[:, :6],), x)
    assert short[0] == "left-over"


def test_where_the_gradient_is_not_finite():
    x = np.array([-1.0, 0.0, 2.0, 0.0, 3.0])

    def backward(dy, x):
        with np.errstate(all="ignore"):
            return (2 * dy * x**2 / x,)

    (hint,) = diagnose(evidence_of(np.square, backward, (x,)))
    assert hint.cause == "not-finite"
    assert hint.text == "the gradient is NaN exactly where x = 0"


def test_zero():
    assert causes_of(np.exp, lambda dy, x: (0 * dy,), X) == ["zero"]


def test_a_gradient_where_the_result_does_not_depend_on_the_input():
    found = causes_of(lambda x, t: x * (t > 0), lambda dy, x, t: (dy * (t > 0), dy * x), X, X + 0.1)
    assert found == ["extra-term"]
    assert causes_of(np.round, lambda dy, x: (dy,), X * 3) == ["local-derivative"]
