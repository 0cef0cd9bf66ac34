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
from minicnn.differentiable import Array, Gradients, Spec, Thunk, differentiable
from minicnn.ops.broadcast import unbroadcast
from minicnn.ops.reduce import mean
from minicnn.ops.shape import view_as
from minicnn.tensor import Tensor, values_of
from minicnn_kernels import Moments

Axes = tuple[int, ...]
Shape = tuple[int, ...]


@differentiable
def normalize_groups(
    x: Array, gamma: Array, beta: Array, /, axes: Axes, eps: float, statistics: Moments,
    weights: Shape, centered: bool = True,
) -> Array:  # fmt: skip
    """y = gamma * x_hat + beta, x_hat = (x - mean) / sqrt(var + eps), mean and var over `axes`.

    mean and var are written to `statistics`, for the gradient and for running averages.  gamma and
    beta are seen in the shape `weights`, which broadcasts to x's.  Not `centered`, the mean is 0.
    """
    seen = gamma.reshape(weights), beta.reshape(weights)
    return kernels.normalize(x, *seen, None, *statistics, axes=axes, eps=eps, centered=centered)


@normalize_groups.gradient(saves="x gamma")
def _(
    dy: Array, y: Array, x: Array, gamma: Array, beta: Array, *,
    axes: Axes, eps: float, statistics: Moments, weights: Shape, centered: bool,
) -> Gradients:  # fmt: skip
    if isinstance(dy, Tensor):
        return _differentiable_gradients(dy, x, gamma, beta, axes, eps, weights, centered)
    seen = dy, x, gamma.reshape(weights), None, None
    fused = kernels.normalize_gradients(*seen, *statistics, axes=axes, eps=eps, centered=centered)
    return _thunks(fused, gamma, beta)


@differentiable
def normalize_relu(
    x: Array, gamma: Array, beta: Array, add: Array, /, axes: Axes, eps: float,
    statistics: Moments, weights: Shape,
) -> Array:  # fmt: skip
    """y = relu(gamma * x_hat + beta + add), the rest as in `normalize_groups`; add may be None."""
    seen = gamma.reshape(weights), beta.reshape(weights)
    return kernels.normalize(x, *seen, add, *statistics, axes=axes, eps=eps, relu=True)


@normalize_relu.gradient(saves="y x gamma beta")
def _(
    dy: Array, y: Array, x: Array, gamma: Array, beta: Array, add: Array, *,
    axes: Axes, eps: float, statistics: Moments, weights: Shape,
) -> Gradients:  # fmt: skip
    if isinstance(dy, Tensor):
        left = dy * (y != 0)
        return (
            *_differentiable_gradients(left, x, gamma, beta, axes, eps, weights, True),
            lambda: left,
        )
    again = beta.reshape(weights) if add is None else None  # y's sign can be computed again
    seen = dy, x, gamma.reshape(weights), again, y
    fused = kernels.normalize_gradients(*seen, *statistics, axes=axes, eps=eps)
    return *_thunks(fused, gamma, beta), lambda: fused[3]


def _differentiable_gradients(
    dy: Any, x: Any, gamma: Any, beta: Any, axes: Axes, eps: float, weights: Shape, centered: bool
) -> tuple[Thunk, Thunk, Thunk]:
    """Return what the kernels compute, in formulas that have a gradient themselves."""
    distance = x - mean(x, axes, keepdim=True) if centered else x
    inv_std = (mean(distance * distance, axes, keepdim=True) + eps) ** -0.5
    x_hat = distance * inv_std
    seen = view_as(gamma, weights)

    def dx() -> Any:
        g = dy * seen
        mean_g, mean_g_x_hat = (mean(v, axes, keepdim=True) for v in (g, g * x_hat))
        return ((g - mean_g if centered else g) - x_hat * mean_g_x_hat) * inv_std

    return (
        dx,
        lambda: view_as(unbroadcast(dy * x_hat, seen), gamma.shape),
        lambda: view_as(unbroadcast(dy, seen), beta.shape),
    )


def _thunks(fused: tuple[Array, ...], gamma: Any, beta: Any) -> tuple[Thunk, ...]:
    """Return dx, dgamma and dbeta as functions, each in the shape of what it belongs to."""
    dx, dgamma, dbeta = fused[:3]
    return lambda: dx, lambda: dgamma.reshape(gamma.shape), lambda: dbeta.reshape(beta.shape)


def normalize(
    x: Any, gamma: Any, beta: Any, axes: Axes, eps: float, statistics: Moments | None = None,
    weights: Shape | None = None, centered: bool = True,
) -> Any:  # fmt: skip
    """Normalise over `axes`; gamma and beta, None for 1 and 0, are seen in the shape `weights`.

    `weights` has x's number of dimensions; None: they have such a shape.  `statistics` from
    `kernels.no_moments` are filled, for who needs them.
    """
    if statistics is None:
        statistics = kernels.no_moments(values_of(x), axes)
    gamma, beta, weights = _weights(x, gamma, beta, weights)
    return normalize_groups(x, gamma, beta, axes, eps, statistics, weights, centered)


