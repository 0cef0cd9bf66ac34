from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from geometries import ANY_SIDES, windows
from hypothesis import assume, given
from hypothesis import strategies as st

from minicnn_kernels.errors import DTypeError, ShapeError
from minicnn_kernels.geometry import (
    Bins,
    Windows,
    output_size,
    same_padding,
    sides,
    transposed_size,
)

# --- sides ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "count", "expected"),
    [
        (3, 2, (3, 3)),
        (0, 3, (0, 0, 0)),
        (7, 1, (7,)),
        ((1, 2), 2, (1, 2)),
        ([2, 1, 0], 3, (2, 1, 0)),
        ((4,), 2, (4, 4)),
        ((4,), 1, (4,)),
        (np.int64(5), 2, (5, 5)),
        (np.array([1, 2]), 2, (1, 2)),
        (range(2), 2, (0, 1)),
    ],
)
def test_sides(value, count, expected):
    result = sides(value, count)
    assert result == expected
    assert all(type(number) is int for number in result)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1.0, DTypeError),
        ("3", DTypeError),
        (None, DTypeError),
        ((1.5, 2), DTypeError),
        (("a", "b"), DTypeError),
        (((1, 2), 3), DTypeError),
        ((1, 2, 3), ShapeError),
        ((), ShapeError),
        (-1, ShapeError),
        ((2, -1), ShapeError),
    ],
)
def test_sides_name_what_they_refuse(value, kind):
    with pytest.raises(kind, match="stride must be one or 2 integers of at least 0") as error:
        sides(value, 2, "stride")
    assert repr(value) in str(error.value)


def test_sides_have_a_least_value():
    assert sides(1, 2, least=1) == (1, 1)
    with pytest.raises(ShapeError, match=r"kernel must be .* at least 1, got \(1, 0\)"):
        sides((1, 0), 2, "kernel", 1)


def test_one_side_takes_one_integer():
    with pytest.raises(ShapeError, match=r"padding must be one integer .* got \(1, 1\)"):
        sides((1, 1), 1, "padding")


# --- output_size ----------------------------------------------------------------------------------

sizes = st.tuples(
    st.integers(1, 20), st.integers(1, 5), st.integers(1, 6), st.integers(0, 5), st.integers(1, 4)
)


@given(sizes)
def test_output_size_counts_the_windows_that_fit(numbers):
    size, kernel, stride, padding, dilation = numbers
    padded, reach = size + 2 * padding, dilation * (kernel - 1) + 1
    assume(reach <= padded)
    starts = [start for start in range(0, padded, stride) if start + reach <= padded]
    assert output_size(*numbers) == len(starts)


@given(sizes)
def test_ceil_mode_counts_until_everything_is_seen(numbers):
    size, kernel, stride, padding, dilation = numbers
    padded, reach = size + 2 * padding, dilation * (kernel - 1) + 1
    assume(reach <= padded)
    assume(2 * padding <= kernel)  # as in pooling
    count = 1
    while (count - 1) * stride + reach < padded and count * stride < size + padding:
        count += 1
    assert output_size(*numbers, ceil_mode=True) == count


@given(sizes)
def test_the_transposed_size_is_the_smallest_of_the_images_with_as_many_windows(numbers):
    count, *settings = numbers
    smallest = transposed_size(count, *settings)
    assert output_size(smallest, *settings) == count
    assert output_size(smallest - 1, *settings) == count - 1
    assert output_size(smallest + settings[1] - 1, *settings) == count
    assert output_size(smallest + settings[1], *settings) == count + 1


def test_output_size_is_that_of_torch(torch):
    for size, kernel, stride, ceil in product(range(3, 9), range(1, 4), range(1, 4), (False, True)):
        for padding in range(kernel // 2 + 1):
            pooled = torch.nn.functional.max_pool2d(
                torch.zeros(1, size, 3), (kernel, 1), (stride, 1), (padding, 0), ceil_mode=ceil
            )
            assert output_size(size, kernel, stride, padding, 1, ceil) == pooled.shape[1]


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "expected"),
    [
        (227, 11, 4, 0, 55),
        (224, 7, 2, 3, 112),
        (224, 3, 1, 1, 224),
        (32, 5, 1, 0, 28),
        (1, 1, 9, 0, 1),
    ],
)
def test_output_size_of_known_layers(size, kernel, stride, padding, expected):
    assert output_size(size, kernel, stride, padding) == expected


# --- padding --------------------------------------------------------------------------------------


