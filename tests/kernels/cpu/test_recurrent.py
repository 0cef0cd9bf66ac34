"""Compiled steps of recurrent cells against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn_kernels import gru_step, gru_step_gradients, lstm_step, lstm_step_gradients
from minicnn_kernels.reference import recurrent

pytest.importorskip("minicnn_kernels.cpu.recurrent", reason="Numba is not installed")

KERNELS = {  # kernel: how many times the hidden size its arrays are wide
    lstm_step: (4, 1),
    lstm_step_gradients: (4, 1, 1, 1),
    gru_step: (3, 3, 1),
    gru_step_gradients: (3, 3, 1, 1),
}
every_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)


@pytest.fixture(autouse=True)
def _also_small_states(monkeypatch):
    monkeypatch.setattr(recurrent, "ENOUGH", 0)


def draw(kernel, rows, size, dtype=np.float32):
    rng = np.random.default_rng(0)
    return [2 * rng.standard_normal((rows, k * size)).astype(dtype) for k in KERNELS[kernel]]


def results(kernel, arrays, algorithm):
    found = kernel(*arrays, algorithm=algorithm)
    return found if isinstance(found, tuple) else (found,)


def assert_as_numpy(kernel, arrays, rtol=2e-5):
    pairs = zip(results(kernel, arrays, "one_loop"), results(kernel, arrays, "numpy"), strict=True)
    for found, expected in pairs:
        assert found.dtype == arrays[0].dtype
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol / 10)


@every_kernel
@pytest.mark.parametrize(("rows", "size"), [(1, 1), (3, 7), (0, 4), (5, 0), (40, 130)])
def test_any_size(kernel, rows, size):
    assert_as_numpy(kernel, draw(kernel, rows, size))


@every_kernel
def test_float64_is_exact(kernel):
    assert_as_numpy(kernel, draw(kernel, 3, 5, np.float64), rtol=1e-13)


@every_kernel
def test_any_strides_and_nothing_is_changed(kernel):
    arrays = [np.repeat(array, 2, axis=1)[:, ::2] for array in draw(kernel, 4, 6)]
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    assert_as_numpy(kernel, arrays)
    for array, old in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, old)


@every_kernel
@pytest.mark.parametrize("value", [1000.0, -1000.0, np.nan])
def test_saturated_gates_and_nan(kernel, value):
    arrays = draw(kernel, 2, 3)
    arrays[0][0, ::2] = value
    assert_as_numpy(kernel, arrays)
