"""The compiled convolution against the loops in every geometry, and the law that ties the three."""

from __future__ import annotations

import numpy as np
import pytest
from geometries import ANY_SIDES, integers, windows
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn_kernels import conv, conv_bias, conv_input, conv_weight, use_algorithms
from minicnn_kernels.constants import constant
from minicnn_kernels.errors import AlgorithmError
from minicnn_kernels.geometry import Windows
from minicnn_kernels.reference import convolution as reference

convolution = pytest.importorskip(
    "minicnn_kernels.cpu.convolution", reason="Numba is not installed"
)


class Call:
    """Arrays and settings of one convolution, whole numbers so that no sum is rounded."""

    def __init__(self, found, channels=2, filters=3, groups=1, images=2, dtype=np.float32):
        self.x = integers((images, channels * groups, *found.image)).astype(dtype)
        self.w = integers((filters * groups, channels, *found.kernel), seed=1).astype(dtype)
        self.dy = integers((images, filters * groups, *found.output), seed=2).astype(dtype)
        self.settings = {
            "stride": found.stride,
            "padding": found.padding,
            "dilation": found.dilation,
            "groups": groups,
        }

    def all_three(self, algorithm):
        more = {"algorithm": algorithm, **self.settings}
        return [
            conv(self.x, self.w, **more),
            conv_input(self.dy, self.w, size=self.x.shape[2:], **more),
            conv_weight(self.x, self.dy, size=self.w.shape[2:], **more),
        ]


def assert_right(call, oracle="im2col"):
    for result, expected in zip(
        call.all_three("implicit_gemm"), call.all_three(oracle), strict=True
    ):
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result, expected)


ODD = Windows((6, 5), (3, 2), (2, 1), (1, 2), (1, 2))
SQUARE = Windows((6, 6), (3, 3), padding=(1, 1))


@settings(max_examples=60)
@given(
    windows(ANY_SIDES), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(0, 3)
)
def test_all_three_equal_the_loops(found, channels, filters, groups, images):
    assert_right(Call(found, channels, filters, groups, images), "loops")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3, 16, 33])
@pytest.mark.parametrize("filters", [1, 8, 16, 17, 32, 70])
def test_numbers_around_those_of_tiles(channels, filters, dtype):
    assert_right(Call(ODD, channels, filters, dtype=dtype))


@pytest.mark.parametrize("found", [
    Windows((20, 20), (3, 3), padding=(1, 1)),  # several blocks of rows
    Windows((9, 9), (1, 1)),  # the windows are the pixels
    Windows((9, 9), (1, 1), (2, 2)),  # phases that no window sees
    Windows((9, 9), (1, 1), padding=(2, 1)),
    Windows((11, 13), (5, 4), (4, 3), (2, 1)),  # phases that see cells of unequal number
    Windows((9, 8), (2, 2), (3, 3)),  # pixels between the windows, and left-over rows
    Windows((12, 12), (3, 3), (2, 2), (2, 2), (2, 2)),  # stride and dilation share a factor
    Windows((12, 12), (3, 3), (1, 1), (2, 2), (3, 2)),
    Windows((5, 5), (3, 3), padding=(5, 4)),  # windows that see the padding alone
    Windows((40,), (7,), (2,), (3,)),
    Windows((4, 5, 6), (2, 3, 2), (1, 2, 1), (1, 0, 1)),
])  # fmt: skip
@pytest.mark.parametrize(("channels", "filters", "groups"), [(40, 35, 1), (5, 17, 3)])
def test_geometries(found, channels, filters, groups):
    assert_right(Call(found, channels, filters, groups))


def test_a_sum_in_several_blocks():
    assert_right(Call(SQUARE, channels=100, filters=20))


@pytest.mark.parametrize("found", [SQUARE, Windows((7, 9), (1, 1))])
@pytest.mark.parametrize("filters", [20, 70])
@pytest.mark.parametrize("groups", [1, 2])
def test_gradients_summed_over_all_pixels_by_one_part(found, filters, groups, monkeypatch):
    """Threads, here three, share out the channels, or the filters where there are more."""

    def run(kernel, count, *arguments, **how):
        for part in range(3):
            kernel(count * part // 3, count * (part + 1) // 3, *arguments)

    monkeypatch.setattr(convolution, "SMALL_SUMS", 0)
    monkeypatch.setattr(convolution, "parallel", run)
    assert_right(Call(found, 5, filters, groups))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [3, 300, 1100])
@pytest.mark.parametrize("filters", [20, 100])
def test_pixels_near_and_far(channels, filters, dtype):
    """They are read where they are, but for the last ones, in one sum or several."""
    assert_right(Call(Windows((5, 9), (1, 1)), channels, filters, dtype=dtype))


