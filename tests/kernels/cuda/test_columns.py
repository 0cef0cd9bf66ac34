"""Matrices and plans: plain arithmetic, tried on many shapes."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest

from minicnn_kernels.cuda import columns


def test_every_value_belongs_to_one_thread(rng):
    """Plans of many shapes: chunks, tiles and lanes cover rows and columns exactly."""
    for numbers in np.exp(rng.uniform(0, 9, (1000, 3))).astype(int).tolist():
        pieces, rows, width = numbers[0] // 50 + 1, numbers[1], numbers[2]
        pack = 4 if width % 4 == 0 else 1
        seen = columns.Matrices((0,), pieces, rows, width, 1, (width,))
        plan = columns.plan(seen, pack)
        of = {name: int(plan.columns[name]) for name in plan.columns.dtype.names}
        height = columns.THREADS // of["lanes"]
        assert of["lanes"] & (of["lanes"] - 1) == 0
        assert 1 <= of["lanes"] <= columns.LANES
        assert (of["tiles"] - 1) * of["lanes"] * pack < width <= of["tiles"] * of["lanes"] * pack
        assert (of["chunks"] - 1) * of["chunk"] < rows <= of["chunks"] * of["chunk"]
        assert of["chunk"] % height == 0
        assert plan.blocks == pieces * of["chunks"] * of["tiles"]
        assert plan.found == pieces * of["chunks"] * width
        assert plan.blocks < 2 * columns.BLOCKS or of["chunks"] == 1


@pytest.mark.parametrize(("shape", "order", "weights", "axes"), [
    ((4, 3, 5, 6), (0, 1, 2, 3), (1, 3, 1, 1), (0, 2, 3)),  # not channels last
    ((4, 3, 5, 6), (0, 2, 3, 1), (1, 3, 5, 6), (2, 3)),  # weighted otherwise than grouped
    ((4, 3, 5, 6), (0, 2, 3, 1), (1, 1, 5, 1), (0, 2, 3)),  # weighted along the rows
    ((4, 3, 5, 6), (1, 0, 2, 3), (1, 1, 1, 1), (2, 3)),  # groups in another order
])  # fmt: skip
def test_what_is_no_matrix_is_copied_or_left_to_others(shape, order, weights, axes):
    assert columns.matrices(shape, order, weights, axes) is None


def test_matrices_hold_all_values(rng):
    count = 0
    for _ in range(2000):
        shape = tuple(rng.integers(1, 4, rng.integers(1, 6)).tolist())
        order = tuple(rng.permutation(len(shape)).tolist())
        weights = tuple(int(n * rng.integers(2)) or 1 for n in shape)
        axes = tuple(i for i in range(len(shape)) if rng.integers(2))
        found = columns.matrices(shape, order, weights, axes)
        best = columns.best_order(shape, weights, axes)
        assert sorted(best) == sorted(order)
        if found is not None:
            count += 1
            assert found.pieces * found.rows * found.columns == prod(shape)
            groups = prod(n for i, n in enumerate(shape) if i not in axes)
            of_a_piece = found.columns // found.group if found.group else 1
            assert found.pieces * of_a_piece == groups
    assert count > 200
