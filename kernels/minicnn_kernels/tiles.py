"""How sums are divided into tiles of rows and columns, and into rows of several results."""

from __future__ import annotations

from functools import cache

PANEL = 32
"""Columns of a tile of two vectors of 16."""


@cache
def tiles(rows: int, high: int = 14, low: int = 8) -> tuple[int, int]:
    """Return how many high and how many low tiles take the least time for so many rows.

    >>> tiles(28), tiles(16), tiles(10)
    ((2, 0), (0, 2), (1, 0))
    """
    choices = ((-(-max(0, rows - n * low) // high), n) for n in range(-(-rows // low) + 1))
    return min(choices, key=lambda choice: 17 * choice[0] + 11.5 * choice[1])


@cache
def cycles_of_term(rows: int, columns: int) -> float:
    """Return what one term of the sum takes, as measured for tiles of 14 and 8 rows."""
    high, low = (0.5, 0) if rows <= 7 else tiles(rows)  # half a tile of two lines
    whole, rest = divmod(columns, PANEL)
    whole += rest > PANEL // 2
    half = 0 < rest <= PANEL // 2
    return whole * (17 * high + 11.5 * low) + half * (10.5 * high + 7 * low)


@cache
def merged_results(
    results: int, kernel: int, stride: int, width: int, transposed: bool = False
) -> int:
    """Return how many of `width` neighbours should be one row of results: m divides the width.

    Transposed, m is a multiple of the stride; 0 if there is none.  To spread the filters over
    neighbours takes time too: that must gain a tenth.

    >>> merged_results(64, 5, 1, 28), merged_results(6, 5, 1, 28)
    (1, 2)
    """

    def cost(m: int) -> float:
        cycles = cycles_of_term(width // m, m * results) * seen_by(kernel, stride, m, transposed)
        return cycles if m == 1 else 1.1 * cycles

    able = [m for m in range(1, 17) if width % m == 0 and not (transposed and m % stride)]
    return min(able, key=cost, default=0)


def seen_by(kernel: int, stride: int, merged: int, transposed: bool) -> int:
    """Return how many pixels, or transposed results, `merged` neighbours see along a line."""
    if transposed:
        return -(-(kernel + merged - 1) // stride)
    return kernel + (merged - 1) * stride
