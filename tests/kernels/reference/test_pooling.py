from __future__ import annotations

import numpy as np
import pytest
from geometries import integers, pixels, windows
from hypothesis import given

from minicnn_kernels import (
    max_winners,
    route_to_winners,
    take_winners,
    window_spread,
    window_sum,
)
from minicnn_kernels.geometry import Windows


def maximum_by_definition(x, found):
    """Return maximum and winning cell of each window, going over its pixels in reading order."""
    best = np.full((*x.shape[:2], *found.output), -np.inf)
    winner = np.zeros(best.shape, dtype=int)
    for (i, j), (a, b), (row, column) in pixels(found):
        larger = x[:, :, row, column] > best[:, :, i, j]
        best[:, :, i, j][larger] = x[:, :, row, column][larger]
        winner[:, :, i, j][larger] = a * found.kernel[1] + b
    return best, winner


def seeing(found):
    """Return a mask of the windows that see at least one pixel."""
    seen = np.zeros(found.output, dtype=bool)
    for (i, j), _, _ in pixels(found):
        seen[i, j] = True
    return seen


# --- maximum --------------------------------------------------------------------------------------


@given(windows())
def test_maximum_and_first_winner_by_definition(found):
    x = integers((2, 2, *found.image))  # few different values: many ties
    expected, first = maximum_by_definition(x, found)
    best, winner = max_winners(x, windows=found)
    np.testing.assert_array_equal(best, expected)
    np.testing.assert_array_equal(winner[:, :, seeing(found)], first[:, :, seeing(found)])


@given(windows())
def test_take_gives_the_maxima(found):
    x = integers((2, 2, *found.image))
    best, winner = max_winners(x, windows=found)
    seen = seeing(found)
    np.testing.assert_array_equal(
        take_winners(x, winner, windows=found)[:, :, seen], best[:, :, seen]
    )


@given(windows())
def test_take_and_route_are_adjoint(found):
    x, dy = integers((2, 1, *found.image)), integers((2, 1, *found.output), seed=1)
    _, winner = max_winners(integers(x.shape, seed=2), windows=found)
    taken = take_winners(x, winner, windows=found)
    routed = route_to_winners(dy, winner, windows=found)
    assert (taken * dy).sum() == (x * routed).sum()


def test_the_padding_is_lower_than_every_number():
    x = np.full((1, 1, 3, 3), -1.0)
    best, _ = max_winners(x, windows=Windows((3, 3), (2, 2), (1, 1), (1, 1)))
    assert (best == -1).all()


def test_minus_infinity_wins_against_the_padding():
    x = np.full((1, 1, 2, 2), -np.inf)
    best, _ = max_winners(x, windows=Windows((2, 2), (2, 2)))
    assert np.isneginf(best).all()


def test_ties_go_to_the_first_pixel_in_reading_order():
    x = np.array([[[[1.0, 7.0, 7.0], [7.0, 7.0, 7.0]]]])
    _, winner = max_winners(x, windows=Windows((2, 3), (2, 2), (1, 1)))
    assert winner.tolist() == [[[[1, 0]]]]


