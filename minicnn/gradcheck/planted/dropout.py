"""Mistakes with randomness and with what is remembered between calls."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from minicnn.gradcheck.planted import Gradients, Pair, normal, planted
from minicnn_kernels.arrays import Array

Cached = tuple[Array, tuple[Array, ...]]

# --- the mask -------------------------------------------------------------------------------------


def _dropout(x: Array, p: float) -> Cached:
    mask = np.random.random(x.shape) >= p
    return x * mask / (1 - p), (mask,)


@planted("random", "unrepeatable")
def dropout_mask_drawn_again() -> Pair:
    """The backward draws its own mask instead of using that of the forward."""

    def backward(dout: Array, cache: tuple[Array, ...], p: float) -> Gradients:
        (mask,) = cache
        mask = np.random.random(mask.shape) >= p
        # superfluous
        return (dout * mask / (1 - p),)

    return Pair(partial(_dropout, p=0.4), partial(backward, p=0.4), normal((4, 5)))


@planted("random", "unrepeatable")
def noise_drawn_again_from_a_generator() -> Pair:
    """Forward and backward each ask one generator for the noise, and get different numbers."""
    generator = np.random.default_rng(3)

    def forward(x: Array) -> Cached:
        noise = generator.normal(1, 0.3, x.shape)
        return x * noise, (noise,)

    def backward(dout: Array, cache: tuple[Array, ...]) -> Gradients:
        (noise,) = cache
        noise = generator.normal(1, 0.3, noise.shape)
        # superfluous
        return (dout * noise,)

    return Pair(forward, backward, normal((4, 5)))


@planted("random", "unrepeatable")
def gradient_noise_left_in() -> Pair:
    """A little noise is added to the gradient, as for an experiment with the optimizer."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = dy * np.cos(x)
        dx += 1e-3 * np.random.standard_normal(x.shape)
        # superfluous
        return (dx,)

    return Pair(np.sin, backward, normal((4, 5)))


@planted("factor")
def dropout_not_scaled() -> Pair:
    """The forward divides by 1 - p, the backward does not."""

    def backward(dout: Array, cache: tuple[Array, ...], p: float) -> Gradients:
        (mask,) = cache
        dx = dout * mask
        # wrong: dx = dout * mask / (1 - p)
        return (dx,)

    return Pair(partial(_dropout, p=0.4), partial(backward, p=0.4), normal((4, 5)))


@planted("factor")
def dropout_scaled_by_p() -> Pair:
    """The backward divides by p, the share of what is dropped, not of what is kept."""

    def backward(dout: Array, cache: tuple[Array, ...], p: float) -> Gradients:
        (mask,) = cache
        dx = dout * mask / p
        # wrong: dx = dout * mask / (1 - p)
        return (dx,)

    return Pair(partial(_dropout, p=0.4), partial(backward, p=0.4), normal((4, 5)))


@planted("local-derivative")
def dropout_mask_inverted() -> Pair:
    """The gradient goes to the elements that were dropped."""

    def backward(dout: Array, cache: tuple[Array, ...], p: float) -> Gradients:
        (mask,) = cache
        dx = dout * ~mask / (1 - p)
        # wrong: dx = dout * mask / (1 - p)
        return (dx,)

    return Pair(partial(_dropout, p=0.4), partial(backward, p=0.4), normal((4, 5)))


@planted("local-derivative")
def random_leaky_relu_mean_slope() -> Pair:
    """The slope for negative inputs was drawn, and the backward uses its expected value."""

    def forward(x: Array) -> Cached:
        slopes = np.random.uniform(0.1, 0.5, x.shape)
        return np.where(x > 0, x, slopes * x), (x, slopes)

    def backward(dout: Array, cache: tuple[Array, ...]) -> Gradients:
        x, slopes = cache
        slopes = np.full(x.shape, 0.3)
        # superfluous
        return (np.where(x > 0, dout, slopes * dout),)

    return Pair(forward, backward, normal((4, 5)))


