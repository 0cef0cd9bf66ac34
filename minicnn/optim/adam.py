"""Adam."""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from typing import Any

import numpy as np

from minicnn.errors import ArgumentError
from minicnn.optim.optimizer import Optimizer, check_settings
from minicnn_kernels.arrays import Array


class Adam(Optimizer):
    """w -= lr * m_hat / (sqrt(v_hat) + eps), from running means of dw and dw^2.

    m = b1 m + (1 - b1) dw;  v = b2 v + (1 - b2) dw^2;  m_hat = m / (1 - b1^t);  v_hat likewise.
    `weight_decay` adds weight_decay * w to dw (L2).

    Paper: Kingma, Ba 2015, arXiv:1412.6980, algorithm 1.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        check_settings("Adam", lr=lr, eps=eps, weight_decay=weight_decay)
        if not all(0 <= beta < 1 for beta in betas):
            raise ArgumentError(f"Adam: betas must lie in [0, 1), got {betas}")
        super().__init__(
            params, {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay}
        )

    def update(self, w: Array, dw: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Move w against the mean of its gradients, scaled by their size."""
        if not state:
            state.update(step=0, exp_avg=np.zeros_like(w), exp_avg_sq=np.zeros_like(w))
        beta1, beta2 = group["betas"]
        if group["weight_decay"]:
            dw = dw + group["weight_decay"] * w
        state["step"] += 1
        m, v = state["exp_avg"], state["exp_avg_sq"]
        m *= beta1
        m += (1 - beta1) * dw
        v *= beta2
        v += (1 - beta2) * dw * dw
        step_size = group["lr"] / (1 - beta1 ** state["step"])
        w -= step_size * m / (np.sqrt(v) / sqrt(1 - beta2 ** state["step"]) + group["eps"])
