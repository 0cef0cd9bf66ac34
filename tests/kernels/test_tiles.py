"""Tiles cover all rows, and merged results divide a line, in the least time of all choices."""

from __future__ import annotations

import pytest

from minicnn_kernels.tiles import cycles_of_term, merged_results, seen_by, tiles


@pytest.mark.parametrize(("high", "low"), [(14, 8), (6, 4)])
def test_tiles_cover_all_rows_and_few_more(high, low):
    for rows in range(100):
        n_high, n_low = tiles(rows, high, low)
        covered = n_high * high + n_low * low
        assert rows <= covered < rows + high + low
        assert covered - low < rows or n_low == 0
    assert tiles(0, high, low) == (0, 0)


def test_a_term_takes_longer_for_more_rows_and_columns():
    assert cycles_of_term(14, 6) == cycles_of_term(14, 16) < cycles_of_term(14, 17)
    assert cycles_of_term(14, 48) == cycles_of_term(14, 32) + cycles_of_term(14, 16)
    assert cycles_of_term(8, 32) < cycles_of_term(9, 32) == cycles_of_term(14, 32)


def test_few_results_are_merged():
    assert merged_results(6, 5, 1, 28) == 2
    assert merged_results(64, 5, 1, 28) == 1
    assert merged_results(6, 5, 1, 29) == 1  # a prime number


def test_pixels_of_all_phases_are_merged():
    assert merged_results(3, 7, 2, 224, transposed=True) % 2 == 0
    assert merged_results(3, 7, 2, 13, transposed=True) == 0


def test_what_neighbours_see():
    assert seen_by(5, 2, 3, False) == 9  # 0..4, 2..6, 4..8
    assert seen_by(3, 2, 2, True) == 2
    assert seen_by(4, 2, 4, True) == 4
