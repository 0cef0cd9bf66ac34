"""What all schedules share: stepping, the state, and the rule for schedules made of a factor."""

from __future__ import annotations

from copy import deepcopy
from types import FunctionType
from typing import Any

from minicnn.errors import ArgumentError, DTypeError
from minicnn.optim.optimizer import Optimizer


class LRScheduler:
    """Set the learning rate of every group; call `step()` after each epoch, or after each batch.

    A subclass writes `get_lr`, the learning rates of epoch `last_epoch`.  `last_epoch=n` at the
    start resumes after epoch n; the optimiser then brings its learning rates along.

    Attributes:
        last_epoch: how many epochs are done.
        base_lrs: the learning rate of each group that the schedule starts from.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = check_optimizer(type(self).__name__, optimizer)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise ArgumentError(
                    f"{type(self).__name__}: group {i} has no initial_lr to resume from; load the "
                    f"optimiser's state first, or start with last_epoch=-1"
                )
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch + 1
        self.set_lr(self.first_lr())

    def get_lr(self) -> list[float]:
        """Compute the learning rates of epoch `last_epoch`; every schedule writes its own."""
        raise AttributeError(f"{type(self).__name__} has no get_lr(); write one")

    def first_lr(self) -> list[float]:
        """Compute the learning rates to begin or resume with."""
        return self.get_lr()

    def step(self) -> None:
        """Go on to the next epoch."""
        for group in self.optimizer.param_groups[len(self.base_lrs) :]:  # added in the meantime
            group.setdefault("initial_lr", group["lr"])
            self.base_lrs.append(group["initial_lr"])
        self.last_epoch += 1
        self.set_lr(self.get_lr())

    def start(self) -> None:
        """Begin at epoch 0 with the learning rates that the groups have now."""
        self.last_epoch = 0
        self.set_lr(self.first_lr())

    def restart(self) -> None:
        """Go back to epoch 0 and its learning rates, whatever the groups have now."""
        self.last_epoch = 0
        self.set_lr(self.get_lr())

    def set_lr(self, lrs: list[float]) -> None:
        """Give every group its learning rate."""
        for group, lr in zip(self.optimizer.param_groups, lrs, strict=True):
            group["lr"] = lr
        self._last_lr = list(lrs)

    def get_last_lr(self) -> list[float]:
        """Return the learning rates that the last step has set."""
        return self._last_lr

    # --- state -----------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return all attributes but the optimiser, in types that JSON can hold.

        Of callable objects their attributes are saved, of functions nothing.
        """
        return {name: _saved(value) for name, value in self._attributes().items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned; the optimiser's state is loaded by itself.

        Raises:
            ArgumentError: it is another schedule's; nothing is changed then.
        """
        self.check_state(state_dict)
        for name, present in self._attributes().items():
            setattr(self, name, _restored(present, state_dict[name]))

    def check_state(self, state_dict: dict[str, Any]) -> None:
        """Raise ArgumentError if something is missing, here or in a schedule within this one."""
        name, own = type(self).__name__, self._attributes()
        if missing := [key for key in own if key not in state_dict]:
            raise ArgumentError(
                f"load_state_dict: {name} needs {', '.join(missing)}, the saved state has only "
                f"{', '.join(state_dict)}"
            )
        for key, value in own.items():
            saved = state_dict[key]
            if key in ("base_lrs", "_last_lr") or _is_living(value):
                if len(saved) != len(value):
                    raise ArgumentError(
                        f"load_state_dict: {key} of {name} has {len(value)} entries, in the saved "
                        f"state {len(saved)}"
                    )
                for part, part_saved in zip(value, saved, strict=True):
                    if isinstance(part, LRScheduler):
                        part.check_state(part_saved)

    def _attributes(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "optimizer"}


class FactorLR(LRScheduler):
    """lr(t) = floor + (lr(t-1) - floor) * factor_at(t) / factor_at(t-1).

    A subclass writes `factor_at`.  While nobody else changes lr, that is
    floor + (base_lr - floor) * factor_at(t); of several schedules stepped together the factors
    multiply.  The floor is 0 unless a subclass sets another.
    """

    def factor_at(self, epoch: int) -> float:
        """Return what is left of the first learning rate after `epoch` epochs."""
        raise AttributeError(f"{type(self).__name__} has no factor_at(); write one")

    def floors(self) -> list[float]:
        """Return for each group the learning rate that a factor of 0 stands for."""
        return [0.0] * len(self.base_lrs)

    def get_lr(self) -> list[float]:
        """Change the present learning rates from epoch t-1 to epoch t."""
        before, now = self.factor_at(self.last_epoch - 1), self.factor_at(self.last_epoch)
        groups, floors = self.optimizer.param_groups, self.floors()
        if before == 0:  # nothing is left that could be scaled
            return [
                group["lr"] + (base_lr - floor) * now
                for group, base_lr, floor in zip(groups, self.base_lrs, floors, strict=True)
            ]
        return [
            floor + (group["lr"] - floor) * (now / before)
            for group, floor in zip(groups, floors, strict=True)
        ]

    def first_lr(self) -> list[float]:
        """Take factor_at(0) of the present learning rates, or leave them where training resumes."""
        share = self.factor_at(0) if self.last_epoch == 0 else 1.0
        return [
            floor + (group["lr"] - floor) * share
            for group, floor in zip(self.optimizer.param_groups, self.floors(), strict=True)
        ]

    def restart(self) -> None:
        """Go back to epoch 0 and its learning rates, whatever the groups have now."""
        self.last_epoch = 0
        share = self.factor_at(0)
        bases = zip(self.base_lrs, self.floors(), strict=True)
        self.set_lr([floor + (base_lr - floor) * share for base_lr, floor in bases])


def check_optimizer(name: str, optimizer: Any) -> Optimizer:
    """Return the optimiser, or raise DTypeError if it is none."""
    if not isinstance(optimizer, Optimizer):
        raise DTypeError(f"{name}: needs an Optimizer, got {type(optimizer).__name__}")
    return optimizer


def per_group(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """Return one value for each group: a list as it is, a single value repeated.

    Raises:
        ArgumentError: the list has another length.
    """
    groups = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [value] * groups
    if len(value) != groups:
        raise ArgumentError(f"{name} has {len(value)} values for {groups} parameter groups")
    return list(value)


def _is_living(value: Any) -> bool:
    """Say whether an attribute is a list of functions or schedules: these are not replaced."""
    return isinstance(value, list) and any(
        callable(part) or isinstance(part, LRScheduler) for part in value
    )


def _saved(value: Any) -> Any:
    """Return what can be saved of an attribute."""
    if isinstance(value, list):
        return [_saved(part) for part in value]
    if isinstance(value, LRScheduler):
        return value.state_dict()
    if callable(value):
        return None if isinstance(value, FunctionType) else dict(getattr(value, "__dict__", {}))
    return value


def _restored(present: Any, saved: Any) -> Any:
    """Return the attribute again, keeping the functions and schedules that are there."""
    if _is_living(present):
        return [_restored(part, value) for part, value in zip(present, saved, strict=True)]
    if isinstance(present, LRScheduler):
        present.load_state_dict(saved)
        return present
    if callable(present):
        if saved:
            vars(present).update(saved)
        return present
    return deepcopy(saved)
