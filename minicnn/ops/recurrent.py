"""Recurrent networks: one step of a cell, repeated over the rows of a sequence.

A batch of sequences lies in one matrix, time step after time step; `steps` says which rows belong
to which step, in the order of computation.  Sequences of different lengths are sorted, the longest
first, so that a step concerns the first rows of the state: those of the sequences still running.

Backward goes through time in the opposite order.  All hidden states are known by then, so the gates
of every step are computed again in one matrix product, and the gradients of the weights are one
product as well: only the way of dh from step to step is a loop.

Papers: Elman 1990, Cognitive Science 14 (RNN); Hochreiter, Schmidhuber 1997, Neural Computation 9,
and Gers, Schmidhuber, Cummins 2000 (LSTM with forget gate); Cho et al. 2014, arXiv:1406.1078 (GRU);
Sak, Senior, Beaufays 2014, arXiv:1402.1128 (LSTM with projection).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import minicnn_kernels as kernels
from minicnn.backprop import grad
from minicnn.differentiable import Array, Gradients, Thunk, differentiable
from minicnn.errors import DTypeError, ShapeError
from minicnn.ops.activation import relu, sigmoid, tanh
from minicnn.ops.arithmetic import add
from minicnn.ops.linear import affine
from minicnn.ops.shape import cat, chunk
from minicnn.tensor import Tensor
from minicnn_kernels.arrays import contiguous, is_floating
from minicnn_kernels.products import matmul

__all__ = ["gru_cell", "lstm_cell", "rnn_relu_cell", "rnn_tanh_cell"]

Steps = Sequence[slice]


# --- plain: h' = tanh(x + w h) or relu(x + w h) ---------------------------------------------------


@differentiable
def rnn(x: Array, h: Array, w: Array, /, steps: Steps, nonlinearity: str = "tanh") -> Array:
    """y = h' = tanh(x + w h), step by step; x already holds w_ih x + b_ih + b_hh."""
    activate = np.tanh if nonlinearity == "tanh" else _relu
    y, h, turned = np.empty_like(x), h.copy(), _turned(w, steps)
    for rows in steps:
        n = rows.stop - rows.start
        y[rows] = h[:n] = activate(x[rows] + matmul(h[:n], turned))
    return y


@rnn.gradient(saves="y x h w")
def _(
    dy: Array, y: Array, x: Array, h: Array, w: Array, *, steps: Steps, nonlinearity: str
) -> Gradients:
    if isinstance(dy, Tensor):
        return _recorded(rnn_by_steps, dy, (x, h, w), steps, nonlinearity)
    slope = 1 - y * y if nonlinearity == "tanh" else (y > 0).astype(y.dtype)
    dx, dh = np.empty_like(x), np.zeros_like(h)
    for rows in reversed(steps):
        n = rows.stop - rows.start
        dx[rows] = (dy[rows] + dh[:n]) * slope[rows]
        dh[:n] = matmul(dx[rows], w)
    return lambda: dx, lambda: dh, lambda: matmul(dx.T, _previous(y, h, steps))


def rnn_by_steps(x: Any, h: Any, w: Any, steps: Steps, nonlinearity: str) -> Any:
    """Compute what `rnn` does with an operation for each part, as the formula says."""
    activate = tanh if nonlinearity == "tanh" else relu

    def step(x: Any, h: Any) -> tuple[Any, Any]:
        h = activate(x + affine(h, w, None))
        return h, h

    return _by_steps(step, x, h, steps)


# --- long short-term memory -----------------------------------------------------------------------


@differentiable
def lstm(x: Array, h: Array, c: Array, w: Array, v: Array | None, /, steps: Steps) -> Array:
    """y = [h' c'], c' = f * c + i * g, h' = v (o * tanh(c')), [i f g o] = x + w h.

    i, f and o go through the logistic function, g through tanh; x already holds w_ih x and both
    biases.  v projects the hidden state, if it is given.
    """
    size, wide = c.shape[1], h.shape[1]
    y, h, c = np.empty_like(x, shape=(len(x), wide + size)), h.copy(), c.copy()
    turned = _turned(w, steps)
    for rows in steps:
        n = rows.stop - rows.start
        hidden, c[:n] = kernels.lstm_step(x[rows] + matmul(h[:n], turned), c[:n])
        h[:n] = hidden if v is None else matmul(hidden, v.T)
        y[rows, :wide], y[rows, wide:] = h[:n], c[:n]
    return y


