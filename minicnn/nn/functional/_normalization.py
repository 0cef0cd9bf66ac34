"""Normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.errors import ArgumentError, ShapeError
from minicnn.nn.functional._checks import check_floating
from minicnn.ops import normalization
from minicnn.tensor import Tensor, values_of

__all__ = ["batch_norm"]


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Normalise each channel, with the batch's statistics in training, else with the running ones.

    y[n,c,..] = weight[c] * (x[n,c,..] - mean[c]) / sqrt(var[c] + eps) + bias[c]

    In training running_mean and running_var move towards the batch's mean and unbiased variance,
    in place: r = (1 - momentum) r + momentum b.
    Shapes: input (N, C, ...), all others (C).
    """
    if input.ndim < 2:
        raise ShapeError(f"batch_norm: input must be (N, C, ...), got shape {input.shape}")
    check_floating("batch_norm", "input", input)
    channels, dtype = input.shape[1], input.dtype
    for name, value in (
        ("running_mean", running_mean),
        ("running_var", running_var),
        ("weight", weight),
        ("bias", bias),
    ):
        if value is not None and value.shape != (channels,):
            raise ShapeError(f"batch_norm: {name} must have shape ({channels},), got {value.shape}")
    gamma = np.ones(channels, dtype) if weight is None else weight
    beta = np.zeros(channels, dtype) if bias is None else bias
    if not training:
        if running_mean is None or running_var is None:
            raise ArgumentError("batch_norm: needs running_mean and running_var unless training")
        average, variance = (
            values_of(r).astype(dtype, copy=False) for r in (running_mean, running_var)
        )
        return normalization.batch_norm_inference(input, gamma, beta, average, variance, eps)
    count = int(np.prod(input.shape)) // max(channels, 1)
    if count < 2:
        raise ShapeError(
            f"batch_norm: training needs more than one value per channel, got shape {input.shape}"
        )
    y, (average, variance) = normalization.batch_norm_training(input, gamma, beta, eps)
    for running, batch in (
        (running_mean, average),
        (running_var, variance * (count / (count - 1))),
    ):
        if running is not None:
            moving = running if isinstance(running, Tensor) else Tensor(running)
            moving.copy_(moving.array * (1 - momentum) + batch * momentum)
    return y
