from __future__ import annotations

import emulation
import numpy as np
import pytest

from minicnn_kernels.cuda import launch, layout

SHAPES = [(2, 3, 5, 7), (1, 33, 6, 6), (3, 40, 5), (2, 17, 3, 4, 5), (2, 1, 4, 4), (1, 3, 40, 41),
          (2, 65, 7, 7), (1, 1100, 2, 1), (4, 5, 1, 1), (0, 3, 4, 4)]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8"])
def test_images_turn_there_and_back(card, rng, shape, dtype):
    values = (100 * rng.standard_normal(shape)).astype(dtype)
    x = card.array(values)
    with card.no_copies():
        turned = layout.channels_last(x)
        back = layout.channels_first(turned.transpose(0, -1, *range(1, x.ndim - 1)))
    np.testing.assert_array_equal(turned.get(), np.moveaxis(values, 1, -1))
    assert turned.flags.c_contiguous
    assert back.flags.c_contiguous
    np.testing.assert_array_equal(back.get(), values)


def test_any_other_order_is_copied(card, rng):
    values = rng.standard_normal((4, 6, 5, 3)).astype(np.float32)
    x = card.array(values).transpose(1, 0, 3, 2)[:, 1:]
    expected = values.transpose(1, 0, 3, 2)[:, 1:]
    np.testing.assert_array_equal(layout.channels_last(x).get(), np.moveaxis(expected, 1, -1))
    np.testing.assert_array_equal(layout.channels_first(x).get(), expected)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sizes", [(3, 401), (401, 3), (50, 37)])
def test_tiles_in_any_order_of_turns(rng, sizes, seed):
    x = rng.integers(0, 2**16, (2, *sizes)).astype(np.uint16)
    y = np.zeros((2, *sizes[::-1]), np.uint16)
    plan = layout.plan(2, *sizes)
    emulation.module(launch.source("layout.cu")).launch(
        "transpose_2", plan.blocks, 256, (x, y, *map(np.int32, (*sizes, *plan[1:]))),
        shared=plan.rows * plan.pitch * 2, seed=seed,
    )  # fmt: skip
    np.testing.assert_array_equal(y, x.swapaxes(1, 2))


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
