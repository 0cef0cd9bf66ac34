"""Mistakes in batch, layer, group and other normalizations: mostly a forgotten path.

An output depends on an input in three ways: directly, through the mean and through the variance.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from minicnn.gradcheck.planted import Gradients, Pair, normal, planted
from minicnn_kernels.arrays import Array

EPS = 1e-5


def _mean(x: Array, axis: int = 0) -> Array:
    return np.asarray(x.mean(axis=axis, keepdims=True))


def _deviation(x: Array, axis: int = 0) -> Array:
    return np.asarray(np.sqrt(x.var(axis=axis, keepdims=True) + EPS))


def _normalized(x: Array, axis: int = 0) -> Array:
    """Normalize each column (axis=0, batch norm) or each row (axis=1, layer norm)."""
    return np.asarray((x - _mean(x, axis)) / _deviation(x, axis))


def _batch_norm(x: Array, gamma: Array, beta: Array) -> Array:
    return np.asarray(gamma * _normalized(x) + beta)


def _batch_norm_cached(x: Array, gamma: Array, beta: Array) -> tuple[Array, tuple[Array, ...]]:
    xhat = _normalized(x)
    return gamma * xhat + beta, (x, xhat, gamma, _deviation(x))


BATCH = (6, 4), (4,), (4,)


# --- batch norm -----------------------------------------------------------------------------------


@planted("missing-term")
def batch_norm_path_through_mean_forgotten() -> Pair:
    """The mean is taken for a constant."""

    def backward(dy: Array, x: Array, gamma: Array, beta: Array) -> Gradients:
        xhat, dxhat = _normalized(x), dy * gamma
        dx = dxhat - xhat * _mean(dxhat * xhat)
        # missing: dx -= _mean(dxhat)
        return dx / _deviation(x), (dy * xhat).sum(axis=0), dy.sum(axis=0)

    return Pair(_batch_norm, backward, normal(*BATCH))


@planted("missing-term")
def batch_norm_path_through_variance_forgotten() -> Pair:
    """The variance is taken for a constant; the error sums to zero in every channel."""

    def backward(dout: Array, cache: tuple[Array, ...]) -> Gradients:
        _, xhat, gamma, deviation = cache
        dxhat = dout * gamma
        dx = dxhat - _mean(dxhat)
        # missing: dx -= xhat * _mean(dxhat * xhat)
        return dx / deviation, (dout * xhat).sum(axis=0), dout.sum(axis=0)

    return Pair(_batch_norm_cached, backward, normal(*BATCH))


@planted("missing-term")
def batch_norm_statistics_taken_for_constants() -> Pair:
    """Mean and variance are both taken for constants, as in evaluation."""

    def backward(dout: Array, cache: tuple[Array, ...]) -> Gradients:
        _, xhat, gamma, deviation = cache
        dxhat = dout * gamma
        dx = dxhat
        # wrong: dx = dxhat - _mean(dxhat) - xhat * _mean(dxhat * xhat)
        return dx / deviation, (dout * xhat).sum(axis=0), dout.sum(axis=0)

    return Pair(_batch_norm_cached, backward, normal(*BATCH))


@planted("local-derivative", "factor")
def batch_norm_gamma_forgotten() -> Pair:
    """dx lacks the chain rule's factor gamma, another one for each channel."""

    def backward(dy: Array, x: Array, gamma: Array, beta: Array) -> Gradients:
        xhat = _normalized(x)
        dxhat = dy
        # wrong: dxhat = dy * gamma
        dx = (dxhat - _mean(dxhat) - xhat * _mean(dxhat * xhat)) / _deviation(x)
        return dx, (dy * xhat).sum(axis=0), dy.sum(axis=0)

    return Pair(_batch_norm, backward, normal(*BATCH))


@planted("local-derivative", "factor")
def batch_norm_deviation_forgotten() -> Pair:
    """dx is not divided by the standard deviation."""

    def backward(dy: Array, x: Array, gamma: Array, beta: Array) -> Gradients:
        xhat, dxhat = _normalized(x), dy * gamma
        dx = dxhat - _mean(dxhat) - xhat * _mean(dxhat * xhat)
        # missing: dx /= _deviation(x)
        return dx, (dy * xhat).sum(axis=0), dy.sum(axis=0)

    return Pair(_batch_norm, backward, normal(*BATCH))


