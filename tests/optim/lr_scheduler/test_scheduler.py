"""What all schedules share: state, resuming, groups that join later, schedules of one's own."""

from __future__ import annotations

import pytest

import minicnn
from minicnn.errors import ArgumentError
from minicnn.nn import Parameter
from minicnn.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    FactorLR,
    LambdaLR,
    LRScheduler,
    MultiStepLR,
    StepLR,
)


def test_a_schedule_of_ones_own(optimizer):
    class Halves(FactorLR):
        def factor_at(self, epoch):
            return 0.5**epoch

    schedule = Halves(optimizer())
    schedule.step()
    schedule.step()
    assert schedule.get_last_lr() == pytest.approx([0.025, 0.125, 7.5e-5])


def test_without_a_rule_there_is_no_schedule(optimizer):
    with pytest.raises(AttributeError, match=r"LRScheduler has no get_lr\(\); write one"):
        LRScheduler(optimizer())
    with pytest.raises(AttributeError, match=r"FactorLR has no factor_at\(\); write one"):
        FactorLR(optimizer())


def test_loading_leaves_the_optimizer_alone(optimizer):
    """As in PyTorch: learning rates belong to the optimiser's own state."""
    first = StepLR(optimizer(), step_size=2)
    for _ in range(3):
        first.step()
    other = optimizer()
    second = StepLR(other, step_size=5, gamma=0.7)
    second.load_state_dict(first.state_dict())
    assert (second.last_epoch, second.step_size, second.gamma) == (3, 2, 0.1)
    assert second.get_last_lr() == first.get_last_lr()
    assert other.param_groups[0]["lr"] == 0.1


def test_a_state_of_pytorch_is_taken(optimizer):
    torch = pytest.importorskip("torch")
    theirs = torch.optim.SGD([{"params": [torch.nn.Parameter(torch.ones(1))]} for _ in range(3)])
    saved = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, 7, 0.25).state_dict()
    schedule = CosineAnnealingLR(optimizer(), 3)
    schedule.load_state_dict(saved)
    assert (schedule.T_max, schedule.eta_min, schedule.last_epoch) == (7, 0.25, 0)


def test_a_wrong_state_changes_nothing(optimizer):
    schedule = StepLR(optimizer(), 2)
    before = schedule.state_dict()
    with pytest.raises(ArgumentError, match=r"StepLR needs step_size, the saved state has only"):
        schedule.load_state_dict(ExponentialLR(optimizer(), 0.5).state_dict())
    fewer = {**before, "base_lrs": [0.1]}
    with pytest.raises(ArgumentError, match=r"base_lrs of StepLR has 3 entries, .* state 1"):
        schedule.load_state_dict(fewer)
    assert schedule.state_dict() == before


def test_callable_objects_are_saved_and_functions_are_not(optimizer):
    class Decay:
        def __init__(self, rate):
            self.rate = rate

        def __call__(self, epoch):
            return self.rate**epoch

    schedule = LambdaLR(optimizer(), [Decay(0.5), lambda epoch: 1.0, abs])
    saved = schedule.state_dict()
    assert saved["lr_lambdas"] == [{"rate": 0.5}, None, {}]
    other = LambdaLR(optimizer(), [Decay(0.9), lambda epoch: 2.0, abs])
    other.load_state_dict(saved)
    assert other.lr_lambdas[0].rate == 0.5
    assert other.lr_lambdas[1](0) == 2.0


def test_resuming_by_the_number_of_the_epoch(optimizer):
    ours = optimizer()
    first = ExponentialLR(ours, 0.5)
    for _ in range(4):
        first.step()
    second = ExponentialLR(ours, 0.5, last_epoch=3)
    assert second.last_epoch == 4
    assert second.get_last_lr() == first.get_last_lr()
    second.step()
    first_lr = 0.1 * 0.5**5
    assert second.get_last_lr()[0] == pytest.approx(first_lr)


def test_resuming_does_not_scale_again(optimizer):
    ours = optimizer()
    first = ConstantLR(ours, 0.5, 9)
    first.step()
    assert ConstantLR(ours, 0.5, 9, last_epoch=0).get_last_lr() == first.get_last_lr()


def test_a_loaded_state_is_a_copy(optimizer):
    saved = MultiStepLR(optimizer(), [3, 5]).state_dict()
    schedule = MultiStepLR(optimizer(), [7])
    schedule.load_state_dict(saved)
    saved["milestones"].append(1)
    assert schedule.milestones == [3, 5]


def test_resuming_needs_the_first_rates(optimizer):
    with pytest.raises(ArgumentError, match="group 0 has no initial_lr to resume from"):
        StepLR(optimizer(), 2, last_epoch=3)


def test_a_group_added_later_follows_from_its_own_rate(optimizer):
    ours = optimizer()
    schedule = StepLR(ours, 2)
    schedule.step()
    ours.add_param_group({"params": [Parameter(minicnn.ones(1))], "lr": 7.0})
    schedule.step()
    assert schedule.get_last_lr() == pytest.approx([0.01, 0.05, 3e-5, 0.7])
