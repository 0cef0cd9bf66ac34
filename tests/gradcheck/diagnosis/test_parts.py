"""Contributions that are lost."""

from __future__ import annotations

import numpy as np
import pytest
from evidence_of_pair import causes_of
from right_pairs import conv1d, embedding, linear, max_pool1d, normal, softmax, spoiled, tanh


def convolved(assign_dx=False, assign_dw=False, last=None):
    """A strided convolution whose loops may assign, or leave out places."""
    right = conv1d(stride=2, padding=0, dilation=1)

    def backward(dy, x, w):
        dx, dw = np.zeros_like(x), np.zeros_like(w)
        for t in range(dy.shape[2])[:last]:
            span = slice(2 * t, 2 * t + 3)
            part = np.einsum("no,ock->nck", dy[:, :, t], w)
            dx[:, :, span] = part if assign_dx else dx[:, :, span] + part
            part = np.einsum("no,nck->ock", dy[:, :, t], x[:, :, span])
            dw = part if assign_dw else dw + part
        return dx, dw

    return right.forward, backward, *right.inputs


CONVOLUTIONS = {
    "windows assigned": ({"assign_dx": True}, 0, "assigned"),
    "filter assigned": ({"assign_dw": True}, 1, "assigned"),
    "one place too few, x": ({"last": -1}, 0, "partial"),
    "one place too few, w": ({"last": -1}, 1, "partial"),
    "first place only, w": ({"last": 1}, 1, "partial"),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_loops_of_a_convolution(name):
    options, position, cause = CONVOLUTIONS[name]
    found = causes_of(*convolved(**options), position=position)
    assert found[0] == cause


def test_repeated_words_are_assigned():
    right = embedding()
    words = np.array([[0, 2, 2], [5, 0, 1]])

    def backward(dy, table):
        dx = np.zeros_like(table)
        dx[words] = dy
        return (dx,)

    assert causes_of(right.forward, backward, *right.inputs)[0] == "assigned"


def test_overlapping_windows_of_a_pooling():
    right = max_pool1d(window=3, stride=1)

    def backward(dy, x):
        dx = np.zeros_like(x)
        for t in range(dy.shape[2]):
            part = x[:, :, t : t + 3]
            won = part == part.max(axis=2, keepdims=True)
            dx[:, :, t : t + 3] = won * dy[:, :, t, None]
        return (dx,)

    assert causes_of(right.forward, backward, *right.inputs)[0] == "assigned"


INDICES = {
    "first image": (lambda: conv1d(), 0, lambda dx: dx * (np.arange(2) == 0)[:, None, None]),
    "last row": (tanh, 0, lambda dx: dx * (np.arange(4) == 3)[:, None]),
    "all but one column": (softmax, 0, lambda dx: dx * (np.arange(6) != 2)),
    "two blocks": (linear, 1, lambda dx: dx * np.array([1, 1, 0])),
}


@pytest.mark.parametrize("name", INDICES)
def test_zero_outside_a_part(name):
    function, position, change = INDICES[name]
    right = spoiled(function(), position, lambda dx, dy, x: change(dx))
    assert (
        causes_of(right.forward, right.backward, *right.inputs, position=position)[0] == "partial"
    )


def test_only_the_first_image_counts_for_the_filter():
    right = conv1d()

    def backward(dy, x, w):
        return right.backward(dy * (np.arange(2) == 0)[:, None, None], x, w)

    assert causes_of(right.forward, backward, *right.inputs, position=1)[0] == "partial"


def test_garbage_outside_a_part():
    other = normal((4, 5), seed=8)[0]
    right = spoiled(
        tanh(), 0, lambda dx, dy, x: np.where(np.arange(4)[:, None] < 2, dx, dy * other)
    )
    assert causes_of(right.forward, right.backward, *right.inputs)[0] == "partial"


def test_one_wrong_cell():
    (x,) = normal((6, 7))

    def backward(dy, x):
        dx = dy * np.cos(x)
        dx[2, 3] *= 1.05
        return (dx,)

    assert causes_of(np.sin, backward, x) == ["partial"]


def test_left_over_cells_get_a_gradient():
    (x,) = normal((3, 8))

    def backward(dy, x):
        dx = np.repeat(dy, 3, axis=1) / 3
        return (np.concatenate([dx, dx[:, -2:]], axis=1),)

    found = causes_of(lambda x: x[:, :6].reshape(3, 2, 3).mean(axis=2), backward, x)
    assert found[0] == "left-over"
