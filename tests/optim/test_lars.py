"""LARS against the paper's algorithm written out, and against SGD where the two are the same."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn.errors import ArgumentError
from minicnn.nn import Parameter
from minicnn.optim import LARS, SGD


def steps(optimizer, parameters, gradients):
    for gradient in gradients:
        for p in parameters:
            p.grad = minicnn.tensor(np.full(p.shape, gradient))
        optimizer.step()


def test_algorithm_1_of_the_paper():
    draw = np.random.default_rng(1)
    w = draw.standard_normal((3, 4))
    p = Parameter(w.copy())
    optimizer = LARS([p], lr=0.3, momentum=0.7, weight_decay=0.02, trust_coefficient=0.01)
    v = np.zeros_like(w)
    for _ in range(5):
        g = draw.standard_normal((3, 4))
        p.grad = minicnn.tensor(g)
        optimizer.step()
        norm = np.sqrt((w * w).sum())
        local_lr = 0.01 * norm / (np.sqrt((g * g).sum()) + 0.02 * norm)
        v = 0.7 * v + 0.3 * local_lr * (g + 0.02 * w)
        w = w - v
    np.testing.assert_allclose(p.detach().numpy(), w, rtol=1e-12)


@pytest.mark.parametrize("settings", [{}, {"nesterov": True}, {"maximize": True}])
def test_excluded_parameters_are_those_of_sgd(settings):
    ours, theirs = Parameter(np.array([1.0, 2.0])), Parameter(np.array([1.0, 2.0]))
    lars = LARS([ours], 0.1, weight_decay=0.5, exclude_bias_and_norm=True, **settings)
    sgd = SGD([theirs], 0.1, 0.9, **settings)
    steps(lars, [ours], [1.0, -2.0, 0.5])
    steps(sgd, [theirs], [1.0, -2.0, 0.5])
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-14)


def test_layers_with_more_dimensions_are_not_excluded():
    ours, theirs = Parameter(np.full((1, 2), 3.0)), Parameter(np.full((1, 2), 3.0))
    steps(LARS([ours], weight_decay=0.1, exclude_bias_and_norm=True), [ours], [1.0, 2.0])
    steps(LARS([theirs], weight_decay=0.1), [theirs], [1.0, 2.0])
    assert ours.tolist() == theirs.tolist()


def test_every_layer_moves_by_the_same_share_of_its_length():
    small, large = Parameter(np.full((2, 2), 1e-3)), Parameter(np.full((2, 2), 1e3))
    steps(LARS([small, large], lr=1.0, trust_coefficient=0.1), [small, large], [7.0])
    assert small.tolist()[0][0] == pytest.approx(0.9e-3)
    assert large.tolist()[0][0] == pytest.approx(0.9e3)


def test_weights_or_gradients_of_zero_step_as_sgd():
    zero, still = Parameter(np.zeros((2, 2))), Parameter(np.ones((2, 2)))
    optimizer = LARS([zero, still], lr=0.1, momentum=0.0)
    zero.grad, still.grad = minicnn.tensor(np.ones((2, 2))), minicnn.tensor(np.zeros((2, 2)))
    optimizer.step()
    assert zero.tolist() == [[-0.1, -0.1]] * 2
    assert still.tolist() == [[1.0, 1.0]] * 2
    assert optimizer.state_dict()["state"] == {}


def test_float32_stays_float32():
    p = Parameter(minicnn.ones(2, 2))
    optimizer = LARS([p], weight_decay=1e-4)
    p.grad = minicnn.ones(2, 2)
    optimizer.step()
    assert p.dtype == optimizer.state[p]["momentum_buffer"].dtype == np.float32


def test_refusals():
    p = Parameter(minicnn.ones(1))
    with pytest.raises(ArgumentError, match="LARS: trust_coefficient must be at least 0, got -1"):
        LARS([p], trust_coefficient=-1)
    with pytest.raises(ArgumentError, match="LARS: nesterov needs momentum"):
        LARS([p], momentum=0, nesterov=True)
