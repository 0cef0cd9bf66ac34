"""What one step of a recurrent cell does to its gates and states, and the gradients of that.

Shapes: N sequences and H hidden values; the gates lie side by side.  `a` (N, 4H) or (N, 3H) holds
them before their nonlinearities, c and h (N, H) are the states before the step.

Papers: Gers, Schmidhuber, Cummins 2000 (LSTM); Cho et al. 2014, arXiv:1406.1078 (GRU).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.registry import BOTH, Kernel

ENOUGH = 2**11  # values of a state from which on a compiled loop is worth its start

lstm_step = Kernel("lstm_step")
lstm_step_gradients = Kernel("lstm_step_gradients")
gru_step = Kernel("gru_step")
gru_step_gradients = Kernel("gru_step_gradients")


@lstm_step.algorithm("numpy", devices=BOTH, cost=lambda *arrays: 2)
def lstm_step_numpy(a: Array, c: Array) -> tuple[Array, Array]:
    """h' = o * tanh(c') and c' = f * c + i * g."""
    i, f, g, o = _lstm_gates(a)
    c = f * c + i * g
    return o * np.tanh(c), c


@lstm_step_gradients.algorithm("numpy", devices=BOTH, cost=lambda *arrays: 2)
def lstm_step_gradients_numpy(a: Array, c: Array, dh: Array, dc: Array) -> tuple[Array, Array]:
    """da and dc, given those of h' and c'."""
    i, f, g, o = _lstm_gates(a)
    tanh_c = np.tanh(f * c + i * g)
    dc = dc + dh * o * (1 - tanh_c * tanh_c)
    da = [
        dc * g * i * (1 - i),
        dc * c * f * (1 - f),
        dc * i * (1 - g * g),
        dh * tanh_c * o * (1 - o),
    ]
    by_gates: Array = np.concatenate(da, axis=1)
    return by_gates, dc * f


@gru_step.algorithm("numpy", devices=BOTH, cost=lambda *arrays: 2)
def gru_step_numpy(a: Array, b: Array, h: Array) -> Array:
    """h' = (1 - z) * n + z * h, n = tanh(a_n + r * b_n), r and z logistic functions of a + b."""
    _, z, n, _ = _gru_gates(a, b)
    new_h: Array = n + z * (h - n)
    return new_h


@gru_step_gradients.algorithm("numpy", devices=BOTH, cost=lambda *arrays: 2)
def gru_step_gradients_numpy(a: Array, b: Array, h: Array, dh: Array) -> tuple[Array, Array, Array]:
    """da, db and dh, given that of h'."""
    r, z, n, inner = _gru_gates(a, b)
    dn = dh * (1 - z) * (1 - n * n)
    dz = dh * (h - n) * z * (1 - z)
    dr = dn * inner * r * (1 - r)
    return (
        np.concatenate([dr, dz, dn], axis=1),
        np.concatenate([dr, dz, dn * r], axis=1),
        dh * z,
    )


def _lstm_gates(a: Array) -> tuple[Array, Array, Array, Array]:
    """Return i, f, g, o after their nonlinearities."""
    i, f, g, o = np.split(a, 4, axis=1)
    return logistic(i), logistic(f), np.tanh(g), logistic(o)


def _gru_gates(a: Array, b: Array) -> tuple[Array, Array, Array, Array]:
    """Return r, z, n, and what r multiplies in n."""
    (a_r, a_z, a_n), (b_r, b_z, b_n) = (np.split(part, 3, axis=1) for part in (a, b))
    r, z = logistic(a_r + b_r), logistic(a_z + b_z)
    return r, z, np.tanh(a_n + r * b_n), b_n


def logistic(x: Array) -> Array:
    """1 / (1 + e^-x)."""
    with np.errstate(over="ignore"):
        y: Array = 1 / (1 + np.exp(-x))
    return y


# --- compiled -------------------------------------------------------------------------------------


def _is_enough(a: Array, *others: Array) -> bool:
    state = others[-1]
    return state.size >= ENOUGH and a.dtype in (np.float32, np.float64)


def _cost(*arrays: Any) -> float:
    return 1


for _kernel in (lstm_step, lstm_step_gradients, gru_step, gru_step_gradients):
    _kernel.compiled(
        "one_loop",
        f"recurrent.{_kernel.name}",
        _kernel.algorithms["numpy"].formula,
        cost=_cost,
        serves=_is_enough,
    )