def batch_normalize(
    x: Any, gamma: Any, beta: Any, add: Any, relu: bool, axes: Axes, eps: float,
    statistics: Moments,
) -> Any:  # fmt: skip
    """Normalise over `axes` with a weight for each channel, add a tensor or None, and rectify."""
    weights = per_channel(x)
    if relu:
        gamma, beta, weights = _weights(x, gamma, beta, weights)
        return normalize_relu(x, gamma, beta, add, axes, eps, statistics, weights)
    y = normalize(x, gamma, beta, axes, eps, statistics, weights)
    return y if add is None else y + add


def _weights(x: Any, gamma: Any, beta: Any, weights: Shape | None) -> tuple[Any, Any, Shape]:
    """Return gamma and beta, 1 and 0 in the place of None, and the shape to see them in."""
    given = next((v.shape for v in (gamma, beta) if v is not None), None)
    if given is None:
        given = weights = (1,) * x.ndim
    return (
        np.ones_like(values_of(x), shape=given) if gamma is None else gamma,
        np.zeros(given, x.dtype, like=values_of(x)) if beta is None else beta,
        given if weights is None else weights,
    )


def rescale(
    x: Any, gamma: Any, beta: Any, fixed: Moments, eps: float, weights: Shape | None = None,
    add: Any = None, relu: bool = False,
) -> Any:  # fmt: skip
    """Normalise with fixed statistics, add, rectify; gamma and beta as in `normalize`."""
    gamma, beta, weights = _weights(x, gamma, beta, weights)
    if relu:
        return rescale_relu(x, gamma, beta, add, fixed, eps, weights)
    y = rescale_groups(x, gamma, beta, fixed, eps, weights)
    return y if add is None else y + add


@differentiable
def rescale_groups(
    x: Array, gamma: Array, beta: Array, /, statistics: Moments, eps: float, weights: Shape
) -> Array:
    """y = gamma * x_hat + beta, x_hat = (x - mean) / sqrt(var + eps), with given mean and var."""
    seen = gamma.reshape(weights), beta.reshape(weights)
    return kernels.rescale(x, *seen, None, *statistics, eps=eps)


@rescale_groups.gradient(saves="x gamma")
def _(
    dy: Array, y: Array, x: Array, gamma: Array, beta: Array, *,
    statistics: Moments, eps: float, weights: Shape,
) -> Gradients:  # fmt: skip
    return _rescale_gradients(dy, x, gamma, statistics, eps, weights)


@differentiable
def rescale_relu(
    x: Array, gamma: Array, beta: Array, add: Array, /, statistics: Moments, eps: float,
    weights: Shape,
) -> Array:  # fmt: skip
    """y = relu(gamma * x_hat + beta + add), the rest as in `rescale_groups`; add may be None."""
    seen = gamma.reshape(weights), beta.reshape(weights)
    return kernels.rescale(x, *seen, add, *statistics, eps=eps, relu=True)


@rescale_relu.gradient(saves="y x gamma")
def _(
    dy: Array, y: Array, x: Array, gamma: Array, beta: Array, add: Array, *,
    statistics: Moments, eps: float, weights: Shape,
) -> Gradients:  # fmt: skip
    left = dy * (y != 0)
    return *_rescale_gradients(left, x, gamma, statistics, eps, weights), lambda: left


def _rescale_gradients(
    dy: Any, x: Any, gamma: Any, statistics: Moments, eps: float, weights: Shape
) -> tuple[Thunk, Thunk, Thunk]:
    """Return dx, dgamma and dbeta, on arrays or Tensors."""
    one, zero = (np.full_like(values_of(dy), value, shape=gamma.shape) for value in (1, 0))
    only_scaled = statistics._replace(mean=np.zeros_like(statistics.mean))
    seen = Spec(weights, x.dtype)

    def dgamma() -> Any:
        x_hat = rescale_groups(x, one, zero, statistics, eps, weights)
        return view_as(unbroadcast(dy * x_hat, seen), gamma.shape)

    return (
        lambda: rescale_groups(dy, gamma, zero, only_scaled, eps, weights),
        dgamma,
        lambda: view_as(unbroadcast(dy, seen), gamma.shape),
    )


def per_channel(x: Any) -> Shape:
    """Return (1, C, 1, ...), in which a vector (C,) broadcasts over the channels of x."""
    return (1, x.shape[1], *[1] * (x.ndim - 2))


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
