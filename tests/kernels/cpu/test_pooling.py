"""The compiled walk over windows against the NumPy reference: every geometry, both layouts."""

from typing import Any

import numpy as np
import pytest
from geometries import integers, windows
from hypothesis import given
from hypothesis import strategies as st

from minicnn_kernels.geometry import Bins, Windows
from minicnn_kernels.reference import pooling as reference

pytest.importorskip("numba", reason="Numba is not installed")

from minicnn_kernels.cpu import pooling

bins = st.integers(1, 3).flatmap(
    lambda ndim: st.builds(Bins, *[st.tuples(*[st.integers(1, 6)] * ndim)] * 2)
)
TAPS = {
    "max_winners": reference.winners_by_taps, "take_winners": reference.take_by_taps,
    "route_to_winners": reference.route_by_taps, "window_sum": reference.sum_by_taps,
    "window_spread": reference.spread_by_taps,
}  # fmt: skip
GATHER = {
    "max_winners": reference.winners_of_bins, "take_winners": reference.take_from_bins,
    "route_to_winners": reference.route_to_bins,
}  # fmt: skip


def laid_out(x, last):
    """Return the same images, with their channels last in memory or not."""
    return np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1) if last else x.copy()


def compare(found, x, dy, last, dtype=np.float64):
    """Compare all kernels with the reference, row by row and image by image."""
    with pytest.MonkeyPatch.context() as patch:
        for few in (0, 1000):
            patch.setattr(pooling, "FEW", few)
            compare_once(found, x, dy, last, dtype)


def compare_once(found, x, dy, last, dtype):
    """Compare all kernels with the reference; whole numbers add up without rounding."""
    expected = TAPS if isinstance(found, Windows) else GATHER
    x, dy = (laid_out(v.astype(dtype), last) for v in (x, dy))
    before = x.copy(), dy.copy()
    best, winner = expected["max_winners"](x, windows=found)
    y, number = pooling.max_winners(x, windows=found)
    seeing: Any = ...  # every bin sees a pixel
    if isinstance(found, Windows):
        seeing = reference.sum_by_taps(np.ones_like(x), windows=found) > 0
    np.testing.assert_array_equal(y, best)
    np.testing.assert_array_equal(number[seeing], winner[seeing])
    arrays = {
        "take_winners": (x, number), "route_to_winners": (dy, number), "window_sum": (x,),
        "window_spread": (dy,),
    }  # fmt: skip
    for name in expected.keys() & arrays.keys():
        result = getattr(pooling, name)(*arrays[name], windows=found)
        assert result.dtype == dtype, name
        wanted = expected[name](*arrays[name], windows=found)
        np.testing.assert_array_equal(result, wanted, err_msg=name)
    for now, then in zip((x, dy), before, strict=True):
        np.testing.assert_array_equal(now, then)


@given(windows((1, 2, 3)), st.booleans())
def test_windows_as_the_reference(found, last):
    compare(found, integers((2, 3, *found.image)), integers((2, 3, *found.output), seed=1), last)


@given(bins, st.booleans())
def test_bins_as_the_reference(found, last):
    compare(found, integers((2, 3, *found.image)), integers((2, 3, *found.output), seed=1), last)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (3, 1), (5, 70)], ids=str)
@pytest.mark.parametrize("found", [
    Windows((33, 20), (3, 3), (2, 2), (1, 1)), Windows((33, 20), (2, 2), (2, 2), ceil_mode=True),
    Windows((33, 20), (3, 2), (1, 3), (0, 1), (2, 1)), Bins((33, 20), (5, 7)),
], ids=["overlap", "tiles", "dilated", "bins"])  # fmt: skip
def test_float32_and_many_channels(last, shape, found):
    x, dy = integers((*shape, *found.image)), integers((*shape, *found.output), seed=1)
    compare(found, x, dy, last, np.float32)


@pytest.mark.parametrize("last", [False, True])
def test_the_first_nan_wins_and_minus_infinity_beats_the_padding(last):
    found = Windows((4, 4), (3, 3), (1, 1), (1, 1))
    x = np.full((2, 2, 4, 4), -np.inf)
    x[1, 1, 1, 1] = x[1, 1, 2, 2] = np.nan
    x[0, 1, 0] = np.inf
    x = laid_out(x, last)
    for a, b in zip(
        pooling.max_winners(x, windows=found), reference.winners_by_taps(x, windows=found),
        strict=True,
    ):  # fmt: skip
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("view", [
    lambda x: x[:, :, ::-1], lambda x: x[::2], lambda x: x[..., 1:-1], lambda x: x[:, ::-1],
    lambda x: np.broadcast_to(x[:, :1], x.shape), lambda x: x.swapaxes(2, 3),
], ids=["reversed", "every other", "cropped", "backwards", "repeated", "turned"])  # fmt: skip
@pytest.mark.parametrize("last", [False, True])
def test_any_strides(view, last):
    x = view(laid_out(integers((4, 6, 8, 8)), last))
    found = Windows(x.shape[2:], (3, 3), (2, 2), (1, 1))
    best, _ = reference.winners_by_taps(x, windows=found)
    y, winner = pooling.max_winners(x, windows=found)
    np.testing.assert_array_equal(y, best)
    dy = view(laid_out(integers((4, 6, 8, 8)), last))[..., : y.shape[2], : y.shape[3]]
    np.testing.assert_array_equal(
        pooling.route_to_winners(dy, winner, windows=found),
        reference.route_by_taps(dy, winner, windows=found),
    )


def test_read_only_images_are_taken():
    found = Windows((4, 4), (2, 2), (2, 2))
    x = integers((1, 2, 4, 4))
    x.flags.writeable = False
    np.testing.assert_array_equal(
        pooling.window_sum(x, windows=found), reference.sum_by_taps(x, windows=found)
    )


def test_channels_come_last_in_memory():
    found = Windows((5, 7), (2, 2), (2, 2))
    x = laid_out(integers((3, 4, 5, 7)), last=False)
    y, winner = pooling.max_winners(x, windows=found)
    dx = pooling.route_to_winners(np.ones(y.shape), winner, windows=found)
    for v in (y, winner, dx):
        assert np.moveaxis(v, 1, -1).flags.c_contiguous
    assert pooling.in_memory(y).base is not None  # not copied again
    np.testing.assert_array_equal(pooling.in_memory(x), np.moveaxis(x, 1, -1).ravel())


def test_more_than_256_cells_have_larger_numbers():
    found = Windows((20, 20), (18, 17), (1, 1))
    x = integers((1, 2, 20, 20))
    x[:, :, 17:, 15:] = 9
    _, winner = pooling.max_winners(x, windows=found)
    assert winner.dtype == np.int32
    np.testing.assert_array_equal(winner, reference.winners_by_taps(x, windows=found)[1])
