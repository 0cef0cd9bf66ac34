"""Convolution over padded lines against the loops, and the rows of several results."""

from __future__ import annotations

import numpy as np
import pytest
from geometries import ANY_SIDES, integers, windows
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn_kernels import conv, conv_bias, conv_input, conv_weight, use_algorithms
from minicnn_kernels.arrays import Array
from minicnn_kernels.constants import constant
from minicnn_kernels.geometry import Windows

lines = pytest.importorskip("minicnn_kernels.cpu.lines", reason="Numba is not installed")

FLAT = Windows((6, 5), (3, 3), padding=(1, 1))


def channels_last(x: Array) -> Array:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


class Call:
    """Arrays and settings of one convolution, whole numbers so that no sum is rounded."""

    def __init__(self, found, channels=2, filters=3, images=2, dtype=np.float32):
        self.x = integers((images, channels, *found.image)).astype(dtype)
        self.w = integers((filters, channels, *found.kernel), seed=1).astype(dtype)
        self.dy = integers((images, filters, *found.output), seed=2).astype(dtype)
        self.settings = {
            "stride": found.stride,
            "padding": found.padding,
            "dilation": found.dilation,
            "groups": 1,
        }

    def all_three(self, algorithm):
        """Compute what the algorithm serves; None for a gradient by x that it does not."""
        more = {"algorithm": algorithm, **self.settings}
        able = self.x.shape[-1] % self.settings["stride"][-1] == 0
        return [
            conv(self.x, self.w, **more),
            conv_input(self.dy, self.w, size=self.x.shape[2:], **more) if able else None,
            conv_weight(self.x, self.dy, size=self.w.shape[2:], **more),
        ]


def assert_right(call, oracle="im2col"):
    for result, expected in zip(
        call.all_three("padded_lines"), call.all_three(oracle), strict=True
    ):
        if expected is not None:
            assert result.dtype == expected.dtype
            np.testing.assert_array_equal(result, expected)


@settings(max_examples=80)
@given(windows(ANY_SIDES), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_all_three_equal_the_loops(found, channels, filters, images):
    if found.dilation[-1] == 1 and found.cells > 1:
        assert_right(Call(found, channels, filters, images), "loops")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3, 16, 33])
@pytest.mark.parametrize("filters", [1, 6, 16, 17, 32, 70])
def test_numbers_around_those_of_tiles(channels, filters, dtype):
    assert_right(Call(Windows((6, 6), (3, 2), (2, 1), (1, 2)), channels, filters, dtype=dtype))


@pytest.mark.parametrize("found", [
    Windows((20, 28), (5, 5), padding=(2, 2)),
    Windows((17, 16), (7, 7), (2, 2), (3, 3)),  # phases that see cells of unequal number
    Windows((23, 24), (11, 11), (4, 4), (2, 2)),
    Windows((9, 8), (2, 2), (3, 4)),  # pixels that no window sees
    Windows((5, 5), (3, 3), padding=(5, 40)),  # windows that see the padding alone
    Windows((12, 12), (3, 3), (2, 2), (2, 2), (2, 1)),  # stride and dilation share a factor
    Windows((9, 9), (3, 1), padding=(1, 0)),
    Windows((1, 600), (3, 3), padding=(1, 1)),  # sums over more windows than fit the cache
    Windows((40,), (7,), (2,), (3,)),
    Windows((4, 5, 6), (2, 3, 2), (1, 2, 1), (1, 0, 1)),
    Windows((6, 6, 8), (3, 3, 3), (2, 2, 2), (1, 1, 1), (2, 2, 1)),
])  # fmt: skip
@pytest.mark.parametrize(("channels", "filters"), [(40, 5), (1, 33), (3, 6)])
def test_geometries(found, channels, filters):
    assert_right(Call(found, channels, filters))


def test_a_sum_in_several_blocks():
    assert_right(Call(FLAT, channels=300, filters=20))


