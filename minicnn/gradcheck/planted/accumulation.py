"""Mistakes where something is used several times: branches, time steps, several outputs."""

from __future__ import annotations

import numpy as np

from minicnn.gradcheck.planted import Gradients, Pair, normal, planted
from minicnn_kernels.arrays import Array

# --- an input that is used twice ------------------------------------------------------------------


@planted("missing-term")
def residual_branch_forgotten() -> Pair:
    """y = x + tanh(x): the gradient passes through tanh, not through the shortcut."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = dy * (1 - np.tanh(x) ** 2)
        # missing: dx += dy
        return (dx,)

    return Pair(lambda x: x + np.tanh(x), backward, normal((3, 5)))


@planted("assigned", "missing-term")
def second_use_overwrites_the_first() -> Pair:
    """y = x * tanh(x): the gradient of the second use replaces that of the first."""

    def backward(dy: Array, x: Array) -> Gradients:
        gradients = {"x": dy * np.tanh(x)}
        gradients["x"] = dy * x * (1 - np.tanh(x) ** 2)
        # wrong: gradients["x"] += dy * x * (1 - np.tanh(x) ** 2)
        return (gradients["x"],)

    return Pair(lambda x: x * np.tanh(x), backward, normal((3, 5)))


@planted("missing-term")
def quadratic_form_of_one_side() -> Pair:
    """x' A x depends on x from both sides, and A is not symmetric."""

    def backward(dy: Array, x: Array, a: Array) -> Gradients:
        dx = a @ x
        # missing: dx = dx + a.T @ x
        return dy * dx, dy * np.outer(x, x)

    return Pair(lambda x, a: x @ a @ x, backward, normal((5,), (5, 5)))


@planted("assigned", "missing-term")
def shared_weight_of_one_branch() -> Pair:
    """Two inputs pass through one weight, which keeps the second one's gradient only."""

    def backward(dy: Array, a: Array, b: Array, w: Array) -> Gradients:
        dw = np.zeros_like(w)
        for x in (a, b):
            dw = x.T @ dy
            # wrong: dw += x.T @ dy
        return dy @ w.T, dy @ w.T, dw

    return Pair(lambda a, b, w: a @ w + b @ w, backward, normal((3, 4), (3, 4), (4, 5)))


@planted("missing-term")
def tied_decoder_not_counted() -> Pair:
    """A weight encodes and, transposed, decodes; its gradient is that of the encoder."""

    def backward(dy: Array, x: Array, w: Array) -> Gradients:
        h = np.tanh(x @ w)
        dh = (dy @ w) * (1 - h**2)
        dw = x.T @ dh
        # missing: dw = dw + dy.T @ h
        return dh @ w.T, dw

    return Pair(lambda x, w: np.tanh(x @ w) @ w.T, backward, normal((3, 5), (5, 2)))


@planted("missing-term")
def running_sum_without_the_later_sums() -> Pair:
    """x_i enters every later sum as well as its own."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = dy.copy()
        # wrong: dx = dy[:, ::-1].cumsum(axis=1)[:, ::-1]
        return (dx,)

    return Pair(lambda x: x.cumsum(axis=1), backward, normal((3, 5)))


# --- time steps -----------------------------------------------------------------------------------


def _states(x: Array, w: Array, u: Array) -> Array:
    """h_t = tanh(x_t w + h_(t-1) u), with h_0 = 0; one more state than steps."""
    h = np.zeros((len(x) + 1, x.shape[1], w.shape[1]))
    for t in range(len(x)):
        h[t + 1] = np.tanh(x[t] @ w + h[t] @ u)
    return h


def _recurrence(x: Array, w: Array, u: Array) -> Array:
    return _states(x, w, u)[1:]


STEPS = (4, 2, 3), (3, 2), (2, 2)


@planted("assigned")
def recurrence_weight_of_one_step() -> Pair:
    """The weight is used in every step, and keeps the gradient of the first one only."""

    def backward(dy: Array, x: Array, w: Array, u: Array) -> Gradients:
        h = _states(x, w, u)
        dx, dw, du = np.zeros_like(x), np.zeros_like(w), np.zeros_like(u)
        dh = np.zeros_like(h[0])
        for t in reversed(range(len(x))):
            da = (dy[t] + dh) * (1 - h[t + 1] ** 2)
            dx[t], dh = da @ w.T, da @ u.T
            dw = x[t].T @ da
            # wrong: dw += x[t].T @ da
            du += h[t].T @ da
        return dx, dw, du

    return Pair(_recurrence, backward, normal(*STEPS))


@planted("missing-term")
def recurrence_later_steps_forgotten() -> Pair:
    """Each step's gradient comes from its own output, not from the later states."""

    def backward(dy: Array, x: Array, w: Array, u: Array) -> Gradients:
        h = _states(x, w, u)
        dx, dw, du = np.zeros_like(x), np.zeros_like(w), np.zeros_like(u)
        dh = np.zeros_like(h[0])
        for t in reversed(range(len(x))):
            da = (dy[t] + dh) * (1 - h[t + 1] ** 2)
            dx[t] = da @ w.T
            # missing: dh = da @ u.T
            dw += x[t].T @ da
            du += h[t].T @ da
        return dx, dw, du

    return Pair(_recurrence, backward, normal(*STEPS))


