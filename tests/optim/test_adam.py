"""Adam against the paper's algorithm written out, and against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn.errors import ArgumentError
from minicnn.nn import Parameter
from minicnn.optim import Adam

GRADIENTS = [np.array([0.5, -2e-4]), np.array([-1.0, 30.0]), np.array([3.0, 0.0])]


def run(**settings):
    p = Parameter(np.array([1.0, -1.5]))
    optimizer = Adam([p], lr=0.1, **settings)
    for gradient in GRADIENTS:
        p.grad = minicnn.tensor(gradient)
        optimizer.step()
    return p.detach().numpy()


def test_algorithm_1_of_the_paper():
    w, m, v = np.array([1.0, -1.5]), np.zeros(2), np.zeros(2)
    for t, g in enumerate(GRADIENTS, start=1):
        m = 0.8 * m + 0.2 * g
        v = 0.95 * v + 0.05 * g**2
        w = w - 0.1 * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-6)
    np.testing.assert_allclose(run(betas=(0.8, 0.95), eps=1e-6), w, rtol=1e-13)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_against_torch(weight_decay):
    torch = pytest.importorskip("torch")
    p = torch.nn.Parameter(torch.tensor([1.0, -1.5], dtype=torch.float64))
    optimizer = torch.optim.Adam([p], lr=0.1, weight_decay=weight_decay)
    for gradient in GRADIENTS:
        p.grad = torch.tensor(gradient)
        optimizer.step()
    np.testing.assert_allclose(run(weight_decay=weight_decay), p.detach().numpy(), rtol=1e-13)


def test_float32_stays_float32():
    p = Parameter(minicnn.ones(2))
    p.grad = minicnn.ones(2)
    Adam([p]).step()
    assert p.dtype == np.float32


def test_betas_are_checked():
    with pytest.raises(ArgumentError, match=r"betas.*\(0.9, 1.0\)"):
        Adam([Parameter(minicnn.ones(1))], betas=(0.9, 1.0))
