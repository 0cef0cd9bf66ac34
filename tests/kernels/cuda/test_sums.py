"""Sums on a card against NumPy's in float64."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn_kernels import kernels

CASES = [((5, 3, 4, 6), (0, 2, 3)), ((5, 8, 9, 20), (0, 2, 3)), ((7, 33), (0,)), ((900, 12), (0,)),
         ((3, 40, 2, 5), (0, 1)), ((70, 64, 5, 5), (0, 2, 3))]  # fmt: skip


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("shape", "axes"), CASES, ids=str)
def test_as_numpy(card, rng, shape, axes, turned):
    x = rng.normal(1, 1, shape).astype(np.float32)
    if turned:
        x = np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1)
    on_card = card.array(x)
    assert kernels["total"].choose(on_card, axes=axes).name == "cuda"
    with card.no_copies():
        y = kernels["total"](on_card, axes=axes)
    assert y.dtype == np.float32
    expected = x.sum(axes, np.float64, keepdims=True)
    np.testing.assert_allclose(y.get(), expected, rtol=2e-6, atol=1e-5)


def test_one_chunk_needs_one_launch(card, rng):
    x = card.array(np.ones((100, 12), np.float32))
    kernels["total"](x, axes=(0,))
    assert card.seen("launch") == {"column_sums_f32_4": 1}


@pytest.mark.parametrize(("shape", "axes"), [((5, 6), (1,)), ((5, 6), (0, 1)), ((6, 5), ()),
                                             ((0, 5), (0,))])  # fmt: skip
def test_rows_and_everything_are_left_to_cupy(card, shape, axes):
    x = card.array(np.ones(shape, np.float32))
    assert kernels["total"].choose(x, axes=axes).name == "numpy"
    assert kernels["total"].choose(card.array(np.ones((9, 8))), axes=(0,)).name == "numpy"
