from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from geometries import integers, windows
from hypothesis import given
from hypothesis import strategies as st

import minicnn
import minicnn_kernels as kernels
from minicnn.nn import functional as F
from minicnn.ops import pooling
from minicnn.ops.pooling import pixels_per_window
from minicnn.tensor import Tensor
from minicnn_kernels.geometry import Bins, Windows


def leaf(values):
    return Tensor(np.array(values, dtype=np.float64), requires_grad=True)


def gradient(y, x):
    return minicnn.grad(y.sum(), x)[0].tolist()


# --- maximum --------------------------------------------------------------------------------------


def test_the_padding_never_wins():
    x = leaf(-np.ones((1, 1, 3, 3)))
    y = F.max_pool2d(x, 3, 2, 1)
    assert y.tolist() == [[[[-1, -1], [-1, -1]]]]
    assert gradient(y, x) == [[[[1, 1, 0], [1, 1, 0], [0, 0, 0]]]]


def test_the_first_of_equal_maxima_takes_the_gradient():
    x = leaf(np.zeros((1, 1, 2, 4)))
    assert gradient(F.max_pool2d(x, 2), x) == [[[[1, 0, 1, 0], [0, 0, 0, 0]]]]


def test_overlapping_windows_add_their_gradients():
    x = leaf([[[[0, 1, 0], [1, 9, 1], [0, 1, 0]]]])
    assert gradient(F.max_pool2d(x, 2, 1), x) == [[[[0, 0, 0], [0, 4, 0], [0, 0, 0]]]]


def test_nan_propagates():
    x = leaf([[[[1, np.nan, 2, 3]]]])
    y = F.max_pool2d(x, (1, 2))
    assert np.isnan(y.array[0, 0, 0]).tolist() == [True, False]
    assert gradient(y, x) == [[[[0, 1, 0, 1]]]]


def test_values_and_winners_are_those_of_torch(torch, rng):
    sizes = product(
        [(5, 7), (4, 4)], [(2, 3), (3, 3)], [(1, 2), (3, 2)], [0, 1], [1, 2], [False, True]
    )
    for image, kernel, stride, padding, dilation, ceil in sizes:
        x = rng.integers(-2, 3, (2, 2, *image)).astype(float)  # many ties
        if any(d * (k - 1) + 1 > n for n, k, d in zip(image, kernel, (dilation,) * 2, strict=True)):
            continue
        settings = (kernel, stride, padding, dilation, ceil)
        ours, theirs = leaf(x), torch.tensor(x, requires_grad=True)
        y, expected = (
            F.max_pool2d(ours, *settings),
            torch.nn.functional.max_pool2d(theirs, *settings),
        )
        np.testing.assert_array_equal(y.array, expected.detach())
        dy = rng.integers(1, 9, y.shape).astype(float)
        expected.backward(torch.tensor(dy))
        y.backward(Tensor(dy))
        np.testing.assert_array_equal(ours.grad.array, theirs.grad)


def test_the_winners_of_a_forward_pass_stay_when_x_changes_later():
    x = leaf([[[[1, 5, 2, 0]]]])
    y = F.max_pool2d(x, (1, 4))
    with minicnn.no_grad():
        x.copy_(np.zeros((1, 1, 1, 4)))
    assert gradient(y, x) == [[[[0, 1, 0, 0]]]]


# --- mean -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("counted", [False, True])
def test_pixels_per_window_by_counting(counted, ceil):
    windows = Windows((5, 4), (3, 2), (2, 3), (1, 1), ceil_mode=ceil)
    border = 1 if counted else 0
    rows, columns = range(-border, 5 + border), range(-border, 4 + border)
    expected = [
        [
            sum(
                i * 2 - 1 + a in rows and j * 3 - 1 + b in columns
                for a in range(3)
                for b in range(2)
            )
            for j in range(windows.output[1])
        ]
        for i in range(windows.output[0])
    ]
    assert pixels_per_window(windows, counted).tolist() == expected


def test_a_mean_keeps_a_constant_where_the_padding_does_not_count():
    x = leaf(np.full((1, 1, 4, 5), 3.0))
    y = F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False)
    np.testing.assert_allclose(y.array, 3.0)


