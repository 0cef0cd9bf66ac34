"""The compiled Winograd convolution against the convolution by im2col."""

from __future__ import annotations

import numpy as np
import pytest
from convolutions_3x3 import convolution, convolutions, relative_error
from hypothesis import given, settings

from minicnn_kernels import conv_bias, threads, use_algorithms
from minicnn_kernels.constants import constant
from minicnn_kernels.errors import AlgorithmError

winograd = pytest.importorskip("minicnn_kernels.cpu.winograd", reason="Numba is not installed")

NAMES = ["winograd2", "winograd4"]
SIZES = [
    {},
    {"size": (18, 21), "channels": 17, "filters": 33},  # a vector and a panel, and one more
    {"size": (4, 4), "channels": 16, "filters": 32},
    {"size": (11, 6), "padding": (0, 2), "channels": 40, "filters": 50, "images": 1},
    {"size": (1, 1), "channels": 2, "filters": 2},
    {"size": (3, 3), "padding": (0, 0), "channels": 1, "filters": 1, "images": 1},
    {"size": (2, 5), "padding": (3, 4)},
    {"size": (6, 6), "channels": 130, "filters": 90},  # few tiles: filters in groups
    {"size": (6, 6), "channels": 20, "filters": 230},
    {"size": (6, 6), "channels": 200, "filters": 20},  # sums shared by channels
    {"size": (40, 33), "channels": 20, "filters": 70},  # several blocks of tiles
]


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    """Share even small work among threads."""
    monkeypatch.setattr(winograd, "GRAIN", 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_three_equal_im2col(name, sizes, dtype):
    exact = convolution(**sizes)
    given_call = exact.converted(lambda array: array.astype(dtype))
    tolerance = 1e-14 if dtype == np.float64 else 3e-6
    for found, expected in zip(given_call.all_three(name), exact.all_three("im2col"), strict=True):
        assert found.shape == expected.shape
        assert found.dtype == dtype
        assert relative_error(found, expected) < tolerance


@pytest.mark.parametrize("name", NAMES)
@given(c=convolutions(most=35))
@settings(max_examples=30)
def test_the_three_are_one_trilinear_form(name, c):
    if 0 in c.x.shape:
        return
    from_output = np.vdot(c.forward(name), c.dy)
    assert np.vdot(c.x, c.input(name)) == pytest.approx(from_output, rel=1e-10, abs=1e-10)
    assert np.vdot(c.w, c.weight(name)) == pytest.approx(from_output, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize(("name", "allowed"), [("winograd2", 5e-6), ("winograd4", 2e-5)])
def test_errors_in_single_precision(name, allowed):
    exact = convolution(channels=64, filters=48, size=(28, 28))
    single = exact.converted(lambda array: array.astype(np.float32))
    bounds = [allowed, allowed, allowed * max(1, (2 * 28 * 28 / 8) ** 0.4)]
    results = zip(single.all_three(name), exact.all_three("im2col"), bounds, strict=True)
    for found, expected, bound in results:
        assert relative_error(found, expected) < bound


@pytest.mark.parametrize("number", [1, 3])
def test_any_number_of_threads(number, monkeypatch):
    before = threads.get_num_threads()
    threads.set_num_threads(number)
    try:
        for sizes in SIZES:
            c = convolution(**sizes)
            for found, expected in zip(
                c.all_three("winograd4"), c.all_three("im2col"), strict=True
            ):
                assert relative_error(found, expected) < 1e-14
    finally:
        threads.set_num_threads(before)


def test_several_blocks_in_a_part(monkeypatch):
    monkeypatch.setattr(winograd, "BLOCK_BYTES", 1)
    monkeypatch.setattr(winograd, "LEAST_TILES", winograd.ROWS)
    monkeypatch.setattr(winograd, "FEW_TILES", 0)
    c = convolution(size=(30, 31), channels=5, filters=40)
    for name in NAMES:
        for found, expected in zip(c.all_three(name), c.all_three("im2col"), strict=True):
            assert relative_error(found, expected) < 1e-14


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sizes", SIZES)
def test_an_epilogue(name, sizes):
    c, rng = convolution(**sizes), np.random.default_rng(1)
    plain = c.forward("im2col")
    bias, shortcut = rng.standard_normal(plain.shape[1]), rng.standard_normal(plain.shape)
    for add in (None, shortcut):
        expected = plain + bias[:, None, None] + (0 if add is None else add)
        for relu in (False, True):
            with use_algorithms(conv=name):
                y = conv_bias(c.x, c.w, bias, add=add, relu=relu, **c.settings)
            assert relative_error(y, np.maximum(expected, 0) if relu else expected) < 1e-14


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("few_tiles", [0, 1000])
def test_filters_that_are_constant(name, few_tiles, monkeypatch):
    """Few tiles have their filters transformed where they are used, others once."""
    monkeypatch.setattr(winograd, "FEW_TILES", few_tiles)
    for sizes in SIZES:
        c = convolution(**sizes)
        expected, c.w = c.all_three("im2col"), constant(c.w)
        for _ in range(2):
            for found, correct in zip(c.all_three(name), expected, strict=True):
                assert relative_error(found, correct) < 1e-14


@pytest.mark.parametrize("layout", [
    lambda a: a.transpose(3, 2, 1, 0).copy().transpose(3, 2, 1, 0),
    lambda a: np.flip(np.flip(a).copy()),
    lambda a: np.repeat(a, 2, axis=3)[..., ::2],
    lambda a: a.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2),
], ids=["turned", "backwards", "spaced", "channels last"])  # fmt: skip
def test_any_strides_and_read_only_arrays(layout):
    c = convolution()
    expected = c.all_three("im2col")
    other = c.converted(layout)
    for array in (other.x, other.w, other.dy):
        array.flags.writeable = False
    for name in NAMES:
        for found, correct in zip(other.all_three(name), expected, strict=True):
            assert relative_error(found, correct) < 1e-14
            assert found.flags.writeable


def test_results_lie_channels_last_and_gradients_of_filters_as_the_filters():
    c = convolution()
    for result in (c.forward("winograd4"), c.input("winograd4")):
        assert result.transpose(0, 2, 3, 1).flags.c_contiguous
    assert c.weight("winograd4").flags.c_contiguous


def test_scratch_memory_that_holds_nan_does_no_harm():
    c = convolution(size=(5, 5), channels=3, filters=5)
    expected = c.all_three("im2col")
    spoilt = convolution(size=(9, 9), channels=40, filters=40)
    for array in (spoilt.x, spoilt.w, spoilt.dy):
        array[...] = np.nan
    for name in NAMES:
        spoilt.all_three(name)
        for found, correct in zip(c.all_three(name), expected, strict=True):
            assert relative_error(found, correct) < 1e-14


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_inf_reach_the_result(value):
    c = convolution()
    c.x[0, 1, 3, 3] = value
    for name in NAMES:
        y, dw = c.forward(name), c.weight(name)
        assert not np.isfinite(y[0]).all()
        assert np.isfinite(y[1]).all()
        assert not np.isfinite(dw).all()


@pytest.mark.parametrize("dtype", [np.float16, np.int64])
def test_other_types_are_refused(dtype):
    c = convolution().converted(lambda array: array.astype(dtype))
    for call in (c.forward, c.input, c.weight):
        with pytest.raises(AlgorithmError, match="does not serve"):
            call("winograd4")


def test_nothing_is_refused_in_time():
    c = convolution(images=0)
    for call in (c.forward, c.input, c.weight):
        with pytest.raises(AlgorithmError, match="does not serve"):
            call("winograd2")
