"""Adam and its relatives: steps along a running mean of gradients, scaled by their usual size."""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from typing import Any

import numpy as np

from minicnn.optim.optimizer import (
    Group,
    Optimizer,
    State,
    blocks,
    check_betas,
    check_settings,
    decayed,
)
from minicnn_kernels.arrays import Array

Betas = tuple[float, float]


class Adam(Optimizer):
    """w -= lr * m_hat / (sqrt(v_hat) + eps), from running means m of dw and v of dw^2.

    m = b1 m + (1 - b1) dw;  v = b2 v + (1 - b2) dw^2;  m_hat = m / (1 - b1^t);  v_hat likewise.
    `weight_decay` adds weight_decay * w to dw (L2), or with `decoupled_weight_decay` shrinks w by
    lr * weight_decay * w beside the step.  `amsgrad` takes the largest v so far instead of v.

    Papers: Kingma, Ba 2015, arXiv:1412.6980, algorithm 1; Reddi, Kale, Kumar 2018,
    arXiv:1904.09237 (AMSGrad); Loshchilov, Hutter 2019, arXiv:1711.05101 (decoupled).
    """

    elementwise = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        check_settings(type(self).__name__, lr=lr, eps=eps, weight_decay=weight_decay)
        check_betas(type(self).__name__, betas)
        defaults = {
            "lr": lr,
            "betas": tuple(betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def update(self, w: Array, dw: Array, state: State, group: Group) -> None:
        """Move w against the mean of its gradients, scaled by their size."""
        if not state:
            start_means(state, w)
            if group["amsgrad"]:
                state["max_exp_avg_sq"] = np.zeros_like(w)
        state["step"] += 1
        left1, left2 = bias_corrections(state, group)
        pieces = blocks(w, dw, state)
        for w, dw, part in pieces:
            dw = decayed(w, dw, group)
            m, v = update_means(part, dw, group)
            if group["amsgrad"]:
                v = np.maximum(v, part["max_exp_avg_sq"], out=part["max_exp_avg_sq"])
            w -= group["lr"] / left1 * m / (np.sqrt(v) / sqrt(left2) + group["eps"])


class AdamW(Adam):
    """w -= lr * (m_hat / (sqrt(v_hat) + eps) + weight_decay * w): Adam with decoupled weight decay.

    Paper: Loshchilov, Hutter 2019, arXiv:1711.05101, algorithm 2.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad,
            maximize=maximize, decoupled_weight_decay=True,
        )  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over settings and state, also those of an Adam; the decay stays decoupled."""
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True


class Adamax(Optimizer):
    """w -= lr / (1 - b1^t) * m / u, with u = max(b2 u, |dw| + eps): Adam in the maximum norm.

    Paper: Kingma, Ba 2015, arXiv:1412.6980, algorithm 2.
    """

    elementwise = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        check_settings("Adamax", lr=lr, eps=eps, weight_decay=weight_decay)
        check_betas("Adamax", betas)
        defaults = {
            "lr": lr,
            "betas": tuple(betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def update(self, w: Array, dw: Array, state: State, group: Group) -> None:
        """Move w against the mean of its gradients, scaled by the largest."""
        if not state:
            state.update(step=0, exp_avg=np.zeros_like(w), exp_inf=np.zeros_like(w))
        state["step"] += 1
        beta1, beta2 = group["betas"]
        step_size = group["lr"] / (1 - beta1 ** state["step"])
        pieces = blocks(w, dw, state)
        for w, dw, part in pieces:
            dw = decayed(w, dw, group)
            m, u = part["exp_avg"], part["exp_inf"]
            m += (1 - beta1) * (dw - m)
            u *= beta2
            np.maximum(u, np.abs(dw) + group["eps"], out=u)
            w -= step_size * m / u


class NAdam(Optimizer):
    """w -= lr * (a dw + b m) / (sqrt(v_hat) + eps): Adam with Nesterov's look ahead.

    a = (1 - mu_t) / (1 - mu_1 ... mu_t),  b = mu_{t+1} / (1 - mu_1 ... mu_{t+1}), where the
    momentum warms up: mu_t = b1 * (1 - 0.96^(t * momentum_decay) / 2).

    Paper: Dozat 2016, ICLR workshop, algorithm 8.
    """

    elementwise = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        check_settings(
            "NAdam", lr=lr, eps=eps, weight_decay=weight_decay, momentum_decay=momentum_decay
        )
        check_betas("NAdam", betas)
        defaults = {
            "lr": lr,
            "betas": tuple(betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def update(self, w: Array, dw: Array, state: State, group: Group) -> None:
        """Move w against its gradient and the mean of its gradients, scaled by their size."""
        if not state:
            start_means(state, w)
            state["mu_product"] = 1.0
        state["step"] += 1
        t, (beta1, _) = state["step"], group["betas"]
        mu, mu_next = (
            beta1 * (1 - 0.5 * 0.96 ** (step * group["momentum_decay"])) for step in (t, t + 1)
        )
        state["mu_product"] *= mu
        a = group["lr"] * (1 - mu) / (1 - state["mu_product"])
        b = group["lr"] * mu_next / (1 - state["mu_product"] * mu_next)
        _, left2 = bias_corrections(state, group)
        pieces = blocks(w, dw, state)
        for w, dw, part in pieces:
            dw = decayed(w, dw, group)
            m, v = update_means(part, dw, group)
            w -= (a * dw + b * m) / (np.sqrt(v / left2) + group["eps"])


class RAdam(Optimizer):
    """w -= lr * r * m_hat / (sqrt(v_hat) + eps), where r grows to 1 as v gets to be known better.

    rho = rho_inf - 2 t b2^t / (1 - b2^t) counts the gradients that v rests on, with
    rho_inf = 2 / (1 - b2) - 1 in the long run;
    r = sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho)).
    While rho <= 5, w -= lr * m_hat.  PyTorch's eps, used here, is added before the bias correction.

    Paper: Liu et al. 2020, arXiv:1908.03265, algorithm 2.
    """

    elementwise = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        check_settings("RAdam", lr=lr, eps=eps, weight_decay=weight_decay)
        check_betas("RAdam", betas)
        defaults = {
            "lr": lr,
            "betas": tuple(betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def update(self, w: Array, dw: Array, state: State, group: Group) -> None:
        """Move w against the mean of its gradients, scaled by their size once that is known."""
        if not state:
            start_means(state, w)
        state["step"] += 1
        t, (_, beta2) = state["step"], group["betas"]
        left1, left2 = bias_corrections(state, group)
        rho_inf = 2 / (1 - beta2) - 1
        rho = rho_inf - 2 * t * beta2**t / left2
        step_size = group["lr"] / left1
        if rho > 5:
            r = (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)
            step_size *= sqrt(r * left2)
        pieces = blocks(w, dw, state)
        for w, dw, part in pieces:
            dw = decayed(w, dw, group)
            m, v = update_means(part, dw, group)
            w -= step_size * m / (np.sqrt(v) + group["eps"]) if rho > 5 else step_size * m


# --- the two running means ------------------------------------------------------------------------


def start_means(state: State, w: Array) -> None:
    """Begin with m = v = 0 at step 0."""
    state.update(step=0, exp_avg=np.zeros_like(w), exp_avg_sq=np.zeros_like(w))


def update_means(state: State, dw: Array, group: Group) -> tuple[Array, Array]:
    """Return m = b1 m + (1 - b1) dw and v = b2 v + (1 - b2) dw^2, changed in place."""
    beta1, beta2 = group["betas"]
    m, v = state["exp_avg"], state["exp_avg_sq"]
    m += (1 - beta1) * (dw - m)
    v *= beta2
    v += (1 - beta2) * (dw * dw)
    return m, v


def bias_corrections(state: State, group: Group) -> tuple[float, float]:
    """Return 1 - b1^t and 1 - b2^t: what the means, begun at 0, have of their full weight."""
    beta1, beta2 = group["betas"]
    return 1 - beta1 ** state["step"], 1 - beta2 ** state["step"]