@lstm.gradient(saves="y x h c w v")
def _(
    dy: Array, y: Array, x: Array, h: Array, c: Array, w: Array, v: Array | None, *, steps: Steps
) -> Gradients:
    if isinstance(dy, Tensor):
        return _recorded(lstm_by_steps, dy, (x, h, c, w, v), steps)
    wide = h.shape[1]
    before, c_before = _previous(y[:, :wide], h, steps), _previous(y[:, wide:], c, steps)
    gates = x + matmul(before, w.T)
    dx, dh, dc = np.empty_like(x), np.zeros_like(h), np.zeros_like(c)
    projected = np.empty_like(y, shape=(len(y), wide))
    for rows in reversed(steps):
        n = rows.stop - rows.start
        projected[rows] = dy[rows, :wide] + dh[:n]
        hidden = projected[rows] if v is None else matmul(projected[rows], v)
        cell = dy[rows, wide:] + dc[:n]
        dx[rows], dc[:n] = kernels.lstm_step_gradients(gates[rows], c_before[rows], hidden, cell)
        dh[:n] = matmul(dx[rows], w)
    return (
        lambda: dx,
        lambda: dh,
        lambda: dc,
        lambda: matmul(dx.T, before),
        lambda: matmul(projected.T, kernels.lstm_step(gates, c_before)[0]),
    )