@given(st.integers(1, 20), st.integers(1, 6), st.integers(1, 4))
def test_same_padding_keeps_the_size(size, kernel, dilation):
    (before, after), _ = same_padding((kernel, 1), (dilation, 1))
    assert output_size(size + before + after, kernel, dilation=dilation) == size
    assert 0 <= after - before <= 1


def test_same_padding_of_both_sides():
    assert same_padding((3, 4), (2, 1)) == ((2, 2), (1, 2))


# --- Windows --------------------------------------------------------------------------------------


@given(windows(ANY_SIDES))
def test_taps_lie_where_the_formula_says(found):
    taps = list(found.taps())
    assert [cell for cell, _ in taps] == list(product(*map(range, found.kernel)))
    assert found.cells == len(taps)
    for cell, place in taps:
        assert found.place(cell) == place
        geometry = (cell, place, found.padded, found.output, found.stride, found.dilation)
        for a, where, size, count, s, d in zip(*geometry, strict=True):
            assert list(range(size))[where] == [i * s + a * d for i in range(count)]


@given(windows(ANY_SIDES))
def test_windows_start_at_their_first_cell(found):
    assert found.starts == next(place for _, place in found.taps())


def test_taps_go_in_reading_order():
    assert [cell for cell, _ in Windows((4, 5), (2, 3)).taps()] == list(product(range(2), range(3)))
    assert next(Windows((4,), (2,)).taps()) == ((0,), (slice(0, 3, 1),))


def test_settings_left_out_are_those_of_a_plain_window():
    assert Windows((4, 5, 6), (1, 2, 3)) == Windows(
        (4, 5, 6), (1, 2, 3), (1, 1, 1), (0, 0, 0), (1, 1, 1)
    )


@given(windows(ANY_SIDES))
def test_windows_overlap_where_a_pixel_has_several_neighbouring_windows(found):
    wide = Windows(
        tuple(r + s for r, s in zip(found.reach, found.stride, strict=True)),
        found.kernel,
        found.stride,
        (),
        (1,) * found.ndim,
    )
    seen = np.zeros(wide.image)
    for _, place in wide.taps():
        seen[place] += 1
    assert wide.overlap == (seen.max() > 1)


def test_the_image_lies_inside_its_padding():
    found = Windows((2, 3), (2, 2), padding=(1, 2))
    assert found.padded == (4, 7)
    assert found.inside == (slice(1, 3), slice(2, 5))


def test_ceil_mode_lengthens_the_padded_image():
    found = Windows((5, 4), (2, 2), (2, 2), ceil_mode=True)
    assert found.output == (3, 2)
    assert found.padded == (6, 4)


def test_equal_windows_are_equal_keys():
    assert len({Windows((4, 4), (2, 2)), Windows((4, 4), (2, 2)), Windows((4, 4), (2, 1))}) == 2


def test_checked_returns_windows_that_fit():
    found = Windows((3, 3), (3, 3))
    assert found.checked("conv2d") is found


def test_checked_names_a_kernel_that_does_not_fit():
    found = Windows((4, 9), (3, 3), dilation=(2, 2), padding=(0, 1))
    with pytest.raises(ShapeError) as error:
        found.checked("conv2d")
    for part in ("conv2d", "(3, 3)", "(2, 2)", "(5, 5)", "(4, 11)"):
        assert part in str(error.value)


# --- places and bins ------------------------------------------------------------------------------


@given(windows(ANY_SIDES))
def test_places_are_those_of_the_taps(found):
    for side, places in enumerate(found.places):
        for a in range(found.kernel[side]):
            cell = tuple(a if i == side else 0 for i in range(found.ndim))
            padded = range(found.padded[side])[found.place(cell)[side]]
            inside = [k - found.padding[side] for k in padded]
            expected = [k if 0 <= k < found.image[side] else -1 for k in inside]
            assert [row[a] for row in places] == expected


@pytest.mark.parametrize(("n", "m"), [(7, 3), (3, 7), (5, 5), (6, 1), (4, 0)])
def test_bins_cover_all_pixels_in_order(n, m):
    found = Bins((n,), (m,))
    (edges,), (places,) = found.edges, found.places
    assert len(edges) == len(places) == m
    for (first, end), row in zip(edges, places, strict=True):
        assert 0 <= first < end <= n
        assert [k for k in row if k >= 0] == list(range(first, end))
        assert len(row) == found.cells
    if m:
        assert {i for first, end in edges for i in range(first, end)} == set(range(n))
