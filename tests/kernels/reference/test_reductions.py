from __future__ import annotations

import math

import numpy as np
import pytest

from minicnn_kernels.reference import reductions

DEFINITIONS = {
    "total": (reductions.total_by_numpy, math.fsum),
    "product": (reductions.product_by_numpy, math.prod),
    "largest": (reductions.largest_by_numpy, max),
    "smallest": (reductions.smallest_by_numpy, min),
}


@pytest.mark.parametrize("name", DEFINITIONS)
@pytest.mark.parametrize("axes", [(), (0,), (1, 2), (0, 2), (0, 1, 2)], ids=str)
def test_by_definition(rng, name, axes):
    x = rng.normal(size=(3, 4, 2))
    reduce, of_values = DEFINITIONS[name]
    y = reduce(x, axes=axes)
    assert y.shape == tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    for place in np.ndindex(y.shape):
        values = x[tuple(slice(None) if i in axes else k for i, k in enumerate(place))]
        assert y[place] == pytest.approx(of_values(values.ravel().tolist()))


@pytest.mark.parametrize("axes", [(2, 3), (1,), (0, 2, 3), (0, 1, 2, 3)], ids=str)
@pytest.mark.parametrize("last", [False, True])
def test_sums_of_many_numbers(rng, axes, last):
    x = rng.normal(size=(4, 8, 20, 30))
    x = np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1) if last else x
    np.testing.assert_allclose(
        reductions.total_by_numpy(x, axes=axes), x.sum(axes, keepdims=True), rtol=1e-11
    )
