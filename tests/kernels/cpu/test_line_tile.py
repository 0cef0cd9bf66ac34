"""The tile of a sum over lines against NumPy: steps, parts of a tile, and what comes after it."""

from __future__ import annotations

import numpy as np
import pytest

line_tile = pytest.importorskip("minicnn_kernels.cpu.line_tile", reason="Numba is not installed")
jit = pytest.importorskip("minicnn_kernels.cpu.jit")
vector = pytest.importorskip("minicnn_kernels.cpu.vector")


@jit.jit()
def compute(which, size, a, a_steps, b, b_steps, c, c_steps, part, first, add, relu):
    if which == 0:
        line_tile.tile_sum(
            size, a, 2, a_steps, b, 1, b_steps, c, 3, c_steps, part, first, 4, add, relu
        )
    elif which == 1:
        line_tile.half_tile_sum(
            size, a, 2, a_steps, b, 1, b_steps, c, 3, c_steps, part, first, 4, add, relu
        )
    elif which == 2:
        line_tile.low_tile_sum(
            size, a, 2, a_steps, b, 1, b_steps, c, 3, c_steps, part, first, 4, add, relu
        )
    else:
        line_tile.low_half_tile_sum(
            size, a, 2, a_steps, b, 1, b_steps, c, 3, c_steps, part, first, 4, add, relu
        )


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [(1, 5), (3, 1), (2, 4), (0, 3), (2, 0)])
@pytest.mark.parametrize("missing", [(0, 0, 0), (1, 2, 1), (0, 9, 2)])
@pytest.mark.parametrize("apart", [False, True])
def test_tile(which, dtype, size, missing, apart):
    rng = np.random.default_rng(0)
    lanes = vector.VECTOR_BYTES // np.dtype(dtype).itemsize
    rows = vector.ROWS if which < 2 else vector.LOW_ROWS
    half = line_tile.half_of(rows)
    columns = lanes * (1 if which % 2 else 2)
    part = half - missing[0], rows - half - missing[1], columns - missing[2]
    a, b, c = (rng.integers(-5, 5, n).astype(dtype) for n in (2000, 2000, 40 * rows + 200))
    first = rng.integers(-5, 5, columns + 4).astype(dtype)
    a_steps, b_steps, c_step = (3, 7, 100), (columns + 1, 500), columns + 5
    a_half, c_half = (1000, half * c_step + 90) if apart else (half * 3, half * c_step)
    for add, relu in ((False, False), (False, True), (True, False), (True, True)):
        expected = c.copy()
        for i in (*range(part[0]), *range(half, half + part[1])):
            lower, row = divmod(i, half)
            line = expected[3 + lower * c_half + row * c_step :][: part[2]]
            total = first[4:][: part[2]] + (line if add else 0)
            for r, k in np.ndindex(size):
                at = 2 + lower * a_half + row * a_steps[0] + k * a_steps[1] + r * a_steps[2]
                total = total + a[at] * b[1 + k * b_steps[0] + r * b_steps[1] :][: part[2]]
            line[:] = np.maximum(total, 0) if relu else total
        found = c.copy()
        compute(
            which, size, a, (*a_steps, a_half), b, b_steps, found, (c_step, c_half), part, first,
            add, relu,
        )  # fmt: skip
        np.testing.assert_array_equal(found, expected)
