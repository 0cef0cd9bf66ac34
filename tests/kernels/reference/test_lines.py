"""Which convolutions are computed over padded lines."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn_kernels import conv, conv_input, conv_weight
from minicnn_kernels.errors import AlgorithmError
from minicnn_kernels.registry import can_compile

pytestmark = pytest.mark.skipif(not can_compile(), reason="Numba is not installed")

PLAIN = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}


def names(x_shape, w_shape, y_shape):
    """Return the algorithms chosen for the three convolutions."""
    x, w, dy = (np.empty(shape, np.float32) for shape in (x_shape, w_shape, y_shape))
    chosen = [
        conv.choose(x, w, **PLAIN),
        conv_input.choose(dy, w, size=x_shape[2:], **PLAIN),
        conv_weight.choose(x, dy, size=w_shape[2:], **PLAIN),
    ]
    return [algorithm.name for algorithm in chosen]


def test_it_is_taken_for_few_channels():
    assert names((8, 1, 28, 28), (6, 1, 5, 5), (8, 6, 24, 24)) == ["padded_lines"] * 3
    assert names((8, 6, 14, 14), (16, 6, 5, 5), (8, 16, 10, 10)) == ["padded_lines"] * 3


def test_it_is_not_taken_for_few_windows_of_many_channels():
    found = names((8, 512, 7, 7), (512, 512, 5, 5), (8, 512, 3, 3))
    assert "padded_lines" not in found


def test_small_arrays_stay_with_numpy():
    assert names((2, 2, 6, 6), (3, 2, 3, 3), (2, 3, 4, 4)) == ["im2col"] * 3


@pytest.mark.parametrize(("filters", "change"), [
    ((3, 2, 3, 3), {"dilation": (1, 2)}),
    ((4, 1, 3, 3), {"groups": 2}),
    ((3, 2, 1, 1), {}),
    ((0, 2, 3, 3), {}),
])  # fmt: skip
def test_what_is_not_served(filters, change):
    x, w = np.ones((2, 2, 6, 6), np.float32), np.ones(filters, np.float32)
    with pytest.raises(AlgorithmError, match="does not serve"):
        conv(x, w, algorithm="padded_lines", **{**PLAIN, **change})
