"""SGD against its recurrence written out, and against PyTorch."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import minicnn
from minicnn.errors import ArgumentError
from minicnn.nn import Parameter
from minicnn.optim import SGD

GRADIENTS = [np.array([0.5, -2.0]), np.array([-1.0, 0.25]), np.array([3.0, 0.0])]


def run(settings):
    p = Parameter(np.array([1.0, -1.5]))
    optimizer = SGD([p], lr=0.1, **settings)
    for gradient in GRADIENTS:
        p.grad = minicnn.tensor(gradient)
        optimizer.step()
    return p.detach().numpy()


def test_momentum_by_hand():
    w, v = np.array([1.0, -1.5]), None
    for gradient in GRADIENTS:
        v = gradient if v is None else 0.9 * v + gradient
        w = w - 0.1 * v
    np.testing.assert_allclose(run({"momentum": 0.9}), w, rtol=1e-14)


@pytest.mark.parametrize(
    ("momentum", "dampening", "weight_decay", "nesterov"),
    [
        (m, d, wd, n)
        for m, d, wd, n in itertools.product((0.0, 0.9), (0.0, 0.5), (0.0, 0.1), (False, True))
        if not n or (m > 0 and d == 0)
    ],
)
def test_against_torch(momentum, dampening, weight_decay, nesterov):
    torch = pytest.importorskip("torch")
    settings = {
        "momentum": momentum, "dampening": dampening,
        "weight_decay": weight_decay, "nesterov": nesterov,
    }  # fmt: skip
    p = torch.nn.Parameter(torch.tensor([1.0, -1.5], dtype=torch.float64))
    optimizer = torch.optim.SGD([p], lr=0.1, **settings)
    for gradient in GRADIENTS:
        p.grad = torch.tensor(gradient)
        optimizer.step()
    np.testing.assert_allclose(run(settings), p.detach().numpy(), rtol=1e-14)


def test_float32_stays_float32():
    p = Parameter(minicnn.ones(2))
    optimizer = SGD([p], lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True)
    for _ in range(2):
        p.grad = minicnn.ones(2)
        optimizer.step()
    assert p.dtype == np.float32
    assert optimizer.state[p]["momentum_buffer"].dtype == np.float32


def test_nesterov_needs_momentum():
    with pytest.raises(ArgumentError, match="nesterov"):
        SGD([Parameter(minicnn.ones(1))], nesterov=True)
