"""The right numbers in the wrong place."""

from __future__ import annotations

import numpy as np
import pytest
from evidence_of_pair import causes_of
from right_pairs import conv1d, normal, product, spoiled, square_linear, tanh

A3 = normal((2, 3, 4))[0]
B4 = normal((4, 4))[0]
F = normal((3, 4, 3, 3))[0]


def swap_last(dx, dy, x):
    return np.swapaxes(dx, -1, -2)


ON_RESULT = {
    "square transposed": (lambda: square_linear(), 1, swap_last, "transposed"),
    "rolled": (tanh, 0, lambda dx, dy, x: np.roll(dx, 2, axis=1), "shifted"),
    "moved, with zeros": (
        tanh,
        0,
        lambda dx, dy, x: np.pad(dx, [(0, 0), (1, 0)])[:, :-1],
        "shifted",
    ),
    "wrong memory order": (
        tanh,
        0,
        lambda dx, dy, x: dx.T.reshape(dx.shape),
        "permuted",
    ),
    "sorted": (
        tanh,
        0,
        lambda dx, dy, x: dx.ravel()[np.argsort(x.ravel())].reshape(4, 5),
        "permuted",
    ),
    "reversed": (tanh, 0, lambda dx, dy, x: dx[::-1], "permuted"),
    "filter reversed": (conv1d, 1, lambda dx, dy, x: dx[:, :, ::-1], "turned"),
    "channels shuffled": (
        conv1d,
        1,
        lambda dx, dy, x: dx.reshape(2, 2, 3, 3).swapaxes(0, 1).reshape(4, 3, 3),
        "permuted",
    ),
    "the other one's": (product, 0, lambda dx, dy, x: dy * x, "swapped"),
}


@pytest.mark.parametrize("name", ON_RESULT)
def test_a_rearranged_gradient(name):
    function, position, change, cause = ON_RESULT[name]
    right = spoiled(function(), position, change)
    assert causes_of(right.forward, right.backward, *right.inputs, position=position)[0] == cause


MOVES = {
    "transpose": (
        lambda x: x.transpose(2, 0, 1),
        lambda dy, x: (dy.reshape(x.shape),),
        A3,
        "permuted",
    ),
    "square transpose": (np.transpose, lambda dy, x: (dy,), B4, "transposed"),
    "cube": (
        lambda x: x.transpose(1, 2, 0),
        lambda dy, x: (dy.transpose(1, 2, 0),),
        normal((3, 3, 3))[0],
        "transposed",
    ),
    "cumulative sum": (
        lambda x: np.cumsum(x, axis=1),
        lambda dy, x: (np.cumsum(dy, axis=1),),
        B4,
        "transposed",
    ),
    "gather": (
        lambda x: x[[3, 0, 2, 1]],
        lambda dy, x: (dy[[3, 0, 2, 1]],),
        np.arange(1.0, 5.0),
        "permuted",
    ),
    "roll": (
        lambda x: np.roll(x, 3),
        lambda dy, x: (np.roll(dy, 3),),
        np.arange(1.0, 8.0),
        "shifted",
    ),
    "inverse": (
        np.linalg.inv,
        lambda dy, x: (-np.linalg.inv(x) @ dy @ np.linalg.inv(x),),
        B4 + 3 * np.eye(4),
        "transposed",
    ),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves_that_are_not_undone(name):
    forward, backward, x, cause = MOVES[name]
    assert causes_of(forward, backward, x)[0] == cause


def test_a_matrix_that_is_not_transposed():
    x, w = normal((5, 4), (4, 4))
    found = causes_of(np.matmul, lambda dy, x, w: (dy @ w, x.T @ dy), x, w, position=0)
    assert found[0] == "transposed"


def test_a_derivative_at_the_output():
    (x,) = normal((3, 4))
    found = causes_of(np.sin, lambda dy, x: (dy * np.cos(np.sin(x)),), x)
    assert found[0] == "local-derivative"


def test_outputs_exchanged():
    (x,) = normal((3, 4))

    def backward(d1, d2, x):
        return (d2 * np.cos(x) + d1 * np.exp(x),)

    assert causes_of(lambda x: (np.sin(x), np.exp(x)), backward, x)[0] == "swapped"


def test_an_input_left_out():
    x, w = normal((3, 4), (3, 4))
    found = causes_of(
        lambda x, w: np.sin(x) * w, lambda dy, x, w: (dy * np.cos(x), dy * np.sin(x)), x, w
    )
    assert found[0] == "local-derivative"
