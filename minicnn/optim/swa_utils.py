"""Averages of the weights over training: stochastic (SWA) and exponential moving (EMA)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from math import cos, pi
from typing import Any

import numpy as np

from minicnn.backprop import no_grad
from minicnn.errors import ArgumentError
from minicnn.nn import BatchNorm1d, BatchNorm2d, BatchNorm3d, Module
from minicnn.optim.lr_scheduler.scheduler import FactorLR, check_optimizer, per_group
from minicnn.optim.optimizer import Optimizer
from minicnn.tensor import Tensor

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]

AverageFunction = Callable[[Tensor, Tensor, Any], Tensor]
MultiAverageFunction = Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]


def get_ema_avg_fn(decay: float = 0.999) -> AverageFunction:
    """Return the function averaged = decay * averaged + (1 - decay) * current.

    Raises:
        ArgumentError: the decay is not in [0, 1].
    """
    if not 0 <= decay <= 1:
        raise ArgumentError(f"EMA: decay must lie in [0, 1], got {decay}")

    @no_grad()
    def ema_update(averaged: Tensor, current: Tensor, num_averaged: Any) -> Tensor:
        return decay * averaged + (1 - decay) * current

    return ema_update


def get_swa_avg_fn() -> AverageFunction:
    """Return the function averaged + (current - averaged) / (num_averaged + 1): the mean of all."""

    @no_grad()
    def swa_update(averaged: Tensor, current: Tensor, num_averaged: Any) -> Tensor:
        return averaged + (current - averaged) / (int(num_averaged) + 1)

    return swa_update


def get_ema_multi_avg_fn(decay: float = 0.999) -> MultiAverageFunction:
    """Return the function of `get_ema_avg_fn` for lists of tensors, which it changes in place."""
    return _for_lists(get_ema_avg_fn(decay))


def get_swa_multi_avg_fn() -> MultiAverageFunction:
    """Return the function of `get_swa_avg_fn` for lists of tensors, which it changes in place."""
    return _for_lists(get_swa_avg_fn())


class AveragedModel(Module):
    """A copy of a model whose parameters are averages over those it was updated with.

    The first `update_parameters(model)` copies, each further one averages:
    averaged = avg_fn(averaged, current, n_averaged), by default the mean of all (SWA).  Buffers
    are averaged too with `use_buffers`, else copied; `update_bn` computes those of batch norms.

    Raises:
        ArgumentError: both avg_fn and multi_avg_fn are given.

    Papers: Izmailov et al. 2018, arXiv:1803.05407 (SWA); Polyak, Juditsky 1992, SIAM J. Control
    Optim. 30 (averaging).
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: str | None = None,
        avg_fn: AverageFunction | None = None,
        multi_avg_fn: MultiAverageFunction | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ArgumentError("AveragedModel: give avg_fn or multi_avg_fn, not both")
        self.module = deepcopy(model)
        self.register_buffer("n_averaged", np.zeros((), np.int64))
        if device is not None:
            self.to(device=device)
        self.multi_avg_fn = multi_avg_fn or _for_lists(avg_fn or get_swa_avg_fn())
        self.use_buffers = use_buffers

    def forward(self, *inputs: Any, **settings: Any) -> Any:
        """Run the averaged model."""
        return self.module(*inputs, **settings)

    @no_grad()
    def update_parameters(self, model: Module) -> None:
        """Take the present parameters of `model` into the average."""
        device = self.n_averaged.device
        averaged = _tensors(self.module, self.use_buffers)
        current = [tensor.to(device=device) for tensor in _tensors(model, self.use_buffers)]
        if self.n_averaged.item() == 0:
            _copy(averaged, current)
        else:
            self.multi_avg_fn(averaged, current, self.n_averaged)
        if not self.use_buffers:
            _copy(self.module.buffers(), model.buffers())
        self.n_averaged += 1


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: str | None = None) -> None:
    """Compute the running statistics of the batch norms in `model` anew, over one pass of `loader`.

    A batch is a tensor, or a tuple or list whose first entry is the input.
    """
    kinds = (BatchNorm1d, BatchNorm2d, BatchNorm3d)
    norms = [module for module in model.modules() if isinstance(module, kinds)]
    if not norms:
        return
    momenta = [module.momentum for module in norms]
    for module in norms:
        module.reset_running_stats()
        module.momentum = None  # the mean over all batches
    was_training = model.training
    model.train()
    for batch in loader:
        x = batch[0] if isinstance(batch, (list, tuple)) else batch
        model(x if device is None else x.to(device=device))
    model.train(was_training)
    for module, momentum in zip(norms, momenta, strict=True):
        module.momentum = momentum


class SWALR(FactorLR):
    """lr(t) = swa_lr + (lr(0) - swa_lr) * (1 + cos(pi * t / anneal_epochs)) / 2, then swa_lr.

    With anneal_strategy="linear" a straight line.  lr(0) is what the groups have when the schedule
    is first stepped, so it can take over from another one.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | Sequence[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        check_optimizer("SWALR", optimizer)
        if anneal_strategy not in ("cos", "linear"):
            raise ArgumentError(
                f'SWALR: anneal_strategy must be "cos" or "linear", got {anneal_strategy!r}'
            )
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ArgumentError(
                f"SWALR: anneal_epochs must be an integer of at least 0, got {anneal_epochs}"
            )
        swa_lrs = per_group("SWALR: swa_lr", optimizer, swa_lr)
        for group, lr in zip(optimizer.param_groups, swa_lrs, strict=True):
            group["swa_lr"] = lr
        self.anneal_epochs, self.anneal_strategy = anneal_epochs, anneal_strategy
        super().__init__(optimizer, last_epoch)

    def factor_at(self, epoch: int) -> float:
        """Return how much of lr(0) is left."""
        done = min(epoch / self.anneal_epochs, 1.0) if self.anneal_epochs else 1.0
        return (1 + cos(pi * done)) / 2 if self.anneal_strategy == "cos" else 1 - done

    def floors(self) -> list[float]:
        """Return swa_lr of each group."""
        return [group["swa_lr"] for group in self.optimizer.param_groups]

    def restart(self) -> None:
        """Begin at epoch 0 with the learning rates that the groups have now."""
        self.start()


def _tensors(model: Module, with_buffers: bool) -> list[Tensor]:
    """Return the values of all parameters, and of the buffers if they are averaged as well."""
    tensors: list[Tensor] = [parameter.detach() for parameter in model.parameters()]
    return [*tensors, *model.buffers()] if with_buffers else tensors


def _for_lists(avg_fn: AverageFunction) -> MultiAverageFunction:
    """Return the function that overwrites each averaged tensor of a list with avg_fn's result."""

    @no_grad()
    def update(averaged: Sequence[Tensor], current: Sequence[Tensor], num_averaged: Any) -> None:
        _copy(
            averaged,
            [avg_fn(a, c, num_averaged) for a, c in zip(averaged, current, strict=True)],
        )

    return update


def _copy(targets: Iterable[Tensor], sources: Iterable[Tensor]) -> None:
    """Overwrite tensors; counters take the whole part of what is no integer."""
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source.to(device=target.device).to(target.dtype))
