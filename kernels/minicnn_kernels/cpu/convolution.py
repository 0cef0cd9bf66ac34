"""Convolution as a matrix product whose matrix of windows is never stored: implicit GEMM.

With the channels last in memory, what a row of a window sees lies side by side: KW * C values, a
"run".  So a block of windows is copied run by run into the packed block of the matrix product, and
what a filter sees are `depth` = runs * values of a run terms of a sum:

    y[n,i,j,o] = sum_e windows[n,i,j,e] * w[e,o]        e = (a, b, c), in the order of the runs

The gradient by x is the same sum over dy: the pixels whose places leave the same remainders by the
stride, a "phase", see the same cells of the kernel, each at the same distance in dy.  In the
gradient by w the same windows are the rows, and the sum goes over all pixels.

Images have three sides here; missing ones have one pixel.

Paper: Chetlur et al. 2014, arXiv:1410.0759, "cuDNN: efficient primitives for deep learning".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np

from minicnn_kernels.arrays import (
    Array,
    address_of,
    aligned_empty,
    as_channels_first,
    as_channels_last,
)
from minicnn_kernels.constants import readable
from minicnn_kernels.cpu.gemm import (
    DEPTH_BYTES,
    IN_PLACE_BYTES,
    ROW_BLOCK,
    ROW_BYTES,
    clear_rest,
    columns_in_cache,
    even_parts,
    multiply_block,
    pack_a,
    rows_in_place,
    scratch,
    tile_columns,
)
from minicnn_kernels.cpu.jit import jit
from minicnn_kernels.cpu.layout import channels_last
from minicnn_kernels.cpu.vector import (
    ROWS,
    VECTOR_BYTES,
    VECTORS,
    address,
    clear,
    copy,
    copy_vector,
    transpose_square,
)
from minicnn_kernels.cpu.workspace import prepared, workspace
from minicnn_kernels.geometry import Sides, output_size
from minicnn_kernels.threads import get_num_threads, parallel

GRAIN = 2**20
"""Multiply-adds worth another thread."""

WINDOW_STEP = 272
"""From one packed window to the next where the sum goes over the pixels: a bit more than DEPTH."""

DIRECT_BYTES = 1024
"""How far apart pixels may lie to be read where they are: columns of far ones share few places in
the cache."""

SMALL_SUMS = 2**17
"""Values of a weight gradient that each thread sums up for itself, over its own pixels."""

# --- which pixels a result sees -------------------------------------------------------------------


@dataclass(frozen=True)
class Side:
    """Along one side, tap t of result i sees pixel i*step + places[t], through cell cells[t]."""

    image: int
    results: int
    step: int = 1
    cells: Sides = (0,)
    places: Sides = (0,)


@lru_cache(1024)
def _forward_plan(
    size: Sides, kernel: Sides, stride: Sides, padding: Sides, dilation: Sides,
    channels: int, groups: int,
) -> Plan:  # fmt: skip
    """Result i sees i*s + a*d - p."""
    sides = [
        Side(n, output_size(n, k, s, p, d), s, tuple(range(k)), tuple(a * d - p for a in range(k)))
        for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True)
    ]
    return Plan(sides, kernel, channels, groups)


@lru_cache(1024)
def _input_plans(
    size: Sides, results: Sides, kernel: Sides, stride: Sides, padding: Sides, dilation: Sides,
    filters: int, groups: int,
) -> list[tuple[tuple[slice, ...], Plan]]:  # fmt: skip
    """Return for each phase where its pixels lie, and what they see of dy."""
    geometry = list(zip(size, results, kernel, stride, padding, dilation, strict=True))
    plans = []
    for phases in product(*(range(min(s, n)) for s, n in zip(stride, size, strict=True))):
        sides = [phase_side(side, phase) for side, phase in zip(geometry, phases, strict=True)]
        where = tuple(slice(phase, None, s) for phase, s in zip(phases, stride, strict=True))
        plans.append((where, Plan(sides, kernel, filters, groups)))
    return plans


def phase_side(geometry: tuple[int, ...], phase: int) -> Side:
    """Pixel phase + i*s of dx sees result i + (phase + p - a*d) / s, where s divides it."""
    size, results, kernel, stride, padding, dilation = geometry
    cells = [a for a in reversed(range(kernel)) if (phase + padding - a * dilation) % stride == 0]
    places = tuple((phase + padding - a * dilation) // stride for a in cells)
    return Side(results, -(-(size - phase) // stride), 1, tuple(cells), places)


class Plan:
    """The runs of a window, for groups of `channels`, and what the kernels must know of the sides.

    Attributes:
        runs: where each starts, by side: (runs, 3).
        run: how many values each has.
        cells: the cells of the kernel, in the order of the runs.
    """

    def __init__(self, sides: list[Side], kernel: Sides, channels: int, groups: int) -> None:
        self.channels, self.groups = channels, groups
        self.sides = [Side(1, 1)] * (3 - len(sides)) + sides
        first, second, last = self.sides
        together = groups == 1 and all(np.diff(last.places) == 1)
        starts = last.places[:1] if together else last.places
        self.runs = np.array(list(product(first.places, second.places, starts)), np.int64)
        self.run = channels * (len(last.places) if together else 1)
        self.depth = channels * prod(len(side.cells) for side in sides)
        self.n_cells = prod(kernel)
        every_cell = np.arange(self.n_cells).reshape(kernel)
        self.cells = every_cell[np.ix_(*(side.cells for side in sides))].reshape(-1)
        self.image = tuple(side.image for side in self.sides)
        self.results = tuple(side.results for side in self.sides)
        self.steps = tuple(side.step for side in self.sides)

    @cached_property
    def terms_of_channel(self) -> Array:
        """Which term of the sum, e, each cell of a filter's first channel is; -1 for none."""
        terms = np.full(self.n_cells, -1)
        terms[self.cells] = np.arange(len(self.cells)) * self.channels
        return terms

    @cached_property
    def terms(self) -> Array:
        """The same for all values of a filter, (channel, cell)."""
        first = self.terms_of_channel
        return np.where(first < 0, -1, first + np.arange(self.channels)[:, None]).reshape(-1)

    @property
    def direct(self) -> bool:
        """Whether the windows are the pixels themselves."""
        return bool(self.depth == self.channels and self.image == self.results) and all(
            side.places == (0,) and side.step == 1 for side in self.sides
        )

    @property
    def geometry(self) -> tuple[Any, ...]:
        """What `_pack_windows` needs."""
        return (
            self.image, self.results, self.steps, self.runs.reshape(-1, 3), self.run,
            self.channels, self.groups, self.depth,
        )  # fmt: skip