@planted("partial", "missing-term")
def recurrence_stops_before_the_first_step() -> Pair:
    """The loop back through time ends at step 1; step 0 gets no gradient."""

    def backward(dy: Array, x: Array, w: Array, u: Array) -> Gradients:
        h = _states(x, w, u)
        dx, dw, du = np.zeros_like(x), np.zeros_like(w), np.zeros_like(u)
        dh, last = np.zeros_like(h[0]), len(x) - 1
        steps = range(last, 0, -1)
        # wrong: steps = range(last, -1, -1)
        for t in steps:
            da = (dy[t] + dh) * (1 - h[t + 1] ** 2)
            dx[t], dh = da @ w.T, da @ u.T
            dw += x[t].T @ da
            du += h[t].T @ da
        return dx, dw, du

    return Pair(_recurrence, backward, normal(*STEPS))


@planted("local-derivative")
def memory_cell_gate_sees_the_new_state() -> Pair:
    """The forget gate multiplies the old cell state; its gradient is computed with the new one."""

    def forward(f: Array, c: Array, i: Array, g: Array) -> Array:
        return np.asarray(f * c + i * g)

    def backward(dy: Array, f: Array, c: Array, i: Array, g: Array) -> Gradients:
        df = dy * forward(f, c, i, g)
        # wrong: df = dy * c
        return df, dy * f, dy * g, dy * i

    return Pair(forward, backward, normal((3, 4), (3, 4), (3, 4), (3, 4)))


# --- several outputs ------------------------------------------------------------------------------


@planted("upstream-ignored", "missing-term")
def second_output_without_effect() -> Pair:
    """A memory cell returns h = tanh(c) o and c; the gradient that arrives at c is dropped."""

    def backward(dh: Array, dc: Array, c: Array, o: Array) -> Gradients:
        through_h = dh * o * (1 - np.tanh(c) ** 2)
        dc_total = through_h
        # wrong: dc_total = through_h + dc
        return dc_total, dh * np.tanh(c)

    return Pair(lambda c, o: (np.tanh(c) * o, c.copy()), backward, normal((3, 4), (3, 4)))


@planted("assigned", "missing-term")
def mean_and_square_of_one_input() -> Pair:
    """Two outputs share x, and the second one's gradient overwrites the first one's."""

    def backward(dmean: Array, dsquare: Array, x: Array) -> Gradients:
        dx = np.zeros_like(x)
        for part in (dmean[:, None] / x.shape[1], 2 * dsquare * x):
            dx[:] = part
            # wrong: dx += part
        return (dx,)

    return Pair(lambda x: (x.mean(axis=1), x**2), backward, normal((3, 5)))


# --- several inputs -------------------------------------------------------------------------------


@planted("swapped")
def multiply_add_returned_in_another_order() -> Pair:
    """The gradients of a * b + c are returned in the order a, c, b."""

    def backward(dy: Array, a: Array, b: Array, c: Array) -> Gradients:
        da, db, dc = dy * b, dy * a, dy.copy()
        gradients = (da, dc, db)
        # wrong: gradients = (da, db, dc)
        return gradients

    return Pair(lambda a, b, c: a * b + c, backward, normal((3, 4), (3, 4), (3, 4)))


