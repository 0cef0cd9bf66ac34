"""Schedules that come back: warm restarts, and cycles of learning rate against momentum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import cos, floor, pi
from typing import Any

from minicnn.errors import ArgumentError
from minicnn.optim.lr_scheduler.scheduler import LRScheduler, check_optimizer, per_group
from minicnn.optim.optimizer import Optimizer

Value = float | Sequence[float]  # one for all groups, or one for each


class CosineAnnealingWarmRestarts(LRScheduler):
    """lr = eta_min + (base_lr - eta_min) * (1 + cos(pi * T_cur / T_i)) / 2.

    T_cur epochs of the present run of T_i are done; the first run lasts T_0 epochs, each next one
    T_mult times as long.  `step(epoch + batch / batches)` moves within epochs.

    Paper: Loshchilov, Hutter 2017, arXiv:1608.03983 (SGDR), equation 5.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        for name, value in (("T_0", T_0), ("T_mult", T_mult)):
            if not isinstance(value, int) or value < 1:
                raise ArgumentError(
                    f"CosineAnnealingWarmRestarts: {name} must be a positive integer, got {value}"
                )
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        self._go_to(last_epoch + 1)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the point of the half cosine for each group."""
        share = (1 + cos(pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base_lr - self.eta_min) * share for base_lr in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Go on by one epoch, or to any point of time, such as epoch 3.25.

        Raises:
            ArgumentError: the epoch is negative.
        """
        if epoch is None:
            epoch = self.last_epoch + 1
            self._go_to(self.T_cur + 1, self.T_i)
        elif epoch >= 0:
            self._go_to(epoch)
        else:
            raise ArgumentError(
                f"CosineAnnealingWarmRestarts: epoch must be at least 0, got {epoch}"
            )
        self.last_epoch = floor(epoch)
        self.set_lr(self.get_lr())

    def start(self) -> None:
        """Begin at epoch 0."""
        self.step(0)

    restart = start

    def _go_to(self, T_cur: float, T_i: int | None = None) -> None:
        """Set T_cur and T_i to a time counted from the start of a run of T_i (or T_0) epochs."""
        self.T_cur, self.T_i = T_cur, T_i or self.T_0
        while self.T_cur >= self.T_i:
            self.T_cur -= self.T_i
            self.T_i *= self.T_mult


class MomentumCycle(LRScheduler):
    """Base of the schedules that let the momentum, or Adam's beta1, go down while lr goes up."""

    def start_momentum(
        self, base_momentum: Value, max_momentum: Value, cycle_momentum: bool
    ) -> None:
        """Note between which values the momentum of each group moves.

        Raises:
            ArgumentError: the optimiser has neither momentum nor betas.
        """
        name, optimizer = type(self).__name__, self.optimizer
        self.cycle_momentum = cycle_momentum
        if not cycle_momentum:
            return
        if not {"momentum", "betas"} & set(optimizer.defaults):
            raise ArgumentError(
                f"{name}: {type(optimizer).__name__} has no momentum or beta1 to cycle; give "
                f"cycle_momentum=False"
            )
        self.base_momentums = per_group(f"{name}: base_momentum", optimizer, base_momentum)
        self.max_momentums = per_group(f"{name}: max_momentum", optimizer, max_momentum)
        ends = zip(self.base_momentums, self.max_momentums, strict=True)
        for group, (low, high) in zip(optimizer.param_groups, ends, strict=True):
            group.update(max_momentum=high, base_momentum=low)

    def set_momentum(self, group: dict[str, Any], momentum: float) -> None:
        """Set the momentum, or Adam's beta1, of a group."""
        if "betas" in self.optimizer.defaults:
            group["betas"] = (momentum, *group["betas"][1:])
        else:
            group["momentum"] = momentum


