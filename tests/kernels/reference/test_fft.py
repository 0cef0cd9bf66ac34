"""Convolution by spectra against the loops; what it shares with the others is tested there."""

from __future__ import annotations

import numpy as np
import pytest
from geometries import ANY_SIDES, integers, windows
from hypothesis import given
from hypothesis import strategies as st

from minicnn_kernels import conv, conv_input, conv_weight
from minicnn_kernels.errors import AlgorithmError
from minicnn_kernels.geometry import Windows

LARGE = Windows((30, 25), (11, 9), (2, 1), (5, 3), (1, 2))


def call(found, images=2, per_group=(2, 1), groups=1):
    channels, filters = per_group[0] * groups, per_group[1] * groups
    x = integers((images, channels, *found.image))
    w = integers((filters, per_group[0], *found.kernel), seed=1)
    dy = integers((images, filters, *found.output), seed=2)
    settings = {"stride": found.stride, "padding": found.padding, "dilation": found.dilation}
    return x, w, dy, {**settings, "groups": groups}


def all_three(algorithm, x, w, dy, settings):
    return [
        conv(x, w, algorithm=algorithm, **settings),
        conv_input(dy, w, size=x.shape[2:], algorithm=algorithm, **settings),
        conv_weight(x, dy, size=w.shape[2:], algorithm=algorithm, **settings),
    ]


@given(
    windows(ANY_SIDES),
    st.integers(1, 3),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.integers(1, 3),
)
def test_all_three_equal_the_loops(found, images, per_group, groups):
    given_call = call(found, images, per_group, groups)
    for result, expected in zip(
        all_three("fft", *given_call), all_three("loops", *given_call), strict=True
    ):
        np.testing.assert_allclose(result, expected, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_large_kernel(dtype):
    *arrays, settings = call(LARGE, per_group=(3, 2), groups=2)
    expected = all_three("im2col", *arrays, settings)
    results = all_three("fft", *(array.astype(dtype) for array in arrays), settings)
    for result, correct in zip(results, expected, strict=True):
        assert result.dtype == dtype
        error = np.linalg.norm(result - correct) / np.linalg.norm(correct)
        assert error < (2e-6 if dtype == np.float32 else 1e-14)


def test_no_images():
    given_call = call(LARGE, images=0)
    for result, expected in zip(
        all_three("fft", *given_call), all_three("loops", *given_call), strict=True
    ):
        np.testing.assert_array_equal(result, expected)


def test_read_only_arrays_of_any_strides():
    *arrays, settings = call(LARGE)
    expected = all_three("fft", *arrays, settings)
    turned = [np.flip(np.flip(array).copy()) for array in arrays]
    for array in turned:
        array.flags.writeable = False
    for result, correct in zip(all_three("fft", *turned, settings), expected, strict=True):
        np.testing.assert_array_equal(result, correct)
        assert result.flags.writeable


def test_whole_numbers_are_refused():
    *arrays, settings = call(LARGE)
    with pytest.raises(AlgorithmError, match="does not serve"):
        all_three("fft", *(array.astype(int) for array in arrays), settings)