LAYOUTS = {
    "first side fastest": np.asfortranarray,
    "channels last": lambda x: np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1),
    "backwards": lambda x: np.ascontiguousarray(x[::-1, :, ::-1])[::-1, :, ::-1],
    "every other": lambda x: np.repeat(x, 2, axis=3)[..., ::2],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_strides(layout):
    call = Call(SQUARE, channels=5, filters=6)
    expected = call.all_three("im2col")
    call.x, call.w, call.dy = (LAYOUTS[layout](array) for array in (call.x, call.w, call.dy))
    before = [array.copy() for array in (call.x, call.w, call.dy)]
    for array in (call.x, call.w, call.dy):
        array.flags.writeable = False
    for result, correct in zip(call.all_three("implicit_gemm"), expected, strict=True):
        np.testing.assert_array_equal(result, correct)
    for array, copy in zip((call.x, call.w, call.dy), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_results_lie_channels_last():
    call = Call(SQUARE, channels=5, filters=6)
    y, dx, dw = call.all_three("implicit_gemm")
    assert np.moveaxis(y, 1, -1).flags.c_contiguous
    assert np.moveaxis(dx, 1, -1).flags.c_contiguous
    assert dw.flags.c_contiguous


@pytest.mark.parametrize(("images", "channels"), [(0, 3), (2, 0)])
def test_nothing_to_sum(images, channels):
    call = Call(SQUARE, channels, filters=4, images=images)
    assert_right(call)


def test_nan_stays_with_the_windows_that_see_it():
    call = Call(SQUARE, channels=5, filters=20)
    call.x[1, 2, 0, 0] = np.nan
    call.x[0, 1, 4, 4] = np.inf
    y = conv(call.x, call.w, algorithm="implicit_gemm", **call.settings)
    with np.errstate(invalid="ignore"):
        expected = conv(call.x, call.w, algorithm="im2col", **call.settings)
    np.testing.assert_array_equal(y, expected)
    assert np.isnan(y[1, :, :2, :2]).all()
    assert np.isfinite(y[1, :, 2:, 2:]).all()


@settings(max_examples=40)
@given(windows(ANY_SIDES), st.integers(1, 20), st.integers(1, 20), st.integers(1, 2))
def test_the_three_are_one_form(found, channels, filters, groups):
    """<y, dy> = <x, dx> = <w, dw>, exactly: the numbers are whole."""
    call = Call(found, channels, filters, groups, dtype=np.float64)
    y, dx, dw = call.all_three("implicit_gemm")
    assert np.vdot(y, call.dy) == np.vdot(call.x, dx) == np.vdot(call.w, dw)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("algorithm", ["implicit_gemm", "grouped_direct", "im2col"])
@pytest.mark.parametrize("last", [False, True])
def test_an_epilogue(algorithm, last, relu, monkeypatch):
    """Algorithms that have none are followed by a pass, a compiled one where they allow it."""
    monkeypatch.setattr(reference, "LARGE", 0)
    call = Call(SQUARE, channels=3, filters=20, groups=2)
    bias = integers((80,), seed=5).astype(np.float32)[::2]
    add = integers((2, 6, 6, 40) if last else (2, 40, 6, 6), seed=6).astype(np.float32)
    add = np.moveaxis(add, -1, 1) if last else add
    plain = conv(call.x, call.w, algorithm="loops", **call.settings) + bias[:, None, None]
    for shortcut in (None, add):
        with use_algorithms(conv=algorithm):
            y = conv_bias(call.x, call.w, bias, add=shortcut, relu=relu, **call.settings)
        expected = plain if shortcut is None else plain + add
        np.testing.assert_array_equal(y, np.maximum(expected, 0) if relu else expected)


def test_few_pixels_are_shared_by_filters(monkeypatch):
    """Each thread computes other columns of all results."""
    monkeypatch.setattr(convolution, "GRAIN", 1)
    for groups, filters in ((1, 150), (2, 70)):
        call = Call(Windows((3, 3), (2, 2)), channels=2, filters=filters, groups=groups, images=1)
        assert_right(call)


def test_constant_filters_are_put_in_order_once(monkeypatch):
    call = Call(SQUARE, channels=3, filters=20)
    expected = call.all_three("im2col")
    call.w = constant(call.w)
    for _ in range(2):
        for found, correct in zip(call.all_three("implicit_gemm"), expected, strict=True):
            np.testing.assert_array_equal(found, correct)
        monkeypatch.setattr(convolution, "pack_filters", None)  # would fail if it were called


def test_relu_keeps_nan():
    call = Call(SQUARE)
    call.x[0, 0, 0, 0] = np.nan
    y = convolution.conv(call.x, call.w, relu=True, **call.settings)
    assert np.isnan(y[0, :, 0, 0]).all()
    assert (y[1] >= 0).all()


def test_accuracy():
    rng = np.random.default_rng(0)
    call = Call(
        Windows((14, 14), (3, 3), padding=(1, 1)), channels=64, filters=64, dtype=np.float64
    )
    for name in ("x", "w", "dy"):
        setattr(call, name, rng.standard_normal(getattr(call, name).shape))
    expected = call.all_three("im2col")
    call.x, call.w, call.dy = (a.astype(np.float32) for a in (call.x, call.w, call.dy))
    for result, correct in zip(call.all_three("implicit_gemm"), expected, strict=True):
        assert np.linalg.norm(result - correct) <= 2e-6 * np.linalg.norm(correct)


def test_on_several_threads(monkeypatch):
    """Parts may begin anywhere, between groups too."""

    def run(kernel, count, *arguments, **more):
        for begin, end in ((0, count // 3), (count // 3, count // 2), (count // 2, count)):
            kernel(begin, end, *arguments)

    monkeypatch.setattr(convolution, "parallel", run)
    monkeypatch.setattr(convolution, "get_num_threads", lambda: 3)
    assert_right(Call(ODD, channels=20, filters=40, groups=3))


def test_which_is_taken():
    small, large = Call(SQUARE), Call(Windows((28, 28), (3, 3)), channels=64, filters=64)
    assert conv.choose(small.x, small.w, **small.settings).name == "im2col"
    assert conv.choose(large.x, large.w, **large.settings).name != "im2col"


def test_other_types_are_not_served():
    call = Call(SQUARE, dtype=np.float16)
    with pytest.raises(AlgorithmError, match="does not serve"):
        call.all_three("implicit_gemm")
