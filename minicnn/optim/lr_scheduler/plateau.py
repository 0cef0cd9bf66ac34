"""ReduceLROnPlateau: a lower learning rate whenever a metric stops getting better."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

from minicnn.errors import ArgumentError
from minicnn.optim.lr_scheduler.scheduler import LRScheduler, check_optimizer, per_group
from minicnn.optim.optimizer import Optimizer


class ReduceLROnPlateau(LRScheduler):
    """lr = max(lr * factor, min_lr) once `patience` epochs in a row were not better.

    Better means below best * (1 - threshold), or with threshold_mode="abs" below
    best - threshold; with mode="max" above, and with the opposite sign.  After a reduction
    `cooldown` epochs are not counted.  Reductions of `eps` or less are left out.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        self.optimizer = check_optimizer("ReduceLROnPlateau", optimizer)
        if factor >= 1:
            raise ArgumentError(f"ReduceLROnPlateau: factor must be less than 1, got {factor}")
        if mode not in ("min", "max"):
            raise ArgumentError(f'ReduceLROnPlateau: mode must be "min" or "max", got {mode!r}')
        if threshold_mode not in ("rel", "abs"):
            raise ArgumentError(
                f'ReduceLROnPlateau: threshold_mode must be "rel" or "abs", got {threshold_mode!r}'
            )
        self.mode, self.factor, self.patience = mode, factor, patience
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.cooldown, self.eps = cooldown, eps
        self.min_lr = min_lr
        self._least()
        self.best = inf if mode == "min" else -inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0
        self.set_lr([group["lr"] for group in optimizer.param_groups])

    def step(self, metrics: Any) -> None:  # type: ignore[override]
        """Go on to the next epoch, in which `metrics` (a number or a tensor) was reached."""
        value = float(metrics)
        self.last_epoch += 1
        if self.is_better(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        lrs = [group["lr"] for group in self.optimizer.param_groups]
        if self.num_bad_epochs > self.patience:
            lrs = [self._reduced(lr, least) for lr, least in zip(lrs, self._least(), strict=True)]
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self.set_lr(lrs)

    def is_better(self, value: float) -> bool:
        """Say whether the value is better than the best one by more than the threshold."""
        sign = 1 if self.mode == "min" else -1
        if self.threshold_mode == "rel":
            return sign * value < sign * self.best * (1 - sign * self.threshold)
        return sign * value < sign * self.best - self.threshold

    def _least(self) -> list[float]:
        return per_group("ReduceLROnPlateau: min_lr", self.optimizer, self.min_lr)

    def _reduced(self, lr: float, least: float) -> float:
        new: float = max(lr * self.factor, least)
        return new if lr - new > self.eps else lr
