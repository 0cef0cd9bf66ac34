from __future__ import annotations

import numpy as np
import pytest
from geometries import integers

from minicnn import nn
from minicnn.errors import ArgumentError, ShapeError
from minicnn.tensor import Tensor


@pytest.mark.parametrize("settings", [
    {"size": (3, 5)}, {"scale_factor": 2}, {"scale_factor": (2, 1.5), "mode": "bilinear"},
    {"size": 4, "mode": "bicubic", "align_corners": True}, {"scale_factor": 3, "mode": "area"},
], ids=str)  # fmt: skip
def test_upsample_is_that_of_torch(torch, settings):
    x = integers((2, 3, 2, 3))
    expected = torch.nn.Upsample(**settings)(torch.tensor(x))
    np.testing.assert_allclose(nn.Upsample(**settings)(Tensor(x)).array, expected, atol=1e-12)
    assert repr(nn.Upsample(**settings)) == repr(torch.nn.Upsample(**settings))


def test_corners_stay_in_their_corners():
    x = integers((1, 1, 3, 4))
    y = nn.UpsamplingBilinear2d(scale_factor=3)(Tensor(x)).array
    np.testing.assert_allclose(y[0, 0, ::8, ::11], x[0, 0, ::2, ::3])


def test_an_upsampling_without_size_is_refused_when_it_is_used():
    layer = nn.Upsample()
    with pytest.raises(ArgumentError, match="give size or scale_factor"):
        layer(Tensor(np.ones((1, 1, 2))))


def test_pixels_go_into_channels_and_back():
    x = integers((2, 3, 4, 6))
    y = nn.PixelUnshuffle(2)(Tensor(x))
    assert y.shape == (2, 12, 2, 3)
    np.testing.assert_array_equal(nn.PixelShuffle(2)(y).array, x)


def test_channels_dealt_out_and_collected():
    x = integers((2, 6, 2))
    y = nn.ChannelShuffle(3)(Tensor(x))
    np.testing.assert_array_equal(nn.ChannelShuffle(2)(y).array, x)
    with pytest.raises(ShapeError, match="channel_shuffle"):
        nn.ChannelShuffle(4)(Tensor(x))