def lstm_by_steps(x: Any, h: Any, c: Any, w: Any, v: Any, steps: Steps) -> Any:
    """Compute what `lstm` does with an operation for each part, as the formula says."""
    wide = h.shape[1]

    def step(x: Any, state: Any) -> tuple[Any, Any]:
        h, c = state[:, :wide], state[:, wide:]
        i, f, g, o = chunk(x + affine(h, w, None), 4, 1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        hidden = sigmoid(o) * tanh(c)
        state = cat([hidden if v is None else affine(hidden, v, None), c], 1)
        return state, state

    return _by_steps(step, x, cat([h, c], 1), steps)


# --- gated recurrent unit -------------------------------------------------------------------------


@differentiable
def gru(x: Array, h: Array, w: Array, b: Array | None, /, steps: Steps) -> Array:
    """y = h' = (1 - z) * n + z * h, n = tanh(x_n + r * (w_n h + b_n)).

    r and z, the gates that reset and update, are logistic functions of x + w h + b; x already
    holds w_ih x + b_ih.
    """
    y, h = np.empty_like(x, shape=(len(x), h.shape[1])), h.copy()
    turned = _turned(w, steps)
    for rows in steps:
        n = rows.stop - rows.start
        y[rows] = h[:n] = kernels.gru_step(x[rows], _with_bias(matmul(h[:n], turned), b), h[:n])
    return y


@gru.gradient(saves="y x h w b")
def _(
    dy: Array, y: Array, x: Array, h: Array, w: Array, b: Array | None, *, steps: Steps
) -> Gradients:
    if isinstance(dy, Tensor):
        return _recorded(gru_by_steps, dy, (x, h, w, b), steps)
    before = _previous(y, h, steps)
    product = _with_bias(matmul(before, w.T), b)
    dx, dproduct, dh = np.empty_like(x), np.empty_like(x), np.zeros_like(h)
    for rows in reversed(steps):
        n = rows.stop - rows.start
        dx[rows], dproduct[rows], direct = kernels.gru_step_gradients(
            x[rows], product[rows], before[rows], dy[rows] + dh[:n]
        )
        dh[:n] = direct + matmul(dproduct[rows], w)
    return lambda: dx, lambda: dh, lambda: matmul(dproduct.T, before), lambda: dproduct.sum(axis=0)


def gru_by_steps(x: Any, h: Any, w: Any, b: Any, steps: Steps) -> Any:
    """Compute what `gru` does with an operation for each part, as the formula says."""

    def step(x: Any, h: Any) -> tuple[Any, Any]:
        (x_r, x_z, x_n), (h_r, h_z, h_n) = (chunk(a, 3, 1) for a in (x, affine(h, w, b)))
        z = sigmoid(x_z + h_z)
        h = (1 - z) * tanh(x_n + sigmoid(x_r + h_r) * h_n) + z * h
        return h, h

    return _by_steps(step, x, h, steps)


# --- what they share ------------------------------------------------------------------------------


def _previous(y: Array, start: Array, steps: Steps) -> Array:
    """Return, for every row of y, the state before its step."""
    before, state = np.empty_like(y), start.copy()
    for rows in steps:
        n = rows.stop - rows.start
        before[rows], state[:n] = state[:n], y[rows]
    return before


def _by_steps(step: Callable[[Any, Any], tuple[Any, Any]], x: Any, state: Any, steps: Steps) -> Any:
    """Call `step(x, state)`, which returns a result and the next state, for every step."""
    results = []
    for rows in steps:
        n = rows.stop - rows.start
        y, new = step(x[rows], state[:n])
        state = cat([new, state[n:]]) if n < state.shape[0] else new
        results.append(y)
    in_order = sorted(zip(steps, results, strict=True), key=lambda pair: pair[0].start)
    return cat([y for _, y in in_order])


def _recorded(
    by_steps: Callable[..., Any], dy: Tensor, tensors: tuple[Any, ...], *settings: Any
) -> tuple[Thunk, ...]:
    """Return the gradients as functions of everything: those of the formula, step by step."""
    targets = [t for t in tensors if isinstance(t, Tensor) and t.requires_grad]
    y = by_steps(*tensors, *settings)
    found = iter(grad(y, targets, dy, create_graph=True, allow_unused=True))
    gradients = {id(target): gradient for target, gradient in zip(targets, found, strict=True)}
    return tuple((lambda t=t: gradients.get(id(t))) for t in tensors)


def _relu(x: Array) -> Array:
    return np.maximum(x, 0)


def _turned(w: Array, steps: Steps) -> Array:
    """Return w^T, turned in memory as well if it is needed many times: then it is read in order."""
    return contiguous(w.T) if len(steps) > 1 else w.T


def _with_bias(product: Array, b: Array | None) -> Array:
    return product if b is None else product + b


def last_rows(steps: Steps, count: int) -> Array:
    """Return for each of `count` sequences the row of its last step."""
    rows = np.empty(count, np.int64)
    for step in steps:
        rows[: step.stop - step.start] = np.arange(step.start, step.stop)
    return rows


# --- one step, under PyTorch's names --------------------------------------------------------------


def rnn_tanh_cell(
    input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None
) -> Any:
    """Return the next hidden state of a plain recurrent network.

    h' = tanh(w_ih x + b_ih + w_hh h + b_hh)

    Shapes: input (N, I), hx and result (N, H), w_ih (H, I), w_hh (H, H), biases (H).

    Raises:
        ShapeError: the sizes do not fit together.
    """
    steps = _one_step("rnn_tanh_cell", 1, input, hx, w_ih, w_hh, b_ih, b_hh)
    return rnn(affine(input, w_ih, _sum(b_ih, b_hh)), hx, w_hh, steps, "tanh")


def rnn_relu_cell(
    input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None
) -> Any:
    """Return the next hidden state of a plain recurrent network with rectifiers.

    h' = relu(w_ih x + b_ih + w_hh h + b_hh)

    Shapes and errors: as for `rnn_tanh_cell`.
    """
    steps = _one_step("rnn_relu_cell", 1, input, hx, w_ih, w_hh, b_ih, b_hh)
    return rnn(affine(input, w_ih, _sum(b_ih, b_hh)), hx, w_hh, steps, "relu")


def lstm_cell(
    input: Any, hx: tuple[Any, Any], w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None
) -> tuple[Any, Any]:
    """Return the next hidden state and cell of a long short-term memory.

    c' = f * c + i * g, h' = o * tanh(c'), [i f g o] = w_ih x + b_ih + w_hh h + b_hh

    i, f and o go through the logistic function, g through tanh.
    Shapes: input (N, I), both of hx (N, H), w_ih (4H, I), w_hh (4H, H), biases (4H).

    Raises:
        ShapeError: the sizes do not fit together.
    """
    h, c = hx
    steps = _one_step("lstm_cell", 4, input, h, w_ih, w_hh, b_ih, b_hh)
    if c.shape != h.shape:
        raise ShapeError(f"lstm_cell: the states must have one shape, got {h.shape} and {c.shape}")
    y = lstm(affine(input, w_ih, _sum(b_ih, b_hh)), h, c, w_hh, None, steps)
    return y[:, : h.shape[1]], y[:, h.shape[1] :]


def gru_cell(input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
    """Return the next hidden state of a gated recurrent unit.

    h' = (1 - z) * n + z * h, n = tanh(w_in x + b_in + r * (w_hn h + b_hn))

    r and z are logistic functions of w_ih x + b_ih + w_hh h + b_hh.
    Shapes: input (N, I), hx and result (N, H), w_ih (3H, I), w_hh (3H, H), biases (3H).

    Raises:
        ShapeError: the sizes do not fit together.
    """
    steps = _one_step("gru_cell", 3, input, hx, w_ih, w_hh, b_ih, b_hh)
    return gru(affine(input, w_ih, b_ih), hx, w_hh, b_hh, steps)


def _sum(a: Any, b: Any) -> Any:
    """Add two biases, either of which may be missing."""
    return b if a is None else a if b is None else add(a, b)


def _one_step(
    op: str, gates: int, x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any
) -> Steps:
    """Return the one step of a cell, whose weights hold `gates` matrices one above the other."""
    if not is_floating(x.dtype):
        raise DTypeError(f"{op}: input must be floating-point, got {x.dtype}; use .to(dtype) first")
    if x.ndim != 2 or h.ndim != 2 or x.shape[0] != h.shape[0]:
        raise ShapeError(
            f"{op}: input (N, I) and state (N, H) are matrices of one batch, got shapes {x.shape} "
            f"and {h.shape}"
        )
    size = gates * h.shape[1]
    for name, value, shape in (
        ("w_ih", w_ih, (size, x.shape[1])),
        ("w_hh", w_hh, (size, h.shape[1])),
        ("b_ih", b_ih, (size,)),
        ("b_hh", b_hh, (size,)),
    ):
        if value is not None and value.shape != shape:
            raise ShapeError(f"{op}: {name} must have shape {shape}, got {value.shape}")
    return [slice(0, x.shape[0])]