@pytest.mark.parametrize("place", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_nan_wins_wherever_it_stands(place):
    x = np.array([[[[1.0, np.inf], [3.0, 2.0]]]])
    x[0, 0, *place] = np.nan
    best, winner = max_winners(x, windows=Windows((2, 2), (2, 2)))
    assert np.isnan(best).all()
    assert winner.item() == 2 * place[0] + place[1]


def test_nan_stays_in_its_windows():
    x = integers((1, 1, 4, 4))
    x[0, 0, 0, 0] = np.nan
    best, _ = max_winners(x, windows=Windows((4, 4), (2, 2), (2, 2)))
    assert np.isnan(best[0, 0]).tolist() == [[True, False], [False, False]]


def test_windows_of_more_than_256_pixels_remember_late_winners():
    x = np.zeros((1, 1, 17, 17))
    x[0, 0, 16, 15] = 1
    _, winner = max_winners(x, windows=Windows((17, 17), (17, 17)))
    assert winner.item() == 16 * 17 + 15


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_integers_have_maxima_too(dtype):
    x = np.arange(9, dtype=dtype).reshape(1, 1, 3, 3)
    best, _ = max_winners(x, windows=Windows((3, 3), (2, 2), (1, 1), (1, 1)))
    assert best.dtype == dtype
    assert best[0, 0].tolist() == [[0, 1, 2, 2], [3, 4, 5, 5], [6, 7, 8, 8], [6, 7, 8, 8]]


def test_a_pixel_that_wins_twice_receives_twice():
    x = np.array([[[[0.0, 5.0, 1.0]]]])
    found = Windows((1, 3), (1, 2))
    _, winner = max_winners(x, windows=found)
    routed = route_to_winners(np.array([[[[10.0, 1.0]]]]), winner, windows=found)
    assert routed.tolist() == [[[[0.0, 11.0, 0.0]]]]


# --- sum ------------------------------------------------------------------------------------------


@given(windows())
def test_window_sum_by_definition(found):
    x = integers((2, 2, *found.image))
    expected = np.zeros((2, 2, *found.output))
    for (i, j), _, (row, column) in pixels(found):
        expected[:, :, i, j] += x[:, :, row, column]
    np.testing.assert_array_equal(window_sum(x, windows=found), expected)


@given(windows())
def test_sum_and_spread_are_adjoint(found):
    x, dy = integers((1, 2, *found.image)), integers((1, 2, *found.output), seed=1)
    summed, spread = window_sum(x, windows=found), window_spread(dy, windows=found)
    assert (summed * dy).sum() == (x * spread).sum()


def test_overlapping_windows_add_up():
    spread = window_spread(np.ones((1, 1, 2, 2)), windows=Windows((3, 3), (2, 2)))
    assert spread[0, 0].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]


# --- all ------------------------------------------------------------------------------------------

CEIL = Windows((5, 4), (2, 3), (2, 2), (1, 1), ceil_mode=True)


def test_rounded_up_windows_see_what_there_is():
    x = integers((1, 1, 5, 4))
    best, _ = max_winners(x, windows=CEIL)
    np.testing.assert_array_equal(best, maximum_by_definition(x, CEIL)[0])
    assert window_sum(x, windows=CEIL)[0, 0, -1, -1] == x[0, 0, 3:, 3:].sum()
    assert window_spread(np.ones((1, 1, *CEIL.output)), windows=CEIL).shape == x.shape


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_types_and_strides(dtype):
    x = integers((2, 2, 5, 4)).astype(dtype)
    turned = x.transpose(3, 2, 1, 0).copy().transpose(3, 2, 1, 0)[:, ::-1]
    turned.flags.writeable = False
    best, winner = max_winners(turned, windows=CEIL)
    results = [
        best,
        take_winners(turned, winner, windows=CEIL),
        route_to_winners(best, winner, windows=CEIL),
        window_sum(turned, windows=CEIL),
        window_spread(best, windows=CEIL),
    ]
    assert {result.dtype for result in results} == {np.dtype(dtype)}
    plain, plain_winner = max_winners(x[:, ::-1].copy(), windows=CEIL)
    np.testing.assert_array_equal(best, plain)
    np.testing.assert_array_equal(winner, plain_winner)
    np.testing.assert_array_equal(results[1], plain)
    np.testing.assert_array_equal(results[3], window_sum(x[:, ::-1].copy(), windows=CEIL))


def test_no_images():
    best, winner = max_winners(np.zeros((0, 2, 5, 4)), windows=CEIL)
    assert best.shape == winner.shape == (0, 2, *CEIL.output)
    assert route_to_winners(best, winner, windows=CEIL).shape == (0, 2, 5, 4)
    assert window_sum(np.zeros((0, 2, 5, 4)), windows=CEIL).shape == best.shape
