from __future__ import annotations

import numpy as np
import pytest

from minicnn import nn
from minicnn.errors import ShapeError
from minicnn.tensor import Tensor


def test_positions_go_from_one_layer_to_the_other(rng):
    x = Tensor(rng.normal(size=(2, 3, 4, 6)))
    pool, unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
    y, indices = pool(x)
    back = unpool(y, indices)
    assert back.shape == x.shape
    np.testing.assert_array_equal(back.array[back.array != 0], x.array[back.array != 0])
    assert unpool(y, indices, output_size=(5, 7)).shape == (2, 3, 5, 7)


def test_the_settings_of_the_ones_that_torch_lacks_are_shown():
    assert repr(nn.MinPool2d(3, 2)) == (
        "MinPool2d(kernel_size=3, stride=2, padding=0, dilation=1, ceil_mode=False)"
    )
    assert repr(nn.MedianPool1d(3)) == "MedianPool1d(kernel_size=3, stride=3, padding=0)"


@pytest.mark.parametrize("make", [
    lambda: nn.AvgPool1d((1, 2)), lambda: nn.MaxUnpool2d((1, 2, 3)), lambda: nn.MaxUnpool1d(0),
], ids=["AvgPool1d", "MaxUnpool2d", "MaxUnpool1d"])  # fmt: skip
def test_impossible_settings_are_refused_when_the_layer_is_made(make):
    with pytest.raises(ShapeError, match=r"(AvgPool1d|MaxUnpool\dd): kernel_size must be"):
        make()