@planted("local-derivative")
def batch_norm_gamma_gradient_of_raw_input() -> Pair:
    """The gradient of gamma is computed from x instead of the normalized x."""

    def backward(dout: Array, cache: tuple[Array, ...]) -> Gradients:
        x, xhat, gamma, deviation = cache
        dxhat = dout * gamma
        dgamma = (dout * x).sum(axis=0)
        # wrong: dgamma = (dout * xhat).sum(axis=0)
        dx = (dxhat - _mean(dxhat) - xhat * _mean(dxhat * xhat)) / deviation
        return dx, dgamma, dout.sum(axis=0)

    return Pair(_batch_norm_cached, backward, normal(*BATCH))


@planted("factor")
def batch_norm_beta_gradient_averaged() -> Pair:
    """The gradient of beta is the mean over the batch where the sum is due."""

    def backward(dy: Array, x: Array, gamma: Array, beta: Array) -> Gradients:
        xhat, dxhat = _normalized(x), dy * gamma
        dbeta = dy.mean(axis=0)
        # wrong: dbeta = dy.sum(axis=0)
        dx = (dxhat - _mean(dxhat) - xhat * _mean(dxhat * xhat)) / _deviation(x)
        return dx, (dy * xhat).sum(axis=0), dbeta

    return Pair(_batch_norm, backward, normal(*BATCH))


@planted("missing-term", "factor")
def batch_norm_path_through_mean_not_averaged() -> Pair:
    """The sum over the batch is subtracted where its mean is due: 1/N is missing."""

    def backward(dy: Array, x: Array, gamma: Array, beta: Array) -> Gradients:
        xhat, dxhat = _normalized(x), dy * gamma
        through_mean = dxhat.sum(axis=0)
        # missing: through_mean /= len(x)
        dx = (dxhat - through_mean - xhat * _mean(dxhat * xhat)) / _deviation(x)
        return dx, (dy * xhat).sum(axis=0), dy.sum(axis=0)

    return Pair(_batch_norm, backward, normal(*BATCH))


@planted("local-derivative", "factor")
def batch_norm_eps_outside_the_root() -> Pair:
    """dx is divided by sqrt(var) + eps instead of sqrt(var + eps), a matter of a few per mille."""
    eps = 1e-2

    def forward(x: Array) -> Array:
        return np.asarray((x - _mean(x)) / np.sqrt(x.var(axis=0) + eps))

    def backward(dy: Array, x: Array) -> Gradients:
        xhat = forward(x)
        deviation = np.sqrt(x.var(axis=0)) + eps
        # wrong: deviation = np.sqrt(x.var(axis=0) + eps)
        return ((dy - _mean(dy) - xhat * _mean(dy * xhat)) / deviation,)

    return Pair(forward, backward, normal((6, 4)))


@planted("extra-term")
def batch_norm_evaluated_like_training() -> Pair:
    """Running statistics are constants, but the paths through mean and variance are included."""
    running_mean, running_deviation = 0.3, 1.7

    def backward(dy: Array, x: Array) -> Gradients:
        xhat = _normalized(x)
        dx = dy / running_deviation
        dx -= (_mean(dy) + xhat * _mean(dy * xhat)) / running_deviation
        # superfluous
        return (dx,)

    return Pair(lambda x: (x - running_mean) / running_deviation, backward, normal((6, 4)))


# --- layer, group and others ----------------------------------------------------------------------