def test_values_are_those_of_torch(torch, rng):
    sizes = product(
        [(2, 3), (3, 3)], [(1, 2), (3, 2)], [0, 1], [False, True], [False, True], [None, 3]
    )
    for settings in sizes:
        x = rng.integers(-4, 5, (2, 1, 5, 7)).astype(float)
        y = F.avg_pool2d(Tensor(x), *settings)
        expected = torch.nn.functional.avg_pool2d(torch.tensor(x), *settings)
        np.testing.assert_allclose(y.array, expected, rtol=1e-14)


# --- mean to a given size -------------------------------------------------------------------------


@given(st.integers(1, 9), st.integers(1, 9))
def test_every_bin_is_the_mean_of_the_pixels_it_touches(n, m):
    matrix = pooling.adaptive_avg_pool(np.eye(n)[None], (m,))[0]  # of every pixel on its own
    for i in range(m):
        touched = [j for j in range(n) if j * m < (i + 1) * n and (j + 1) * m > i * n]
        assert np.flatnonzero(matrix[:, i]).tolist() == touched
        assert matrix[touched, i] == pytest.approx(1 / len(touched))


def test_infinity_and_nan_stay_in_their_bins():
    x = np.array([[[np.inf, 1.0, 2.0, np.nan, 4.0]]])
    y = pooling.adaptive_avg_pool(x, (3,))
    np.testing.assert_array_equal(y, [[[np.inf, np.nan, np.nan]]])
    assert pooling.adaptive_avg_pool(x, (4,))[0, 0, 1] == 1.5


def test_as_many_bins_as_pixels_change_nothing():
    x = integers((1, 2, 3, 4))
    np.testing.assert_array_equal(pooling.adaptive_avg_pool(x, (3, 4)), x)


def test_bins_that_divide_the_image_are_a_plain_mean():
    x = integers((2, 1, 4, 6))
    np.testing.assert_allclose(
        pooling.adaptive_avg_pool(x, (2, 3)), F.avg_pool2d(Tensor(x), 2).array
    )


# --- positions ------------------------------------------------------------------------------------


@given(windows())
def test_the_winning_pixels_hold_the_maxima(found):
    x = integers((2, 2, *found.image))  # few different values: many ties
    best, winner = kernels.max_winners(x, windows=found)
    pixels = pooling.winning_pixels(winner, found)
    taken = pooling.take_pixels(x, pixels)
    seen = kernels.window_sum(np.ones((1, 1, *found.image)), windows=found) > 0
    np.testing.assert_array_equal(np.where(seen, taken, 0), np.where(seen, best, 0))


@pytest.mark.parametrize("image", [(5,), (4, 5), (3, 4, 2)], ids=str)
def test_unpooling_puts_every_maximum_back(image):
    x = integers((2, 3, *image)) + 10.0
    found = Windows(image, (2,) * len(image), stride=(2,) * len(image))
    y, winner = pooling.max_pool(x, found)
    back = pooling.unpool(y, pooling.winning_pixels(winner, found), image)
    assert back.shape == x.shape
    assert sorted(back[back != 0]) == sorted(y.ravel())
    np.testing.assert_array_equal(back[back != 0], x[back != 0])


def test_a_pixel_put_back_twice_keeps_its_value():
    pixels = np.array([[[1, 1]]])
    assert pooling.unpool(np.array([[[3.0, 3.0]]]), pixels, (3,)).tolist() == [[[0, 3, 0]]]


@pytest.mark.parametrize(("image", "size"), [((5, 7), (2, 3)), ((2, 3), (3, 4)), ((6,), (4,))])
def test_the_largest_pixel_of_each_bin_by_definition(image, size):
    x = integers((2, 1, *image))
    y, pixels = pooling.adaptive_max_pool(x, size)
    for place in np.ndindex(2, 1, *size):
        edges = [side[i] for side, i in zip(Bins(image, size).edges, place[2:], strict=True)]
        part = x[(*place[:2], *(slice(*edge) for edge in edges))]
        assert x[place[:2]].ravel()[pixels[place]] == y[place] == part.max()