# --- the three convolutions -----------------------------------------------------------------------


def conv(
    x: Array, w: Array, *, stride: Sides, padding: Sides, dilation: Sides, groups: int,
    bias: Array | None = None, add: Array | None = None, relu: bool = False,
) -> Array:  # fmt: skip
    """y[n,i,j,o] = sum_e windows[n,i,j,e] * w[e,o], the windows copied block by block."""
    n_filters, channels, *kernel = w.shape
    plan = _forward_plan(x.shape[2:], tuple(kernel), stride, padding, dilation, channels, groups)
    y = aligned_empty((len(x), *plan.results[3 - len(kernel) :], n_filters), x.dtype)
    _sum_windows(plan, x, w, False, y, y, epilogue(bias, add, relu, x.dtype))
    return as_channels_first(y)


def conv_input(
    dy: Array, w: Array, *, size: Sides, stride: Sides, padding: Sides, dilation: Sides, groups: int
) -> Array:
    """dx[n,k,l,c] = sum_e windows of dy[n,k,l,e] * w[e,c], for pixels of one phase at a time."""
    n_filters, channels, *kernel = w.shape
    dx = aligned_empty((len(dy), *size, channels * groups), dy.dtype)
    dy = as_channels_first(channels_last(dy))
    plans = _input_plans(
        size, dy.shape[2:], tuple(kernel), stride, padding, dilation, n_filters // groups, groups
    )
    for where, plan in plans:
        _sum_windows(plan, dy, w, True, dx, dx[:, *where], epilogue(None, None, False, dy.dtype))
    return as_channels_first(dx)


