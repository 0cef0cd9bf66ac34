"""Mistakes in functions that treat every element alike: signs, factors, local derivatives."""

from __future__ import annotations

from functools import partial
from math import erf

import numpy as np

from minicnn.gradcheck.planted import Gradients, Pair, normal, planted, positive
from minicnn_kernels.arrays import Array


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _normal_cdf(x: Array) -> Array:
    return np.asarray((1 + np.vectorize(erf)(x / np.sqrt(2))) / 2)


def _normal_density(x: Array) -> Array:
    return np.asarray(np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi))


@planted("sign")
def subtract_second_not_negated() -> Pair:
    """The second gradient of a - b has the sign of the first."""

    def backward(dy: Array, a: Array, b: Array) -> Gradients:
        da = dy.copy()
        db = dy.copy()
        # wrong: db = -dy
        return da, db

    return Pair(np.subtract, backward, normal((3, 5), (3, 5)))


@planted("sign")
def reciprocal_sign_forgotten() -> Pair:
    """The derivative of 1/x is taken for 1/x**2, without its minus."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = dy / x**2
        # wrong: dx = -dy / x**2
        return (dx,)

    return Pair(np.reciprocal, backward, positive((4, 5)))


@planted("factor")
def square_without_two() -> Pair:
    """The derivative of x**2 is taken for x, without the 2."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = dy * x
        # wrong: dx = 2 * dy * x
        return (dx,)

    return Pair(np.square, backward, normal((3, 5)))


@planted("factor")
def sqrt_without_half() -> Pair:
    """The derivative of sqrt(x) is taken for 1/sqrt(x), without the 1/2."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = dy / np.sqrt(x)
        # wrong: dx = dy / (2 * np.sqrt(x))
        return (dx,)

    return Pair(np.sqrt, backward, positive((3, 5)))


@planted("local-derivative")
def tanh_derivative_at_input() -> Pair:
    """1 - y**2 is computed from the input x instead of the output y."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = dy * (1 - x**2)
        # wrong: dx = dy * (1 - np.tanh(x) ** 2)
        return (dx,)

    return Pair(np.tanh, backward, normal((3, 5)))


@planted("local-derivative")
def tanh_output_not_squared() -> Pair:
    """The derivative of y = tanh(x) is taken for 1 - y."""

    def backward(dy: Array, x: Array) -> Gradients:
        y = np.tanh(x)
        dx = dy * (1 - y)
        # wrong: dx = dy * (1 - y**2)
        return (dx,)

    return Pair(np.tanh, backward, normal((3, 5)))


@planted("local-derivative")
def sigmoid_of_the_output() -> Pair:
    """The sigmoid is applied once more to the output, which already is a sigmoid."""

    def forward(x: Array) -> tuple[Array, dict[str, Array]]:
        y = _sigmoid(x)
        return y, {"y": y}

    def backward(dy: Array, cache: dict[str, Array]) -> Gradients:
        s = _sigmoid(cache["y"])
        # wrong: s = cache["y"]
        return (dy * s * (1 - s),)

    return Pair(forward, backward, normal((3, 5)))


@planted("local-derivative")
def sigmoid_derivative_at_input() -> Pair:
    """The cache holds x where the derivative y * (1 - y) needs the output y."""

    def forward(x: Array) -> tuple[Array, tuple[Array]]:
        y = _sigmoid(x)
        cache = (x,)
        # wrong: cache = (y,)
        return y, cache

    def backward(dy: Array, cache: tuple[Array]) -> Gradients:
        (saved,) = cache
        return (dy * saved * (1 - saved),)

    return Pair(forward, backward, normal((3, 5)))


@planted("missing-term", "local-derivative")
def gelu_density_forgotten() -> Pair:
    """The product rule on x * cdf(x) is left half-way: the term x * density(x) is missing."""

    def backward(dy: Array, x: Array) -> Gradients:
        slope = _normal_cdf(x)
        # missing: slope = slope + x * _normal_density(x)
        return (dy * slope,)

    return Pair(lambda x: x * _normal_cdf(x), backward, normal((3, 5)))


@planted("local-derivative")
def gelu_exact_derivative_of_approximation() -> Pair:
    """The forward is the tanh approximation of GELU, the backward that of the exact GELU."""
    a, b = np.sqrt(2 / np.pi), 0.044715

    def u(x: Array) -> Array:
        return np.asarray(a * (x + b * x**3))

    def forward(x: Array) -> Array:
        return np.asarray(x * (1 + np.tanh(u(x))) / 2)

    def backward(dy: Array, x: Array) -> Gradients:
        slope = _normal_cdf(x) + x * _normal_density(x)
        # wrong: slope = (1 + np.tanh(u(x)) + x / np.cosh(u(x))**2 * a * (1 + 3 * b * x**2)) / 2
        return (dy * slope,)

    return Pair(forward, backward, normal((4, 5)))


