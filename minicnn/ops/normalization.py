"""Batch normalisation: with the statistics of the batch (training) or with fixed ones (inference).

Paper: Ioffe, Szegedy 2015, arXiv:1502.03167.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.ops.reduce import mean, sum, var
from minicnn.ops.shape import view_as
from minicnn.tensor import Tensor, values_of
from minicnn_kernels import batch_statistics, per_channel

Statistics = tuple[Array, Array]


@differentiable
def normalize_batch(
    x: Array, gamma: Array, beta: Array, /, eps: float, statistics: Statistics
) -> Array:
    """y = gamma[c] * x_hat + beta[c], x_hat[n,c,..] = (x[n,c,..] - mean[c]) / sqrt(var[c] + eps).

    `statistics` are the mean and the variance of this very x, computed by the caller, who needs
    them for the running averages as well.
    """
    average, variance = statistics
    scale = gamma / np.sqrt(variance + eps)
    shift = beta - average * scale
    return x * per_channel(scale, x.ndim) + per_channel(shift, x.ndim)


@normalize_batch.gradient(saves="x gamma")
def _(
    dy: Array, y: Array, x: Array, gamma: Array, beta: Array, *, eps: float, statistics: Statistics
) -> Gradients:
    axes = (0, *range(2, x.ndim))
    if isinstance(dy, Tensor):  # recorded: mean and variance are functions of x
        average, variance = mean(x, axes, keepdim=True), var(x, axes, correction=0, keepdim=True)
    else:
        average, variance = (per_channel(v, x.ndim) for v in statistics)
    inv_std = (variance + eps) ** -0.5
    x_hat = (x - average) * inv_std
    dbeta, dgamma = sum(dy, axes), sum(dy * x_hat, axes)

    def dx() -> Any:
        count = np.prod([x.shape[i] for i in axes]).item()
        mean_dy, mean_dy_x_hat = (_channels(g, x.ndim) / count for g in (dbeta, dgamma))
        return (dy - mean_dy - x_hat * mean_dy_x_hat) * (inv_std * _channels(gamma, x.ndim))

    return dx, lambda: dgamma, lambda: dbeta


def _channels(v: Any, ndim: int) -> Any:
    """See a vector (C,) as (1, C, 1, ...): `per_channel`, differentiable."""
    return view_as(v, (1, v.shape[0], *[1] * (ndim - 2)))


def batch_norm_training(x: Any, gamma: Any, beta: Any, eps: float) -> tuple[Any, Statistics]:
    """Normalise with the statistics of this batch; return them too."""
    statistics = batch_statistics(values_of(x))
    return normalize_batch(x, gamma, beta, eps, statistics), statistics


def batch_norm_inference(
    x: Any, gamma: Any, beta: Any, average: Array, variance: Array, eps: float
) -> Any:
    """Normalise with fixed statistics.

    y = gamma[c] * (x - mean[c]) / sqrt(var[c] + eps) + beta[c]
    """
    inv_std = per_channel(1 / np.sqrt(variance + eps), x.ndim)
    x_hat = (x - per_channel(average, x.ndim)) * inv_std
    return x_hat * _channels(gamma, x.ndim) + _channels(beta, x.ndim)