def conv_weight(
    x: Array, dy: Array, *, size: Sides, stride: Sides, padding: Sides, dilation: Sides, groups: int
) -> Array:
    """dw[e,o] = sum_nij windows[n,i,j,e] * dy[n,i,j,o], the windows copied block by block."""
    channels, n_filters = x.shape[1] // groups, dy.shape[1]
    plan = _forward_plan(x.shape[2:], size, stride, padding, dilation, channels, groups)
    dw = aligned_empty((n_filters, channels, *size), x.dtype)
    pixels, filters = dy.size // max(1, n_filters), n_filters // groups
    if 0 in (pixels, dw.size):
        dw[...] = 0
        return dw
    parts = min(get_num_threads(), pixels) if dw.size <= SMALL_SUMS else 1
    ordered = parts == 1 and plan.n_cells == 1
    sums = dw.reshape(-1) if ordered else workspace("conv sums", parts * dw.size, x.dtype)
    # Each thread takes a part of the pixels or, of all pixels, part of the channels or the filters
    by_filters = parts == 1 and filters > plan.depth and plan.depth * x.itemsize <= DEPTH_BYTES
    panels = -(-plan.depth * x.itemsize // (VECTORS * VECTOR_BYTES))
    count = parts * groups * (-(-filters // ROWS) if by_filters else panels)
    parallel(
        _sum_panels, count, by_filters, channels_last(x).reshape(-1), channels_last(dy).reshape(-1),
        sums, parts, pixels, filters, plan.direct, plan.geometry,
        grain=1 + GRAIN * count // (dw.size * pixels), pieces=1,
    )  # fmt: skip
    if not ordered:
        parallel(
            _gather_filters, n_filters, sums, parts, plan.terms, dw.reshape(-1),
            grain=1 + 2**16 // plan.depth,
        )  # fmt: skip
    return dw


def flat(w: Array) -> Array:
    """Return weights in one row; a copy if they lie otherwise."""
    return np.ascontiguousarray(readable(w)).reshape(-1)


# --- the sum over a window ------------------------------------------------------------------------


def _sum_windows(
    plan: Plan, x: Array, w: Array, turned: bool, whole: Array, part: Array, ending: Epilogue
) -> None:
    """Compute results (N, ..., O), a part of a whole array.

    Args:
        turned: whether the channels of w are the results, its filters terms of the sum.
    """
    columns = part.shape[-1] // plan.groups
    if plan.depth == 0 or 0 in part.shape:
        part[...] = 0
        return
    width = VECTORS * VECTOR_BYTES // x.itemsize
    panels = -(-columns // width)

    def pack(packed: Array) -> None:
        line = w[0].size  # a filter
        steps = (plan.n_cells, plan.channels, line) if turned else (line, 1, 0)
        terms = plan.terms_of_channel if turned else plan.terms
        parallel(
            pack_filters, plan.groups * panels, flat(w), *steps,
            w.size // plan.groups, terms, columns, plan.depth, packed,
            grain=1 + 2**16 // (plan.depth * width),
        )  # fmt: skip

    size = plan.groups * panels * width * plan.depth
    how = turned, plan.groups, plan.cells.tobytes()
    packed = prepared(w, "conv filters", how, (size,), pack)
    rows = part.size // part.shape[-1]
    tiles = -(-rows // ROWS)
    # Each thread reads all pixels and its part of the filters, or the other way round
    few = tiles < min(panels, 4 * get_num_threads())
    by_panels = few or (plan.direct and rows < columns)
    count = plan.groups * (panels if by_panels else tiles)
    offset = (address_of(part) - address_of(whole)) // part.itemsize
    places = tuple(step // part.itemsize for step in part.strides[:-1])
    places = (places[0],) + (0,) * (4 - len(places)) + places[1:]
    parallel(
        _multiply_tiles, count, by_panels, channels_last(x).reshape(-1), packed, rows, columns,
        whole.reshape(-1), offset, places, part.flags.c_contiguous, ending, plan.direct,
        plan.geometry,
        grain=1 + GRAIN * count // (rows * columns * plan.groups * plan.depth), pieces=2,
    )  # fmt: skip


@jit()
def pack_filters(
    begin, end, w, out_step, lines, line_step, group_step, terms, columns, depth, packed
):
    """packed[group, panel, terms[q] + line, j] = w[line, o, q], with o the panel's j-th column."""
    width = tile_columns(w)
    lanes = VECTOR_BYTES // w.itemsize
    panels = -(-columns // width)
    square = np.empty(lanes * lanes, w.dtype)
    for item in range(begin, end):
        group, first = item // panels, item % panels * width
        target = item * depth * width
        count = min(width, columns - first)
        if count < width:
            clear(packed, target, depth * width)
        for line in range(lines):
            source = group * group_step + line * line_step + first * out_step
            if out_step == 1:
                copy(w, source, packed, target + (terms[0] + line) * width, count)
                continue
            for j in range(0, count, lanes):
                for q in range(0, terms.size, lanes):
                    at = source + j * out_step + q
                    height, length = min(lanes, count - j), min(lanes, terms.size - q)
                    if height == lanes and at + (lanes - 1) * out_step + lanes <= w.size:
                        transpose_square(w, at, out_step, square, 0, lanes)
                    else:
                        for m in range(height):
                            for n in range(length):
                                square[n * lanes + m] = w[at + m * out_step + n]
                    for i in range(length):
                        if terms[q + i] >= 0:
                            there = target + (terms[q + i] + line) * width + j
                            if height == lanes:
                                copy_vector(square, i * lanes, packed, there)
                            else:
                                copy(square, i * lanes, packed, there, height)


@jit()
def _multiply_tiles(
    begin, end, by_panels, x, packed, rows, columns, y, offset, places, dense, ending, direct,
    geometry,
):  # fmt: skip
    """Compute the results from one tile of windows, or panel of filters, to another.

    They are counted over all groups.
    """
    results, channels, groups, depth = geometry[1], geometry[5], geometry[6], geometry[7]
    block, tile = scratch(x)
    width = tile_columns(x)
    panels, panel_step = -(-columns // width), depth * width
    pixel = channels * groups
    block_rows, block_step = ROW_BLOCK, ROW_BYTES // x.itemsize
    terms = even_parts(depth, DEPTH_BYTES // x.itemsize)
    if direct:
        block_rows = rows_in_place(pixel * x.itemsize)
        terms = even_parts(depth, IN_PLACE_BYTES // x.itemsize)
        block_step = max(block_step, terms + 64 // x.itemsize)
    rows_of_y = np.empty(0 if dense else block_rows * columns, x.dtype)
    count = panels if by_panels else -(-rows // ROWS)
    for group in range(begin // count, -(-end // count)):
        low, high = max(0, begin - group * count), min(count, end - group * count)
        first, last, left, right = low * ROWS, min(rows, high * ROWS), 0, columns
        if by_panels:
            first, last, left, right = 0, rows, low * width, min(columns, high * width)
        widest = columns_in_cache(x, depth) if direct else right - left
        for o in range(left, right, widest):
            wide, filters = min(widest, right - o), (group * panels + o // width) * panel_step
            for row in range(first, last, block_rows):
                height = min(block_rows, last - row)
                within = (row + -(-height // ROWS) * ROWS) * pixel <= x.size
                c, at, step = rows_of_y, 0, wide
                if dense:
                    c, step = y, columns * groups
                    at = offset + row * step + group * columns + o
                for k in range(0, depth, terms):
                    deep = min(terms, depth - k)
                    a, start, row_step, soon, soon_bytes = block, 0, block_step, 0, 0
                    if direct and within:
                        a, start, row_step = x, row * pixel + group * channels + k, pixel
                        if groups == 1:  # the next block of pixels, or a part of it
                            soon = address(x, (row + height) * pixel + k * height)
                            soon_bytes = height * deep * x.itemsize
                    else:
                        pack_windows(x, geometry, group, row, height, k, deep, block, row_step)
                        clear_rest(block, height, row_step, deep)
                    multiply_block(
                        a, start, row_step, 1, height, deep, packed, filters + k * width,
                        panel_step, wide, c, at, step, k > 0, tile, 0, soon, soon_bytes,
                    )  # fmt: skip
                there = group * columns + o
                finish_block(c, at, step, height, wide, there, ending)
                if not dense:
                    _scatter(c, height, wide, y, offset + there, places, results, row)


@jit()
def pack_windows(x, geometry, group, row, rows, k, terms, packed, row_step):
    """packed[i, e] = windows[row + i, k + e]: what the windows see, and 0 outside of the image."""
    image, results, steps, runs, run, channels, groups, _ = geometry
    depth, height, width = image
    pixel, first = channels * groups, group * channels
    rest, w = divmod(row, results[2])
    rest, h = divmod(rest, results[1])
    n, d = divmod(rest, results[0])
    for i in range(rows):
        at, end = i * row_step, i * row_step + terms
        r, inside = divmod(k, run)
        while at < end:
            count = min(run - inside, end - at)
            top, left = h * steps[1] + runs[r, 1], w * steps[2] + runs[r, 2]
            front = d * steps[0] + runs[r, 0]
            if 0 <= front < depth and 0 <= top < height:
                line = ((n * depth + front) * height + top) * width
                start = left * channels + inside
                source = (line + left) * pixel + first + inside
                if start >= 0 and start + count <= width * channels:
                    copy(x, source, packed, at, count)
                else:
                    low = min(max(0, -start), count)
                    high = max(low, min(count, width * channels - start))
                    clear(packed, at, low)
                    copy(x, source + low, packed, at + low, high - low)
                    clear(packed, at + high, count - high)
            else:
                clear(packed, at, count)
            at, r, inside = at + count, r + 1, 0
        w += 1
        if w == results[2]:
            w, h = 0, h + 1
            if h == results[1]:
                h, d = 0, d + 1
                if d == results[0]:
                    d, n = 0, n + 1


@jit()
def _scatter(block, rows, columns, y, offset, places, results, row):
    """Copy results, row by row, to where they lie in y."""
    for i in range(rows):
        rest, w = divmod(row + i, results[2])
        rest, h = divmod(rest, results[1])
        n, d = divmod(rest, results[0])
        at = offset + n * places[0] + d * places[1] + h * places[2] + w * places[3]
        copy(block, i * columns, y, at, columns)


# --- what happens to results while they are in the cache ------------------------------------------


class Epilogue(NamedTuple):
    """y = relu(y + bias + add): the bias of each channel, values that lie like y; empty: none."""

    bias: Array
    add: Array
    relu: bool


def epilogue(bias: Array | None, add: Array | None, relu: bool, dtype: Any) -> Epilogue:
    """Describe an epilogue; `add` is shaped like the results, (N, O, ...)."""
    nothing = np.empty(0, dtype)
    return Epilogue(
        nothing if bias is None else flat(bias),
        nothing if add is None else channels_last(add).reshape(-1),
        relu,
    )


@jit()
def finish_block(y, at, step, rows, columns, first, ending):
    """Apply an epilogue to a block of results, whose first column is channel `first`."""
    bias, add, relu = ending
    zero = y.dtype.type(0)
    for i in range(rows):
        start = at + i * step
        line = y[start : start + columns]
        if bias.size > 0:
            shift = bias[first : first + columns]
            for j in range(columns):
                line[j] += shift[j]
        if add.size > 0:
            other = add[start : start + columns]
            for j in range(columns):
                line[j] += other[j]
        if relu:
            for j in range(columns):
                line[j] = line[j] if line[j] > zero or line[j] != line[j] else zero


def finish(y: Array, bias: Array, add: Array | None, relu: bool) -> None:
    """Apply an epilogue to results that lie channels last, in place."""
    flat = as_channels_last(y).reshape(-1)
    ending = epilogue(bias, add, relu, y.dtype)
    parallel(
        _finish_pixels, y.size // bias.size, flat, bias.size, ending, grain=1 + 2**16 // bias.size
    )


@jit()
def _finish_pixels(begin, end, y, channels, ending):
    finish_block(y, begin * channels, channels, end - begin, channels, 0, ending)


# --- the sum over all pixels ----------------------------------------------------------------------


@jit()
def _sum_panels(begin, end, by_filters, x, dy, sums, parts, pixels, filters, direct, geometry):
    """sums[part, o, e] = sum_p dy[p,o] * windows[p,e], for some panels of e, or tiles of o.

    They are counted over all parts of the pixels and all groups.
    """
    channels, groups, depth = geometry[5], geometry[6], geometry[7]
    width = tile_columns(x)
    panels, tiles = -(-depth // width), -(-filters // ROWS)
    share = tiles if by_filters else panels
    terms = DEPTH_BYTES // x.itemsize
    pixel, step = channels * groups, filters * groups
    block, tile = scratch(x)
    windows = np.zeros((terms + 1) * WINDOW_STEP, x.dtype)
    for item in range(begin // share, -(-end // share)):
        part, group = divmod(item, groups)
        low, high = max(0, begin - item * share), min(share, end - item * share)
        first, last, first_o, last_o = low * width, min(depth, high * width), 0, filters
        if by_filters:
            first, last, first_o, last_o = 0, depth, low * ROWS, min(filters, high * ROWS)
        begin_pixel, end_pixel = pixels * part // parts, pixels * (part + 1) // parts
        blocks = -(-(last - first) // terms) * -(-(last_o - first_o) // ROW_BLOCK)
        for p in range(begin_pixel, end_pixel, terms):
            count = min(terms, end_pixel - p)
            # The next pixels of x or dy are fetched by and by: that of which all is needed, or more
            soon_bytes = min(terms, end_pixel - p - count) * step * dy.itemsize // blocks
            soon = address(dy, (p + count) * step)
            if direct and (pixel > step or by_filters):
                soon_bytes = min(terms, end_pixel - p - count) * pixel * x.itemsize // blocks
                soon = address(x, (p + count) * pixel)
            for e in range(first, last, terms):
                columns = min(terms, last - e)
                b, at_b, b_step = x, p * pixel + group * channels + e, pixel
                if not direct or at_b + (count - 1) * pixel + columns + width > x.size:
                    b, at_b, b_step = windows, 0, WINDOW_STEP
                    pack_windows(x, geometry, group, p, count, e, columns, windows, b_step)
                for o in range(first_o, last_o, ROW_BLOCK):
                    height = min(ROW_BLOCK, last_o - o)
                    a, at_a, steps = dy, p * step + group * filters + o, (1, step)
                    end_of_reading = at_a + (count - 1) * step + height + ROWS
                    if step * x.itemsize > DIRECT_BYTES or end_of_reading > dy.size:
                        steps = pack_a(dy, at_a, 1, step, height, count, block)
                        a, at_a = block, 0
                    multiply_block(
                        a, at_a, steps[0], steps[1], height, count, b, at_b, width, columns, sums,
                        (item * filters + o) * depth + e, depth, p > begin_pixel, tile, b_step,
                        soon, soon_bytes,
                    )  # fmt: skip
                    soon += soon_bytes


@jit()
def _gather_filters(begin, end, sums, parts, terms, dw):
    """dw[o, q] = the sum over all parts of sums[part, o, terms[q]]."""
    depth = terms.size
    for o in range(begin, end):
        filter = dw[o * depth : (o + 1) * depth]
        for part in range(parts):
            start = (part * (dw.size // depth) + o) * depth
            for q in range(depth):
                value = sums[start + terms[q]]
                filter[q] = value if part == 0 else filter[q] + value
