"""Schedules made of schedules: one after the other, or all at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from minicnn.errors import ArgumentError, DTypeError
from minicnn.optim.lr_scheduler.plateau import ReduceLROnPlateau
from minicnn.optim.lr_scheduler.scheduler import LRScheduler
from minicnn.optim.optimizer import Optimizer


class SequentialLR(LRScheduler):
    """Follow schedulers[i] from epoch milestones[i - 1], where it begins, to milestones[i]."""

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        self._schedulers = _checked("SequentialLR", optimizer, schedulers)
        if len(milestones) != len(schedulers) - 1:
            raise ArgumentError(
                f"SequentialLR: {len(schedulers)} schedulers need {len(schedulers) - 1} milestones "
                f"between them, got {len(milestones)}"
            )
        self._milestones = list(milestones)
        self.optimizer, self.last_epoch = optimizer, last_epoch + 1
        # Making the schedules has set what each of them starts with; only one may do that now.
        self._begin()

    def _begin(self) -> None:
        _reset(self.optimizer)
        first = self._schedulers[bisect_right(self._milestones, 0)]
        first.start()
        self._last_lr = first.get_last_lr()

    def step(self) -> None:
        """Go on to the next epoch, and at a milestone to the next schedule."""
        self.last_epoch += 1
        number = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[number]
        if number > 0 and self._milestones[number - 1] == self.last_epoch:
            scheduler.restart()
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()

    def start(self) -> None:
        """Go back to epoch 0 of the first schedule."""
        self.last_epoch = 0
        self._begin()

    restart = start


class ChainedScheduler(LRScheduler):
    """Step several schedules together; the factors of those that have one multiply."""

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        if schedulers and optimizer is None:
            optimizer = getattr(schedulers[0], "optimizer", None)
        self._schedulers = _checked("ChainedScheduler", optimizer, schedulers)
        self.optimizer = self._schedulers[0].optimizer
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def step(self) -> None:
        """Step every schedule, in their order."""
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def start(self) -> None:
        """Go back to epoch 0 of every schedule."""
        _reset(self.optimizer)
        for scheduler in self._schedulers:
            scheduler.start()
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    restart = start


def _reset(optimizer: Optimizer) -> None:
    """Give every group the learning rate that it had before any schedule."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"]


def _checked(
    name: str, optimizer: Optimizer | None, schedulers: Sequence[LRScheduler]
) -> list[LRScheduler]:
    """Return the schedules as a list, or raise if they are not schedules of this optimiser."""
    if len(schedulers) < 1:
        raise ArgumentError(f"{name}: needs at least one scheduler, got none")
    for i, scheduler in enumerate(schedulers):
        kind = type(scheduler).__name__
        if not hasattr(scheduler, "optimizer"):
            raise DTypeError(f"{name}: scheduler {i} must have an optimizer, {kind} has none")
        if isinstance(scheduler, ReduceLROnPlateau):
            raise ArgumentError(
                f"{name}: scheduler {i} is a ReduceLROnPlateau, which steps with a metric; step it "
                f"by itself"
            )
        if scheduler.optimizer is not optimizer:
            raise ArgumentError(f"{name}: scheduler {i}, {kind}, belongs to another optimizer")
    return list(schedulers)
