from __future__ import annotations

import numpy as np
import pytest
from geometries import ANY_SIDES, integers, pixels, windows
from hypothesis import given
from hypothesis import strategies as st

from minicnn_kernels.geometry import Windows
from minicnn_kernels.reference.windows import col2im, im2col, pad_image, window_view


def im2col_by_definition(x, found):
    cols = np.zeros((*x.shape[:2], *found.kernel, *found.output))
    for window, cell, pixel in pixels(found):
        cols[:, :, *cell, *window] = x[:, :, *pixel]
    return cols


def col2im_by_definition(cols, found):
    x = np.zeros((*cols.shape[:2], *found.image))
    for window, cell, pixel in pixels(found):
        x[:, :, *pixel] += cols[:, :, *cell, *window]
    return x


@given(windows(ANY_SIDES))
def test_im2col_by_definition(found):
    x = integers((2, 2, *found.image))
    np.testing.assert_array_equal(im2col(x, found), im2col_by_definition(x, found))


@given(windows(ANY_SIDES))
def test_col2im_by_definition(found):
    cols = integers((2, 2, *found.kernel, *found.output))
    np.testing.assert_array_equal(col2im(cols, found), col2im_by_definition(cols, found))


@given(windows(ANY_SIDES))
def test_im2col_and_col2im_are_adjoint(found):
    x, cols = integers((1, 2, *found.image)), integers((1, 2, *found.kernel, *found.output), seed=1)
    assert (im2col(x, found) * cols).sum() == (x * col2im(cols, found)).sum()


@given(windows(ANY_SIDES), st.integers(-3, 3))
def test_both_are_linear(found, factor):
    x, z = integers((1, 2, *found.image)), integers((1, 2, *found.image), seed=1)
    np.testing.assert_array_equal(
        im2col(x + factor * z, found), im2col(x, found) + factor * im2col(z, found)
    )
    u, v = im2col(x, found), im2col(z, found)
    np.testing.assert_array_equal(
        col2im(u + factor * v, found), col2im(u, found) + factor * col2im(v, found)
    )


def test_every_pixel_comes_back_once_for_each_window_that_sees_it():
    found = Windows((3, 3), (2, 2))
    back = col2im(im2col(np.ones((1, 1, 3, 3)), found), found)
    assert back[0, 0].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]


@pytest.mark.parametrize("kernel", [(1, 1), (2, 2)])
def test_im2col_gives_memory_of_its_own(kernel):
    x = integers((2, 1, 3, 3))
    cols = im2col(x, Windows((3, 3), kernel))
    assert not np.shares_memory(cols, x)
    assert cols.flags.writeable
    assert cols.flags.c_contiguous


def test_padding_is_filled_and_the_image_left_alone():
    x = integers((1, 1, 2, 2))
    padded = pad_image(x, Windows((2, 2), (2, 2), padding=(1, 0)), value=-np.inf)
    assert padded.shape == (1, 1, 4, 2)
    assert np.isneginf(padded[:, :, [0, 3]]).all()
    np.testing.assert_array_equal(padded[:, :, 1:3], x)


def test_nothing_is_copied_where_nothing_is_padded():
    x = integers((1, 1, 3, 3))
    assert pad_image(x, Windows((3, 3), (2, 2))) is x


def test_the_view_copies_nothing_and_cannot_be_written_by_accident():
    x = integers((2, 2, 5, 4))
    found = Windows((5, 4), (2, 3), stride=(2, 1), dilation=(2, 1))
    view = window_view(x, found)
    assert np.shares_memory(view, x)
    assert not view.flags.writeable
    np.testing.assert_array_equal(view, im2col_by_definition(x, found))


@pytest.mark.parametrize("x", [
    integers((3, 4, 2, 2)).transpose(2, 3, 0, 1),
    integers((2, 2, 3, 4))[:, ::-1, ::-1, ::-1],
    np.broadcast_to(integers((1, 1, 3, 1)), (2, 2, 3, 4)),
], ids=["turned", "backwards", "repeated"])  # fmt: skip
def test_any_strides(x):
    found = Windows((3, 4), (2, 2), padding=(0, 1))
    np.testing.assert_array_equal(im2col(x, found), im2col(x.copy(), found))
    np.testing.assert_array_equal(window_view(x, Windows((3, 4), (2, 2))),
                                  im2col(x.copy(), Windows((3, 4), (2, 2))))  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_the_type_stays(dtype):
    found = Windows((3, 3), (2, 2), padding=(1, 1))
    cols = im2col(np.ones((1, 1, 3, 3), dtype), found)
    assert cols.dtype == col2im(cols, found).dtype == dtype


def test_no_images():
    found = Windows((3, 3), (2, 2))
    cols = im2col(np.zeros((0, 2, 3, 3)), found)
    assert cols.shape == (0, 2, 2, 2, 2, 2)
    assert col2im(cols, found).shape == (0, 2, 3, 3)
