"""Normalisation: centre and scale the values of a group; the kinds differ in what a group is.

* batch normalisation: a channel of all images (Ioffe, Szegedy 2015, arXiv:1502.03167)
* layer normalisation: all values of one image or word (Ba, Kiros, Hinton 2016, arXiv:1607.06450)
* instance normalisation: a channel of one image (Ulyanov et al. 2016, arXiv:1607.08022)
* group normalisation: a few channels of one image (Wu, He 2018, arXiv:1803.08494)

Below them stand two that only scale: by the root of the mean square, and by neighbouring channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import minicnn_kernels as kernels
from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.ops.broadcast import unbroadcast
from minicnn.ops.reduce import mean
from minicnn.ops.shape import view_as
from minicnn.tensor import Tensor, values_of
from minicnn_kernels import Moments

Axes = tuple[int, ...]


@differentiable
def normalize_groups(
    x: Array, gamma: Array, beta: Array, /, axes: Axes, eps: float, statistics: Moments,
    centered: bool = True,
) -> Array:  # fmt: skip
    """y = gamma * x_hat + beta, x_hat = (x - mean) / sqrt(var + eps), mean and var over `axes`.

    mean and var are written to `statistics`, for the gradient and for running averages.  gamma and
    beta have as many dimensions as x, and the same shape.  Without `centered` the mean is 0.
    """
    return kernels.normalize(
        x, gamma, beta, axes=axes, eps=eps, statistics=statistics, centered=centered
    )


@normalize_groups.gradient(saves="x gamma")
def _(
    dy: Array, y: Array, x: Array, gamma: Array, beta: Array, *,
    axes: Axes, eps: float, statistics: Moments, centered: bool,
) -> Gradients:  # fmt: skip
    if not isinstance(dy, Tensor):  # the formulas below, without their temporary arrays
        fused = kernels.normalize_gradients(
            dy, x, gamma, axes=axes, eps=eps, statistics=statistics, centered=centered
        )
        return tuple(lambda gradient=gradient: gradient for gradient in fused)
    distance = x - mean(x, axes, keepdim=True) if centered else x
    inv_std = (mean(distance * distance, axes, keepdim=True) + eps) ** -0.5
    x_hat = distance * inv_std

    def dx() -> Any:
        g = dy * gamma
        mean_g, mean_g_x_hat = (mean(v, axes, keepdim=True) for v in (g, g * x_hat))
        return ((g - mean_g if centered else g) - x_hat * mean_g_x_hat) * inv_std

    return dx, lambda: unbroadcast(dy * x_hat, gamma), lambda: unbroadcast(dy, beta)


def normalize(
    x: Any, gamma: Any, beta: Any, axes: Axes, eps: float, statistics: Moments | None = None,
    centered: bool = True,
) -> Any:  # fmt: skip
    """Normalise over `axes`; gamma and beta have x's number of dimensions, None means 1 and 0.

    `statistics` from `kernels.no_moments` are filled, for who needs them.
    """
    if statistics is None:
        statistics = kernels.no_moments(values_of(x), axes)
    gamma, beta = weights(x, gamma, beta)
    return normalize_groups(x, gamma, beta, axes, eps, statistics, centered)


def weights(x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
    """Return gamma and beta, of the same shape, where None means 1 and 0."""
    shape = next((v.shape for v in (gamma, beta) if v is not None), (1,) * x.ndim)
    return (
        np.ones(shape, x.dtype) if gamma is None else gamma,
        np.zeros(shape, x.dtype) if beta is None else beta,
    )


def rescale(x: Any, gamma: Any, beta: Any, fixed: Moments, eps: float) -> Any:
    """Normalise with fixed statistics; gamma and beta as in `normalize`."""
    return rescale_groups(x, *weights(x, gamma, beta), fixed, eps)


@differentiable
def rescale_groups(
    x: Array, gamma: Array, beta: Array, /, statistics: Moments, eps: float
) -> Array:
    """y = gamma * x_hat + beta, x_hat = (x - mean) / sqrt(var + eps), with given mean and var."""
    return kernels.rescale(x, gamma, beta, statistics=statistics, eps=eps)


@rescale_groups.gradient(saves="x gamma")
def _(
    dy: Array, y: Array, x: Array, gamma: Array, beta: Array, *, statistics: Moments, eps: float
) -> Gradients:
    one, zero = (np.full(gamma.shape, value, x.dtype) for value in (1, 0))
    only_scaled = statistics._replace(mean=np.zeros_like(statistics.mean))
    return (
        lambda: rescale_groups(dy, gamma, zero, only_scaled, eps),
        lambda: unbroadcast(dy * rescale_groups(x, one, zero, statistics, eps), gamma),
        lambda: unbroadcast(dy, beta),
    )


def per_channel(v: Any, ndim: int) -> Any:
    """See a vector (C,) as (1, C, 1, ...), so that it broadcasts over channels."""
    return None if v is None else view_as(v, (1, v.shape[0], *[1] * (ndim - 2)))


# --- scaled only ----------------------------------------------------------------------------------


@differentiable
def neighbour_sum(x: Array, /, before: int, after: int) -> Array:
    """y[n,c,..] = x[n,c-before,..] + ... + x[n,c+after,..], the channels that there are."""
    channels = x.shape[1]
    y = x.copy()
    for distance in range(1, min(before, channels - 1) + 1):
        y[:, distance:] += x[:, :-distance]
    for distance in range(1, min(after, channels - 1) + 1):
        y[:, :-distance] += x[:, distance:]
    return y


@neighbour_sum.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, before: int, after: int) -> Gradients:
    return lambda: neighbour_sum(dy, after, before)


def divide_by_neighbours(x: Any, size: int, alpha: float, beta: float, k: float) -> Any:
    """y[n,c,..] = x[n,c,..] / (k + alpha * s[n,c,..])^beta, s = sum of x^2 over `size` channels.

    The channel itself is in the middle; of an even number, one more is before it than after it.
    """
    squares = neighbour_sum(x * x, before=size // 2, after=(size - 1) // 2)
    return x * (squares * alpha + k) ** -beta
