"""The depthwise algorithm against the loops; what it shares with the others is tested there."""

from __future__ import annotations

import numpy as np
import pytest
from geometries import ANY_SIDES, integers, windows
from hypothesis import given
from hypothesis import strategies as st

from minicnn_kernels import conv, conv_input, conv_weight
from minicnn_kernels.errors import AlgorithmError
from minicnn_kernels.geometry import Windows

ODD = Windows((6, 5), (3, 2), (2, 1), (1, 2), (1, 2))


def arrays_and_settings(found, channels=3, images=2):
    x = integers((images, channels, *found.image))
    w = integers((channels, 1, *found.kernel), seed=1)
    dy = integers((images, channels, *found.output), seed=2)
    settings = {"stride": found.stride, "padding": found.padding, "dilation": found.dilation}
    return x, w, dy, {**settings, "groups": channels}


def all_three(algorithm, x, w, dy, settings):
    return [
        conv(x, w, algorithm=algorithm, **settings),
        conv_input(dy, w, size=x.shape[2:], algorithm=algorithm, **settings),
        conv_weight(x, dy, size=w.shape[2:], algorithm=algorithm, **settings),
    ]


def assert_equal(results, expected):
    for result, correct in zip(results, expected, strict=True):
        assert result.dtype == correct.dtype
        np.testing.assert_array_equal(result, correct)


@given(windows(ANY_SIDES), st.integers(1, 3), st.integers(0, 3))
def test_all_three_equal_the_loops(found, channels, images):
    given_call = arrays_and_settings(found, channels, images)
    assert_equal(all_three("depthwise", *given_call), all_three("loops", *given_call))


@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8"])
def test_the_type_stays(dtype):
    *arrays, settings = arrays_and_settings(ODD)
    arrays = [abs(array).astype(dtype) for array in arrays]
    assert_equal(all_three("depthwise", *arrays, settings), all_three("loops", *arrays, settings))


@pytest.mark.parametrize("layout", [
    lambda a: a.transpose(3, 2, 1, 0).copy().transpose(3, 2, 1, 0),
    lambda a: np.flip(np.flip(a).copy()),
    lambda a: np.broadcast_to(a[:1, :1, :1, :1], a.shape),
], ids=["turned", "backwards", "repeated"])  # fmt: skip
def test_any_strides_and_read_only_arrays(layout):
    *arrays, settings = arrays_and_settings(ODD)
    arrays = [layout(array) for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    results = all_three("depthwise", *arrays, settings)
    assert_equal(results, all_three("loops", *arrays, settings))
    for result in results:
        assert result.flags.writeable
        assert not any(np.shares_memory(result, array) for array in arrays)


def test_it_serves_one_filter_per_channel_only():
    x, w, dy, settings = arrays_and_settings(ODD)
    twice = {"x": x, "w": np.concatenate([w, w]), "dy": np.concatenate([dy, dy], 1)}
    for call in (
        lambda: conv(x, twice["w"], algorithm="depthwise", **settings),
        lambda: conv_input(twice["dy"], twice["w"], size=(6, 5), algorithm="depthwise", **settings),
        lambda: conv_weight(x, twice["dy"], size=(3, 2), algorithm="depthwise", **settings),
        lambda: conv(x, np.concatenate([w] * 3, 1), algorithm="depthwise",
                     **{**settings, "groups": 1}),
    ):  # fmt: skip
        with pytest.raises(AlgorithmError, match="does not serve"):
            call()


def test_it_is_taken_where_it_serves_unless_the_stride_drops_most_of_its_work():
    x, w, dy, settings = arrays_and_settings(Windows((9, 9), (3, 3), (2, 2)))
    assert conv.choose(x, w, **settings).name == "depthwise"
    assert conv_input.choose(dy, w, size=(9, 9), **settings).name == "depthwise"
    assert conv_weight.choose(x, dy, size=(3, 3), **settings).name == "depthwise"
    assert conv.choose(x, w, **{**settings, "stride": (4, 4)}).name == "im2col"
    assert conv.choose(x, np.concatenate([w, w]), **settings).name == "im2col"
