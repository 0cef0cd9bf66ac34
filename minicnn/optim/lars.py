"""LARS: a learning rate for each layer, from the sizes of its weights and its gradient."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from minicnn.optim.optimizer import Group, Optimizer, State, blocks, check_settings, decayed
from minicnn.optim.sgd import check_nesterov
from minicnn_kernels import norm_of_all
from minicnn_kernels.arrays import Array


class LARS(Optimizer):
    """w -= lr * v, with v = momentum * v + trust * (dw + weight_decay * w), for large batches.

    trust = trust_coefficient * |w| / (|dw| + weight_decay * |w|) makes every layer move by the
    same share of its length; it is 1 where w or dw is 0.  With `exclude_bias_and_norm`, parameters
    of at most one dimension are updated as by SGD, without weight decay.

    As in SGD, and unlike in the paper's algorithm 1, lr multiplies v and not what is added to it;
    the two differ only while lr changes.

    Paper: You, Gitman, Ginsburg 2017, arXiv:1708.03888, algorithm 1.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 1e-3,
        nesterov: bool = False,
        *,
        exclude_bias_and_norm: bool = False,
        maximize: bool = False,
    ) -> None:
        check_settings("LARS", lr=lr, momentum=momentum, weight_decay=weight_decay)
        check_settings("LARS", trust_coefficient=trust_coefficient)
        check_nesterov("LARS", nesterov, momentum)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient,
            "nesterov": nesterov,
            "exclude_bias_and_norm": exclude_bias_and_norm,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def update(self, w: Array, dw: Array, state: State, group: Group) -> None:
        """Move w against its gradient by a fixed share of its own length."""
        excluded = group["exclude_bias_and_norm"] and w.ndim <= 1
        if excluded:
            group = {**group, "weight_decay": 0.0}
        trust = 1.0 if excluded else trust_ratio(w, dw, group)
        momentum = group["momentum"]
        if momentum and not state:
            state["momentum_buffer"] = np.zeros_like(w)
        pieces = blocks(w, dw, state)
        for w, dw, part in pieces:
            dw = trust * decayed(w, dw, group)
            if momentum:
                v = part["momentum_buffer"]
                v *= momentum
                v += dw
                dw = dw + momentum * v if group["nesterov"] else v
            w -= group["lr"] * dw


def trust_ratio(w: Array, dw: Array, group: Group) -> Any:
    """Return trust_coefficient * |w| / (|dw| + weight_decay * |w|), or 1 where w or dw is 0."""
    length, slope = norm_of_all(w, order=2), norm_of_all(dw, order=2)
    is_zero = (length == 0) | (slope == 0)
    against = np.where(is_zero, 1, slope + group["weight_decay"] * length)
    return np.where(is_zero, 1, group["trust_coefficient"] * length / against)[()]
