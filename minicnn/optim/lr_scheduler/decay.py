"""Schedules that go one way: steps, powers, curves, and warm-up."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from math import cos, floor, pi

from minicnn.errors import ArgumentError, DTypeError
from minicnn.optim.lr_scheduler.scheduler import FactorLR, LRScheduler, check_optimizer, per_group
from minicnn.optim.optimizer import Optimizer

EpochFunction = Callable[[int], float]


class LambdaLR(LRScheduler):
    """lr(t) = base_lr * lr_lambda(t), with one function for all groups or a list of them."""

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: EpochFunction | Sequence[EpochFunction],
        last_epoch: int = -1,
    ) -> None:
        self.lr_lambdas = _functions("LambdaLR", optimizer, lr_lambda)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return base_lr * lr_lambda(t) of each group."""
        return [
            base_lr * function(self.last_epoch)
            for base_lr, function in zip(self.base_lrs, self.lr_lambdas, strict=True)
        ]


class MultiplicativeLR(LRScheduler):
    """lr(t) = lr(t-1) * lr_lambda(t), with one function for all groups or a list of them."""

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: EpochFunction | Sequence[EpochFunction],
        last_epoch: int = -1,
    ) -> None:
        self.lr_lambdas = _functions("MultiplicativeLR", optimizer, lr_lambda)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the present lr * lr_lambda(t) of each group."""
        return [
            group["lr"] * function(self.last_epoch)
            for group, function in zip(self.optimizer.param_groups, self.lr_lambdas, strict=True)
        ]

    def first_lr(self) -> list[float]:
        """Leave the learning rates as they are: the first function value is that of epoch 1."""
        return [group["lr"] for group in self.optimizer.param_groups]


class StepLR(FactorLR):
    """lr(t) = base_lr * gamma^floor(t / step_size)."""

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        _check_epochs("StepLR", step_size=step_size)
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def factor_at(self, epoch: int) -> float:
        """Return gamma^floor(t / step_size)."""
        return float(self.gamma ** (epoch // self.step_size))


class MultiStepLR(FactorLR):
    """lr(t) = base_lr * gamma^(number of milestones up to t)."""

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def factor_at(self, epoch: int) -> float:
        """Return gamma^(number of milestones up to t)."""
        return float(self.gamma ** bisect_right(self.milestones, epoch))


class ConstantLR(FactorLR):
    """lr(t) = base_lr * factor for t < total_iters, then base_lr."""

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        _check_share("ConstantLR", factor=factor)
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def factor_at(self, epoch: int) -> float:
        """Return the given factor before total_iters, 1 from there on."""
        return self.factor if epoch < self.total_iters else 1.0


class LinearLR(FactorLR):
    """lr(t) = base_lr * (start_factor + (end_factor - start_factor) * min(t / total_iters, 1)).

    With the defaults, a warm-up.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        _check_share("LinearLR", start_factor=start_factor, end_factor=end_factor)
        if start_factor == 0:
            raise ArgumentError("LinearLR: start_factor must be more than 0")
        _check_epochs("LinearLR", total_iters=total_iters)
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def factor_at(self, epoch: int) -> float:
        """Return the point of the straight line."""
        done = min(epoch / self.total_iters, 1.0)
        return self.start_factor + (self.end_factor - self.start_factor) * done


class ExponentialLR(FactorLR):
    """lr(t) = base_lr * gamma^t."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def factor_at(self, epoch: int) -> float:
        """Return gamma^t."""
        return float(self.gamma**epoch)


class PolynomialLR(FactorLR):
    """lr(t) = base_lr * (1 - min(t / total_iters, 1))^power."""

    def __init__(
        self,
        optimizer: Optimizer,
        total_iters: int = 5,
        power: float = 1.0,
        last_epoch: int = -1,
    ) -> None:
        _check_epochs("PolynomialLR", total_iters=total_iters)
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def factor_at(self, epoch: int) -> float:
        """Return (1 - min(t / total_iters, 1))^power."""
        return float((1 - min(epoch / self.total_iters, 1.0)) ** self.power)


class InverseTimeLR(FactorLR):
    """lr(t) = base_lr / (1 + decay_rate * t / decay_steps): Keras's InverseTimeDecay.

    With `staircase`, t / decay_steps is rounded down.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        decay_rate: float,
        decay_steps: int = 1,
        staircase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        _check_epochs("InverseTimeLR", decay_steps=decay_steps)
        if not decay_rate >= 0:
            raise ArgumentError(f"InverseTimeLR: decay_rate must be at least 0, got {decay_rate}")
        self.decay_rate, self.decay_steps, self.staircase = decay_rate, decay_steps, staircase
        super().__init__(optimizer, last_epoch)

    def factor_at(self, epoch: int) -> float:
        """Return 1 / (1 + decay_rate * t / decay_steps)."""
        periods = epoch / self.decay_steps
        return 1 / (1 + self.decay_rate * (floor(periods) if self.staircase else periods))


class CosineAnnealingLR(FactorLR):
    """lr(t) = eta_min + (base_lr - eta_min) * (1 + cos(pi * t / T_max)) / 2.

    Paper: Loshchilov, Hutter 2017, arXiv:1608.03983 (without restarts).
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        _check_epochs("CosineAnnealingLR", T_max=T_max)
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def factor_at(self, epoch: int) -> float:
        """Return the point of the half cosine."""
        return (1 + cos(pi * epoch / self.T_max)) / 2

    def floors(self) -> list[float]:
        """Return eta_min for every group."""
        return [self.eta_min] * len(self.base_lrs)


def _functions(
    name: str, optimizer: Optimizer, given: EpochFunction | Sequence[EpochFunction]
) -> list[EpochFunction]:
    functions = per_group(f"{name}: lr_lambda", check_optimizer(name, optimizer), given)
    for function in functions:
        if not callable(function):
            raise DTypeError(f"{name}: lr_lambda must be functions, got {type(function).__name__}")
    return functions


def _check_epochs(name: str, **settings: float) -> None:
    for key, value in settings.items():
        if not value >= 1:
            raise ArgumentError(f"{name}: {key} must be at least 1 epoch, got {value}")


def _check_share(name: str, **settings: float) -> None:
    for key, value in settings.items():
        if not 0 <= value <= 1:
            raise ArgumentError(f"{name}: {key} must lie between 0 and 1, got {value}")
