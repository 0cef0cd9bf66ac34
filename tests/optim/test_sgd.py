"""SGD against its recurrence written out, and against PyTorch."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import minicnn
from minicnn.errors import ArgumentError
from minicnn.nn import Parameter
from minicnn.optim import SGD

SETTINGS = [
    {"momentum": m, "dampening": d, "weight_decay": wd, "nesterov": n, "maximize": up}
    for m, d, wd, n, up in itertools.product(
        (0.0, 0.9), (0.0, 0.5), (0.0, 0.1), (False, True), (False, True)
    )
    if not n or (m > 0 and d == 0)
]


def test_momentum_by_hand():
    gradients = [np.array([0.5, -2.0]), np.array([-1.0, 0.25]), np.array([3.0, 0.0])]
    p = Parameter(np.array([1.0, -1.5]))
    optimizer = SGD([p], lr=0.1, momentum=0.9)
    w, v = np.array([1.0, -1.5]), None
    for gradient in gradients:
        p.grad = minicnn.tensor(gradient)
        optimizer.step()
        v = gradient if v is None else 0.9 * v + gradient
        w = w - 0.1 * v
    np.testing.assert_allclose(p.detach().numpy(), w, rtol=1e-14)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_against_torch(as_torch, settings):
    as_torch("SGD", {"lr": 0.1, **settings})


@pytest.mark.parametrize("settings", [{}, SETTINGS[-1]], ids=str)
def test_float32(as_torch, settings):
    as_torch("SGD", settings, np.float32)


def test_momentum_that_begins_later():
    p = Parameter(np.array([1.0]))
    optimizer = SGD([p], lr=0.1, dampening=0.5)
    for momentum, expected in ((0.0, 0.9), (0.5, 0.8), (0.5, 0.7)):
        optimizer.param_groups[0]["momentum"] = momentum
        p.grad = minicnn.ones(1, dtype=np.float64)
        optimizer.step()
        assert p.item() == pytest.approx(expected)


def test_nesterov_needs_momentum():
    with pytest.raises(ArgumentError, match=r"nesterov needs momentum > 0 .* got momentum 0"):
        SGD([Parameter(minicnn.ones(1))], nesterov=True)
    with pytest.raises(ArgumentError, match=r"dampening 0\.5"):
        SGD([Parameter(minicnn.ones(1))], momentum=0.9, dampening=0.5, nesterov=True)
