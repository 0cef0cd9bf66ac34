"""Compiled convolution in small groups against the loops: any geometry, any number of channels."""

from __future__ import annotations

import numpy as np
import pytest
from geometries import ANY_SIDES, integers, windows
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn_kernels import conv, conv_input, conv_weight
from minicnn_kernels.errors import AlgorithmError
from minicnn_kernels.geometry import Windows

grouped = pytest.importorskip("minicnn_kernels.cpu.grouped", reason="Numba is not installed")

ODD = Windows((6, 5), (3, 2), (2, 1), (1, 2), (1, 2))


def arrays_and_settings(found, groups=3, filters=1, images=2, dtype=np.float32, channels=1):
    """Make a call with so many filters and channels in each group."""
    x = integers((images, groups * channels, *found.image)).astype(dtype)
    w = integers((groups * filters, channels, *found.kernel), seed=1).astype(dtype)
    dy = integers((images, groups * filters, *found.output), seed=2).astype(dtype)
    settings = {"stride": found.stride, "padding": found.padding, "dilation": found.dilation}
    return x, w, dy, {**settings, "groups": groups}


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


def assert_as_loops(*given_call):
    assert_equal(all_three("grouped_direct", *given_call), all_three("loops", *given_call))


@settings(max_examples=60)
@given(
    windows(ANY_SIDES), st.integers(1, 3), st.integers(1, 2), st.integers(0, 3), st.integers(1, 3)
)
def test_all_three_equal_the_loops(found, groups, filters, images, channels):
    assert_as_loops(*arrays_and_settings(found, groups, filters, images, channels=channels))


@pytest.mark.parametrize(("channels", "filters"), [(4, 4), (2, 3), (3, 1), (1, 5)])
def test_some_images_at_a_time(channels, filters, monkeypatch):
    monkeypatch.setattr(grouped, "ROWS_BYTES", 2000)
    assert_as_loops(*arrays_and_settings(ODD, 5, filters, images=5, channels=channels))


@pytest.mark.parametrize("channels", [1, 7, 8, 9, 32, 41, 73])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_block_of_channels(channels, dtype):
    assert_as_loops(*arrays_and_settings(ODD, groups=channels, dtype=dtype, images=1))


@pytest.mark.parametrize("found", [
    Windows((9, 11), (3, 3), (1, 1), (1, 1)),  # runs longer than three
    Windows((9, 12), (3, 3), (2, 2), (1, 1)),  # every other pixel meets other cells
    Windows((5, 13), (2, 2), (3, 4)),  # pixels that no window sees
    Windows((4, 4), (3, 3), (1, 1), (4, 4)),  # windows that see no pixel
    Windows((12, 13), (3, 4), (3, 2), (3, 2), (2, 3)),
    Windows((20,), (5,), (1,), (2,)),
    Windows((4, 5, 6), (2, 3, 3), (1, 2, 1), (1, 1, 0)),
], ids=repr)  # fmt: skip
def test_runs_and_borders(found):
    assert_as_loops(*arrays_and_settings(found, groups=2, filters=2))


@pytest.mark.parametrize("layout", [
    lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1),
    lambda a: a.transpose(3, 2, 1, 0).copy().transpose(3, 2, 1, 0),
    lambda a: np.flip(np.flip(a).copy()),
    lambda a: np.broadcast_to(a[:1, :1, :1, :1], a.shape),
], ids=["channels last", "turned", "backwards", "repeated"])  # fmt: skip
def test_any_strides_and_read_only_arrays(layout):
    *arrays, settings = arrays_and_settings(ODD)
    arrays = [layout(array) for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    assert_as_loops(*arrays, settings)
    for result in all_three("grouped_direct", *arrays, settings):
        assert result.flags.writeable
        assert not any(np.shares_memory(result, array) for array in arrays)


def test_images_of_the_result_have_their_channels_last():
    x, w, dy, settings = arrays_and_settings(ODD)
    y, dx, dw = all_three("grouped_direct", x, w, dy, settings)
    assert np.moveaxis(y, 1, -1).flags.c_contiguous
    assert np.moveaxis(dx, 1, -1).flags.c_contiguous
    assert dw.flags.c_contiguous


def test_the_sum_is_the_same_on_any_number_of_threads():
    from minicnn_kernels import threads

    draw = np.random.default_rng(0)
    x = draw.standard_normal((4, 64, 20, 20), np.float32)
    dy = draw.standard_normal((4, 64, 20, 20), np.float32)
    before = threads.get_num_threads()
    found = []
    try:
        for number in (1, 3):
            threads.set_num_threads(number)
            found.append(conv_weight(
                x, dy, size=(3, 3), stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=64,
                algorithm="grouped_direct",
            ))  # fmt: skip
    finally:
        threads.set_num_threads(before)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_inf_stay_where_they_are_seen(value):
    x, w, _, settings = arrays_and_settings(Windows((5, 5), (3, 3), (1, 1), (1, 1)), images=1)
    w[:] = 1
    x[0, 1, 2, 0] = value
    y = conv(x, w, algorithm="grouped_direct", **settings)
    assert np.argwhere(~np.isfinite(y)).tolist() == [
        [0, 1, i, j] for i in (1, 2, 3) for j in (0, 1)
    ]


def test_it_serves_one_floating_type():
    x, w, _, settings = arrays_and_settings(ODD)
    for call in (
        lambda: conv(x.astype(int), w.astype(int), algorithm="grouped_direct", **settings),
        lambda: conv(x.astype(float), w, algorithm="grouped_direct", **settings),
    ):
        with pytest.raises(AlgorithmError, match="does not serve"):
            call()


def test_it_is_taken_for_work_that_is_worth_it():
    x, w, dy, settings = arrays_and_settings(Windows((40, 40), (3, 3), (2, 2)), groups=32)
    assert conv.choose(x, w, **settings).name == "grouped_direct"
    assert conv_input.choose(x, w, size=(81, 81), **settings).name == "grouped_direct"
    assert conv_weight.choose(x, dy, size=(3, 3), **settings).name == "grouped_direct"
    assert conv.choose(x[:, :, :9, :9], w, **settings).name != "grouped_direct"


@pytest.mark.parametrize(("channels", "stride", "taken"), [
    (4, 1, [True, True, True]), (8, 2, [False, True, False]), (64, 1, [False, False, False]),
])  # fmt: skip
def test_it_is_taken_for_groups_of_few_channels(channels, stride, taken):
    found = Windows((20, 20), (3, 3), (stride, stride), (1, 1))
    x, w, dy, settings = arrays_and_settings(found, 8, channels, channels=channels, images=8)
    chosen = [
        conv.choose(x, w, **settings),
        conv_input.choose(dy, w, size=(20, 20), **settings),
        conv_weight.choose(x, dy, size=(3, 3), **settings),
    ]
    assert [algorithm.name == "grouped_direct" for algorithm in chosen] == taken
