"""Pooling on a card against the NumPy reference: every geometry, in both layouts."""

from __future__ import annotations

import numpy as np
import pytest
from geometries import integers, windows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minicnn_kernels import kernels
from minicnn_kernels.cuda import pooling
from minicnn_kernels.geometry import Bins, Windows
from minicnn_kernels.registry import only_numpy

bins = st.integers(1, 3).flatmap(
    lambda ndim: st.builds(Bins, *[st.tuples(*[st.integers(1, 6)] * ndim)] * 2)
)
OF_BINS = ("max_winners", "take_winners", "route_to_winners")
OF_WINDOWS = (*OF_BINS, "window_sum", "window_spread")
ON_SOME = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def by_numpy(name, *arrays, windows):
    """Compute with the reference, for which nothing is compiled."""
    with only_numpy():
        return kernels[name](*arrays, windows=windows)


def on_card(card, x, last=True):
    """Put images on the card, with their channels last in memory or not."""
    return card.array(np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1) if last else x.copy())


def compare(card, found, shape, last=True):
    """Compare all kernels with the reference; whole numbers add up without rounding."""
    x, dy = integers((*shape, *found.image)), integers((*shape, *found.output), seed=1)
    best, winner = by_numpy("max_winners", x, windows=found)
    known = np.ones(winner.shape, bool)
    if isinstance(found, Windows):  # who wins where all is padding does not matter
        known = by_numpy("window_sum", np.ones_like(x), windows=found) > 0
    on = {name: on_card(card, v.astype(np.float32), last) for name, v in {"x": x, "dy": dy}.items()}
    with card.no_copies():
        y, number = kernels["max_winners"](on["x"], windows=found, algorithm="cuda")
    np.testing.assert_array_equal(y.get(), best)
    np.testing.assert_array_equal(number.get()[known], winner[known])
    arguments = {
        "take_winners": ("x", number), "route_to_winners": ("dy", number), "window_sum": ("x",),
        "window_spread": ("dy",),
    }  # fmt: skip
    for name in (OF_WINDOWS if isinstance(found, Windows) else OF_BINS)[1:]:
        first, *others = arguments[name]
        source = {"x": x, "dy": dy}[first]
        expected = by_numpy(name, source, *(winner for _ in others), windows=found)
        with card.no_copies():
            result = kernels[name](on[first], *others, windows=found, algorithm="cuda")
        assert result.dtype == np.float32
        assert np.moveaxis(result.values, 1, -1).flags.c_contiguous
        np.testing.assert_array_equal(result.get(), expected, err_msg=name)


@ON_SOME
@given(found=windows((1, 2, 3)), channels=st.sampled_from([1, 3, 4, 8]), last=st.booleans())
def test_windows_as_the_reference(card, found, channels, last):
    compare(card, found, (2, channels), last)


@ON_SOME
@given(found=bins, channels=st.sampled_from([1, 3, 4]))
def test_bins_as_the_reference(card, found, channels):
    compare(card, found, (2, channels))


@pytest.mark.parametrize("found", [
    Windows((23, 20), (3, 3), (2, 2), (1, 1)), Windows((9, 20), (2, 2), (2, 2), ceil_mode=True),
    Windows((13, 20), (3, 2), (1, 3), (0, 1), (2, 1)), Windows((7, 9), (2, 1), (3, 4)),
    Windows((1, 1), (1, 1)), Windows((18, 19), (18, 17)), Windows((2, 2), (2, 2), (3, 3), (1, 1)),
], ids=["overlap", "tiles", "dilated", "stride beyond the kernel", "pixel", "many cells",
        "far apart"])  # fmt: skip
@pytest.mark.parametrize("shape", [(1, 1), (1, 33), (3, 12)], ids=str)
def test_odd_geometry(card, found, shape):
    compare(card, found, shape)


def test_the_first_nan_wins_and_minus_infinity_beats_the_padding(card):
    found = Windows((4, 4), (3, 3), (1, 1), (1, 1))
    x = np.full((2, 4, 4, 4), -np.inf, np.float32)
    x[1, 1, 1, 1] = x[1, 1, 2, 2] = np.nan
    x[0, 1, 0] = np.inf
    y, winner = kernels["max_winners"](on_card(card, x), windows=found, algorithm="cuda")
    best, expected = by_numpy("max_winners", x, windows=found)
    np.testing.assert_array_equal(y.get(), best)
    np.testing.assert_array_equal(winner.get(), expected)


def test_a_window_in_the_padding_takes_nothing(card):
    found = Windows((2,), (1,), (3,), (2,))
    x = on_card(card, np.ones((1, 1, 2), np.float32))
    y, winner = kernels["max_winners"](x, windows=found, algorithm="cuda")
    assert y.get().tolist() == [[[-np.inf, 1]]]
    taken = kernels["take_winners"](x, winner, windows=found, algorithm="cuda")
    assert taken.get().tolist() == [[[0, 1]]]
    dx = kernels["route_to_winners"](y, winner, windows=found, algorithm="cuda")
    assert dx.get().tolist() == [[[0, 1]]]


def test_winners_of_other_kernels_are_taken(card):
    """Medians are found by the generic formula, which counts in 64 bits."""
    found = Windows((6, 6), (3, 3), (2, 2))
    x = integers((2, 4, 6, 6)).astype(np.float32)
    winner = by_numpy("median_winners", x, windows=found).astype(np.int64)
    seen = on_card(card, x), card.array(winner)
    y = kernels["take_winners"](*seen, windows=found, algorithm="cuda")
    np.testing.assert_array_equal(y.get(), by_numpy("take_winners", x, winner, windows=found))


def test_images_that_are_not_aligned_are_read_one_by_one(card):
    found = Windows((4, 4), (2, 2), (2, 2))
    memory = card.array(np.arange(1 + 2 * 4 * 4 * 4, dtype=np.float32))
    x = memory[1:].reshape(2, 4, 4, 4).transpose(0, 3, 1, 2)
    y = kernels["window_sum"](x, windows=found, algorithm="cuda")
    np.testing.assert_array_equal(y.get(), by_numpy("window_sum", x.get(), windows=found))


def test_what_cannot_be_counted_in_31_bits_is_left_to_others():
    wide = np.broadcast_to(np.float32(0), (2**15, 2**10, 8, 8))
    able = kernels["window_sum"].algorithms["cuda"].serves
    assert not able(wide, windows=Windows((8, 8), (2, 2)))
    assert able(wide[:2], windows=Windows((8, 8), (2, 2)))
    assert not able(wide[:0], windows=Windows((8, 8), (2, 2)))
    assert not able(np.zeros((1, 1, 8, 8)), windows=Windows((8, 8), (2, 2)))
    assert not able(wide[:2], windows=Bins((2**16, 1), (2**15, 1)))


def test_the_structure_is_that_of_the_source():
    assert (pooling.SIDE.itemsize, pooling.IMAGES.itemsize) == (24, 80)
