"""Steps of recurrent cells, compiled: all gates of a hidden value in one pass of a loop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.cpu.jit import jit
from minicnn_kernels.cpu.mathematics import exp, tanh
from minicnn_kernels.threads import parallel

GRAIN = 2**11  # hidden values that are worth a thread


def lstm_step(a: Array, c: Array) -> tuple[Array, Array]:
    """h' = o * tanh(c') and c' = f * c + i * g."""
    h, new_c = np.empty(c.shape, c.dtype), np.empty(c.shape, c.dtype)
    _by_rows(_lstm_step, a, c, h, new_c)
    return h, new_c


def lstm_step_gradients(a: Array, c: Array, dh: Array, dc: Array) -> tuple[Array, Array]:
    """da and dc, given those of h' and c'."""
    da, new_dc = np.empty(a.shape, a.dtype), np.empty(c.shape, c.dtype)
    _by_rows(_lstm_step_gradients, a, c, dh, dc, da, new_dc)
    return da, new_dc


def gru_step(a: Array, b: Array, h: Array) -> Array:
    """h' = (1 - z) * n + z * h, n = tanh(a_n + r * b_n), r and z logistic functions of a + b."""
    new_h = np.empty(h.shape, h.dtype)
    _by_rows(_gru_step, a, b, h, new_h)
    return new_h


def gru_step_gradients(a: Array, b: Array, h: Array, dh: Array) -> tuple[Array, Array, Array]:
    """da, db and dh, given that of h'."""
    da, db, new_dh = (np.empty(like.shape, like.dtype) for like in (a, b, h))
    _by_rows(_gru_step_gradients, a, b, h, dh, da, db, new_dh)
    return da, db, new_dh


def _by_rows(loop: Callable[..., None], *arrays: Array) -> None:
    """Run a loop over the rows of arrays, of which the last have just been made."""
    rows, size = arrays[-1].shape
    parallel(loop, rows, *map(np.ascontiguousarray, arrays), grain=1 + GRAIN // max(1, size))


@jit(inline=True)
def logistic(x, one):
    """1 / (1 + e^-x)."""
    return one / (one + exp(-x))


@jit()
def _lstm_step(begin, end, a, c, h, new_c):
    size, one = c.shape[1], c.dtype.type(1)
    for row in range(begin, end):
        a_i, a_f = a[row, :size], a[row, size : 2 * size]
        a_g, a_o = a[row, 2 * size : 3 * size], a[row, 3 * size :]
        before, state, cell = c[row], h[row], new_c[row]
        for j in range(before.size):
            i, f = logistic(a_i[j], one), logistic(a_f[j], one)
            g, o = tanh(a_g[j]), logistic(a_o[j], one)
            after = f * before[j] + i * g
            cell[j] = after
            state[j] = o * tanh(after)


@jit()
def _lstm_step_gradients(begin, end, a, c, dh, dc, da, new_dc):
    size, one = c.shape[1], c.dtype.type(1)
    for row in range(begin, end):
        a_i, a_f = a[row, :size], a[row, size : 2 * size]
        a_g, a_o = a[row, 2 * size : 3 * size], a[row, 3 * size :]
        da_i, da_f = da[row, :size], da[row, size : 2 * size]
        da_g, da_o = da[row, 2 * size : 3 * size], da[row, 3 * size :]
        before, by_h, by_c, result = c[row], dh[row], dc[row], new_dc[row]
        for j in range(before.size):
            i, f = logistic(a_i[j], one), logistic(a_f[j], one)
            g, o = tanh(a_g[j]), logistic(a_o[j], one)
            t = tanh(f * before[j] + i * g)
            d = by_c[j] + by_h[j] * o * (one - t * t)
            da_i[j] = d * g * i * (one - i)
            da_f[j] = d * before[j] * f * (one - f)
            da_g[j] = d * i * (one - g * g)
            da_o[j] = by_h[j] * t * o * (one - o)
            result[j] = d * f


@jit()
def _gru_step(begin, end, a, b, h, new_h):
    size, one = h.shape[1], h.dtype.type(1)
    for row in range(begin, end):
        a_r, a_z, a_n = a[row, :size], a[row, size : 2 * size], a[row, 2 * size :]
        b_r, b_z, b_n = b[row, :size], b[row, size : 2 * size], b[row, 2 * size :]
        before, state = h[row], new_h[row]
        for j in range(before.size):
            r, z = logistic(a_r[j] + b_r[j], one), logistic(a_z[j] + b_z[j], one)
            n = tanh(a_n[j] + r * b_n[j])
            state[j] = n + z * (before[j] - n)


@jit()
def _gru_step_gradients(begin, end, a, b, h, dh, da, db, new_dh):
    size, one = h.shape[1], h.dtype.type(1)
    for row in range(begin, end):
        a_r, a_z, a_n = a[row, :size], a[row, size : 2 * size], a[row, 2 * size :]
        b_r, b_z, b_n = b[row, :size], b[row, size : 2 * size], b[row, 2 * size :]
        da_r, da_z, da_n = da[row, :size], da[row, size : 2 * size], da[row, 2 * size :]
        db_r, db_z, db_n = db[row, :size], db[row, size : 2 * size], db[row, 2 * size :]
        before, by_h, result = h[row], dh[row], new_dh[row]
        for j in range(before.size):
            r, z = logistic(a_r[j] + b_r[j], one), logistic(a_z[j] + b_z[j], one)
            n = tanh(a_n[j] + r * b_n[j])
            dn = by_h[j] * (one - z) * (one - n * n)
            dz = by_h[j] * (before[j] - n) * z * (one - z)
            dr = dn * b_n[j] * r * (one - r)
            da_r[j], da_z[j], da_n[j] = dr, dz, dn
            db_r[j], db_z[j], db_n[j] = dr, dz, dn * r
            result[j] = by_h[j] * z