def test_a_line_at_a_time(monkeypatch):
    """Bands of an image, and each part of the threads', see some lines twice."""

    def run(kernel, count, *arguments, **more):
        for begin, end in ((0, count // 3), (count // 3, count // 2), (count // 2, count)):
            kernel(begin, end, *arguments)

    monkeypatch.setattr(lines, "parallel", run)
    monkeypatch.setattr(lines, "BAND_BYTES", 0)
    monkeypatch.setattr(lines, "get_num_threads", lambda: 3)
    for plan in (lines._forward, lines._backward):
        plan.cache_clear()
    assert_right(Call(Windows((9, 8), (3, 3), (2, 2), (1, 1), (2, 1)), channels=4, images=3))
    for plan in (lines._forward, lines._backward):
        plan.cache_clear()


LAYOUTS = {
    "channels last": channels_last,
    "first side fastest": np.asfortranarray,
    "backwards": lambda x: np.ascontiguousarray(x[::-1, :, ::-1])[::-1, :, ::-1],
    "every other": lambda x: np.repeat(x, 2, axis=3)[..., ::2],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_strides(layout):
    call = Call(FLAT, channels=5, filters=6)
    expected = call.all_three("im2col")
    call.x, call.w, call.dy = (LAYOUTS[layout](array) for array in (call.x, call.w, call.dy))
    before = [array.copy() for array in (call.x, call.w, call.dy)]
    for array in (call.x, call.w, call.dy):
        array.flags.writeable = False
    for result, correct in zip(call.all_three("padded_lines"), expected, strict=True):
        np.testing.assert_array_equal(result, correct)
    for array, copy in zip((call.x, call.w, call.dy), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_results_lie_channels_last():
    y, dx, dw = Call(FLAT, channels=5, filters=6).all_three("padded_lines")
    assert np.moveaxis(y, 1, -1).flags.c_contiguous
    assert np.moveaxis(dx, 1, -1).flags.c_contiguous
    assert dw.flags.c_contiguous


def test_nan_stays_with_the_windows_that_see_it():
    call = Call(FLAT, channels=5, filters=6)
    call.x[1, 2, 0, 0] = np.nan
    call.x[0, 1, 4, 4] = np.inf
    y = conv(call.x, call.w, algorithm="padded_lines", **call.settings)
    with np.errstate(invalid="ignore"):
        expected = conv(call.x, call.w, algorithm="im2col", **call.settings)
    np.testing.assert_array_equal(y, expected)
    assert np.isfinite(y[1, :, 2:, 2:]).all()


def with_bias(call, bias, **more):
    with use_algorithms(conv="padded_lines"):
        return conv_bias(call.x, call.w, bias, **more, **call.settings)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize(("channels", "filters"), [(3, 4), (100, 40)])
def test_bias_and_what_is_added(channels, filters, adds, relu):
    call = Call(Windows((6, 8), (3, 3), padding=(1, 1)), channels, filters)
    bias, add = integers((2 * filters,), seed=5).astype(np.float32)[::2], None
    expected = conv(call.x, call.w, algorithm="im2col", **call.settings) + bias[:, None, None]
    if adds:
        add = integers(expected.shape, seed=6).astype(np.float32)
        expected += add
    y = with_bias(call, bias, add=add, relu=relu)
    np.testing.assert_array_equal(y, np.maximum(expected, 0) if relu else expected)


def test_relu_keeps_nan():
    call = Call(FLAT)
    call.x[0, 0, 0, 0] = np.nan
    y = with_bias(call, np.zeros(3, np.float32), relu=True)
    assert np.isnan(y[0, :, 0, 0]).all()
    assert (y[1] >= 0).all()


def test_filters_of_constants_are_packed_once(monkeypatch):
    call = Call(Windows((6, 8), (3, 3), padding=(1, 1)), filters=2)
    call.w = constant(call.w)
    expected = call.all_three("padded_lines")
    monkeypatch.setattr(lines, "pack_filters", None)  # would fail if it were called
    for result, correct in zip(call.all_three("padded_lines"), expected, strict=True):
        np.testing.assert_array_equal(result, correct)


@settings(max_examples=40)
@given(windows(ANY_SIDES), st.integers(1, 20), st.integers(1, 20))
def test_the_three_are_one_form(found, channels, filters):
    """<y, dy> = <x, dx> = <w, dw>, exactly: the numbers are whole."""
    if found.dilation[-1] == 1 and found.cells > 1:
        call = Call(found, channels, filters, dtype=np.float64)
        y, dx, dw = call.all_three("padded_lines")
        assert np.vdot(y, call.dy) == np.vdot(call.w, dw)
        assert dx is None or np.vdot(y, call.dy) == np.vdot(call.x, dx)


def test_accuracy():
    rng = np.random.default_rng(0)
    call = Call(Windows((14, 14), (5, 5), padding=(2, 2)), 16, 48, dtype=np.float64)
    for name in ("x", "w", "dy"):
        setattr(call, name, rng.standard_normal(getattr(call, name).shape))
    expected = call.all_three("im2col")
    call.x, call.w, call.dy = (a.astype(np.float32) for a in (call.x, call.w, call.dy))
    for result, correct in zip(call.all_three("padded_lines"), expected, strict=True):
        assert np.linalg.norm(result - correct) <= 2e-6 * np.linalg.norm(correct)
