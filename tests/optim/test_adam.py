"""Adam and its relatives against the papers' algorithms written out, and against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn.errors import ArgumentError
from minicnn.nn import Parameter
from minicnn.optim import Adam, Adamax, AdamW, NAdam, RAdam

GRADIENTS = [np.array([0.5, -2e-4]), np.array([-1.0, 30.0]), np.array([3.0, 0.0])]
DECOUPLED = {"weight_decay": 0.2, "decoupled_weight_decay": True, "maximize": True}

CASES = [
    ("Adam", {}),
    ("Adam", {"betas": (0.5, 0.7), "eps": 1e-3, "weight_decay": 0.1, "amsgrad": True}),
    ("Adam", DECOUPLED),
    ("Adam", {"lr": 0.0, "betas": (0.0, 0.0)}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.1, "amsgrad": True, "maximize": True, "weight_decay": 0.3}),
    ("Adamax", {}),
    ("Adamax", {"betas": (0.5, 0.7), "eps": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("NAdam", {}),
    ("NAdam", {"betas": (0.6, 0.7), "momentum_decay": 0.3, "weight_decay": 0.1, "eps": 0.1}),
    ("NAdam", DECOUPLED),
    ("RAdam", {}),
    ("RAdam", {"betas": (0.5, 0.9), "eps": 0.1, "weight_decay": 0.1}),
    ("RAdam", DECOUPLED),
    ("RAdam", {"betas": (0.9, 0.5)}),  # rho never gets beyond 5
]


@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_against_torch(as_torch, name, settings):
    as_torch(name, {"lr": 0.1, **settings})


@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_float32(as_torch, name, settings):
    as_torch(name, settings, np.float32)


def test_algorithm_1_of_the_paper():
    p = Parameter(np.array([1.0, -1.5]))
    optimizer = Adam([p], lr=0.1, betas=(0.8, 0.95), eps=1e-6)
    w, m, v = np.array([1.0, -1.5]), np.zeros(2), np.zeros(2)
    for t, g in enumerate(GRADIENTS, start=1):
        p.grad = minicnn.tensor(g)
        optimizer.step()
        m = 0.8 * m + 0.2 * g
        v = 0.95 * v + 0.05 * g**2
        w = w - 0.1 * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-6)
    np.testing.assert_allclose(p.detach().numpy(), w, rtol=1e-13)


@pytest.mark.parametrize("kind", [Adam, AdamW, Adamax, NAdam, RAdam])
def test_betas_are_checked(kind):
    with pytest.raises(ArgumentError, match=rf"{kind.__name__}: betas.*\(0.9, 1.0\)"):
        kind([Parameter(minicnn.ones(1))], betas=(0.9, 1.0))
    with pytest.raises(ArgumentError, match="eps must be at least 0, got nan"):
        kind([Parameter(minicnn.ones(1))], eps=float("nan"))


def test_the_state_of_an_adam_leaves_the_decay_decoupled():
    p = Parameter(minicnn.ones(1))
    optimizer = AdamW([p])
    optimizer.load_state_dict(Adam([p], lr=0.5).state_dict())
    assert optimizer.param_groups[0]["decoupled_weight_decay"]
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_the_momentum_decay_is_checked():
    with pytest.raises(ArgumentError, match="momentum_decay must be at least 0, got -1"):
        NAdam([Parameter(minicnn.ones(1))], momentum_decay=-1)