@planted("missing-term", "local-derivative")
def swish_sigmoid_forgotten() -> Pair:
    """The product rule on x * sigmoid(x) is left half-way: sigmoid(x) itself is missing."""

    def backward(dy: Array, x: Array) -> Gradients:
        s = _sigmoid(x)
        slope = x * s * (1 - s)
        # missing: slope += s
        return (dy * slope,)

    return Pair(lambda x: x * _sigmoid(x), backward, normal((3, 5)))


@planted("local-derivative")
def elu_alpha_forgotten() -> Pair:
    """Only negative inputs are wrong: their slope is exp(x) without the factor alpha."""

    def forward(x: Array, alpha: float) -> Array:
        return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))

    def backward(dy: Array, x: Array, alpha: float) -> Gradients:
        slope = np.where(x > 0, 1.0, np.exp(x))
        # wrong: slope = np.where(x > 0, 1.0, alpha * np.exp(x))
        return (dy * slope,)

    return Pair(partial(forward, alpha=0.7), partial(backward, alpha=0.7), normal((4, 5)))


@planted("local-derivative")
def leaky_relu_slope_on_wrong_side() -> Pair:
    """The small slope is given to the positive inputs."""

    def forward(x: Array, slope: float) -> Array:
        return np.where(x > 0, x, slope * x)

    def backward(dy: Array, x: Array, slope: float) -> Gradients:
        dx = np.where(x > 0, slope * dy, dy)
        # wrong: dx = np.where(x > 0, dy, slope * dy)
        return (dx,)

    return Pair(partial(forward, slope=0.1), partial(backward, slope=0.1), normal((4, 5)))


@planted("local-derivative")
def softplus_sigmoid_mirrored() -> Pair:
    """The derivative of log(1 + exp(x)) is taken for sigmoid(-x)."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = dy / (1 + np.exp(x))
        # wrong: dx = dy / (1 + np.exp(-x))
        return (dx,)

    return Pair(lambda x: np.log1p(np.exp(x)), backward, normal((3, 5)))


@planted("local-derivative")
def power_exponent_not_lowered() -> Pair:
    """The derivative of x**3 is taken for 3 * x**3."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = 3 * dy * x**3
        # wrong: dx = 3 * dy * x**2
        return (dx,)

    return Pair(lambda x: x**3, backward, normal((3, 5)))


@planted("local-derivative")
def sine_of_square_without_inner_derivative() -> Pair:
    """The chain rule stops too early: the inner derivative 2x of sin(x**2) is missing."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = dy * np.cos(x**2)
        # wrong: dx = dy * np.cos(x**2) * 2 * x
        return (dx,)

    return Pair(lambda x: np.sin(x**2), backward, normal((3, 5)))


@planted("local-derivative")
def log_of_absolute_value() -> Pair:
    """Only negative inputs are wrong: the derivative of log|x| is 1/x, not 1/|x|."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = dy / np.abs(x)
        # wrong: dx = dy / x
        return (dx,)

    return Pair(lambda x: np.log(np.abs(x)), backward, normal((4, 5)))


@planted("local-derivative")
def arctan_derivative_at_output() -> Pair:
    """1 / (1 + x**2) is computed from the output y instead of the input x."""

    def backward(dy: Array, x: Array) -> Gradients:
        y = np.arctan(x)
        dx = dy / (1 + y**2)
        # wrong: dx = dy / (1 + x**2)
        return (dx,)

    return Pair(np.arctan, backward, normal((3, 5)))


@planted("local-derivative")
def divide_denominator_not_squared() -> Pair:
    """The derivative of a / b by b is taken for -a / b."""

    def backward(dy: Array, a: Array, b: Array) -> Gradients:
        da = dy / b
        db = -dy * a / b
        # wrong: db = -dy * a / b**2
        return da, db

    return Pair(np.divide, backward, positive((3, 5), (3, 5)))


@planted("local-derivative")
def hard_tanh_open_above() -> Pair:
    """Only inputs above 1 are wrong: the gradient passes although y stays at 1."""

    def backward(dy: Array, x: Array) -> Gradients:
        inside = x > -1
        # wrong: inside = (x > -1) & (x < 1)
        return (dy * inside,)

    return Pair(lambda x: np.clip(x, -1, 1), backward, normal((4, 6)))


