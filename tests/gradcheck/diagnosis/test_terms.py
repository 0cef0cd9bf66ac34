"""A term too few, or one too many."""

from __future__ import annotations

import numpy as np
import pytest
from evidence_of_pair import causes_of
from right_pairs import layer_norm, normal, softmax, spoiled, squared_error

IMAGES = normal((3, 4, 3, 2))[0]
TERMS = ["mean", "variance", "mean and variance"]
AXES = {"batch": (0, 2, 3), "layer": (1, 2, 3), "instance": (2, 3)}


def normalized(axes, without=""):
    def parts(x):
        centered = x - x.mean(axes, keepdims=True)
        return centered, np.sqrt((centered**2).mean(axes, keepdims=True) + 1e-5)

    def forward(x):
        centered, deviation = parts(x)
        return centered / deviation

    def backward(dy, x):
        centered, deviation = parts(x)
        xhat, dx = centered / deviation, dy.copy()
        if "mean" not in without:
            dx -= dy.mean(axes, keepdims=True)
        if "variance" not in without:
            dx -= xhat * (dy * xhat).mean(axes, keepdims=True)
        return (dx / deviation,)

    return forward, backward


@pytest.mark.parametrize("without", TERMS)
@pytest.mark.parametrize("axes", AXES)
def test_normalizations(axes, without):
    assert causes_of(*normalized(AXES[axes], without), IMAGES)[0] == "missing-term"


@pytest.mark.parametrize("without", TERMS)
def test_group_normalization(without):
    forward, backward = normalized((2, 3, 4), without)

    def split(x):
        return x.reshape(3, 2, 2, 3, 2)

    found = causes_of(
        lambda x: forward(split(x)).reshape(x.shape),
        lambda dy, x: (backward(split(dy), split(x))[0].reshape(x.shape),),
        IMAGES,
    )
    assert found[0] == "missing-term"


def test_a_normalization_with_a_scale():
    right = layer_norm()

    def backward(dy, x, gamma):
        deviation = np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
        return dy * gamma / deviation, right.backward(dy, x, gamma)[1]

    assert causes_of(right.forward, backward, *right.inputs, position=0)[0] == "missing-term"


def test_softmax_without_its_sum():
    right = softmax()
    found = causes_of(right.forward, lambda dy, x: (dy * right.forward(x),), *right.inputs)
    assert found[0] == "missing-term"


def test_softmax_summed_along_the_other_axis():
    right = softmax()
    (x,) = normal((6, 6))

    def backward(dy, x):
        y = right.forward(x)
        return (y * (dy - (dy * y).sum(axis=0)),)

    assert causes_of(right.forward, backward, x)[0] == "transposed"


def test_log_softmax():
    def forward(x):
        return x - np.log(np.exp(x).sum(axis=1, keepdims=True))

    assert causes_of(forward, lambda dy, x: (dy,), normal((4, 5))[0])[0] == "missing-term"


def test_centering():
    found = causes_of(lambda x: x - x.mean(), lambda dy, x: (dy,), normal((3, 4))[0])
    assert found[0] == "missing-term"


def test_a_shortcut_that_is_missing():
    x, w = normal((4, 5), (5, 5))

    def backward(dy, x, w):
        return dy @ w.T, x.T @ dy

    assert causes_of(lambda x, w: x + x @ w, backward, x, w)[0] == "missing-term"


def test_a_shortcut_too_many():
    x, w = normal((4, 5), (5, 5))

    def backward(dy, x, w):
        return dy @ w.T + dy, x.T @ dy

    assert causes_of(np.matmul, backward, x, w)[0] == "extra-term"


def test_weight_decay():
    right = squared_error()

    def loss(x, t):
        return right.forward(x, t) + 0.05 * (x**2).sum()

    assert causes_of(loss, right.backward, *right.inputs)[0] == "missing-term"
    wrong = spoiled(right, 0, lambda dx, dy, x: dx + 0.1 * x)
    assert causes_of(wrong.forward, wrong.backward, *wrong.inputs)[0] == "extra-term"


def test_labels():
    x, labels = normal((5, 4))[0], np.array([3, 0, 1, 1, 2])

    def loss(x, labels):
        p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
        return -np.log(p[np.arange(5), labels]).mean()

    def backward(dy, x, labels):
        return dy * np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) / 5, None

    assert causes_of(loss, backward, x, labels)[0] == "missing-term"


def test_later_outputs_are_forgotten():
    (x,) = normal((6, 2))

    def forward(x):
        y = np.zeros_like(x)
        for t in range(6):
            y[t] = np.tanh(x[t] + 0.8 * (y[t - 1] if t else 0))
        return y

    def backward(dy, x):
        return (dy * (1 - forward(x) ** 2),)

    assert causes_of(forward, backward, x)[0] == "missing-term"


def test_a_second_term_of_a_product():
    def backward(dy, x):
        return (dy * np.log(np.abs(x)),)

    found = causes_of(lambda x: x * np.log(np.abs(x)), backward, normal((4, 5))[0])
    assert set(found[:1]) <= {"missing-term", "local-derivative"}