class CyclicLR(MomentumCycle):
    """lr(t) = base_lr + (max_lr - base_lr) * height(t): up in `step_size_up` steps, then down.

    height goes from 0 to 1 and back; mode "triangular2" halves the peak after every cycle,
    "exp_range" multiplies it with gamma^t.  A `scale_fn` of one's own gets the number of the cycle,
    from 1, or with scale_mode="iterations" t.  The momentum is max_momentum at height 0 and
    base_momentum at height 1.

    Paper: Smith 2017, arXiv:1506.01186.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: Value,
        max_lr: Value,
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: Value = 0.8,
        max_momentum: Value = 0.9,
        last_epoch: int = -1,
    ) -> None:
        self.optimizer = check_optimizer("CyclicLR", optimizer)
        base_lrs = per_group("CyclicLR: base_lr", optimizer, base_lr)
        self.max_lrs = per_group("CyclicLR: max_lr", optimizer, max_lr)
        if scale_fn is None and mode not in ("triangular", "triangular2", "exp_range"):
            raise ArgumentError(
                f'CyclicLR: mode must be "triangular", "triangular2" or "exp_range", got {mode!r}'
            )
        down = step_size_up if step_size_down is None else step_size_down
        if step_size_up <= 0 or down <= 0:
            raise ArgumentError(
                f"CyclicLR: step_size_up and step_size_down must be positive, got {step_size_up} "
                f"and {down}"
            )
        self.total_size = float(step_size_up + down)
        self.step_ratio = step_size_up / self.total_size
        self.mode, self.gamma = mode, gamma
        self.scale_fn, self.scale_mode = scale_fn, scale_mode
        self.start_momentum(base_momentum, max_momentum, cycle_momentum)
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, base_lrs, strict=True):
                group["lr"] = lr
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def height(self, t: int) -> float:
        """Return where between the base (0) and the first peak (1) step t is."""
        cycle = floor(1 + t / self.total_size)
        x = 1 + t / self.total_size - cycle
        rise = x / self.step_ratio if x <= self.step_ratio else (1 - x) / (1 - self.step_ratio)
        if self.scale_fn is not None:
            return rise * self.scale_fn(cycle if self.scale_mode == "cycle" else t)
        if self.mode == "triangular2":
            return float(rise / 2 ** (cycle - 1))
        return float(rise * self.gamma**t) if self.mode == "exp_range" else rise

    def get_lr(self) -> list[float]:
        """Return the learning rates of step t, and set the momenta."""
        height = self.height(self.last_epoch)
        if self.cycle_momentum:
            ends = zip(self.base_momentums, self.max_momentums, strict=True)
            for group, (low, high) in zip(self.optimizer.param_groups, ends, strict=True):
                self.set_momentum(group, high - (high - low) * height)
        return [
            base + (top - base) * height
            for base, top in zip(self.base_lrs, self.max_lrs, strict=True)
        ]


class OneCycleLR(MomentumCycle):
    """lr goes from max_lr / div_factor up to max_lr, then down to almost nothing: one cycle.

    The way up takes pct_start of `total_steps` (or epochs * steps_per_epoch) steps.  With
    `three_phase` the way down first mirrors the way up.  The end is the start / final_div_factor.
    Each way is a half cosine, start + (end - start) * (1 - cos(pi * done)) / 2, or a straight line.

    Paper: Smith, Topin 2019, arXiv:1708.07120 (with three phases).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: Value,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: Value = 0.85,
        max_momentum: Value = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        self.optimizer = check_optimizer("OneCycleLR", optimizer)
        self.total_steps = _total_steps(total_steps, epochs, steps_per_epoch)
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            raise ArgumentError(
                f"OneCycleLR: pct_start must be a float between 0 and 1, got {pct_start}"
            )
        if anneal_strategy not in ("cos", "linear"):
            raise ArgumentError(
                f'OneCycleLR: anneal_strategy must be "cos" or "linear", got {anneal_strategy!r}'
            )
        self.pct_start, self.three_phase = pct_start, three_phase
        self.anneal_strategy = anneal_strategy
        max_lrs = per_group("OneCycleLR: max_lr", optimizer, max_lr)
        self.start_momentum(base_momentum, max_momentum, cycle_momentum)
        if last_epoch == -1:
            for group, top in zip(optimizer.param_groups, max_lrs, strict=True):
                start = top / div_factor
                group.update(initial_lr=start, max_lr=top, min_lr=start / final_div_factor)
        super().__init__(optimizer, last_epoch)

    def phases(self) -> list[tuple[float, str, str, str, str]]:
        """Return of each phase its last step, and the settings that it leads from and to."""
        peak, end = self.pct_start * self.total_steps - 1, float(self.total_steps - 1)
        up = (peak, "initial_lr", "max_lr", "max_momentum", "base_momentum")
        if not self.three_phase:
            return [up, (end, "max_lr", "min_lr", "base_momentum", "max_momentum")]
        return [
            up,
            (2 * peak, "max_lr", "initial_lr", "base_momentum", "max_momentum"),
            (end, "initial_lr", "min_lr", "max_momentum", "max_momentum"),
        ]

    def get_lr(self) -> list[float]:
        """Return the learning rates of step `last_epoch`, and set the momenta.

        Raises:
            ArgumentError: the cycle is over.
        """
        step = self.last_epoch
        if step > self.total_steps:
            raise ArgumentError(
                f"OneCycleLR: step {step} is beyond the {self.total_steps} steps of the cycle"
            )
        phases = self.phases()
        number = next((i for i, phase in enumerate(phases) if step <= phase[0]), len(phases) - 1)
        start = phases[number - 1][0] if number else 0.0
        end, lr_from, lr_to, momentum_from, momentum_to = phases[number]
        done = (step - start) / (end - start) if end > start else 1.0
        groups = self.optimizer.param_groups
        for group in groups if self.cycle_momentum else ():
            self.set_momentum(group, self.between(group[momentum_from], group[momentum_to], done))
        return [self.between(group[lr_from], group[lr_to], done) for group in groups]

    def between(self, start: float, end: float, done: float) -> float:
        """Return the value on the way from start to end, of which the share `done` is gone."""
        share = (1 - cos(pi * done)) / 2 if self.anneal_strategy == "cos" else done
        return start + (end - start) * share


def _total_steps(total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    """Return the number of steps from whatever was given."""
    if total_steps is not None:
        given = {"total_steps": total_steps}
    elif epochs is not None and steps_per_epoch is not None:
        given = {"epochs": epochs, "steps_per_epoch": steps_per_epoch}
    else:
        raise ArgumentError("OneCycleLR: give total_steps, or epochs and steps_per_epoch")
    product = 1
    for name, value in given.items():
        if not isinstance(value, int) or value <= 0:
            raise ArgumentError(f"OneCycleLR: {name} must be a positive integer, got {value}")
        product *= value
    return product
