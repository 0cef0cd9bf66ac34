"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from minicnn.errors import ArgumentError
from minicnn.optim.optimizer import Group, Optimizer, State, blocks, check_settings, decayed
from minicnn_kernels.arrays import Array


class SGD(Optimizer):
    """w -= lr * v, with v = momentum * v + (1 - dampening) * (dw + weight_decay * w).

    Nesterov's form looks ahead: w -= lr * (dw + momentum * v).  The first v is dw.

    Paper: Sutskever, Martens, Dahl, Hinton 2013, ICML.
    """

    elementwise = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        check_settings("SGD", lr=lr, momentum=momentum, weight_decay=weight_decay)
        check_nesterov("SGD", nesterov, momentum, dampening)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def update(self, w: Array, dw: Array, state: State, group: Group) -> None:
        """Move w against its gradient."""
        lr, momentum = group["lr"], group["momentum"]
        damping = 1 - group["dampening"]
        if momentum and "momentum_buffer" not in state:
            state["momentum_buffer"] = np.zeros_like(w)
            damping = 1
        pieces = blocks(w, dw, state)
        for w, dw, part in pieces:
            dw = decayed(w, dw, group)
            if momentum:
                v = part["momentum_buffer"]
                v *= momentum
                v += damping * dw
                dw = dw + momentum * v if group["nesterov"] else v
            w -= lr * dw


def check_nesterov(name: str, nesterov: bool, momentum: float, dampening: float = 0.0) -> None:
    """Raise ArgumentError for Nesterov's form without what it looks ahead with."""
    if nesterov and (momentum <= 0 or dampening != 0):
        raise ArgumentError(
            f"{name}: nesterov needs momentum > 0 and dampening = 0, got momentum {momentum} and "
            f"dampening {dampening}"
        )
