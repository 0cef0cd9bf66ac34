"""Mistakes in softmax and in losses."""

from __future__ import annotations

from functools import partial

import numpy as np

from minicnn.gradcheck.planted import Gradients, Pair, normal, planted, positive
from minicnn_kernels.arrays import Array


def _rows_and_labels() -> tuple[Array, Array]:
    (x,) = normal((3, 4))
    return x, np.array([2, 0, 3])


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def _one_hot(labels: Array, classes: int) -> Array:
    return np.eye(classes)[labels]


def _cross_entropy(x: Array, labels: Array) -> Array:
    probabilities = _softmax(x)[np.arange(len(x)), labels]
    return np.asarray(-np.log(probabilities).mean())


# --- softmax --------------------------------------------------------------------------------------


@planted("missing-term")
def softmax_diagonal_only() -> Pair:
    """Only dy_i/dx_i = y_i (1 - y_i) is used; an output depends on the other inputs, too."""

    def backward(dy: Array, x: Array) -> Gradients:
        y = _softmax(x)
        dx = y * (1 - y) * dy
        # wrong: dx = y * (dy - (dy * y).sum(axis=1, keepdims=True))
        return (dx,)

    return Pair(_softmax, backward, normal((3, 4)))


@planted("local-derivative")
def softmax_wrong_unless_upstream_is_constant() -> Pair:
    """The factor y is missing, which a dy of ones cannot show: the sum of y is constant."""

    def backward(dy: Array, x: Array) -> Gradients:
        y = _softmax(x)
        dx = dy - (dy * y).sum(axis=1, keepdims=True)
        # wrong: dx = y * (dy - (dy * y).sum(axis=1, keepdims=True))
        return (dx,)

    return Pair(_softmax, backward, normal((3, 4)))


@planted("transposed")
def softmax_summed_over_the_batch() -> Pair:
    """The softmax runs along the rows, the sum in its gradient down the columns."""

    def backward(dy: Array, x: Array) -> Gradients:
        y = _softmax(x)
        total = (dy * y).sum(axis=0, keepdims=True)
        # wrong: total = (dy * y).sum(axis=1, keepdims=True)
        return (y * (dy - total),)

    return Pair(_softmax, backward, normal((4, 4)))


@planted("factor")
def softmax_temperature_forgotten() -> Pair:
    """x is divided by a temperature before the softmax; the gradient is not."""

    def forward(x: Array, temperature: float) -> Array:
        return _softmax(x / temperature)

    def backward(dy: Array, x: Array, temperature: float) -> Gradients:
        y = forward(x, temperature)
        dx = y * (dy - (dy * y).sum(axis=1, keepdims=True))
        # missing: dx = dx / temperature
        return (dx,)

    t = 2.5
    return Pair(partial(forward, temperature=t), partial(backward, temperature=t), normal((3, 4)))