@planted("missing-term")
def layer_norm_path_through_variance_forgotten() -> Pair:
    """The variance of each row is taken for a constant."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = dy - _mean(dy, axis=1)
        # missing: dx -= _normalized(x, axis=1) * _mean(dy * _normalized(x, axis=1), axis=1)
        return (dx / _deviation(x, axis=1),)

    return Pair(partial(_normalized, axis=1), backward, normal((4, 6)))


@planted("missing-term")
def layer_norm_path_through_mean_forgotten() -> Pair:
    """The mean of each row is taken for a constant."""

    def backward(dy: Array, x: Array) -> Gradients:
        xhat = _normalized(x, axis=1)
        dx = dy - xhat * _mean(dy * xhat, axis=1)
        # missing: dx -= _mean(dy, axis=1)
        return (dx / _deviation(x, axis=1),)

    return Pair(partial(_normalized, axis=1), backward, normal((4, 6)))


@planted("transposed")
def layer_norm_averaged_over_the_batch() -> Pair:
    """Rows are normalized, but the backward averages down the columns, as batch norm does."""

    def backward(dy: Array, x: Array) -> Gradients:
        xhat = _normalized(x, axis=1)
        axis = 0
        # wrong: axis = 1
        dx = dy - _mean(dy, axis) - xhat * _mean(dy * xhat, axis)
        return (dx / _deviation(x, axis=1),)

    return Pair(partial(_normalized, axis=1), backward, normal((5, 5)))


@planted("broadcast")
def layer_norm_gamma_not_summed() -> Pair:
    """The gradient of the scale is not summed over the rows that share it."""

    def backward(dy: Array, x: Array, gamma: Array) -> Gradients:
        xhat, dxhat = _normalized(x, axis=1), dy * gamma
        dgamma = dy * xhat
        # wrong: dgamma = (dy * xhat).sum(axis=0)
        dx = dxhat - _mean(dxhat, axis=1) - xhat * _mean(dxhat * xhat, axis=1)
        return dx / _deviation(x, axis=1), dgamma

    return Pair(lambda x, gamma: _normalized(x, axis=1) * gamma, backward, normal((4, 6), (6,)))


@planted("partial")
def group_norm_wrong_in_the_last_group() -> Pair:
    """Only the last group is wrong: it is divided by the deviation of the first."""

    def forward(x: Array, groups: int) -> Array:
        return np.concatenate([_normalized(g, axis=1) for g in np.split(x, groups, axis=1)], axis=1)

    def backward(dy: Array, x: Array, groups: int) -> Gradients:
        parts, dys = np.split(x, groups, axis=1), np.split(dy, groups, axis=1)
        dx = []
        for g in range(groups):
            xhat = _normalized(parts[g], axis=1)
            d = dys[g] - _mean(dys[g], axis=1) - xhat * _mean(dys[g] * xhat, axis=1)
            deviation = _deviation(parts[g % (groups - 1)], axis=1)
            # wrong: deviation = _deviation(parts[g], axis=1)
            dx.append(d / deviation)
        return (np.concatenate(dx, axis=1),)

    return Pair(partial(forward, groups=3), partial(backward, groups=3), normal((3, 12)))


@planted("missing-term")
def rms_norm_mean_square_taken_for_constant() -> Pair:
    """The root of the mean square depends on x, too."""

    def root(x: Array) -> Array:
        return np.asarray(np.sqrt(_mean(x**2, axis=1) + EPS))

    def backward(dy: Array, x: Array) -> Gradients:
        dx = dy / root(x)
        # missing: dx -= x * _mean(dy * x, axis=1) / root(x) ** 3
        return (dx,)

    return Pair(lambda x: x / root(x), backward, normal((4, 6)))


@planted("missing-term")
def unit_length_not_projected() -> Pair:
    """x / |x| cannot change along x, but the part of dy along x is not removed."""

    def backward(dy: Array, x: Array) -> Gradients:
        length = np.sqrt((x**2).sum(axis=1, keepdims=True))
        dx = dy.copy()
        # missing: dx -= x * (dy * x).sum(axis=1, keepdims=True) / length**2
        return (dx / length,)

    forward = partial(_scaled_to_length, 1.0)
    return Pair(forward, backward, normal((4, 5)))


@planted("missing-term")
def weight_norm_length_taken_for_constant() -> Pair:
    """w = g v / |v|: the gradient of v does not see that |v| changes with v."""

    def backward(dw: Array, g: Array, v: Array) -> Gradients:
        length = np.sqrt((v**2).sum(axis=1, keepdims=True))
        dg = (dw * v).sum(axis=1, keepdims=True) / length
        dv = g * dw / length
        # missing: dv -= g * dg * v / length**2
        return dg, dv

    return Pair(_scaled_to_length, backward, normal((4, 1), (4, 5)))


def _scaled_to_length(length: Array | float, v: Array) -> Array:
    return np.asarray(length * v / np.sqrt((v**2).sum(axis=1, keepdims=True)))


@planted("missing-term")
def response_norm_neighbours_forgotten() -> Pair:
    """y_i = x_i / (1 + sum of squares of the neighbours): x_i acts on its neighbours, too."""

    def denominator(x: Array) -> Array:
        squares = np.pad(x**2, ((0, 0), (1, 1)))
        return np.asarray(1 + squares[:, :-2] + squares[:, 1:-1] + squares[:, 2:])

    def backward(dy: Array, x: Array) -> Gradients:
        pull = np.pad(dy * x / denominator(x) ** 2, ((0, 0), (1, 1)))
        near = pull[:, 1:-1]
        # missing: near = near + pull[:, :-2] + pull[:, 2:]
        return (dy / denominator(x) - 2 * x * near,)

    return Pair(lambda x: x / denominator(x), backward, normal((3, 6)))
