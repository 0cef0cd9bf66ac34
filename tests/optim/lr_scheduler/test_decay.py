"""Schedules that go one way: whole traces against PyTorch's, Keras's formula, refusals."""

from __future__ import annotations

import pytest

from minicnn.errors import ArgumentError, DTypeError
from minicnn.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    InverseTimeLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    PolynomialLR,
    StepLR,
)

CASES = {
    "step": lambda m, o: m.StepLR(o, 3, 0.5),
    "step every epoch": lambda m, o: m.StepLR(o, 1),
    "multistep, twice at once": lambda m, o: m.MultiStepLR(o, [9, 2, 2, 5], 0.3),
    "multistep at 0": lambda m, o: m.MultiStepLR(o, [0, 5], gamma=2.0),
    "constant": lambda m, o: m.ConstantLR(o),
    "constant, one epoch": lambda m, o: m.ConstantLR(o, 0.2, total_iters=1),
    "linear": lambda m, o: m.LinearLR(o),
    "linear to zero": lambda m, o: m.LinearLR(o, 1.0, 0.0, total_iters=7),
    "linear in one epoch": lambda m, o: m.LinearLR(o, 0.1, 0.3, 1),
    "exponential": lambda m, o: m.ExponentialLR(o, 0.9),
    "exponential to zero": lambda m, o: m.ExponentialLR(o, 0.0),
    "polynomial": lambda m, o: m.PolynomialLR(o),
    "polynomial, curved": lambda m, o: m.PolynomialLR(o, 11, power=2.5),
    "polynomial of power 0": lambda m, o: m.PolynomialLR(o, 7, power=0.0),
    "cosine": lambda m, o: m.CosineAnnealingLR(o, 10),
    "cosine, up and down again": lambda m, o: m.CosineAnnealingLR(o, 3, eta_min=0.02),
    "cosine of one epoch": lambda m, o: m.CosineAnnealingLR(o, 1, 0.01),
    "lambda": lambda m, o: m.LambdaLR(o, lambda epoch: 0.9**epoch),
    "lambdas": lambda m, o: m.LambdaLR(o, [lambda e: 0.9**e, lambda e: 1 / (1 + e), lambda e: 0.0]),
    "multiplicative": lambda m, o: m.MultiplicativeLR(o, lambda epoch: 0.9 + 0.01 * epoch),
}


@pytest.mark.parametrize("case", CASES)
def test_against_torch(same_schedule, case):
    same_schedule(CASES[case])


@pytest.mark.parametrize("staircase", [False, True])
def test_inverse_time_is_that_of_keras(optimizer, staircase):
    """Keras: initial / (1 + decay_rate * step / decay_steps), with floor for the staircase."""
    schedule = InverseTimeLR(optimizer(), 0.5, decay_steps=3, staircase=staircase)
    for step in range(1, 10):
        schedule.step()
        periods = step // 3 if staircase else step / 3
        assert schedule.get_last_lr()[1] == pytest.approx(0.5 / (1 + 0.5 * periods), rel=1e-14)


def test_a_constant_of_zero_ends(optimizer):
    schedule = ConstantLR(optimizer(), factor=0.0, total_iters=2)
    found = [schedule.get_last_lr()[0]]
    for _ in range(3):
        schedule.step()
        found.append(schedule.get_last_lr()[0])
    assert found == [0.0, 0.0, 0.1, 0.1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda o: StepLR(o, step_size=0), "step_size must be at least 1 epoch, got 0"),
        (lambda o: CosineAnnealingLR(o, T_max=0), "T_max must be at least 1 epoch, got 0"),
        (lambda o: PolynomialLR(o, 0), "total_iters must be at least 1 epoch"),
        (lambda o: ConstantLR(o, 1.5), "factor must lie between 0 and 1, got 1.5"),
        (lambda o: LinearLR(o, 0.0), "start_factor must be more than 0"),
        (lambda o: LinearLR(o, 0.5, 1.5), "end_factor must lie between 0 and 1, got 1.5"),
        (lambda o: InverseTimeLR(o, -1.0), "decay_rate must be at least 0, got -1"),
        (lambda o: LambdaLR(o, [min]), "lr_lambda has 1 values for 3 parameter groups"),
    ],
)
def test_refusals(optimizer, make, message):
    with pytest.raises(ArgumentError, match=message):
        make(optimizer())


def test_refusals_of_types(optimizer):
    with pytest.raises(DTypeError, match="lr_lambda must be functions, got float"):
        MultiplicativeLR(optimizer(), 0.9)
    with pytest.raises(DTypeError, match="StepLR: needs an Optimizer, got list"):
        StepLR([], 1)
