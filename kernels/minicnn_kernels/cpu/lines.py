"""Convolution over padded lines: windows are read where they lie, none is copied.

Some lines of an image are copied, with their padding, into memory that stays in the cache.  With
the channels last, what a window sees of a line there is a run of KW * C neighbours, and the run of
the next window begins s * C values later.  So tiles of the matrix product walk over the lines:

    y[i, o] = sum_ae line[a, i*s*C + e] * w[a, e, o]        e = (b, c), a a line of the kernel

and in the gradient by w the sum goes over the windows i.  Copying windows instead, as
`cpu/convolution.py` does, pays where they have many channels or lines few windows.

Few results (filters, or channels in the gradient by x) would fill a small part of a vector.  Then
`merged` neighbours are one row of results, of a wider kernel that stands still for so many steps:

    y[m*i + r, o] = sum_t line[(m*i*s + t)*C + ...] * wide[t, ..., (r, o)]    wide[r*s + b] = w[b]

The gradient by x for strides larger than 1 is always written so, along the lines.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache
from itertools import product
from math import prod
from typing import NamedTuple

import numpy as np

from minicnn_kernels.arrays import Array, address_of, as_channels_first, as_channels_last
from minicnn_kernels.cpu.convolution import (
    GRAIN,
    Side,
    flat,
    pack_filters,
    phase_side,
)
from minicnn_kernels.cpu.gemm import DEPTH_BYTES, even_parts, tile_columns, transpose
from minicnn_kernels.cpu.jit import jit
from minicnn_kernels.cpu.line_tile import (
    half_of,
    half_tile_sum,
    low_half_tile_sum,
    low_tile_sum,
    tile_sum,
)
from minicnn_kernels.cpu.vector import LOW_ROWS, ROWS, VECTOR_BYTES, VECTORS, clear, copy
from minicnn_kernels.cpu.workspace import prepared, workspace
from minicnn_kernels.geometry import Sides, output_size
from minicnn_kernels.threads import get_num_threads, parallel
from minicnn_kernels.tiles import merged_results, tiles

BAND_BYTES = 2**17
"""How many lines are copied at a time."""

HALF, LOW_HALF = half_of(ROWS), half_of(LOW_ROWS)

PIECES = 4
"""Bands for each thread, if there are so few images."""

# --- which lines and which of their values meet ---------------------------------------------------


class Lines(NamedTuple):
    """The geometry of a sum over lines, for the compiled loops; missing sides have one pixel.

    Attributes:
        image_depth, image_height, image_width: pixels, and `channels` of each.
        depth, height, width: windows; each of them is a row of several results.
        depth_step, height_step: from one window to the next, in pixels, `width_step` in values.
        top, spacing, taps: where in height the lines of the first window lie, how far apart, and
            how many they are, at each depth.
        left: where its runs begin, in pixels.
        run: how many values its runs have.
        line: values of a padded line.
        band: lines of windows computed at a time.
        copied: lines of pixels that they see.
    """

    image_depth: int
    image_height: int
    image_width: int
    channels: int
    depth: int
    height: int
    width: int
    depth_step: int
    height_step: int
    width_step: int
    top: int
    spacing: int
    taps: int
    left: int
    run: int
    line: int
    band: int
    copied: int


class Plan(NamedTuple):
    """What a convolution must know beside its arrays.

    Attributes:
        fronts: where in depth the cells of the first window lie.
        merged: how many neighbours are one row of results.
        terms: which term of the sum each cell of a filter is, as `Plan.terms` in `convolution`.
    """

    lines: Lines
    fronts: Array
    merged: int
    terms: Array

    @property
    def runs(self) -> int:
        """How many runs a window has."""
        return self.lines.taps * len(self.fronts)

    @property
    def depth(self) -> int:
        """How many terms a sum has."""
        return self.lines.run * self.runs

    @property
    def bands(self) -> int:
        """How many bands an image has."""
        return self.lines.depth * -(-self.lines.height // self.lines.band)


def _lines(sides: list[Side], channels: int, itemsize: int, images: int) -> tuple[Lines, Array]:
    first, second, last = [Side(1, 1, 1, (0,), (0,))] * (3 - len(sides)) + sides
    spacing = int(np.diff(second.places)[0]) if len(second.places) > 1 else 1
    reach = spacing * (len(second.places) - 1) + 1
    run = len(last.places) * channels
    line = (ROWS * -(-last.results // ROWS) - 1) * last.step * channels + run
    room = BAND_BYTES // (itemsize * line * len(first.places))
    lines_at_a_time = -(-images * first.results * second.results // (PIECES * get_num_threads()))
    band = max(1, min(second.results, lines_at_a_time, (room - reach) // second.step + 1))
    lines = Lines(
        first.image, second.image, last.image, channels,
        first.results, second.results, last.results,
        first.step, second.step, last.step * channels,
        second.places[0], spacing, len(second.places), last.places[0], run, line,
        band, (band - 1) * second.step + reach,
    )  # fmt: skip
    return lines, np.array(first.places)


@lru_cache(1024)
def _forward(
    images: int, size: Sides, filters: int, channels: int, kernel: Sides, stride: Sides,
    padding: Sides, dilation: Sides, itemsize: int,
) -> tuple[Sides, Plan]:  # fmt: skip
    """Result i sees i*s + a*d - p."""
    results = tuple(map(output_size, size, kernel, stride, padding, dilation))
    m = merged_results(filters, kernel[-1], stride[-1], results[-1])
    wide = (*kernel[:-1], kernel[-1] + (m - 1) * stride[-1])
    sides = [
        Side(n, count, s, tuple(range(k)), tuple(a * d - p for a in range(k)))
        for n, count, k, s, p, d in zip(
            size, (*results[:-1], results[-1] // m), wide, (*stride[:-1], m * stride[-1]), padding,
            dilation, strict=True,
        )
    ]  # fmt: skip
    terms = np.arange(prod(wide)) * channels + np.arange(channels)[:, None]
    lines, fronts = _lines(sides, channels, itemsize, images)
    return results, Plan(lines, fronts, m, terms.reshape(-1))


@lru_cache(1024)
def _backward(
    images: int, size: Sides, results: Sides, filters: int, channels: int, kernel: Sides,
    stride: Sides, padding: Sides, dilation: Sides, itemsize: int,
) -> tuple[int, list[tuple[tuple[slice, ...], Plan | None]]]:  # fmt: skip
    """Return how many pixels are merged, and what each phase of depth and height sees of dy."""
    m = merged_results(channels, kernel[-1], stride[-1], size[-1], transposed=True)
    low, width = _wide_places(kernel[-1], stride[-1], padding[-1], m)
    cells = tuple(range(width) if m > 1 else reversed(range(width)))
    places = tuple(range(low, low + width))
    last = Side(results[-1], size[-1] // m, m // stride[-1], cells, places)
    every_cell = np.arange(prod(kernel[:-1]) * width).reshape(*kernel[:-1], width)
    geometry = list(zip(size, results, kernel, stride, padding, dilation, strict=True))[:-1]
    plans: list[tuple[tuple[slice, ...], Plan | None]] = []
    for phase in product(*(range(min(n, s)) for n, _, _, s, _, _ in geometry)):
        sides = [phase_side(side, at) for side, at in zip(geometry, phase, strict=True)] + [last]
        found = every_cell[np.ix_(*(side.cells for side in sides))].reshape(-1)
        terms = np.full(every_cell.size, -1)
        terms[found] = np.arange(found.size) * filters
        where = tuple(slice(at, None, s) for at, s in zip(phase, stride, strict=False))
        if found.size == 0:
            plans.append((where, None))
            continue
        lines, fronts = _lines(sides, filters, itemsize, images)
        plans.append((where, Plan(lines, fronts, m, terms)))
    return m, plans


def _wide_places(kernel: int, stride: int, padding: int, merged: int) -> tuple[int, int]:
    """Return the first result that one of `merged` pixels sees, and how many they see.

    Pixel r sees result (r + p - a) / s, where s divides it.
    """
    low = -((kernel - 1 - padding) // stride)
    return low, (merged - 1 + padding) // stride - low + 1


# --- the three convolutions -----------------------------------------------------------------------


def conv(
    x: Array, w: Array, *, stride: Sides, padding: Sides, dilation: Sides, groups: int,
    bias: Array | None = None, add: Array | None = None, relu: bool = False,
) -> Array:  # fmt: skip
    """y[i,o] = sum_ae line[a, i*s*C + e] * w[a,e,o], the lines of x."""
    filters, kernel = len(w), w.shape[-1]
    results, plan = _forward(
        len(x), x.shape[2:], *w.shape[:2], w.shape[2:], stride, padding, dilation, x.itemsize
    )
    y = np.empty((len(x), *results, filters), x.dtype)
    if add is not None:
        y[...] = as_channels_last(add)
    m, s = plan.merged, stride[-1]

    def widened() -> Array:
        if m == 1:
            return w
        wide = np.zeros((m, *w.shape[:-1], kernel + (m - 1) * s), w.dtype)
        for r in range(m):
            wide[r, ..., r * s : r * s + kernel] = w
        return wide

    packed = _packed(plan, w, m * filters, widened, (plan.depth, 1, 0), s)
    _sum_lines(plan, x, packed, y, y, bias, add is not None, relu)
    return as_channels_first(y)


def conv_input(
    dy: Array, w: Array, *, size: Sides, stride: Sides, padding: Sides, dilation: Sides, groups: int
) -> Array:
    """dx[k,c] = sum_ae line[a, k*O + e] * w[a,e,c], the lines of dy, e = (t, o)."""
    filters, channels = w.shape[:2]
    dx = np.empty((len(dy), *size, channels), dy.dtype)
    m, plans = _backward(
        len(dy), size, dy.shape[2:], *w.shape[:2], w.shape[2:], stride, padding, dilation,
        dy.itemsize,
    )  # fmt: skip
    s, p = stride[-1], padding[-1]
    cells = prod(w.shape[2:-1]) * _wide_places(w.shape[-1], s, p, m)[1]

    def widened() -> Array:
        return _of_neighbours(w, s, p, m)

    for where, plan in plans:
        part = dx[:, *where]
        if plan is None:
            part[...] = 0
            continue
        steps = cells, filters, m * channels * cells
        packed = _packed(plan, w, m * channels, widened, steps, (s, p))
        _sum_lines(plan, dy, packed, dx, part, None, False, False)
    return as_channels_first(dx)


def _of_neighbours(w: Array, s: int, p: int, m: int) -> Array:
    """Return the filters (O, m*C, ...) of m pixels at once: cell t is that of result low + t."""
    if m == 1:
        return w
    filters, kernel = len(w), w.shape[-1]
    low, width = _wide_places(kernel, s, p, m)
    wide = np.zeros((filters, m, *w.shape[1:-1], width), w.dtype)
    for r in range(m):
        a = (r + p) % s  # the first cell that r sees, of result `at`; the next one sees at - 1
        at, count = (r + p - a) // s - low, len(range(a, kernel, s))
        wide[:, r, ..., at - count + 1 : at + 1] = w[..., a::s][..., ::-1]
    return wide


def conv_weight(
    x: Array, dy: Array, *, size: Sides, stride: Sides, padding: Sides, dilation: Sides, groups: int
) -> Array:
    """dw[a,e,o] = sum_i line[a, i*s*C + e] * dy[i,o], the lines of x."""
    channels, filters = x.shape[1], dy.shape[1]
    dw = np.empty((filters, channels, *size), x.dtype)
    _, plan = _forward(
        len(x), x.shape[2:], filters, channels, size, stride, padding, dilation, x.itemsize
    )
    bands = len(x) * plan.bands
    parts = min(get_num_threads(), bands)
    sums = workspace("line sums", parts * plan.depth * plan.merged * filters, x.dtype)
    values, planes = _values(x)
    parallel(
        _sum_bands, parts, parts, bands, values, planes, plan.lines, plan.fronts,
        np.ascontiguousarray(as_channels_last(dy)).reshape(-1), plan.merged * filters, sums,
        tiles(plan.lines.run, ROWS, LOW_ROWS),
        grain=1 + GRAIN * parts // (plan.depth * dy.size), pieces=1,
    )  # fmt: skip
    parallel(
        _gather_filters, channels, sums, parts, plan.merged, stride[-1], size[-1], plan.runs,
        channels, filters, dw.reshape(-1), grain=1 + 2**14 * channels // dw.size,
    )  # fmt: skip
    return dw


def _values(x: Array) -> tuple[Array, bool]:
    """Return the values of (N, C, ...) in a row, and whether each channel is a plane of its own."""
    last = as_channels_last(x)
    planes = x.flags.c_contiguous and not last.flags.c_contiguous
    return (x if planes else np.ascontiguousarray(last)).reshape(-1), planes


def _packed(
    plan: Plan, w: Array, columns: int, wide: Callable[[], Array], steps: Sides, how: Hashable
) -> Array:
    """Pack filters into panels: packed[panel, e, j].

    Args:
        wide: returns the filters of neighbours, which are those of w and of a setting, `how`.
        steps: there, from one result to the next, from one line to the next, and how many lines.
    """
    width = VECTORS * VECTOR_BYTES // w.itemsize
    panels = -(-columns // width)

    def pack(packed: Array) -> None:
        values = flat(wide())
        parallel(
            pack_filters, panels, values, *steps, values.size, plan.terms, columns, plan.depth,
            packed, grain=1 + 2**16 // (plan.depth * width),
        )  # fmt: skip

    key = how, plan.merged, plan.terms.tobytes()
    return prepared(w, "line filters", key, (panels * width * plan.depth,), pack)


def _sum_lines(
    plan: Plan, x: Array, packed: Array, whole: Array, part: Array, bias: Array | None, add: bool,
    relu: bool,
) -> None:  # fmt: skip
    """Compute results (N, ..., O), a part of a whole array, or add to what is there."""
    columns, depth = plan.merged * part.shape[-1], plan.depth
    width = VECTORS * VECTOR_BYTES // x.itemsize
    first = np.zeros((-(-columns // width) + 1) * width, x.dtype)  # biases of columns, and zeros
    if bias is not None:
        first[:columns].reshape(-1, len(bias))[:] = bias
    places = tuple(step // part.itemsize for step in part.strides[:-2])
    places = (places[0],) + (0,) * (3 - len(places)) + places[1:]
    offset = 0
    if part is not whole:
        offset = (address_of(part) - address_of(whole)) // part.itemsize
    values, planes = _values(x)
    bands = len(x) * plan.bands
    parallel(
        _multiply_bands, bands, values, planes, plan.lines, plan.fronts, packed, columns,
        whole.reshape(-1), offset, places, first, add, relu,
        tiles(plan.lines.width, ROWS, LOW_ROWS),
        grain=1 + GRAIN * bands // (part.size * depth), pieces=PIECES,
    )  # fmt: skip


# --- loops ----------------------------------------------------------------------------------------


@jit()
def _copy_lines(x, planes, lines, fronts, n, depth, height, count, target):
    """Copy what `count` lines of windows see of an image, with zeros around it.

    The target begins as zeros, and those to the left and right of an image stay.
    """
    channels = lines.channels
    seen = (count - 1) * lines.height_step + (lines.taps - 1) * lines.spacing + 1
    before = max(0, -lines.left)
    start = max(0, lines.left)
    pixels = max(0, min(lines.image_width - start, lines.line // channels - before))
    for z in range(fronts.size):
        front = depth * lines.depth_step + fronts[z]
        for i in range(seen):
            top = height * lines.height_step + lines.top + i
            at = (z * lines.copied + i) * lines.line
            if not (0 <= front < lines.image_depth and 0 <= top < lines.image_height):
                clear(target, at, lines.line)
                continue
            at += before * channels
            if planes:
                for c in range(channels):
                    plane = (n * channels + c) * lines.image_depth + front
                    source = (plane * lines.image_height + top) * lines.image_width + start
                    for j in range(pixels):
                        target[at + j * channels + c] = x[source + j]
            else:
                source = (n * lines.image_depth + front) * lines.image_height + top
                source = source * lines.image_width + start
                copy(x, source * channels, target, at, pixels * channels)


@jit()
def _multiply_bands(
    begin, end, x, planes, lines, fronts, packed, columns, y, offset, places, first, add, relu,
    counts,
):  # fmt: skip
    """Compute the results from one band of lines to another, counted over all images."""
    width = tile_columns(x)
    buffer = np.zeros(fronts.size * lines.copied * lines.line, x.dtype)
    bands = -(-lines.height // lines.band)
    depth = fronts.size * lines.taps * lines.run
    limit = DEPTH_BYTES // x.itemsize
    terms = even_parts(lines.run, limit)
    group = even_parts(lines.taps, max(1, limit // lines.run))
    zeros = first.size - width
    at_once = 2 if lines.width <= HALF else 1
    pair = lines.height_step * lines.line, places[2]
    for item in range(begin, end):
        rest, h = divmod(item, bands)
        n, d = divmod(rest, lines.depth)
        h *= lines.band
        count = min(lines.band, lines.height - h)
        _copy_lines(x, planes, lines, fronts, n, d, h, count, buffer)
        there = offset + n * places[0] + d * places[1] + h * places[2]
        for z in range(fronts.size):
            for a in range(0, lines.taps, group):
                for e in range(0, lines.run, terms):
                    size = min(group, lines.taps - a), min(terms, lines.run - e)
                    e0 = (z * lines.taps + a) * lines.run + e
                    last = e0 + (size[0] - 1) * lines.run + size[1] == depth
                    here = (z * lines.copied + a * lines.spacing) * lines.line + e
                    for j in range(0, columns, width):
                        for i in range(0, count, at_once):
                            two = at_once == 2 and i + 1 < count
                            _multiply_rows(
                                counts, lines.width, pair if two else (0, 0), size, buffer,
                                here + i * lines.height_step * lines.line,
                                (lines.width_step, 1, lines.spacing * lines.line),
                                packed, j * depth + e0 * width, (width, lines.run * width),
                                y, there + i * places[2] + j, columns, columns - j,
                                first, zeros if e0 > 0 else j, add or e0 > 0, relu and last,
                            )  # fmt: skip


@jit()
def _multiply_rows(
    counts, rows, pair, size, a, at_a, a_steps, b, at_b, b_steps, c, at_c, c_step, columns, first,
    at_first, add, relu,
):  # fmt: skip
    """Compute rows by up to a tile's columns, with so many high and low tiles.

    Or with one tile those of two lines, if `pair` says how far apart these lie in a and in c.
    """
    half = 2 * columns <= tile_columns(c)
    row_step, a_step, a_run = a_steps
    high, low = (1, 0) if pair[0] > 0 else counts
    i = 0
    for tile in range(high + low):
        here, place = at_a + i * row_step, at_c + i * c_step
        upper = HALF if tile < high else LOW_HALF
        part = rows - i, rows - i - upper, columns
        steps, c_steps = (row_step, a_step, a_run, upper * row_step), (c_step, upper * c_step)
        if pair[0] > 0:
            part = rows, rows, columns
            steps, c_steps = (row_step, a_step, a_run, pair[0]), (c_step, pair[1])
        if tile < high:
            if half:
                half_tile_sum(
                    size, a, here, steps, b, at_b, b_steps, c, place, c_steps, part,
                    first, at_first, add, relu,
                )  # fmt: skip
            else:
                tile_sum(
                    size, a, here, steps, b, at_b, b_steps, c, place, c_steps, part,
                    first, at_first, add, relu,
                )  # fmt: skip
        elif half:
            low_half_tile_sum(
                size, a, here, steps, b, at_b, b_steps, c, place, c_steps, part,
                first, at_first, add, relu,
            )  # fmt: skip
        else:
            low_tile_sum(
                size, a, here, steps, b, at_b, b_steps, c, place, c_steps, part,
                first, at_first, add, relu,
            )  # fmt: skip
        i += ROWS if tile < high else LOW_ROWS


@jit()
def _sum_bands(begin, end, parts, bands, x, planes, lines, fronts, dy, columns, sums, counts):
    """sums[part, e, o] = sum_i line[i*s*C + e] * dy[i,o] over the bands of some parts."""
    width = tile_columns(x)
    slack = width + ROWS
    buffer = np.zeros(fronts.size * lines.copied * lines.line + slack, x.dtype)
    of_line = lines.width * columns
    last_dy = np.zeros(lines.band * of_line + slack, x.dtype)
    none = np.zeros(width, x.dtype)
    bands_of_image = -(-lines.height // lines.band)
    depth = fronts.size * lines.taps * lines.run
    limit = DEPTH_BYTES // x.itemsize
    terms = even_parts(lines.width, limit)
    group = max(1, limit // lines.width)
    for part in range(begin, end):
        start = part * depth * columns
        clear(sums, start, depth * columns)
        for item in range(bands * part // parts, bands * (part + 1) // parts):
            rest, h = divmod(item, bands_of_image)
            n, d = divmod(rest, lines.depth)
            h *= lines.band
            count = min(lines.band, lines.height - h)
            _copy_lines(x, planes, lines, fronts, n, d, h, count, buffer)
            b, at_b = dy, (rest * lines.height + h) * of_line
            if at_b + count * of_line + slack > dy.size:
                copy(dy, at_b, last_dy, 0, count * of_line)
                b, at_b = last_dy, 0
            for i in range(0, count, group):
                for k in range(0, lines.width, terms):
                    size = min(group, count - i), min(terms, lines.width - k)
                    for j in range(0, columns, width):
                        for z in range(fronts.size):
                            for a in range(lines.taps):
                                line = z * lines.copied + a * lines.spacing + i * lines.height_step
                                e = (z * lines.taps + a) * lines.run
                                _multiply_rows(
                                    counts, lines.run, (0, 0), size, buffer,
                                    line * lines.line + k * lines.width_step,
                                    (1, lines.width_step, lines.height_step * lines.line),
                                    b, at_b + i * of_line + k * columns + j, (columns, of_line),
                                    sums, start + e * columns + j, columns, columns - j,
                                    none, 0, True, False,
                                )  # fmt: skip


@jit()
def _gather_filters(begin, end, sums, parts, merged, stride, kernel, runs, channels, filters, dw):
    """dw[o, c, (a, b)] = sum over parts and r of sums[part, a, r*s + b, c, r, o], for some c."""
    columns = merged * filters
    wide = kernel + (merged - 1) * stride
    cells = runs * kernel
    total = np.empty(cells * filters, sums.dtype)
    for c in range(begin, end):
        clear(total, 0, total.size)
        for cell in range(cells):
            a, b = divmod(cell, kernel)
            for part in range(parts):
                for r in range(merged):
                    line = (part * runs + a) * wide + r * stride + b
                    at = (line * channels + c) * columns + r * filters
                    for o in range(filters):
                        total[cell * filters + o] += sums[at + o]
        transpose(total, 0, filters, cells, filters, dw, c * cells, channels * cells)
