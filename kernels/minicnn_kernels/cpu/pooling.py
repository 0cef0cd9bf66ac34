"""Pooling over windows and bins: one walk over all windows, for every way of pooling and both ways.

The pixels that windows see are given as tables, one a side: which pixel the cell a of window i is,
or -1 in the padding.  So windows with any stride and dilation, and bins of uneven size, are the
same here.  A row of windows is visited for one cell of the kernel after the other, and it stays
in the cache.  Channels lie side by side in memory, so that they are computed together: images that
lie otherwise are copied, which costs less than going over them pixel by pixel.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from minicnn_kernels.arrays import Array, as_channels_first
from minicnn_kernels.cpu.jit import jit
from minicnn_kernels.cpu.lanes import add, load, store
from minicnn_kernels.cpu.layout import channels_last
from minicnn_kernels.cpu.vector import clear
from minicnn_kernels.geometry import Bins, Sides, Windows
from minicnn_kernels.threads import parallel

AnyWindows = Windows | Bins

GRAIN = 2**15  # pixels seen by windows that are worth a thread

FEW, LANES = 16, 8  # up to so many channels of a pixel are no visit; values at once

LARGEST, TAKE, SUM, ROUTE, SPREAD = range(5)  # what a walk does; the last two write to the image


def max_winners(x: Array, *, windows: AnyWindows) -> tuple[Array, Array]:
    """Return y[n,c,i,j] = max_ab x[n, c, i*s + a*d - p, j*s + b*d - p] and which a*KW + b it was.

    The cells come in turn from the last to the first, and win if none so far was larger.
    """
    numbers = np.uint8 if windows.cells <= 256 else np.int32
    y = images_like(x, windows.output, x.dtype)
    winner = images_like(x, windows.output, numbers)
    walk(LARGEST, x, y, winner, windows)
    return y, winner


def take_winners(x: Array, winner: Array, *, windows: AnyWindows) -> Array:
    """y[n,c,i,j] = the pixel of x that won window [i,j]."""
    y = images_like(x, windows.output, x.dtype)
    walk(TAKE, x, y, winner, windows)
    return y


def route_to_winners(dy: Array, winner: Array, *, windows: AnyWindows) -> Array:
    """dx[n, c, winning pixel] += dy[n,c,i,j]."""
    dx = images_like(winner, windows.image, dy.dtype)
    walk(ROUTE, dx, dy, winner, windows)
    return dx


def window_sum(x: Array, *, windows: Windows) -> Array:
    """y[n,c,i,j] = sum_ab x[n, c, i*s + a*d - p, j*s + b*d - p]."""
    y = images_like(x, windows.output, x.dtype)
    walk(SUM, x, y, NOBODY, windows)
    return y


def window_spread(dy: Array, *, windows: Windows) -> Array:
    """dx[n, c, i*s + a*d - p, j*s + b*d - p] += dy[n,c,i,j]."""
    dx = images_like(dy, windows.image, dy.dtype)
    walk(SPREAD, dx, dy, NOBODY, windows)
    return dx


NOBODY = np.zeros(0, np.uint8)  # the winner where there is none


# --- memory ---------------------------------------------------------------------------------------


def images_like(x: Array, size: Sides, dtype: Any) -> Array:
    """Return room for images of `size`, channels last in memory."""
    n, c = x.shape[:2]
    return as_channels_first(np.empty((n, *size, c), dtype))


def in_memory(x: Array) -> Array:
    """See all values of images in a row, channels last: those of x itself if they lie so."""
    images = channels_last(x)
    return (images if images.flags.writeable else images.copy()).reshape(-1)


@lru_cache(maxsize=256)
def tables(windows: AnyWindows) -> list[Array]:
    """Return for each of three sides which pixels the windows see, or -1: (O, K)."""
    missing = [np.zeros((1, 1), np.int64)] * (3 - windows.ndim)
    return missing + [np.array(side) for side in windows.places]


@lru_cache(maxsize=256)
def some_see_padding(windows: AnyWindows) -> bool:
    """Say whether a cell of some window sees no pixel."""
    return any((side < 0).any() for side in tables(windows))


# --- the walk -------------------------------------------------------------------------------------


def walk(what: int, x: Array, y: Array, winner: Array, windows: AnyWindows) -> None:
    """Visit all windows y over the pixels x, on all threads: rows of windows, or whole images."""
    images, channels = y.shape[:2]
    image = (1, 1, *windows.image)[-3:]
    *above, row = windows.output
    places = tables(windows)
    arguments = (
        what, in_memory(x), in_memory(y), winner if winner is NOBODY else in_memory(winner),
        *places, *image, channels,
    )  # fmt: skip
    if channels <= FEW and not some_see_padding(windows):
        values = prod(windows.output) * channels * windows.cells
        parallel(visit_images, images, *arguments, grain=-(-GRAIN // values))
        return
    unit = prod(above) if what in (ROUTE, SPREAD) else 1  # rows of windows share pixels
    parallel(
        visit_rows, images * prod(above) // unit, *arguments,
        grain=-(-GRAIN // (unit * row * channels * windows.cells)),
    )  # fmt: skip


@jit()
def visit_rows(
    begin: int, end: int, what: int, x: Array, y: Array, winner: Array,
    in_depth: Array, in_rows: Array, in_columns: Array,
    depth: int, rows: int, columns: int, channels: int,
) -> None:  # fmt: skip
    """Visit rows of windows, or all those of images, from the last cell to the first."""
    b, c = in_rows.shape[1], in_columns.shape[1]
    cells = in_depth.shape[1] * b * c
    size, length = depth * rows * columns * channels, len(in_columns) * channels
    rows_of_image = len(in_depth) * len(in_rows)
    unit = rows_of_image if what in (ROUTE, SPREAD) else 1
    for row in range(begin * unit, end * unit):
        image, place = divmod(row, rows_of_image)
        i, j = divmod(place, len(in_rows))
        first = row * length
        start_anew(what, x, image * size, size if place == 0 else 0, y, winner, first, length)
        for number in range(cells - 1, -1, -1):
            d, h = in_depth[i, number // (b * c)], in_rows[j, number // c % b]
            if d >= 0 and h >= 0:
                start = image * size + (d * rows + h) * columns * channels
                places = in_columns[:, number % c]
                visit_row(what, number, x, start, places, y, winner, first, channels)


@jit()
def start_anew(
    what: int, x: Array, start: int, size: int, y: Array, winner: Array, first: int, count: int
) -> None:
    """Give values at which a walk begins to so many windows, or to so many pixels."""
    if what in (ROUTE, SPREAD):
        clear(x, start, size)
        return
    clear(y, first, count)
    if what == LARGEST:
        clear(winner, first, count)
        for i in range(np.uintp(first), np.uintp(first + count)):
            y[i] = -np.inf


@jit()
def visit_images(
    begin: int, end: int, what: int, x: Array, y: Array, winner: Array,
    in_depth: Array, in_rows: Array, in_columns: Array,
    depth: int, rows: int, columns: int, channels: int,
) -> None:  # fmt: skip
    """Visit images of few channels, none of whose windows sees the padding.

    The pixels that all windows see through a cell are copied side by side, and visited as one.
    """
    cells = in_depth.shape[1] * in_rows.shape[1] * in_columns.shape[1]
    size = depth * rows * columns * channels
    values = len(in_depth) * len(in_rows) * len(in_columns) * channels
    line, one = np.empty(values + LANES, x.dtype), np.zeros((1, 1), np.int64)[:, 0]
    writes = what in (ROUTE, SPREAD)
    for image in range(begin, end):
        first = image * values
        start_anew(what, x, image * size, size, y, winner, first, values)
        for number in range(cells - 1, -1, -1):
            places = number, in_depth, in_rows, in_columns
            if writes:
                clear(line, 0, values)
            else:
                exchange(False, x, image * size, line, places, rows, columns, channels)
            visit(what, number, line, 0, one, 0, 1, y, winner, first, channels, values)
            if writes:
                exchange(True, x, image * size, line, places, rows, columns, channels)


@jit()
def exchange(
    back: bool, x: Array, start: int, line: Array, places: tuple[int, Array, Array, Array],
    rows: int, columns: int, channels: int,
) -> None:  # fmt: skip
    """Copy the pixels that all windows see through a cell to a line, or add the line to them."""
    number, in_depth, in_rows, in_columns = places
    b, c = in_rows.shape[1], in_columns.shape[1]
    cell, whole = number % c, channels // LANES * LANES
    place = 0
    for i in range(len(in_depth)):
        for j in range(len(in_rows)):
            row = in_depth[i, number // (b * c)] * rows + in_rows[j, number // c % b]
            first = start + row * columns * channels
            for k in range(len(in_columns)):
                seen = first + in_columns[k, cell] * channels
                if back:
                    for v in range(0, whole, LANES):
                        total = add(load(x, seen + v, LANES), load(line, place + v, LANES))
                        store(x, seen + v, total)
                    for v in range(whole, channels):
                        x[seen + v] += line[place + v]
                elif seen + channels + LANES <= x.size:
                    for v in range(0, channels, LANES):  # what is too much is covered next
                        store(line, place + v, load(x, seen + v, LANES))
                else:
                    for v in range(channels):
                        line[place + v] = x[seen + v]
                place += channels


@jit()
def visit_row(
    what: int, number: int, x: Array, start: int, places: Array, y: Array, winner: Array,
    first: int, channels: int,
) -> None:  # fmt: skip
    """Visit a row of windows of all channels: each sees its pixel through cell `number`.

    Pixels side by side, as windows with stride 1 see them, are visited as one of many channels.
    """
    k = 0
    while k < len(places):
        end = k
        while end < len(places) and places[end] >= 0:
            end += 1
        windows = end - k
        if windows > 1 and places[end - 1] - places[k] == windows - 1:
            values = windows * channels
            visit(what, number, x, start, places, k, k + 1, y, winner, first, channels, values)
        elif windows > 0:
            visit(what, number, x, start, places, k, end, y, winner, first, channels, channels)
        k = max(end, k + 1)


@jit()
def visit(
    what: int, number: int, x: Array, start: int, places: Array, begin: int, end: int,
    y: Array, winner: Array, first: int, channels: int, count: int,
) -> None:  # fmt: skip
    """Visit windows from `begin` to `end`, which see so many values each.

    Places in memory are unsigned, so that no code for places counted from the end stands in the way
    of vector instructions.
    """
    values = np.uintp(count)
    for k in range(begin, end):
        seen, seeing = np.uintp(start + places[k] * channels), np.uintp(first + k * channels)
        if what == LARGEST:
            for i in range(values):
                pixel, best, cell = x[seen + i], y[seeing + i], winner[seeing + i]
                wins = (pixel >= best) | (pixel != pixel)  # NaN, too
                y[seeing + i] = pixel if wins else best
                winner[seeing + i] = number if wins else cell
        elif what == TAKE:
            for i in range(values):
                pixel, best = x[seen + i], y[seeing + i]
                y[seeing + i] = pixel if winner[seeing + i] == number else best
        elif what == SUM:
            for i in range(values):
                y[seeing + i] += x[seen + i]
        elif what == ROUTE:
            for i in range(values):
                slope = y[seeing + i]
                x[seen + i] += slope if winner[seeing + i] == number else x.dtype.type(0)
        else:
            for i in range(values):
                x[seen + i] += y[seeing + i]
