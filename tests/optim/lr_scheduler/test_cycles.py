"""Warm restarts and cycles of rate against momentum: whole traces against PyTorch's, refusals."""

from __future__ import annotations

import pytest

from minicnn.errors import ArgumentError
from minicnn.optim.lr_scheduler import CosineAnnealingWarmRestarts, CyclicLR, OneCycleLR

RUNS = [(3,), (3, 2), (2, 3, 0.01), (1, 2)]


@pytest.mark.parametrize("runs", RUNS)
def test_warm_restarts(same_schedule, runs):
    same_schedule(lambda m, o: m.CosineAnnealingWarmRestarts(o, *runs), 40)


@pytest.mark.parametrize("runs", RUNS)
def test_warm_restarts_between_epochs(same_schedule, runs):
    batches = [(batch / 7,) for batch in range(60)]
    same_schedule(lambda m, o: m.CosineAnnealingWarmRestarts(o, *runs), batches)
    mixed = [(), (0.5,), (), (2.25,), (), (), (), (7,), (), (40.5,), ()]
    same_schedule(lambda m, o: m.CosineAnnealingWarmRestarts(o, *runs), mixed)


def test_a_run_begins_exactly_at_its_restart(optimizer):
    """Epoch 121 = 1 + 3 + 9 + 27 + 81 starts run six; its logarithm to base 3 rounds down."""
    schedule = CosineAnnealingWarmRestarts(optimizer(), 1, T_mult=3)
    schedule.step(121)
    assert (schedule.T_cur, schedule.T_i) == (0, 243)
    assert schedule.get_last_lr() == [0.1, 0.5, 3e-4]


def test_a_restart_forgets_the_run(optimizer):
    schedule = CosineAnnealingWarmRestarts(optimizer(), 2, T_mult=2)
    schedule.step(5)
    schedule.restart()
    assert (schedule.last_epoch, schedule.T_cur, schedule.T_i) == (0, 0, 2)
    assert schedule.get_last_lr() == [0.1, 0.5, 3e-4]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"step_size_up": 3, "step_size_down": 5},
        {"step_size_up": 4, "mode": "triangular2"},
        {"step_size_up": 4, "step_size_down": 1, "mode": "exp_range", "gamma": 0.95},
        {"step_size_up": 3, "scale_fn": lambda cycle: 1 / cycle},
        {"step_size_up": 3, "scale_fn": lambda t: 0.9**t, "scale_mode": "iterations", "mode": "-"},
        {"step_size_up": 3, "base_momentum": [0.1, 0.2, 0.3], "max_momentum": [0.5, 0.6, 0.7]},
    ],
)
def test_cyclic(same_schedule, settings):
    same_schedule(lambda m, o: m.CyclicLR(o, [0.01, 0.02, 0.03], [0.5, 1, 2], **settings), 30)
    same_schedule(lambda m, o: m.CyclicLR(o, 0.01, 1.0, **settings), 30, name="Adam")


def test_cyclic_without_momentum(same_schedule):
    same_schedule(lambda m, o: m.CyclicLR(o, 0.01, 1, 3, cycle_momentum=False), name="Adagrad")


@pytest.mark.parametrize(
    "settings",
    [
        {"total_steps": 20},
        {"epochs": 4, "steps_per_epoch": 5},
        {"total_steps": 20, "three_phase": True},
        {"total_steps": 23, "three_phase": True, "anneal_strategy": "linear", "pct_start": 0.4},
        {"total_steps": 20, "anneal_strategy": "linear", "pct_start": 0.16},
        {"total_steps": 20, "pct_start": 0.0, "cycle_momentum": False},
        {"total_steps": 20, "div_factor": 3.0, "final_div_factor": 7.0, "max_momentum": [1, 2, 3]},
    ],
)
def test_one_cycle(same_schedule, settings):
    same_schedule(lambda m, o: m.OneCycleLR(o, [0.5, 1, 2], **settings), 20)
    same_schedule(lambda m, o: m.OneCycleLR(o, 1.0, **settings), 19, name="Adam")


def test_a_way_up_of_no_length_starts_at_the_peak(optimizer):
    schedule = OneCycleLR(optimizer(), 1.0, total_steps=10, pct_start=0.1)
    assert schedule.get_last_lr() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda o: CosineAnnealingWarmRestarts(o, 0), "T_0 must be a positive integer, got 0"),
        (lambda o: CosineAnnealingWarmRestarts(o, 2, 1.5), "T_mult must be a positive integer"),
        (lambda o: CosineAnnealingWarmRestarts(o, 2).step(-1), "epoch must be at least 0, got -1"),
        (lambda o: CyclicLR(o, 0.1, 1, mode="square"), "mode must be .* got 'square'"),
        (lambda o: CyclicLR(o, 0.1, 1, 0), "step_size_up and step_size_down must be positive"),
        (lambda o: CyclicLR(o, [0.1], 1), "base_lr has 1 values for 3 parameter groups"),
        (lambda o: OneCycleLR(o, 1.0), "give total_steps, or epochs and steps_per_epoch"),
        (lambda o: OneCycleLR(o, 1.0, 0), "total_steps must be a positive integer, got 0"),
        (lambda o: OneCycleLR(o, 1.0, None, 2, 1.5), "steps_per_epoch must be a positive integer"),
        (lambda o: OneCycleLR(o, 1.0, 5, pct_start=1.5), "pct_start must be a float between"),
        (lambda o: OneCycleLR(o, 1.0, 5, anneal_strategy="sin"), "anneal_strategy must be"),
    ],
)
def test_refusals(optimizer, make, message):
    with pytest.raises(ArgumentError, match=message):
        make(optimizer(momentum=0.9))


def test_momentum_needs_something_to_cycle(optimizer):
    with pytest.raises(ArgumentError, match="Adagrad has no momentum or beta1 to cycle"):
        CyclicLR(optimizer("Adagrad"), 0.1, 1)


def test_the_end_of_the_cycle(optimizer):
    schedule = OneCycleLR(optimizer(), 1.0, total_steps=2)
    schedule.step()
    schedule.step()  # PyTorch allows this one, too
    with pytest.raises(ArgumentError, match="step 3 is beyond the 2 steps"):
        schedule.step()
