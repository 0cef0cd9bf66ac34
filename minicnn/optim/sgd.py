"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minicnn.errors import ArgumentError
from minicnn.optim.optimizer import Optimizer, check_settings
from minicnn_kernels.arrays import Array


class SGD(Optimizer):
    """w -= lr * v, with v = momentum * v + (1 - dampening) * (dw + weight_decay * w).

    Nesterov's form looks ahead: w -= lr * (dw + momentum * v).  The first v is dw.

    Paper: Sutskever, Martens, Dahl, Hinton 2013, ICML.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        check_settings("SGD", lr=lr, momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ArgumentError("SGD: nesterov needs momentum > 0 and dampening = 0")
        super().__init__(
            params,
            {
                "lr": lr, "momentum": momentum, "dampening": dampening,
                "weight_decay": weight_decay, "nesterov": nesterov,
            },
        )  # fmt: skip

    def update(self, w: Array, dw: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Move w against its gradient."""
        momentum = group["momentum"]
        if group["weight_decay"]:
            dw = dw + group["weight_decay"] * w
        if momentum:
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = v = dw.copy()
            else:
                v = state["momentum_buffer"]
                v *= momentum
                v += (1 - group["dampening"]) * dw
            dw = dw + momentum * v if group["nesterov"] else v
        w -= group["lr"] * dw
