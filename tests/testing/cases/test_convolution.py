from __future__ import annotations

import numpy as np
import pytest

from minicnn.testing.cases.convolution import convolutions

GEOMETRIES = {
    "plain": ((2, 2, 4, 5), (3, 2, 3, 2), {}),
    "groups": ((1, 4, 5, 5), (2, 2, 2, 3), {"groups": 2, "stride": (2, 1), "padding": 1}),
    "dilated": ((1, 1, 7, 6), (2, 1, 2, 2), {"dilation": (3, 2), "stride": 2}),
    "1d": ((2, 2, 7), (4, 1, 3), {"groups": 2, "stride": 2, "padding": 1}),
    "3d": ((1, 1, 3, 4, 2), (2, 1, 2, 1, 2), {"dilation": (1, 2, 1), "padding": (0, 0, 1)}),
    "batch 0": ((0, 1, 3, 3), (1, 1, 2, 2), {}),
}


@pytest.mark.parametrize(("x", "w", "settings"), GEOMETRIES.values(), ids=GEOMETRIES)
def test_the_three_rows_are_one_convolution(rng, x, w, settings):
    forward, by_input, by_weight = convolutions("name", x, w, **settings)
    assert [row.op for row in (forward, by_input, by_weight)] == [
        "conv", "conv_input", "conv_weight",
    ]  # fmt: skip
    x, w, dy = (rng.normal(size=shape) for shape in (x, w, by_input.inputs[0]))
    y, dx, dw = forward.function(x, w), by_input.function(dy, w), by_weight.function(x, dy)
    assert by_weight.inputs == (x.shape, dy.shape)
    assert y.shape == dy.shape
    assert dx.shape == x.shape
    assert dw.shape == w.shape
    np.testing.assert_allclose([(dx * x).sum(), (dw * w).sum()], (y * dy).sum(), rtol=1e-12)
