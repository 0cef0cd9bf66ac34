"""Functions with right gradients, to which tests add mistakes of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Right(NamedTuple):
    forward: Callable[..., Any]
    backward: Callable[..., Any]  # (dy, *inputs) -> a gradient for each input
    inputs: tuple[np.ndarray, ...]


def normal(*shapes: tuple[int, ...], seed: int = 3) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(seed)
    return tuple(random.standard_normal(shape) for shape in shapes)


def spoiled(right: Right, position: int, change: Callable[..., Any]) -> Right:
    """Replace the gradient of one input by change(dx, dy, x)."""

    def backward(dy: np.ndarray, *inputs: np.ndarray) -> tuple[Any, ...]:
        gradients = list(right.backward(dy, *inputs))
        gradients[position] = change(gradients[position], dy, inputs[position])
        return tuple(gradients)

    return Right(right.forward, backward, right.inputs)


def tanh() -> Right:
    return Right(np.tanh, lambda dy, x: (dy / np.cosh(x) ** 2,), normal((4, 5)))


def product() -> Right:
    return Right(np.multiply, lambda dy, a, b: (dy * b, dy * a), normal((3, 4), (3, 4)))


def linear() -> Right:
    def backward(dy, x, w, b):
        return dy @ w.T, x.T @ dy, dy.sum(axis=0)

    return Right(lambda x, w, b: x @ w + b, backward, normal((6, 4), (4, 3), (3,)))


def square_linear() -> Right:
    return Right(np.matmul, lambda dy, x, w: (dy @ w.T, x.T @ dy), normal((4, 4), (4, 4)))


def softmax() -> Right:
    def forward(x):
        e = np.exp(x - x.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    def backward(dy, x):
        y = forward(x)
        return (y * (dy - (dy * y).sum(axis=1, keepdims=True)),)

    return Right(forward, backward, normal((3, 6)))


def layer_norm() -> Right:
    def statistics(x):
        return x - x.mean(axis=1, keepdims=True), np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)

    def forward(x, gamma):
        centered, deviation = statistics(x)
        return centered / deviation * gamma

    def backward(dy, x, gamma):
        centered, deviation = statistics(x)
        xhat, g = centered / deviation, dy * gamma
        dx = g - g.mean(axis=1, keepdims=True) - xhat * (g * xhat).mean(axis=1, keepdims=True)
        return dx / deviation, (dy * xhat).sum(axis=0)

    return Right(forward, backward, normal((5, 7), (7,)))


def squared_error() -> Right:
    def backward(dy, x, t):
        dx = dy * 2 * (x - t) / x.size
        return dx, -dx

    return Right(lambda x, t: ((x - t) ** 2).mean(), backward, normal((5, 3), (5, 3)))


def mean_of_rows() -> Right:
    def backward(dy, x):
        return (np.repeat(dy[:, None], x.shape[1], axis=1) / x.shape[1],)

    return Right(lambda x: x.mean(axis=1), backward, normal((4, 7)))


def embedding() -> Right:
    words = np.array([[0, 2, 2], [5, 0, 1]])

    def backward(dy, table):
        dx = np.zeros_like(table)
        np.add.at(dx, words, dy)
        return (dx,)

    return Right(lambda table: table[words], backward, normal((7, 4)))


def conv1d(stride: int = 2, padding: int = 1, dilation: int = 2) -> Right:
    """Convolve (N, C, L) with (O, C, K), one product at a time."""

    def products(x, w):
        length = (x.shape[2] + 2 * padding - dilation * (w.shape[2] - 1) - 1) // stride + 1
        for t in range(length):
            for a in range(w.shape[2]):
                b = t * stride + a * dilation - padding
                if 0 <= b < x.shape[2]:
                    yield t, a, b

    def forward(x, w):
        length = (x.shape[2] + 2 * padding - dilation * (w.shape[2] - 1) - 1) // stride + 1
        y = np.zeros((x.shape[0], w.shape[0], length))
        for t, a, b in products(x, w):
            y[:, :, t] += x[:, :, b] @ w[:, :, a].T
        return y

    def backward(dy, x, w):
        dx, dw = np.zeros_like(x), np.zeros_like(w)
        for t, a, b in products(x, w):
            dx[:, :, b] += dy[:, :, t] @ w[:, :, a]
            dw[:, :, a] += dy[:, :, t].T @ x[:, :, b]
        return dx, dw

    return Right(forward, backward, normal((2, 3, 9), (4, 3, 3)))


def max_pool1d(window: int = 3, stride: int = 2) -> Right:
    def spans(x):
        return [slice(s, s + window) for s in range(0, x.shape[2] - window + 1, stride)]

    def forward(x):
        return np.stack([x[:, :, span].max(axis=2) for span in spans(x)], axis=2)

    def backward(dy, x):
        dx = np.zeros_like(x)
        for t, span in enumerate(spans(x)):
            part = x[:, :, span]
            dx[:, :, span] += (part == part.max(axis=2, keepdims=True)) * dy[:, :, t, None]
        return (dx,)

    return Right(forward, backward, normal((2, 3, 9)))


ALL = {
    "tanh": (tanh, 0),
    "product": (product, 1),
    "linear x": (linear, 0),
    "linear w": (linear, 1),
    "linear b": (linear, 2),
    "softmax": (softmax, 0),
    "layer_norm x": (layer_norm, 0),
    "layer_norm gamma": (layer_norm, 1),
    "squared_error": (squared_error, 0),
    "mean_of_rows": (mean_of_rows, 0),
    "embedding": (embedding, 0),
    "conv1d x": (conv1d, 0),
    "conv1d w": (conv1d, 1),
    "max_pool1d": (max_pool1d, 0),
}