@planted("partial")
def stochastic_depth_of_the_first_sample() -> Pair:
    """Every sample has its own coin, and the first one's decides for the whole batch."""

    def forward(x: Array) -> Cached:
        scale = np.random.default_rng(2).uniform(0.5, 1.5, (len(x), 1))
        return x * scale, (scale,)

    def backward(dout: Array, cache: tuple[Array, ...]) -> Gradients:
        (scale,) = cache
        dx = dout * scale[0]
        # wrong: dx = dout * scale
        return (dx,)

    return Pair(forward, backward, normal((4, 5)))


# --- state ----------------------------------------------------------------------------------------


@planted("stale")
def relu_mask_of_the_first_call() -> Pair:
    """The mask is saved by the first call only; every later one finds it there."""
    saved: dict[str, Array] = {}

    def forward(x: Array) -> Array:
        saved.setdefault("mask", x > 0)
        # wrong: saved["mask"] = x > 0
        return np.maximum(x, 0)

    def backward(dy: Array, x: Array) -> Gradients:
        return (dy * saved["mask"],)

    return Pair(forward, backward, normal((4, 5)))


@planted("stale")
def tanh_output_of_the_oldest_call() -> Pair:
    """The layer saves its outputs in a list, and the backward reads the wrong end of it."""
    outputs: list[Array] = []

    def forward(x: Array) -> Array:
        outputs.append(np.tanh(x))
        return outputs[-1].copy()

    def backward(dy: Array, x: Array) -> Gradients:
        y = outputs[0]
        # wrong: y = outputs[-1]
        return (dy * (1 - y**2),)

    return Pair(forward, backward, normal((4, 5)))


@planted("stale")
def matmul_columns_cached_by_shape() -> Pair:
    """A table of inputs is looked up by shape, so other values of that shape find the old ones."""
    table: dict[tuple[int, ...], Array] = {}

    def backward(dy: Array, x: Array, w: Array) -> Gradients:
        saved = table.setdefault(x.shape, x.copy())
        # wrong: saved = x
        return dy @ w.T, saved.T @ dy

    def forward(x: Array, w: Array) -> Array:
        table.setdefault(x.shape, x.copy())
        return np.asarray(x @ w)

    return Pair(forward, backward, normal((4, 5), (5, 3)))


@planted("stale")
def batch_norm_backward_by_running_deviation() -> Pair:
    """The backward divides by the running deviation, to which earlier batches contribute."""
    running = {"deviation": np.ones(3)}

    def forward(x: Array) -> Cached:
        deviation = np.sqrt(x.var(axis=0) + 1e-5)
        running["deviation"] = 0.9 * running["deviation"] + 0.1 * deviation
        xhat = (x - x.mean(axis=0)) / deviation
        return xhat, (xhat, deviation)

    def backward(dout: Array, cache: tuple[Array, ...]) -> Gradients:
        xhat, deviation = cache
        deviation = running["deviation"]
        # superfluous
        return ((dout - dout.mean(axis=0) - xhat * (dout * xhat).mean(axis=0)) / deviation,)

    return Pair(forward, backward, normal((6, 3)))


@planted("unrepeatable", "stale")
def weight_gradient_never_reset() -> Pair:
    """The gradient is added to that of the earlier calls; only the first call is right."""
    total: dict[str, Any] = {"dw": 0}

    def backward(dy: Array, x: Array, w: Array) -> Gradients:
        total["dw"] = total["dw"] + x.T @ dy
        # wrong: total["dw"] = x.T @ dy
        return dy @ w.T, total["dw"].copy()

    return Pair(np.matmul, backward, normal((4, 5), (5, 3)))


@planted("unrepeatable", "stale")
def momentum_inside_the_gradient() -> Pair:
    """The optimizer's momentum is computed in the backward; only the first call is right."""
    velocity: dict[str, Any] = {"x": 0}

    def backward(dy: Array, x: Array) -> Gradients:
        dx = 2 * dy * x
        dx = dx + 0.9 * velocity["x"]
        # superfluous
        velocity["x"] = dx.copy()
        return (dx,)

    return Pair(np.square, backward, normal((4, 5)))
