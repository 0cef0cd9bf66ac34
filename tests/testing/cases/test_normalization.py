from __future__ import annotations

import numpy as np
import pytest

from minicnn import Tensor
from minicnn.testing.cases import normalization as rows
from minicnn.testing.cases.normalization import AVERAGE, VARIANCE


def test_rows_in_training_use_the_statistics_of_the_batch(rng):
    case = rows.normalized("name", (8, 2, 3, 3), (2,), (2,), eps=0.5)
    x, scale, shift = rng.normal(2, 3, size=(8, 2, 3, 3)), np.array([2.0, -1.0]), np.ones(2)
    y = case.function(Tensor(x), Tensor(scale), Tensor(shift)).numpy()
    spread = x.var(axis=(0, 2, 3), keepdims=True) + 0.5
    plain = (x - x.mean(axis=(0, 2, 3), keepdims=True)) / np.sqrt(spread)
    np.testing.assert_allclose(y, plain * scale[:, None, None] + 1, rtol=1e-12)
    assert (case.op, case.through) == ("normalize_groups", "batch_norm")


@pytest.mark.parametrize("kind", ["batch_norm", "instance_norm"])
def test_rows_of_inference_use_fixed_statistics(rng, kind):
    case = rows.standardized(kind, "name", (3, 2))
    x = rng.normal(size=(3, 2))
    expected = (x - AVERAGE) / np.sqrt(VARIANCE + 1e-5)
    np.testing.assert_allclose(case.function(Tensor(x)).numpy(), expected, rtol=1e-12)
    narrow = case.function(Tensor(x.astype(np.float32)))
    assert narrow.dtype == np.float32
    assert case.through == kind


@pytest.mark.parametrize(("case", "axes"), [
    (rows.by_instance("name", (2, 4, 3)), 2),
    (rows.last("layer_norm", "name", (4, 3), (2, 4, 3)), (1, 2)),
    (rows.grouped("name", 1, (2, 4, 3)), (1, 2)),
], ids=["instance", "layer", "group"])  # fmt: skip
def test_rows_normalise_over_the_axes_of_their_kind(rng, case, axes):
    y = case.function(Tensor(rng.normal(2, 3, size=(2, 4, 3)))).numpy()
    np.testing.assert_allclose(y.mean(axes), 0, atol=1e-12)


def test_rows_of_the_root_mean_square_do_not_centre(rng):
    x = rng.normal(2, 3, size=(2, 4))
    y = rows.last("rms_norm", "name", (4,), (2, 4), eps=0.0).function(Tensor(x)).numpy()
    np.testing.assert_allclose(y, x / np.sqrt((x**2).mean(1, keepdims=True)), rtol=1e-12)


def test_rows_of_neighbours_pass_their_settings_on():
    case = rows.by_neighbours("name", (1, 2, 1), size=1, alpha=3.0, beta=0.5)
    np.testing.assert_allclose(case.function(Tensor(np.ones((1, 2, 1)))).numpy(), 0.5)