def _attention(q: Array, k: Array, v: Array) -> Array:
    return np.asarray(_weights(q, k) @ v)


def _weights(q: Array, k: Array) -> Array:
    e = np.exp(q @ k.T / np.sqrt(q.shape[1]))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


@planted("swapped")
def attention_query_and_key_exchanged() -> Pair:
    """The query gets the gradient of the key, and the key that of the query."""

    def backward(dy: Array, q: Array, k: Array, v: Array) -> Gradients:
        a, da = _weights(q, k), dy @ v.T
        ds = a * (da - (da * a).sum(axis=1, keepdims=True)) / np.sqrt(q.shape[1])
        dk, dq = ds @ k, ds.T @ q
        # wrong: dq, dk = ds @ k, ds.T @ q
        return dq, dk, a.T @ dy

    return Pair(_attention, backward, normal((4, 3), (4, 3), (4, 3)))


@planted("factor")
def attention_not_scaled() -> Pair:
    """The scores are divided by the root of the width, their gradient is not."""

    def backward(dy: Array, q: Array, k: Array, v: Array) -> Gradients:
        a, da = _weights(q, k), dy @ v.T
        ds = a * (da - (da * a).sum(axis=1, keepdims=True))
        # missing: ds /= np.sqrt(q.shape[1])
        return ds @ k, ds.T @ q, a.T @ dy

    return Pair(_attention, backward, normal((4, 3), (4, 3), (4, 3)))


@planted("missing-term")
def attention_softmax_diagonal_only() -> Pair:
    """Inside attention the softmax is derived without the term that couples the keys."""

    def backward(dy: Array, q: Array, k: Array, v: Array) -> Gradients:
        a, da = _weights(q, k), dy @ v.T
        ds = a * da
        # missing: ds -= a * (da * a).sum(axis=1, keepdims=True)
        ds /= np.sqrt(q.shape[1])
        return ds @ k, ds.T @ q, a.T @ dy

    return Pair(_attention, backward, normal((4, 3), (5, 3), (5, 2)))


@planted("extra-term")
def network_with_a_forgotten_weight_decay() -> Pair:
    """The second weight's gradient has a decay of 0.01 w that the loss does not have."""

    def backward(dy: Array, x: Array, w1: Array, w2: Array) -> Gradients:
        h = np.maximum(x @ w1, 0)
        dh = (dy @ w2.T) * (h > 0)
        dw2 = h.T @ dy
        dw2 = dw2 + 0.01 * w2
        # superfluous
        return dh @ w1.T, x.T @ dh, dw2

    def forward(x: Array, w1: Array, w2: Array) -> Array:
        return np.asarray(np.maximum(x @ w1, 0) @ w2)

    return Pair(forward, backward, normal((3, 4), (4, 5), (5, 2)))


@planted("local-derivative")
def network_gate_forgotten() -> Pair:
    """The gradient passes through the hidden layer as if there were no ReLU."""

    def backward(dy: Array, x: Array, w1: Array, w2: Array) -> Gradients:
        h = np.maximum(x @ w1, 0)
        dh = dy @ w2.T
        # missing: dh *= h > 0
        return dh @ w1.T, x.T @ dh, h.T @ dy

    def forward(x: Array, w1: Array, w2: Array) -> Array:
        return np.asarray(np.maximum(x @ w1, 0) @ w2)

    return Pair(forward, backward, normal((3, 4), (4, 5), (5, 2)))


@planted("transposed")
def inverse_not_transposed() -> Pair:
    """The gradient of the inverse Y of X is -Y dy Y instead of -Y' dy Y'."""

    def backward(dy: Array, x: Array) -> Gradients:
        y = np.linalg.inv(x)
        dx = -y @ dy @ y
        # wrong: dx = -y.T @ dy @ y.T
        return (dx,)

    return Pair(np.linalg.inv, backward, (normal((4, 4))[0] + 4 * np.eye(4),))


@planted("transposed")
def determinant_not_transposed() -> Pair:
    """The gradient of det(X) is det(X) times the inverse instead of its transpose."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = dy * np.linalg.det(x) * np.linalg.inv(x)
        # wrong: dx = dy * np.linalg.det(x) * np.linalg.inv(x).T
        return (dx,)

    return Pair(np.linalg.det, backward, (normal((4, 4))[0] + 2 * np.eye(4),))
