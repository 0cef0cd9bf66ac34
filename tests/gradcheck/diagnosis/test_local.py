"""Wrong functions as local derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from evidence_of_pair import causes_of, evidence_of
from right_pairs import normal

from minicnn.gradcheck.diagnosis import diagnose
from minicnn.gradcheck.evidence import Evidence


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


(X,) = normal((4, 6))
POSITIVE = np.abs(X) + 0.3

FUNCTIONS = {
    "sigmoid, y (1 + y)": (sigmoid, lambda x, y: y * (1 + y), X),
    "sigmoid, y": (sigmoid, lambda x, y: y, X),
    "sigmoid, 1 - y": (sigmoid, lambda x, y: 1 - y, X),
    "tanh, y (1 - y)": (np.tanh, lambda x, y: y * (1 - y), X),
    "tanh, 1 + y^2": (np.tanh, lambda x, y: 1 + y**2, X),
    "tanh, 1": (np.tanh, lambda x, y: 1 + 0 * y, X),
    "exp, x": (np.exp, lambda x, y: x, X),
    "exp, exp(y)": (np.exp, lambda x, y: np.exp(y), X),
    "log, x": (np.log, lambda x, y: x, POSITIVE),
    "log, 1 / y": (np.log, lambda x, y: 1 / y, POSITIVE),
    "log, 1 / x^2": (np.log, lambda x, y: 1 / x**2, POSITIVE),
    "root, root": (np.sqrt, lambda x, y: y, POSITIVE),
    "cube, x^2": (lambda x: x**3, lambda x, y: 3 * np.abs(x), X),
    "sine, cos(y)": (np.sin, lambda x, y: np.cos(y), X),
    "sine, sin": (np.sin, lambda x, y: np.sin(x), X),
    "relu, all": (lambda x: np.maximum(x, 0), lambda x, y: 1 + 0 * x, X),
    "relu, negative": (lambda x: np.maximum(x, 0), lambda x, y: 1.0 * (x < 0), X),
    "relu, value": (lambda x: np.maximum(x, 0), lambda x, y: y, X),
    "relu, threshold": (lambda x: np.maximum(x, 0), lambda x, y: 1.0 * (x > 0.5), X),
    "leaky, forgotten": (
        lambda x: np.where(x > 0, x, 0.1 * x),
        lambda x, y: 1.0 * (x > 0),
        X,
    ),
    "elu, exp(y)": (
        lambda x: np.where(x > 0, x, np.expm1(x)),
        lambda x, y: np.where(x > 0, 1, np.exp(y)),
        X,
    ),
    "absolute value, 1": (np.abs, lambda x, y: 1 + 0 * x, X),
    "clip, open": (lambda x: np.clip(x, -0.5, 0.5), lambda x, y: 1.0 * (x < 0.5), X),
    "swish, derivative of sigmoid": (
        lambda x: x * sigmoid(x),
        lambda x, y: sigmoid(x) * (1 - sigmoid(x)),
        X,
    ),
    "derivative squared": (np.sin, lambda x, y: np.cos(x) ** 2, X),
    "derivative inverted": (np.exp, lambda x, y: np.exp(-x), X),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_elementwise(name):
    forward, slope, x = FUNCTIONS[name]
    found = causes_of(forward, lambda dy, x: (dy * slope(x, forward(x)),), x)
    assert found[0] == "local-derivative"


def test_the_sentence_names_both_functions():
    evidence = evidence_of(sigmoid, lambda dy, x: (dy * sigmoid(x) * (1 + sigmoid(x)),), (X,))
    hint = diagnose(evidence)[0]
    assert hint.text == "the derivative is taken as y (1 + y); measured is y (1 - y)"


def test_a_slope_on_the_wrong_side_says_where():
    def forward(x):
        return np.where(x > 0, x, 0.1 * x)

    (hint,) = diagnose(evidence_of(forward, lambda dy, x: (dy * np.where(x > 0, 1, 0.2),), (X,)))
    assert hint.text.startswith("the derivative is 2 times what it should be for x from -")
    assert "right for x from 0" in hint.text


TWO = {
    "quotient": (np.divide, lambda dy, a, b: (dy / b, -dy * a / b), 1),
    "power": (np.power, lambda dy, a, b: (dy * b * a**b, dy * a**b * np.log(a)), 0),
    "product with itself": (lambda a, b: a**2 * b, lambda dy, a, b: (dy * a * b**2, dy * a**2), 0),
    "distance": (
        lambda a, b: (a - b) ** 2,
        lambda dy, a, b: (2 * dy * (a + b), -2 * dy * (a - b)),
        0,
    ),
}


@pytest.mark.parametrize("name", TWO)
def test_functions_of_two_inputs(name):
    forward, backward, position = TWO[name]
    a, b = (np.abs(v) + 0.4 for v in normal((3, 5), (3, 5)))
    found = causes_of(forward, backward, a, b, position=position)
    assert found[0] == "local-derivative" or (name == "distance" and found[0] == "sign")


REDUCTIONS = {
    "norm": (lambda x: np.sqrt((x**2).sum(1)), lambda dy, x, y: dy * x * y),
    "product": (lambda x: x.prod(axis=1), lambda dy, x, y: dy * y * x),
    "log of a sum": (lambda x: np.log(np.exp(x).sum(1)), lambda dy, x, y: dy * np.exp(x)),
    "smooth maximum": (
        lambda x: np.log(np.exp(x).sum(1)),
        lambda dy, x, y: dy * (x == x.max(1, keepdims=True)),
    ),
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name):
    forward, backward = REDUCTIONS[name]
    (x,) = normal((4, 5))
    found = causes_of(forward, lambda dy, x: (backward(dy[:, None], x, forward(x)[:, None]),), x)
    assert found[0] in {"local-derivative", "factor"}


def test_a_hidden_activation():
    x, w = normal((5, 4), (4, 3))

    def backward(dy, x, w):
        y = np.tanh(x @ w)
        return (dy * (1 - y)) @ w.T, x.T @ (dy * (1 - y**2))

    assert causes_of(lambda x, w: np.tanh(x @ w), backward, x, w)[0] == "local-derivative"


def test_an_unknown_function_is_shown_at_one_element():
    def forward(x):
        return np.where(x > 0, x, 0.5 * np.expm1(x))

    def backward(dy, x):
        return (dy * np.where(x > 0, 1, 0.3 * np.expm1(x)),)

    (hint,) = diagnose(evidence_of(forward, backward, (X,)))
    assert hint.cause == "local-derivative"


def test_a_sum_of_functions_of_one_element_each():
    def forward(p):
        return (-((1 - p) ** 2) * np.log(p)).sum()

    p = np.random.default_rng(3).uniform(0.1, 0.9, 9)
    (hint,) = diagnose(
        evidence_of(forward, lambda dy, p: (-dy * (1 - p) ** 2 / p + dy * p**5,), (p,))
    )
    assert hint.cause in {"local-derivative", "extra-term"}


def test_a_large_input_is_looked_up_too():
    x = np.random.default_rng(3).standard_normal((50, 60))
    right = spoiled_tanh(x)
    assert right.cause == "local-derivative"
    assert right.text == "the derivative is taken as 1 - y; measured is 1 - y^2"


def spoiled_tanh(x):
    y = np.tanh(x)
    dy = np.random.default_rng(4).standard_normal(x.shape)
    evidence = Evidence(
        values=lambda inputs: [np.tanh(inputs[0])],
        gradients=lambda dy: [dy[0] * (1 - y)],
        inputs=[x],
        outputs=[y],
        upstream=[dy],
        position=0,
        analytic=[dy * (1 - y)],
        numeric=[np.where(np.arange(60) % 10 == 0, dy * (1 - y**2), np.nan)],
        bounds=[np.where(np.arange(60) % 10 == 0, 1e-12, np.nan) + 0 * x],
        names=["x"],
    )
    return diagnose(evidence)[0]
