"""Convolution in groups of few channels, compiled: sums of products of whole pixels.

With the channels last in memory a pixel is a row of neighbours, and so is a cell of the filters.
In a depthwise convolution, for all channels at once, each of the three is a sum of products of two
such rows:

    y[i]  = sum_a x[q] * w[a]      over the cells a of the kernel
    dx[q] = sum_a dy[i] * w[a]     over the windows i that see the pixel q
    dw[a] = sum_i x[q] * dy[i]     over the windows i

with q = i*s + a*d - p, which must lie inside the image.  They differ in nothing but which rows
meet.  That is written down beforehand, as a list of runs: neighbours in a line whose sums have the
same terms, only moved.  Then each value loaded serves several sums, borders are shorter sums, and
one loop does all three, for images of one to three sides.

Groups of several channels are the same with more rows: row r of a pixel holds, for every result,
channel r of its group, and so does row r of a cell.

Papers: Chollet 2017, arXiv:1610.02357 (depthwise); Xie, Girshick, Dollar, Tu, He 2017,
arXiv:1611.05431 (groups of four).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import groupby, product
from math import prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from minicnn_kernels.arrays import Array, aligned_empty, as_channels_first
from minicnn_kernels.cpu.jit import jit
from minicnn_kernels.cpu.lanes import load, multiply_add, store, zeros
from minicnn_kernels.cpu.layout import channels_last
from minicnn_kernels.geometry import Sides, Windows
from minicnn_kernels.threads import parallel

GRAIN = 2**17  # products that are worth a thread
PARTS = 16  # dw is added up in so many parts, however many threads there are
ROWS_BYTES = 2**22  # of pixels spread to rows at a time; they then stay in the cache


def conv_grouped(
    x: Array, w: Array, *, stride: Sides, padding: Sides, dilation: Sides, groups: int
) -> Array:
    """y[n,i,o] = sum_ra x[n, i*s + a*d - p, r of o's group] * w[a,r,o]."""
    windows = Windows(x.shape[2:], w.shape[2:], stride, padding, dilation)
    filters, per_group = w.shape[:2]
    y = aligned_empty((len(x), *windows.output, filters), x.dtype)
    plan = _plan(windows, filters, per_group, "window", "pixel")
    rows_of_cells = np.ascontiguousarray(np.moveaxis(w, (0, 1), (-1, -2)))[None]
    for some, rows in _in_rows(x, per_group, filters // groups):
        _run(plan, y[some], rows, rows_of_cells)
    return as_channels_first(y)


def conv_input_grouped(
    dy: Array, w: Array, *, size: Sides, stride: Sides, padding: Sides, dilation: Sides, groups: int
) -> Array:
    """dx[n,q,c] = sum_ta dy[n,i,t of c's group] * w[a,t,c] over the i with i*s + a*d - p = q."""
    windows = Windows(size, w.shape[2:], stride, padding, dilation)
    filters, per_group = len(w) // groups, w.shape[1]
    dx = aligned_empty((len(dy), *size, groups * per_group), dy.dtype)
    plan = _plan(windows, groups * per_group, filters, "pixel", "window")
    by_group = w.reshape(groups, filters, per_group, *w.shape[2:])
    rows_of_cells = np.ascontiguousarray(np.moveaxis(by_group, (1, 0, 2), (-3, -2, -1)))[None]
    for some, rows in _in_rows(dy, filters, per_group):
        _run(plan, dx[some], rows, rows_of_cells)
    return as_channels_first(dx)


def conv_weight_grouped(
    x: Array, dy: Array, *, size: Sides, stride: Sides, padding: Sides, dilation: Sides, groups: int
) -> Array:
    """dw[a,r,o] = sum_ni x[n, i*s + a*d - p, r of o's group] * dy[n,i,o]."""
    windows = Windows(x.shape[2:], size, stride, padding, dilation)
    filters, per_group = dy.shape[1], x.shape[1] // groups
    parts = np.zeros((PARTS, *size, per_group, filters), x.dtype)
    plan = _plan_of_weights(windows, filters, per_group)
    last = channels_last(dy)
    for some, rows in _in_rows(x, per_group, filters // groups):
        _run(plan, parts, rows, last[some], add=True)
    return np.ascontiguousarray(np.moveaxis(parts.sum(0), (-1, -2), (0, 1)))


def _in_rows(x: Array, per_group: int, results: int) -> Iterator[tuple[slice, Array]]:
    """Lay out some images at a time as (N, H, W, R, K).

    rows[n,i,r,k] is channel r of the group to which the k-th result belongs, there being so many
    results per group.
    """
    x = channels_last(x)
    if per_group == results == 1:
        yield slice(None), x
        return
    groups = np.arange(x.shape[-1], dtype=np.uintp).reshape(-1, per_group)
    sources = groups.T.repeat(results, axis=1)
    pixels = prod(x.shape[1:-1])
    step = max(1, ROWS_BYTES // max(1, pixels * sources.size * x.itemsize))
    for first in range(0, len(x), step):
        some = slice(first, min(first + step, len(x)))
        rows = aligned_empty((some.stop - first, *x.shape[1:-1], *sources.shape), x.dtype)
        parallel(
            _spread, pixels * (some.stop - first), x[some].reshape(-1, x.shape[-1]),
            sources.reshape(-1), rows.reshape(-1, sources.size), grain=1 + GRAIN // sources.size,
        )  # fmt: skip
        yield some, rows


@jit()
def _spread(begin, end, x, sources, rows):
    """rows[i,k] = x[i,sources[k]]."""
    for i in range(begin, end):
        pixel, row = x[i], rows[i]
        for k in range(row.size):
            row[k] = pixel[sources[k]]


def _run(plan: Plan, y: Array, x: Array, w: Array, add: bool = False) -> None:
    """Compute all runs for all images; with `add`, those of each part into an image of y."""
    items = len(x) * len(plan.runs)
    parts = len(y) if add else items
    y_image, x_image, w_image = (prod(array.shape[1:]) for array in (y, x, w))
    image_steps = (0, y_image, x_image, w_image) if add else (y_image, 0, x_image, 0)
    parallel(
        _sum, parts, parts, items, add, y.reshape(-1), x.reshape(-1), w.reshape(-1), image_steps,
        x.shape[-1], plan, grain=1 + parts * GRAIN // (1 + len(x) * plan.n_products),
    )  # fmt: skip


# --- which rows meet ------------------------------------------------------------------------------

Run = np.dtype([(name, np.intp) for name in (
    "sums", "at", "at_step", "left", "left_step", "right", "begin", "end",
)])  # fmt: skip
"""Sums in a line with as many terms each, everything moved by a step from one to the next.

    y[at + u*at_step] = sum_k x[left + u*left_step + lefts[k]] * w[right + rights[k]]

with 0 <= u < sums and begin <= k < end.  Places say how many values lie before them.
"""


Pairs: TypeAlias = list[tuple[int, int]]


class Plan(NamedTuple):
    """All runs of an image, and the lists of terms that they share."""

    runs: Any
    lefts: Array
    rights: Array
    n_products: int


@cache
def _plan(windows: Windows, channels: int, rows: int, sums: str, left: str) -> Plan:
    """Plan sums over the cells, for every window from its pixels or the other way round."""
    sizes, last = _sizes(windows), windows.ndim - 1
    places = _meetings(windows, range(last, last + 1), sums, left)
    step, left_step = (1, windows.stride[-1]) if sums == "window" else (windows.stride[-1], 1)
    runs = []
    for line, lines in enumerate(_meetings(windows, range(last), sums, left)):
        for i, count in (found for phase in range(step) for found in _alike(places, phase, step)):
            terms = [
                ((j * sizes[left][-1] + q) * rows + r, (b * sizes["cell"][-1] + a) * rows + r)
                for j, b in lines for q, a in places[i] for r in range(rows)
            ]  # fmt: skip
            first = terms[0][0] if terms else 0
            terms = [(q - first, a) for q, a in terms]
            at = line * sizes[sums][-1] + i
            runs.append((count, at, step, first, left_step * rows, 0, terms))
    return _as_plan(runs, channels)


@cache
def _plan_of_weights(windows: Windows, channels: int, rows: int) -> Plan:
    """Plan sums over the windows, for every row of every cell: a line of windows at a time."""
    sizes, last = _sizes(windows), windows.ndim - 1
    places = _meetings(windows, range(last, last + 1), "window", "pixel")
    runs = []
    for line, lines in enumerate(_meetings(windows, range(last), "window", "pixel")):
        for (j, b), (i, count), r in product(lines, _alike(places), range(rows)):
            if places[i]:
                q, a = places[i][0]
                terms = [(t * windows.stride[-1] * rows, t) for t in range(count)]
                runs.append((
                    len(places[i]), (b * sizes["cell"][-1] + a) * rows + r, rows,
                    (j * sizes["pixel"][-1] + q) * rows + r, windows.dilation[-1] * rows,
                    line * sizes["window"][-1] + i, terms,
                ))  # fmt: skip
    return _as_plan(runs, channels)


def _alike(meetings: list[Pairs], phase: int = 0, step: int = 1) -> Iterator[tuple[int, int]]:
    """Group every step-th place with those next to it that meet the same cells: (first, count)."""
    places = range(phase, len(meetings), step)
    for _, same in groupby(places, lambda i: [meeting[1] for meeting in meetings[i]]):
        first, *others = same
        yield first, 1 + len(others)


def _as_plan(runs: list[Any], channels: int) -> Plan:
    """Keep equal lists of terms once, and count values instead of pixels."""
    begins: dict[tuple[tuple[int, int], ...], int] = {}
    pairs: Pairs = []
    rows = []
    for *places, terms in runs:
        begin = begins.setdefault(tuple(terms), len(pairs))
        if begin == len(pairs):
            pairs += terms
        rows.append((*places, begin, begin + len(terms)))
    found = np.array(rows, Run)
    for name in ("at", "at_step", "left", "left_step", "right"):
        found[name] *= channels
    lefts, rights = np.array(pairs, np.intp).reshape(-1, 2).T * channels
    n_products = channels * int(np.sum(found["sums"] * (found["end"] - found["begin"])))
    return Plan(found.view(np.recarray), lefts.copy(), rights.copy(), n_products)


def _sizes(windows: Windows) -> dict[str, Sides]:
    return {"window": windows.output, "cell": windows.kernel, "pixel": windows.image}


def _meetings(windows: Windows, sides: range, sums: str, left: str) -> list[Pairs]:
    """List for each window or pixel the (pixel or window, cell) it meets, along some sides."""
    found = {role: np.zeros(1, np.intp) for role in _sizes(windows)}
    for side in sides:
        size = {role: sizes[side] for role, sizes in _sizes(windows).items()}
        window, cell = np.indices((size["window"], size["cell"])).reshape(2, -1)
        pixel = (
            window * windows.stride[side] + cell * windows.dilation[side] - windows.padding[side]
        )
        inside = (pixel >= 0) & (pixel < size["pixel"])
        here = {"window": window[inside], "cell": cell[inside], "pixel": pixel[inside]}
        found = {
            role: np.add.outer(found[role] * size[role], here[role]).reshape(-1) for role in found
        }
    meetings: list[Pairs] = [[] for _ in range(prod(_sizes(windows)[sums][side] for side in sides))]
    for i, j, cell in zip(*(found[role].tolist() for role in (sums, left, "cell")), strict=True):
        meetings[i].append((j, cell))
    return meetings


# --- loops ----------------------------------------------------------------------------------------
#
# Three sums at a time stay in registers, for 32 channels, or what is left over for 8 and for 1.


@jit()
def _sum(begin, end, parts, items, add, y, x, w, image_steps, channels, plan):
    """Compute some parts of the runs of all images."""
    y_image, y_part, x_image, w_image = image_steps
    for part in range(begin, end):
        for item in range(items * part // parts, items * (part + 1) // parts):
            image = item // plan.runs.size
            run = plan.runs[item % plan.runs.size]
            terms = plan.lefts[run.begin : run.end], plan.rights[run.begin : run.end]
            at = run.at + image * y_image + part * y_part
            left, right = run.left + image * x_image, run.right + image * w_image
            u = 0
            while u < run.sums:
                count = 3 if run.sums - u >= 3 else 1
                places = at + u * run.at_step, left + u * run.left_step, right
                steps = count, run.at_step, run.left_step
                c = _block(0, channels, 32, add, y, x, w, places, steps, terms)
                c = _block(c, channels, 8, add, y, x, w, places, steps, terms)
                _block(c, channels, 1, add, y, x, w, places, steps, terms)
                u += count


@jit(inline=True)
def _block(c, channels, lanes, add, y, x, w, places, steps, terms):
    """Compute one or three sums for channels from c on; return the first channel left."""
    at, left, right = places
    count, at_step, left_step = steps
    lefts, rights = terms
    while c + lanes <= channels:
        if count == 3:
            if add:
                total0 = load(y, at + c, lanes)
                total1 = load(y, at + c + at_step, lanes)
                total2 = load(y, at + c + 2 * at_step, lanes)
            else:
                total0 = total1 = total2 = zeros(y, lanes)
            for k in range(lefts.size):
                place = left + lefts[k] + c
                row = load(w, right + rights[k] + c, lanes)
                total0 = multiply_add(load(x, place, lanes), row, total0)
                total1 = multiply_add(load(x, place + left_step, lanes), row, total1)
                total2 = multiply_add(load(x, place + 2 * left_step, lanes), row, total2)
            store(y, at + c, total0)
            store(y, at + c + at_step, total1)
            store(y, at + c + 2 * at_step, total2)
        else:
            total = load(y, at + c, lanes) if add else zeros(y, lanes)
            for k in range(lefts.size):
                row = load(w, right + rights[k] + c, lanes)
                total = multiply_add(load(x, left + lefts[k] + c, lanes), row, total)
            store(y, at + c, total)
        c += lanes
    return c
