"""Adagrad, RMSprop and Adadelta against PyTorch; the decay of Keras; refusals."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn.errors import ArgumentError
from minicnn.nn import Parameter
from minicnn.optim import Adadelta, Adagrad, RMSprop

CASES = [
    ("Adagrad", {}),
    ("Adagrad", {"lr_decay": 0.3, "weight_decay": 0.1, "eps": 0.1, "maximize": True}),
    ("Adagrad", {"initial_accumulator_value": 0.5}),
    ("RMSprop", {}),
    ("RMSprop", {"alpha": 0.5, "eps": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("RMSprop", {"momentum": 0.7}),
    ("RMSprop", {"momentum": 0.7, "centered": True, "alpha": 0.5, "eps": 0.1}),
    ("RMSprop", {"alpha": 0.0, "eps": 0.1}),
    ("Adadelta", {}),
    ("Adadelta", {"rho": 0.3, "eps": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("Adadelta", {"rho": 1.0}),
]


@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_against_torch(as_torch, name, settings):
    as_torch(name, {"lr": 0.1, **settings})


@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_float32(as_torch, name, settings):
    as_torch(name, settings, np.float32)


def test_the_decay_of_keras():
    """Keras: lr / (1 + decay * iterations), with 0 iterations at the first update."""
    decaying, plain = Parameter(np.ones(2)), Parameter(np.ones(2))
    first, second = RMSprop([decaying], lr=0.1, lr_decay=0.5), RMSprop([plain], lr=0.1)
    for iterations in range(4):
        second.param_groups[0]["lr"] = 0.1 / (1 + 0.5 * iterations)
        for p, optimizer in ((decaying, first), (plain, second)):
            p.grad = minicnn.tensor(np.array([1.0, -2.0 * iterations]))
            optimizer.step()
    np.testing.assert_allclose(decaying.detach().numpy(), plain.detach().numpy(), rtol=1e-14)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (Adagrad, {"lr_decay": -1}, "Adagrad: lr_decay must be at least 0, got -1"),
        (Adagrad, {"initial_accumulator_value": -1}, "initial_accumulator_value must be"),
        (RMSprop, {"alpha": -1}, "RMSprop: alpha must be"),
        (RMSprop, {"momentum": -1}, "RMSprop: momentum must be"),
        (RMSprop, {"lr_decay": -1}, "RMSprop: lr_decay must be"),
        (Adadelta, {"rho": 1.5}, r"Adadelta: rho must lie in \[0, 1\], got 1.5"),
        (Adadelta, {"weight_decay": -1}, "Adadelta: weight_decay must be"),
    ],
)
def test_refusals(kind, settings, message):
    with pytest.raises(ArgumentError, match=message):
        kind([Parameter(minicnn.ones(1))], **settings)
