"""Steps of recurrent cells: their gradients against central differences, saturated gates."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn_kernels import gru_step, gru_step_gradients, lstm_step, lstm_step_gradients
from minicnn_kernels.registry import can_compile

needs_numba = pytest.mark.skipif(not can_compile(), reason="Numba is not installed")


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def slope(function, arrays, k, step=1e-6):
    """Return the gradient of the sum of function(*arrays) by array k."""
    found = np.zeros_like(arrays[k])
    for place in np.ndindex(found.shape):
        sums = []
        for move in (step, -step):
            moved = [array.copy() for array in arrays]
            moved[k][place] += move
            sums.append(function(*moved))
        found[place] = (sums[0] - sums[1]) / (2 * step)
    return found


def test_lstm_by_its_formula():
    a, c = draw(2, 12), draw(2, 3, seed=1)
    i, f, g, o = a[:, :3], a[:, 3:6], a[:, 6:9], a[:, 9:]
    h, new_c = lstm_step(a, c, algorithm="numpy")
    expected = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
    np.testing.assert_allclose(new_c, expected)
    np.testing.assert_allclose(h, np.tanh(expected) / (1 + np.exp(-o)))


def test_gradients_of_lstm():
    a, c, dh, dc = draw(2, 12), draw(2, 3, seed=1), draw(2, 3, seed=2), draw(2, 3, seed=3)

    def weighted(a, c):
        h, new_c = lstm_step(a, c, algorithm="numpy")
        return (h * dh).sum() + (new_c * dc).sum()

    found = lstm_step_gradients(a, c, dh, dc, algorithm="numpy")
    for k, gradient in enumerate(found):
        np.testing.assert_allclose(gradient, slope(weighted, [a, c], k), rtol=1e-6, atol=1e-8)


def test_gru_by_its_formula():
    a, b, h = draw(2, 9), draw(2, 9, seed=1), draw(2, 3, seed=2)
    r, z = (1 / (1 + np.exp(-(a + b)[:, k : k + 3])) for k in (0, 3))
    n = np.tanh(a[:, 6:] + r * b[:, 6:])
    np.testing.assert_allclose(gru_step(a, b, h, algorithm="numpy"), (1 - z) * n + z * h)


def test_gradients_of_gru():
    a, b, h, dh = draw(2, 9), draw(2, 9, seed=1), draw(2, 3, seed=2), draw(2, 3, seed=3)
    found = gru_step_gradients(a, b, h, dh, algorithm="numpy")
    for k, gradient in enumerate(found):
        expected = slope(lambda *x: (gru_step(*x, algorithm="numpy") * dh).sum(), [a, b, h], k)
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8)


def test_saturated_gates_are_0_and_1():
    a = np.array([[-1000.0, 1000, 1000, 1000]], np.float32)
    h, c = lstm_step(a, np.array([[0.5]], np.float32), algorithm="numpy")
    assert c == 0.5
    np.testing.assert_allclose(h, np.tanh(0.5), rtol=1e-6)


@needs_numba
def test_large_states_are_compiled():
    a, c = np.zeros((32, 1024), np.float32), np.zeros((32, 256), np.float32)
    assert lstm_step.choose(a, c).name == lstm_step_gradients.choose(a, c, c, c).name == "one_loop"
    assert lstm_step.choose(a[:2], c[:2]).name == "numpy"
    assert lstm_step.choose(a.astype(np.float16), c).name == "numpy"
    assert gru_step.choose(a[:, :768], a[:, :768], c).name == "one_loop"
    assert gru_step_gradients.choose(a[:, :768], a[:, :768], c, c).name == "one_loop"
