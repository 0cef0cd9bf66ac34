"""The readable Winograd convolution against the convolution by im2col, and its errors."""

from __future__ import annotations

import numpy as np
import pytest
from convolutions_3x3 import convolution, convolutions, relative_error
from hypothesis import given

from minicnn_kernels import conv, conv_input, conv_weight
from minicnn_kernels.errors import AlgorithmError

NAMES = ["winograd2_numpy", "winograd4_numpy"]


@pytest.mark.parametrize("name", NAMES)
@given(c=convolutions())
def test_all_three_equal_im2col(name, c):
    for found, expected in zip(c.all_three(name), c.all_three("im2col"), strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=1e-11)


@pytest.mark.parametrize("name", NAMES)
@given(c=convolutions())
def test_the_three_are_one_trilinear_form(name, c):
    from_output = np.vdot(c.forward(name), c.dy)
    assert np.vdot(c.x, c.input(name)) == pytest.approx(from_output, rel=1e-10, abs=1e-10)
    assert np.vdot(c.w, c.weight(name)) == pytest.approx(from_output, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize(("name", "allowed"), list(zip(NAMES, [5e-6, 2e-5], strict=True)))
def test_errors_in_single_precision(name, allowed):
    exact = convolution(channels=64, filters=16, size=(14, 14))
    single = exact.converted(np.float32)
    pixels = 2 * 14 * 14
    bounds = [allowed, allowed, allowed * max(1, (pixels / 8) ** 0.4)]
    results = zip(single.all_three(name), exact.all_three("im2col"), bounds, strict=True)
    for found, expected, bound in results:
        assert found.dtype == np.float32
        assert relative_error(found, expected) < bound


def test_it_serves_dense_3x3_with_stride_1_only():
    c = convolution(channels=4, filters=4)
    wide = convolution(channels=4, filters=4, size=(9, 11))
    calls = [
        lambda **s: conv(c.x, c.w, **s),
        lambda **s: conv_input(c.dy, c.w, size=(7, 9), **s),
        lambda **s: conv_weight(c.x, c.dy, size=(3, 3), **s),
        lambda **s: conv(c.x, c.w[..., :2], **{**c.settings, **s}),
        lambda **s: conv_weight(c.x, wide.dy, size=(1, 1), **{**c.settings, **s}),
        lambda **s: conv(c.x.astype(int), c.w.astype(int), **{**c.settings, **s}),
    ]
    changes = [{"stride": (2, 1)}, {"dilation": (1, 2)}, {"groups": 2}]
    refused = [(call, {**c.settings, **change}) for call in calls[:3] for change in changes]
    for call, settings in [*refused, *((call, {}) for call in calls[3:])]:
        for name in NAMES:
            with pytest.raises(AlgorithmError, match="does not serve"):
                call(algorithm=name, **settings)


def test_it_is_taken_only_by_name():
    c = convolution(channels=64, filters=64, size=(28, 28), dtype=np.float32)
    assert not conv.choose(c.x, c.w, **c.settings).name.endswith("_numpy")


def test_inputs_stay_as_they_are():
    c = convolution()
    for array in (c.x, c.w, c.dy):
        array.flags.writeable = False
    for name in NAMES:
        c.all_three(name)


def test_nan_and_inf_reach_the_result():
    for value in (np.nan, np.inf):
        c = convolution()
        c.x[0, 1, 3, 3] = value
        for name in NAMES:
            with np.errstate(invalid="ignore"):
                y, dw = c.forward(name), c.weight(name)
            assert not np.isfinite(y[0]).all()
            assert np.isfinite(y[1]).all()
            assert not np.isfinite(dw).all()