@planted("local-derivative")
def gelu_shortcut_for_large_inputs() -> Pair:
    """Only inputs above 1.5 are wrong: the slope is taken for 1 there, which is 12 % off."""

    def backward(dy: Array, x: Array) -> Gradients:
        slope = _normal_cdf(x) + x * _normal_density(x)
        slope[x > 1.5] = 1
        # superfluous
        return (dy * slope,)

    (x,) = normal((5, 6))
    return Pair(lambda x: x * _normal_cdf(x), backward, (1.5 * x,))


@planted("swapped")
def multiply_by_itself() -> Pair:
    """Each factor of a * b gets its own value instead of the other's."""

    def backward(dy: Array, a: Array, b: Array) -> Gradients:
        da, db = dy * a, dy * b
        # wrong: da, db = dy * b, dy * a
        return da, db

    return Pair(np.multiply, backward, normal((3, 5), (3, 5)))


@planted("swapped")
def maximum_to_the_loser() -> Pair:
    """The gradient of max(a, b) goes to the smaller of the two."""

    def backward(dy: Array, a: Array, b: Array) -> Gradients:
        first = a < b
        # wrong: first = a > b
        return dy * first, dy * ~first

    return Pair(np.maximum, backward, normal((4, 5), (4, 5)))


@planted("upstream-ignored")
def sigmoid_upstream_ignored() -> Pair:
    """The derivative is returned as it is, not multiplied by dy."""

    def backward(dy: Array, x: Array) -> Gradients:
        y = _sigmoid(x)
        dx = y * (1 - y)
        # wrong: dx = dy * y * (1 - y)
        return (dx,)

    return Pair(_sigmoid, backward, normal((3, 5)))


@planted("upstream-misused", "nonlinear")
def exp_upstream_twice() -> Pair:
    """The derivative is multiplied by dy twice."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = np.exp(x) * dy
        dx = dx * dy
        # superfluous
        return (dx,)

    return Pair(np.exp, backward, normal((3, 5)))


@planted("upstream-misused", "nonlinear")
def sine_upstream_unsigned() -> Pair:
    """The derivative is multiplied by |dy|, which only a dy of both signs can show."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = np.abs(dy) * np.cos(x)
        # wrong: dx = dy * np.cos(x)
        return (dx,)

    return Pair(np.sin, backward, normal((3, 5)))


@planted("upstream-misused")
def cosine_upstream_averaged() -> Pair:
    """Every element gets the mean of dy, which a dy of ones cannot show."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = -dy.mean() * np.sin(x)
        # wrong: dx = -dy * np.sin(x)
        return (dx,)

    return Pair(np.cos, backward, normal((3, 5)))


@planted("factor")
def tiny_gradient_doubled() -> Pair:
    """A gradient of 1e-12 is twice too large, far below any absolute tolerance."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = 2e-12 * dy * np.cos(x)
        # wrong: dx = 1e-12 * dy * np.cos(x)
        return (dx,)

    return Pair(lambda x: 1e-12 * np.sin(x), backward, normal((3, 5)))


@planted("factor")
def huge_output_halved() -> Pair:
    """The outputs are near 1e8, and the gradient is half of what it should be."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = dy * x
        # wrong: dx = 2 * dy * x
        return (dx,)

    return Pair(lambda x: 1e8 + x**2, backward, positive((3, 5)))


@planted("partial")
def one_cell_one_percent_off() -> Pair:
    """One gradient of 144 is 1 % too large, as after a forgotten experiment."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = dy / np.cosh(x) ** 2
        dx[7, 3] *= 1.01
        # superfluous
        return (dx,)

    return Pair(np.tanh, backward, normal((12, 12)))


@planted("zero")
def clip_bounds_exchanged() -> Pair:
    """No input lies above the upper and below the lower bound, so nothing gets a gradient."""

    def forward(x: Array, low: float, high: float) -> Array:
        return np.clip(x, low, high)

    def backward(dy: Array, x: Array, low: float, high: float) -> Gradients:
        inside = (x < low) & (x > high)
        # wrong: inside = (x > low) & (x < high)
        return (dy * inside,)

    x = normal((3, 5))
    return Pair(partial(forward, low=-0.9, high=0.8), partial(backward, low=-0.9, high=0.8), x)


@planted("not-finite")
def logistic_of_large_negative_input() -> Pair:
    """exp(-x) overflows at x = -800, and inf / inf is NaN where the derivative is 0."""

    def forward(x: Array) -> Array:
        return np.asarray((1 + np.tanh(x / 2)) / 2)

    def backward(dy: Array, x: Array) -> Gradients:
        with np.errstate(over="ignore", invalid="ignore"):
            e = np.exp(-x)
            # wrong: e = np.exp(-np.abs(x))
            return (dy * e / (1 + e) ** 2,)

    (x,) = normal((3, 5))
    x[1, 2] = -800
    return Pair(forward, backward, (x,))
