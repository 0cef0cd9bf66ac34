"""Steps divided by the usual size of each value's gradients: Adagrad, RMSprop and Adadelta."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from minicnn.errors import ArgumentError
from minicnn.optim.optimizer import Group, Optimizer, State, blocks, check_settings, decayed
from minicnn_kernels.arrays import Array


class Adagrad(Optimizer):
    """w -= lr_t * dw / (sqrt(s) + eps), with the sum s of all dw^2 so far.

    lr_t = lr / (1 + lr_decay * t), t being the number of steps done before.

    Paper: Duchi, Hazan, Singer 2011, JMLR 12.
    """

    elementwise = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
        }
        check_settings("Adagrad", **defaults)
        super().__init__(params, {**defaults, "maximize": maximize})

    def update(self, w: Array, dw: Array, state: State, group: Group) -> None:
        """Move w against its gradient, the less the more it has moved."""
        if not state:
            state.update(step=0, sum=np.full_like(w, group["initial_accumulator_value"]))
        lr = decayed_lr(state, group)
        state["step"] += 1
        pieces = blocks(w, dw, state)
        for w, dw, part in pieces:
            dw = decayed(w, dw, group)
            s = part["sum"]
            s += dw * dw
            w -= lr * dw / (np.sqrt(s) + group["eps"])


class RMSprop(Optimizer):
    """w -= lr_t * dw / (sqrt(s) + eps), with the running mean s = alpha s + (1 - alpha) dw^2.

    `centered` divides by the standard deviation, sqrt(s - mean(dw)^2).  With momentum,
    v = momentum * v + dw / (sqrt(s) + eps) and w -= lr_t * v.
    lr_t = lr / (1 + lr_decay * t), t being the number of steps done before: Keras's decay.

    Papers: Hinton 2012, lecture 6e of "Neural networks for machine learning"; Graves 2013,
    arXiv:1308.0850 (centered).
    """

    elementwise = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
        lr_decay: float = 0.0,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "weight_decay": weight_decay,
            "lr_decay": lr_decay,
        }
        check_settings("RMSprop", **defaults)
        super().__init__(params, {**defaults, "centered": centered, "maximize": maximize})

    def update(self, w: Array, dw: Array, state: State, group: Group) -> None:
        """Move w against its gradient, divided by the gradient's usual size."""
        momentum, alpha, centered = group["momentum"], group["alpha"], group["centered"]
        if not state:
            state.update(step=0, square_avg=np.zeros_like(w))
            state.update({"momentum_buffer": np.zeros_like(w)} if momentum else {})
            state.update({"grad_avg": np.zeros_like(w)} if centered else {})
        lr = decayed_lr(state, group)
        state["step"] += 1
        pieces = blocks(w, dw, state)
        for w, dw, part in pieces:
            dw = decayed(w, dw, group)
            s = running_mean(part["square_avg"], dw * dw, alpha)
            if centered:
                mean = running_mean(part["grad_avg"], dw, alpha)
                s = s - mean * mean
            dw = dw / (np.sqrt(s) + group["eps"])
            if momentum:
                v = part["momentum_buffer"]
                v *= momentum
                v += dw
                dw = v
            w -= lr * dw


class Adadelta(Optimizer):
    """w -= lr * d, with d = sqrt(u + eps) / sqrt(s + eps) * dw: a step in the units of w.

    s = rho s + (1 - rho) dw^2 is the running mean of squared gradients, u that of squared steps d.

    Paper: Zeiler 2012, arXiv:1212.5701, algorithm 1.
    """

    elementwise = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        check_settings("Adadelta", lr=lr, rho=rho, eps=eps, weight_decay=weight_decay)
        if rho > 1:
            raise ArgumentError(f"Adadelta: rho must lie in [0, 1], got {rho}")
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def update(self, w: Array, dw: Array, state: State, group: Group) -> None:
        """Move w against its gradient, in proportion to how it usually moves."""
        if not state:
            state.update(step=0, square_avg=np.zeros_like(w), acc_delta=np.zeros_like(w))
        state["step"] += 1
        rho, eps = group["rho"], group["eps"]
        pieces = blocks(w, dw, state)
        for w, dw, part in pieces:
            dw = decayed(w, dw, group)
            s = running_mean(part["square_avg"], dw * dw, rho)
            u = part["acc_delta"]
            d = np.sqrt(u + eps) / np.sqrt(s + eps) * dw
            running_mean(u, d * d, rho)
            w -= group["lr"] * d


def running_mean(mean: Array, value: Array, keep: float) -> Array:
    """Return mean = keep * mean + (1 - keep) * value, changed in place."""
    mean *= keep
    mean += (1 - keep) * value
    return mean


def decayed_lr(state: State, group: Group) -> float:
    """Return lr / (1 + lr_decay * t) after t steps."""
    lr: float = group["lr"] / (1 + group["lr_decay"] * state["step"])
    return lr