@planted("missing-term")
def log_softmax_without_normalizer() -> Pair:
    """Only x_i is derived, not the logarithm of the sum that is subtracted from it."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = dy.copy()
        # missing: dx -= _softmax(x) * dy.sum(axis=1, keepdims=True)
        return (dx,)

    return Pair(lambda x: np.log(_softmax(x)), backward, normal((3, 4)))


@planted("local-derivative")
def log_sum_exp_to_the_largest() -> Pair:
    """The smooth maximum is derived as a hard one: only the largest input gets a gradient."""

    def backward(dy: Array, x: Array) -> Gradients:
        share = _one_hot(x.argmax(axis=1), x.shape[1])
        # wrong: share = _softmax(x)
        return (dy[:, None] * share,)

    return Pair(lambda x: np.log(np.exp(x).sum(axis=1)), backward, normal((3, 4)))


# --- cross entropy --------------------------------------------------------------------------------


@planted("factor")
def cross_entropy_not_divided_by_batch() -> Pair:
    """The loss is a mean over the batch; its gradient is not divided by the batch size."""

    def backward(dy: Array, x: Array, labels: Array) -> Gradients:
        dx = dy * (_softmax(x) - _one_hot(labels, x.shape[1]))
        # missing: dx /= len(x)
        return dx, None

    return Pair(_cross_entropy, backward, _rows_and_labels())


@planted("missing-term")
def cross_entropy_without_target() -> Pair:
    """The gradient is softmax(x) / N; the 1 at the label is not subtracted."""

    def forward(x: Array, labels: Array) -> tuple[Array, tuple[Array, Array]]:
        return _cross_entropy(x, labels), (_softmax(x), labels)

    def backward(dout: Array, cache: tuple[Array, Array]) -> Gradients:
        probabilities, labels = cache
        dx = probabilities.copy()
        # missing: dx[np.arange(len(dx)), labels] -= 1
        return dout * dx / len(labels), None

    return Pair(forward, backward, _rows_and_labels())


@planted("factor")
def cross_entropy_divides_by_ignored_rows() -> Pair:
    """Rows labelled -1 do not enter the mean, but they are counted in its gradient."""

    def forward(x: Array, labels: Array) -> Array:
        return _cross_entropy(x[labels >= 0], labels[labels >= 0])

    def backward(dy: Array, x: Array, labels: Array) -> Gradients:
        used = labels >= 0
        dx = np.zeros_like(x)
        dx[used] = _softmax(x[used]) - _one_hot(labels[used], x.shape[1])
        count = len(labels)
        # wrong: count = used.sum()
        return dy * dx / count, None

    return Pair(forward, backward, (*normal((5, 4)), np.array([2, -1, 0, 3, -1])))


@planted("upstream-ignored")
def logistic_loss_taken_for_the_last_step() -> Pair:
    """The loss is taken for the end of the computation, so dy is not used."""

    def forward(x: Array, t: Array) -> Array:
        return np.asarray((np.log1p(np.exp(x)) - t * x).mean())

    def backward(dy: Array, x: Array, t: Array) -> Gradients:
        dx = (1 / (1 + np.exp(-x)) - t) / x.size
        # wrong: dx = dy * (1 / (1 + np.exp(-x)) - t) / x.size
        return dx, -dy * x / x.size

    (x,), t = normal((3, 4)), np.random.default_rng(1).uniform(0.1, 0.9, (3, 4))
    return Pair(forward, backward, (x, t))


@planted("missing-term")
def binary_cross_entropy_half() -> Pair:
    """-t log p - (1 - t) log(1 - p) is derived in its first half only."""

    def forward(p: Array, t: Array) -> Array:
        return np.asarray(-t * np.log(p) - (1 - t) * np.log(1 - p))

    def backward(dy: Array, p: Array, t: Array) -> Gradients:
        dp = -t / p
        # missing: dp += (1 - t) / (1 - p)
        return dy * dp, dy * np.log((1 - p) / p)

    draw = np.random.default_rng(0)
    return Pair(forward, backward, (draw.uniform(0.2, 0.8, (3, 4)), draw.uniform(0, 1, (3, 4))))


@planted("missing-term")
def relative_entropy_without_one() -> Pair:
    """The derivative of p log(p / q) by p is taken for log(p / q), without the + 1."""

    def backward(dy: Array, p: Array, q: Array) -> Gradients:
        slope = np.log(p / q)
        # missing: slope += 1
        return dy * slope, -dy * p / q

    return Pair(lambda p, q: p * np.log(p / q), backward, positive((3, 4), (3, 4)))


# --- regression -----------------------------------------------------------------------------------


@planted("factor")
def squared_error_without_two() -> Pair:
    """The derivative of the mean of (x - t)**2 lacks the 2."""

    def backward(dy: Array, x: Array, t: Array) -> Gradients:
        dx = dy * (x - t) / x.size
        # wrong: dx = 2 * dy * (x - t) / x.size
        return dx, -2 * dy * (x - t) / x.size

    return Pair(lambda x, t: ((x - t) ** 2).mean(), backward, normal((3, 4), (3, 4)))


@planted("sign")
def squared_error_target_not_negated() -> Pair:
    """The target gets the same gradient as the prediction instead of its opposite."""

    def backward(dy: Array, x: Array, t: Array) -> Gradients:
        dx = 2 * dy * (x - t)
        dt = 2 * dy * (x - t)
        # wrong: dt = -2 * dy * (x - t)
        return dx, dt

    return Pair(lambda x, t: ((x - t) ** 2).sum(), backward, normal((3, 4), (3, 4)))


@planted("local-derivative")
def huber_gradient_not_clipped() -> Pair:
    """Only errors above 1 are wrong: the loss is straight there, the gradient still grows."""

    def forward(x: Array) -> Array:
        return np.where(np.abs(x) < 1, x**2 / 2, np.abs(x) - 0.5)

    def backward(dy: Array, x: Array) -> Gradients:
        slope = x.copy()
        # wrong: slope = np.clip(x, -1, 1)
        return (dy * slope,)

    return Pair(forward, backward, normal((4, 6)))


@planted("missing-term")
def squared_error_without_its_weight_decay() -> Pair:
    """The loss includes 0.1 |w|**2, the gradient does not."""

    def forward(x: Array, w: Array) -> Array:
        return np.asarray(((x @ w) ** 2).sum() / 2 + 0.1 * (w**2).sum())

    def backward(dy: Array, x: Array, w: Array) -> Gradients:
        dw = x.T @ (x @ w)
        # missing: dw += 0.2 * w
        return dy * np.outer(x @ w, w), dy * dw

    return Pair(forward, backward, normal((3, 4), (4,)))


@planted("extra-term")
def hinge_loss_with_a_weight_decay_of_the_optimizer() -> Pair:
    """The gradient includes the weight decay 0.1 w that the loss does not have."""

    def forward(x: Array, w: Array) -> tuple[Array, tuple[Array, Array, Array]]:
        scores = x @ w
        return np.maximum(0, 1 - scores).sum(), (x, w, scores < 1)

    def backward(dout: Array, cache: tuple[Array, Array, Array]) -> Gradients:
        x, w, active = cache
        dw = -x.T @ active
        dw = dw + 0.1 * w
        # superfluous
        return -dout * np.outer(active, w), dout * dw

    return Pair(forward, backward, normal((5, 4), (4,)))


@planted("missing-term")
def multiclass_hinge_without_right_class() -> Pair:
    """Each violated margin pushes the wrong class down, but not the right one up."""

    def margins(x: Array, labels: Array) -> Array:
        rows = np.arange(len(x))
        result: Array = np.maximum(0, x - x[rows, labels][:, None] + 1)
        result[rows, labels] = 0
        return result

    def backward(dy: Array, x: Array, labels: Array) -> Gradients:
        violated = margins(x, labels) > 0
        dx = violated.astype(float)
        # missing: dx[np.arange(len(x)), labels] -= violated.sum(axis=1)
        return dy * dx, None

    return Pair(lambda x, labels: margins(x, labels).sum(), backward, _rows_and_labels())


@planted("missing-term")
def cosine_similarity_of_fixed_lengths() -> Pair:
    """The lengths in a.b / (|a| |b|) are taken for constants in the gradient of a."""

    def forward(a: Array, b: Array) -> Array:
        return np.asarray((a * b).sum(axis=1) / _length(a) / _length(b))

    def backward(dy: Array, a: Array, b: Array) -> Gradients:
        dy, y = dy[:, None], forward(a, b)[:, None]
        la, lb = _length(a)[:, None], _length(b)[:, None]
        da = b / la / lb
        # missing: da = da - y * a / la**2
        return dy * da, dy * (a / la / lb - y * b / lb**2)

    return Pair(forward, backward, normal((3, 4), (3, 4)))


def _length(x: Array) -> Array:
    return np.asarray(np.sqrt((x**2).sum(axis=1)))
