"""ReduceLROnPlateau: traces against PyTorch's, refusals."""

from __future__ import annotations

import pytest

import minicnn
from minicnn.errors import ArgumentError
from minicnn.nn import Parameter
from minicnn.optim.lr_scheduler import ReduceLROnPlateau

METRICS = [1, 0.9, 0.9, 0.9, 0.95, *[0.9] * 8, *[0.1] * 7, float("nan"), 0.1, 0.1, -0.5]


@pytest.mark.parametrize(
    "settings",
    [
        {"patience": 2},
        {"patience": 0, "factor": 0.5, "min_lr": [0.01, 0.02, 0.0]},
        {"mode": "max", "patience": 1, "cooldown": 2},
        {"mode": "max", "threshold": 0.1, "patience": 1},
        {"threshold": 0.2, "threshold_mode": "abs", "patience": 1},
        {"mode": "max", "threshold": 0.1, "threshold_mode": "abs", "patience": 1, "eps": 1e-3},
    ],
)
def test_against_torch(same_schedule, settings):
    calls = [(metric,) for metric in METRICS]
    same_schedule(lambda m, o: m.ReduceLROnPlateau(o, **settings), calls)


def test_a_tensor_is_a_metric(optimizer):
    schedule = ReduceLROnPlateau(optimizer())
    schedule.step(minicnn.tensor(0.5))
    assert schedule.best == 0.5


def test_a_group_added_later(optimizer):
    ours = optimizer()
    general = ReduceLROnPlateau(ours, patience=0)
    special = ReduceLROnPlateau(ours, patience=0, min_lr=[0.0, 0.0, 0.0])
    ours.add_param_group({"params": [Parameter(minicnn.ones(1))], "lr": 1.0})
    general.step(1.0)
    general.step(1.0)
    special.step(1.0)
    assert ours.param_groups[3]["lr"] == pytest.approx(0.1)
    with pytest.raises(ArgumentError, match="min_lr has 3 values for 4"):
        special.step(1.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"factor": 1.0}, "factor must be less than 1, got 1"),
        ({"mode": "least"}, "mode must be .* got 'least'"),
        ({"threshold_mode": "none"}, "threshold_mode must be .* got 'none'"),
        ({"min_lr": [0.1]}, "min_lr has 1 values for 3"),
    ],
)
def test_refusals(optimizer, settings, message):
    with pytest.raises(ArgumentError, match=message):
        ReduceLROnPlateau(optimizer(), **settings)
