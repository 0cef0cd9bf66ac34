from __future__ import annotations

import numpy as np
import pytest

from minicnn_kernels.cuda.splits import add_parts


@pytest.mark.parametrize("shape", [(1, 5), (2, 33), (9, 3, 7), (70, 32), (513, 2)])
def test_parts_are_added_in_order(card, rng, shape):
    parts = rng.standard_normal(shape).astype(np.float32)
    found = add_parts(card.array(parts), np.dtype(np.float32)).get()
    by_warp = [
        parts[warp::8].cumsum(axis=0, dtype=np.float32)[-1:] for warp in range(len(parts[:8]))
    ]
    expected = np.concatenate(by_warp).cumsum(axis=0, dtype=np.float32)[-1]
    np.testing.assert_array_equal(found, expected)


def test_sums_are_rounded_once(card, rng):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    parts = rng.standard_normal((5, 40)).astype(np.float32)
    found = add_parts(card.array(parts), np.dtype(bfloat16))
    expected = parts.cumsum(axis=0, dtype=np.float32)[-1].astype(bfloat16)
    np.testing.assert_array_equal(found.get(), expected)
