"""Schedules of schedules: whole traces against PyTorch's, refusals."""

from __future__ import annotations

import pytest

from minicnn.errors import ArgumentError, DTypeError
from minicnn.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    ExponentialLR,
    LinearLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

CASES = {
    "warm-up and cosine": lambda m, o: m.SequentialLR(
        o, [m.LinearLR(o, 0.1, 1.0, 4), m.CosineAnnealingLR(o, 10, 0.01)], [4]
    ),
    "three": lambda m, o: m.SequentialLR(
        o, [m.ConstantLR(o, 0.1, 9), m.ExponentialLR(o, 0.9), m.StepLR(o, 2)], [4, 9]
    ),
    "the second from the start": lambda m, o: m.SequentialLR(
        o, [m.ConstantLR(o, 0.1, 9), m.ExponentialLR(o, 0.9)], [0]
    ),
    "others": lambda m, o: m.SequentialLR(
        o,
        [
            m.PolynomialLR(o),
            m.LambdaLR(o, lambda e: 0.5**e),
            m.MultiplicativeLR(o, lambda e: 0.9),
            m.CosineAnnealingWarmRestarts(o, 3, 2),
        ],
        [3, 6, 9],
    ),
    "cycles": lambda m, o: m.SequentialLR(
        o, [m.LinearLR(o), m.CyclicLR(o, 0.01, 1.0, 3), m.OneCycleLR(o, 1.0, 30)], [5, 8]
    ),
    "chained": lambda m, o: m.ChainedScheduler([m.ConstantLR(o, 0.1, 2), m.ExponentialLR(o, 0.9)]),
    "chained with a floor": lambda m, o: m.ChainedScheduler(
        [m.LinearLR(o, 0.2, 1.0, 4), m.CosineAnnealingLR(o, 60, 0.02), m.StepLR(o, 4)], optimizer=o
    ),
    "chained to zero": lambda m, o: m.ChainedScheduler(
        [m.PolynomialLR(o, 8), m.MultiStepLR(o, [3, 5]), m.MultiplicativeLR(o, lambda e: 0.99)]
    ),
    "chained in sequence": lambda m, o: m.SequentialLR(
        o,
        [m.ChainedScheduler([m.ConstantLR(o, 0.1, 2), m.LinearLR(o)]), m.ExponentialLR(o, 0.9)],
        [5],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_against_torch(same_schedule, case):
    same_schedule(CASES[case], 30, momentum=0.9)


def test_two_schedules_without_a_chain_multiply_as_well(optimizer):
    ours = optimizer()
    first, second = ConstantLR(ours, 0.1, 2), ExponentialLR(ours, 0.5)
    for _ in range(3):
        first.step()
        second.step()
    assert ours.param_groups[0]["lr"] == pytest.approx(0.1 / 8)


def test_a_sequence_within_a_sequence(optimizer):
    """PyTorch cannot do this."""
    ours = optimizer()
    inner = SequentialLR(ours, [ConstantLR(ours, 0.5, 9), ConstantLR(ours, 0.25, 9)], [2])
    outer = SequentialLR(ours, [ConstantLR(ours, 0.1, 9), inner], [3])
    found = [outer.get_last_lr()[1]]
    for _ in range(6):
        outer.step()
        found.append(outer.get_last_lr()[1])
    assert found == pytest.approx([0.05, 0.05, 0.05, 0.25, 0.25, 0.125, 0.125])


def test_a_chain_as_the_second_of_a_sequence(optimizer):
    """PyTorch cannot do this."""
    ours = optimizer()
    chain = ChainedScheduler([ConstantLR(ours, 0.5, 2), ExponentialLR(ours, 0.1)])
    schedule = SequentialLR(ours, [LinearLR(ours, 0.1, 1.0, 2), chain], [2])
    found = []
    for _ in range(4):
        schedule.step()
        found.append(schedule.get_last_lr()[1])
    assert found == pytest.approx([0.275, 0.25, 0.025, 0.005])


def test_a_wrong_inner_state_changes_nothing(optimizer):
    def make():
        ours = optimizer()
        return ours, SequentialLR(ours, [ConstantLR(ours), ExponentialLR(ours, 0.9)], [3])

    _, schedule = make()
    schedule.step()
    before = schedule.state_dict()
    ours = optimizer()
    other = SequentialLR(ours, [ConstantLR(ours), StepLR(ours, 2)], [1]).state_dict()
    with pytest.raises(ArgumentError, match="ExponentialLR needs gamma, base_lrs"):
        schedule.load_state_dict({**other, "_schedulers": [other["_schedulers"][0], {}]})
    assert schedule.state_dict() == before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda o, p: SequentialLR(o, [], []), "SequentialLR: needs at least one"),
        (lambda o, p: ChainedScheduler([]), "ChainedScheduler: needs at least one"),
        (lambda o, p: SequentialLR(o, [StepLR(o, 1)], [2]), "1 schedulers need 0 milestones"),
        (lambda o, p: SequentialLR(o, [StepLR(p, 1)], []), "belongs to another optimizer"),
        (
            lambda o, p: ChainedScheduler([StepLR(o, 1), StepLR(p, 1)]),
            "scheduler 1, StepLR, belongs to another optimizer",
        ),
        (lambda o, p: ChainedScheduler([ReduceLROnPlateau(o)]), "steps with a metric"),
    ],
)
def test_refusals(optimizer, make, message):
    with pytest.raises(ArgumentError, match=message):
        make(optimizer(), optimizer())


def test_refusals_of_types(optimizer):
    with pytest.raises(DTypeError, match="scheduler 0 must have an optimizer, str has none"):
        SequentialLR(optimizer(), ["step"], [])
