from __future__ import annotations

import numpy as np

from minicnn import Tensor
from minicnn.testing.cases.normalization import AVERAGE, VARIANCE, normalized, standardized


def test_rows_in_training_use_the_statistics_of_the_batch(rng):
    case = normalized("name", (8, 2, 3, 3), (2,), (2,), eps=0.5)
    x, scale, shift = rng.normal(2, 3, size=(8, 2, 3, 3)), np.array([2.0, -1.0]), np.ones(2)
    y = case.function(Tensor(x), Tensor(scale), Tensor(shift)).numpy()
    spread = x.var(axis=(0, 2, 3), keepdims=True) + 0.5
    plain = (x - x.mean(axis=(0, 2, 3), keepdims=True)) / np.sqrt(spread)
    np.testing.assert_allclose(y, plain * scale[:, None, None] + 1, rtol=1e-12)
    assert (case.op, case.through) == ("normalize_batch", "batch_norm")


def test_rows_of_inference_use_fixed_statistics(rng):
    case = standardized("name", (3, 2))
    x = rng.normal(size=(3, 2))
    expected = (x - AVERAGE) / np.sqrt(VARIANCE + 1e-5)
    np.testing.assert_allclose(case.function(Tensor(x)).numpy(), expected, rtol=1e-12)
    narrow = case.function(Tensor(x.astype(np.float32)))
    assert narrow.dtype == np.float32
