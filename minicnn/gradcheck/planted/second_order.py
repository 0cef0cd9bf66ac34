"""Mistakes in the gradient of a gradient.

The forward is the formula of a first gradient, dx = g f'(x), and the backward its own gradient:
`backward(d, g, x)` returns those of g and x for the upstream gradient d of dx.
"""

from __future__ import annotations

import numpy as np

from minicnn.gradcheck.planted import Gradients, Pair, normal, planted, positive
from minicnn_kernels.arrays import Array


@planted("local-derivative")
def tanh_again_inner_derivative_forgotten() -> Pair:
    """The derivative of 1 - y**2 by x is taken for -2y, without y' = 1 - y**2."""

    def backward(d: Array, g: Array, x: Array) -> Gradients:
        y = np.tanh(x)
        dx = d * g * -2 * y
        # wrong: dx = d * g * -2 * y * (1 - y**2)
        return d * (1 - y**2), dx

    return Pair(lambda g, x: g * (1 - np.tanh(x) ** 2), backward, normal((3, 4), (3, 4)))


@planted("sign")
def sigmoid_again_sign() -> Pair:
    """The second derivative y (1 - y) (1 - 2y) has the wrong sign."""

    def sigmoid(x: Array) -> Array:
        return np.asarray(1 / (1 + np.exp(-x)))

    def forward(g: Array, x: Array) -> Array:
        return np.asarray(g * sigmoid(x) * sigmoid(-x))

    def backward(d: Array, g: Array, x: Array) -> Gradients:
        y = sigmoid(x)
        dx = d * g * y * (1 - y) * (2 * y - 1)
        # wrong: dx = d * g * y * (1 - y) * (1 - 2 * y)
        return d * y * (1 - y), dx

    return Pair(forward, backward, normal((3, 4), (3, 4)))


@planted("extra-term")
def relu_again_bends() -> Pair:
    """A ReLU has no second derivative, but x gets d g as if the slope grew with it."""

    def backward(d: Array, g: Array, x: Array) -> Gradients:
        dx = np.zeros_like(x)
        dx += d * g * (x > 0)
        # superfluous
        return d * (x > 0), dx

    return Pair(lambda g, x: g * (x > 0), backward, normal((3, 4), (3, 4)))


@planted("missing-term")
def product_again_one_factor() -> Pair:
    """Both g b and g a depend on g; only the first one's gradient reaches it."""

    def backward(d1: Array, d2: Array, g: Array, a: Array, b: Array) -> Gradients:
        dg = d1 * b
        # missing: dg = dg + d2 * a
        return dg, d2 * g, d1 * g

    return Pair(lambda g, a, b: (g * b, g * a), backward, normal((3, 4), (3, 4), (3, 4)))


@planted("none")
def exponential_again_only_linear() -> Pair:
    """The gradient g exp(x) is taken to depend on g alone, so x gets None."""

    def backward(d: Array, g: Array, x: Array) -> Gradients:
        dx = None
        # wrong: dx = d * g * np.exp(x)
        return d * np.exp(x), dx

    return Pair(lambda g, x: g * np.exp(x), backward, normal((3, 4), (3, 4)))


@planted("zero")
def cube_again_detached() -> Pair:
    """The saved x is taken for a constant, so it gets zeros."""

    def backward(d: Array, g: Array, x: Array) -> Gradients:
        dx = np.zeros_like(x)
        # wrong: dx = d * g * 6 * x
        return d * 3 * x**2, dx

    return Pair(lambda g, x: g * 3 * x**2, backward, normal((3, 4), (3, 4)))


@planted("factor")
def power_again_exponent_forgotten() -> Pair:
    """The derivative of 4 x**3 is taken for 4 x**2, without the 3."""

    def backward(d: Array, g: Array, x: Array) -> Gradients:
        dx = d * g * 4 * x**2
        # wrong: dx = d * g * 12 * x**2
        return d * 4 * x**3, dx

    return Pair(lambda g, x: g * 4 * x**3, backward, normal((3, 4), (3, 4)))


@planted("local-derivative")
def logarithm_again_not_squared() -> Pair:
    """The derivative of 1 / x is taken for -1 / x."""

    def backward(d: Array, g: Array, x: Array) -> Gradients:
        dx = -d * g / x
        # wrong: dx = -d * g / x**2
        return d / x, dx

    return Pair(lambda g, x: g / x, backward, positive((3, 4), (3, 4)))


@planted("missing-term")
def softmax_again_output_used_once() -> Pair:
    """y enters y (g - sum(g y)) twice, and its second use is not derived."""

    def backward(d: Array, g: Array, y: Array) -> Gradients:
        total, pull = (g * y).sum(axis=1, keepdims=True), (d * y).sum(axis=1, keepdims=True)
        dy = d * (g - total)
        # missing: dy -= g * pull
        return y * (d - pull), dy

    def forward(g: Array, y: Array) -> Array:
        return np.asarray(y * (g - (g * y).sum(axis=1, keepdims=True)))

    return Pair(forward, backward, (*normal((3, 4)), *positive((3, 4))))


@planted("transposed")
def matmul_again_transposed() -> Pair:
    """The gradient g W' of x depends on W; its gradient is computed as g' d turned over."""

    def backward(d: Array, g: Array, w: Array) -> Gradients:
        dw = g.T @ d
        # wrong: dw = d.T @ g
        return d @ w, dw

    return Pair(lambda g, w: g @ w.T, backward, normal((3, 4), (4, 4)))


@planted("turned")
def convolution_again_turned() -> Pair:
    """dx is g convolved with the turned filter; g's own gradient needs the filter as it was."""

    def forward(g: Array, w: Array) -> Array:
        return np.convolve(g, w)

    def backward(d: Array, g: Array, w: Array) -> Gradients:
        dg = np.convolve(d, w, mode="valid")
        # wrong: dg = np.correlate(d, w, mode="valid")
        return dg, np.correlate(d, g, mode="valid")

    return Pair(forward, backward, normal((7,), (3,)))


@planted("shape")
def bias_sum_again_not_broadcast_back() -> Pair:
    """g is summed to the bias; its gradient has the shape of the bias, not that of g."""

    def backward(d: Array, g: Array) -> Gradients:
        dg = d.copy()
        # wrong: dg = np.broadcast_to(d, g.shape)
        return (dg,)

    return Pair(lambda g: g.sum(axis=0), backward, normal((3, 4)))


@planted("missing-term")
def length_again_direction_taken_for_constant() -> Pair:
    """The gradient x / |x| turns with x; its own gradient only divides by |x|."""

    def backward(d: Array, g: Array, x: Array) -> Gradients:
        length = np.sqrt((x**2).sum(axis=1))[:, None]
        dx = d * g[:, None] / length
        # missing: dx -= x * (x * d).sum(axis=1, keepdims=True) * g[:, None] / length**3
        return (d * x / length).sum(axis=1), dx

    def forward(g: Array, x: Array) -> Array:
        return np.asarray(g[:, None] * x / np.sqrt((x**2).sum(axis=1))[:, None])

    return Pair(forward, backward, normal((3,), (3, 4)))
