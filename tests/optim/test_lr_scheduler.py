"""Schedules at every epoch against their formulas and PyTorch's."""

from __future__ import annotations

from math import cos, pi

import pytest

import minicnn
from minicnn.errors import ArgumentError
from minicnn.nn import Parameter
from minicnn.optim import SGD
from minicnn.optim.lr_scheduler import CosineAnnealingLR, StepLR


def optimizer():
    first, second = Parameter(minicnn.ones(1)), Parameter(minicnn.ones(1))
    return SGD([{"params": [first]}, {"params": [second], "lr": 0.5}], lr=0.1)


def rates(scheduler, epochs):
    found = [scheduler.get_last_lr()]
    for _ in range(epochs):
        scheduler.step()
        found.append(scheduler.get_last_lr())
    return found


def test_step():
    found = rates(StepLR(optimizer(), step_size=2, gamma=0.1), 5)
    assert [r[0] for r in found] == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    assert [r[1] for r in found] == pytest.approx([0.5, 0.5, 0.05, 0.05, 0.005, 0.005])


def test_cosine():
    found = rates(CosineAnnealingLR(optimizer(), T_max=4, eta_min=0.02), 4)
    expected = [0.02 + 0.08 * (1 + cos(pi * e / 4)) / 2 for e in range(5)]
    assert [r[0] for r in found] == pytest.approx(expected)
    assert found[-1] == pytest.approx([0.02, 0.02])


@pytest.mark.filterwarnings("ignore:Detected call of")
@pytest.mark.parametrize(
    ("name", "settings"),
    [("StepLR", {"step_size": 3, "gamma": 0.5}), ("CosineAnnealingLR", {"T_max": 7})],
)
def test_against_torch(name, settings):
    torch = pytest.importorskip("torch")
    p = torch.nn.Parameter(torch.ones(1))
    theirs = getattr(torch.optim.lr_scheduler, name)(torch.optim.SGD([p], lr=0.1), **settings)
    ours = getattr(minicnn.optim.lr_scheduler, name)(optimizer(), **settings)
    for expected, found in zip(rates(theirs, 7), rates(ours, 7), strict=True):
        assert found[0] == pytest.approx(expected[0], abs=1e-12)


def test_state_carries_on():
    first = StepLR(optimizer(), step_size=2)
    rates(first, 3)
    other = optimizer()
    second = StepLR(other, step_size=2)
    second.load_state_dict(first.state_dict())
    assert second.get_last_lr() == first.get_last_lr()
    assert other.param_groups[0]["lr"] == pytest.approx(0.01)


def test_refusals():
    with pytest.raises(ArgumentError, match="step_size must be at least 1 epoch, got 0"):
        StepLR(optimizer(), step_size=0)
    with pytest.raises(ArgumentError, match="T_max must be at least 1 epoch, got 0"):
        CosineAnnealingLR(optimizer(), T_max=0)
