from __future__ import annotations

import numpy as np

from minicnn_kernels.cuda import layout


def test_tiles_cover_each_value_once_and_fit():
    rng = np.random.default_rng(0)
    sizes = np.exp(rng.uniform(0, 12, (2000, 2))).astype(int)
    for rows, columns in [(1, 1), (32, 33), (33, 32), (31, 1025), *map(tuple, sizes.tolist())]:
        matrices = int(rng.integers(1, 9))
        plan = layout.plan(matrices, rows, columns)
        down, across = -(-rows // plan.rows), -(-columns // plan.columns)
        assert plan.blocks == matrices * down * across
        assert 0 < plan.rows * plan.columns <= layout.TILE
        assert plan.pitch >= plan.columns
        assert plan.rows * plan.pitch * max(layout.WIDTHS) <= 48 * 1024
        if min(rows, columns) > 32:
            assert plan.rows == plan.columns == 32


def test_memory_that_is_channels_last_already_is_not_copied():
    x = np.zeros((2, 5, 6, 3), np.float32).transpose(0, 3, 1, 2)
    assert np.shares_memory(layout.channels_last(x), x)
    assert layout.channels_last(x).shape == (2, 5, 6, 3)
    assert layout.channels_first(y := np.zeros((2, 3, 4, 4))) is y
