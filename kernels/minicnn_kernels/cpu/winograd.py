"""Winograd's 3x3 convolution: block after block of tiles, from the image to the result.

The formula is that of `reference/winograd.py`; what differs is the order.  All V = B^T d B of an
image would take 2.25 times its memory, and M as much again.  So a block of tiles is transformed,
multiplied with U for each of the (m + 2)^2 points, and transformed back before the next begins: V
and M of a block stay in the second-level cache, and each thread works on blocks of its own.

Images lie channels-last, (N, H, W, C): a vector holds one pixel's neighbouring channels, and
transforms compute with vectors as if they were numbers.  The matrix products take and leave

    v[point, tile, c]        u[point, panel, c, o]        product[point, tile, o]

where a panel has as many filters o as a tile of the matrix product has columns.  Two points lie a
`step` apart, one vector more than they need, lest they meet in the same places of the cache.

Paper: Lavin, Gray 2015, "Fast algorithms for convolutional neural networks", arXiv:1509.09308.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from minicnn_kernels.arrays import Array, aligned_empty
from minicnn_kernels.cpu.convolution import Epilogue, epilogue, finish_block, flat
from minicnn_kernels.cpu.gemm import multiply_block, tile_columns
from minicnn_kernels.cpu.jit import jit
from minicnn_kernels.cpu.layout import channels_last
from minicnn_kernels.cpu.transform import between, move
from minicnn_kernels.cpu.vector import ROWS, VECTOR_BYTES, VECTORS, address, transpose_square
from minicnn_kernels.cpu.workspace import prepared, workspace
from minicnn_kernels.geometry import Sides
from minicnn_kernels.threads import get_num_threads, parallel

BLOCK_BYTES = 5 * 2**18
"""How large V and M of a block may be: most of a core's second-level cache."""

LEAST_TILES = 8 * ROWS
"""Tiles in a block at least, as all of U is read once for each block."""

FEW_TILES = 224
"""Up to so many tiles, U is not written to memory, but made part by part where it is used."""

GROUP_BYTES = 256
"""How many bytes of filters such a part has at each point."""

PART_BYTES = 9 * 2**18
"""How large such a part is: 256 channels of 64 filters for m = 4."""

CHUNK = 16
"""Channels of which filters are gathered at a time."""

GRAIN = 2**20
"""Multiply-adds worth another thread."""

pixels = between(lambda matrices: matrices.bt)
results = between(lambda matrices: matrices.at)
results_adjoint = between(lambda matrices: matrices.at.T)
filters = between(lambda matrices: matrices.g)
filters_adjoint = between(lambda matrices: matrices.g.T)


class Tiling(NamedTuple):
    """How images are cut up: tile [i, j] begins at pixel [i * m - top, j * m - left].

    Attributes:
        height, width: of the image.
        out_height, out_width: of the result, which the tiles cover.
    """

    m: int
    rows: int
    columns: int
    top: int
    left: int
    height: int
    width: int
    out_height: int
    out_width: int


def tiling(m: int, image: Sides, result: Sides, padding: Sides) -> Tiling:
    """Cut images into tiles of m x m results."""
    rows, columns = (-(-n // m) for n in result)
    return Tiling(m, rows, columns, *padding, *image, *result)


# --- the three convolutions -----------------------------------------------------------------------


def conv(
    m: int, x: Array, w: Array, *, padding: Sides, bias: Array | None = None,
    add: Array | None = None, relu: bool = False, **settings: Any,
) -> Array:  # fmt: skip
    """Y = A^T [(G g G^T) * (B^T d B)] A for each tile of m x m results."""
    size = x.shape[2] + 2 * padding[0] - 2, x.shape[3] + 2 * padding[1] - 2
    cut = tiling(m, x.shape[2:], size, padding)
    return _convolve(x, w, False, cut, epilogue(bias, add, relu, x.dtype))


def conv_input(
    m: int, dy: Array, w: Array, *, size: Sides, padding: Sides, **settings: Any
) -> Array:
    """dx = conv(dy, w turned by 180 degrees, its channels exchanged), with padding 2 - p."""
    cut = tiling(m, dy.shape[2:], size, (2 - padding[0], 2 - padding[1]))
    return _convolve(dy, w, True, cut, epilogue(None, None, False, dy.dtype))


def conv_weight(m: int, x: Array, dy: Array, *, padding: Sides, **settings: Any) -> Array:
    """dg = G^T dU G with dU = sum over the tiles of (B^T d B) (A dY A^T)^T."""
    cut, points = tiling(m, x.shape[2:], dy.shape[2:], padding), (m + 2) ** 2
    x, dy = channels_last(x), channels_last(dy)
    channels, n_filters, lanes = x.shape[3], dy.shape[3], lanes_of(x)
    tiles = len(x) * cut.rows * cut.columns
    # A thread takes some of the tiles and sums up all of dU, or all tiles and part of dU
    by_channels = tiles < 8 * channels and channels >= 128
    step = _share(channels if by_channels else tiles, points * tiles * channels * n_filters)
    if by_channels:
        step = round_up(step, ROWS)
    parts = -(-(channels if by_channels else tiles) // step)
    row_v = round_up(step if by_channels else channels, lanes) + lanes
    row_m, row_u = round_up(n_filters, VECTORS * lanes), round_up(n_filters, lanes)
    stays = points * channels * row_u * x.itemsize <= BLOCK_BYTES // 2  # dU, in the cache
    least = ROWS if stays else LEAST_TILES
    block = _block(tiles if by_channels else step, points * (row_v + row_m) * x.itemsize, least)
    du = _points("u", 1 if by_channels else parts, points, round_up(channels, ROWS) * row_u, x)
    v = _points("v", parts, points, block * row_v, x)
    product = _points("m", parts, points, block * row_m, x)
    parallel(
        _add_products, parts, step, by_channels, cut, tiles, block, x.reshape(-1), channels,
        dy.reshape(-1), n_filters, v, row_v, product, row_m, du, row_u, pieces=1,
    )  # fmt: skip
    dw = np.empty((n_filters, channels, 3, 3), x.dtype)
    grain = 1 + 2**8 // n_filters
    parallel(_sums_as_filters, -(-channels // CHUNK), m, du, row_u, dw, grain=grain)
    return dw


conv2, conv4 = (partial(conv, m) for m in (2, 4))
conv_input2, conv_input4 = (partial(conv_input, m) for m in (2, 4))
conv_weight2, conv_weight4 = (partial(conv_weight, m) for m in (2, 4))


def _convolve(x: Array, w: Array, turned: bool, cut: Tiling, ending: Epilogue) -> Array:
    """Convolve x with w, or with w turned by 180 degrees, its channels exchanged."""
    x = channels_last(x)
    channels, n_filters = x.shape[3], w.shape[1] if turned else w.shape[0]
    y = aligned_empty((len(x), cut.out_height, cut.out_width, n_filters), x.dtype)
    points, tiles, lanes = (cut.m + 2) ** 2, len(x) * cut.rows * cut.columns, lanes_of(x)
    # A thread takes some of the tiles and all of U; or, of few, all tiles and part of U
    few = tiles <= FEW_TILES and n_filters > GROUP_BYTES // x.itemsize
    group, chunk = round_up(n_filters, VECTORS * lanes), channels
    if few:
        group = GROUP_BYTES // x.itemsize
        chunk = min(channels, PART_BYTES // (points * GROUP_BYTES))
    step = _share(n_filters if few else tiles, points * tiles * channels * n_filters)
    step = round_up(step, lanes if few else ROWS)
    parts = -(-(n_filters if few else tiles) // step)
    row_v, row_m = round_up(channels, lanes) + lanes, min(group, round_up(n_filters, lanes))
    block = tiles if few else _block(step, points * (row_v + row_m) * x.itemsize, LEAST_TILES)
    block = round_up(block, ROWS)
    v = _points("v", parts, points, block * row_v, x)
    product = _points("m", parts, points, block * row_m, x)
    if few:
        u = _points("u", parts, points, chunk * group, x)
    else:
        u = _transformed(w, cut.m, turned, channels, n_filters)
    parallel(
        _convolve_parts, parts, step, few, cut, tiles, block, x.reshape(-1), channels,
        flat(w), turned, n_filters, group, chunk, u, v, row_v, product, row_m,
        y.reshape(-1), ending, pieces=1,
    )  # fmt: skip
    return y.transpose(0, 3, 1, 2)


def _transformed(w: Array, m: int, turned: bool, channels: int, n_filters: int) -> Array:
    """Return U of all filters: (1, points), with a vector's room after each point."""
    panel = VECTORS * lanes_of(w)
    panels = -(-n_filters // panel)

    def transform(u: Array) -> None:
        parallel(
            _transform_panels, panels, m, flat(w), turned, channels, n_filters, u[0],
            grain=1 + 2**10 // channels,
        )  # fmt: skip

    shape = 1, (m + 2) ** 2 * (channels * panels * panel + lanes_of(w))
    return prepared(w, "winograd u", (m, turned), shape, transform)


def lanes_of(x: Array) -> int:
    """Return how many values a vector has."""
    return VECTOR_BYTES // x.itemsize


def round_up(count: int, step: int) -> int:
    """Return the next multiple of `step`."""
    return -(-count // step) * step


def _share(count: int, products: int) -> int:
    """Return how many of `count` each thread takes, if several threads are worth their while."""
    threads = max(1, min(get_num_threads(), products // GRAIN))
    return -(-count // threads)


def _block(tiles: int, tile_bytes: int, least: int) -> int:
    """Return how many tiles to take at a time, of those of a thread."""
    blocks = -(-tiles // max(BLOCK_BYTES // tile_bytes, least))
    return -(-tiles // blocks)


def _points(name: str, parts: int, points: int, values: int, like: Array) -> Array:
    """Return scratch memory for each part of the work, with room for `values` at each point."""
    shape = parts, points * (values + lanes_of(like))
    return workspace(f"winograd {name}", shape, like.dtype)


# --- the kernels of the result, and of the gradient by x ------------------------------------------


@jit()
def _convolve_parts(
    begin, end, step, few, cut, tiles, block, x, channels, w, turned, n_filters, group, chunk,
    u, v, row_v, product, row_m, y, ending,
):  # fmt: skip
    """Compute the results of part of the tiles; or, of few tiles, part of the channels of all."""
    lanes = VECTOR_BYTES // x.itemsize
    points = (cut.m + 2) * (cut.m + 2)
    tile = np.empty(points * lanes, x.dtype)
    for part in range(begin, end):
        o, last_o, t, last_t = 0, n_filters, part * step, min((part + 1) * step, tiles)
        if few:
            o, last_o, t, last_t = part * step, min((part + 1) * step, n_filters), 0, tiles
        own_u, own_v, own_product = u[part if few else 0], v[part], product[part]
        u_step, v_step, m_step = (
            own_u.size // points,
            own_v.size // points,
            own_product.size // points,
        )
        for first in range(t, last_t, block):
            count = min(block, last_t - first)
            for k in range(count):
                _transform_pixels(
                    cut, first + k, x, channels, 0, channels, own_v, k * row_v, v_step, tile
                )
            for g in range(o, last_o, group):
                wide = min(group, last_o - g)
                for c in range(0, channels, chunk):
                    deep = min(chunk, channels - c)
                    if few:
                        _transform_filters(
                            cut.m, w, turned, channels, n_filters, c, deep, g, wide,
                            own_u, u_step, 0,
                        )  # fmt: skip
                    for p in range(points):
                        soon = address(own_u, (p + 1) % points * u_step)
                        multiply_block(
                            own_v, p * v_step + c, row_v, 1, -(-count // ROWS) * ROWS, deep,
                            own_u, p * u_step, deep * tile_columns(u), -(-wide // lanes) * lanes,
                            own_product, p * m_step, row_m, c > 0, tile,
                            0, soon, deep * wide * u.itemsize,
                        )  # fmt: skip
                for k in range(count):
                    _transform_results(
                        cut, first + k, own_product, k * row_m, m_step, y, n_filters, g, wide,
                        ending, tile,
                    )  # fmt: skip


@jit()
def _transform_pixels(cut, t, x, channels, c0, count, v, at_v, v_step, tile):
    """V = B^T d B for tile t and some channels, with zeros beyond the image."""
    lanes = VECTOR_BYTES // x.itemsize
    n = cut.m + 2
    image, top, left = _place(cut, t)
    top, left = top - cut.top, left - cut.left
    a0, a1 = max(0, -top), min(n, cut.height - top)
    b0, b1 = max(0, -left), min(n, cut.width - left)
    inside = a0 == 0 and a1 == n and b0 == 0 and b1 == n
    row = cut.width * channels
    start = (image * cut.height + top) * row + left * channels + c0
    if not inside:
        tile[:] = 0
    for c in range(0, count, lanes):
        if inside and c + lanes <= count:
            pixels(cut.m, x, start + c, row, channels, v, at_v + c, n * v_step, v_step)
        else:
            for a in range(a0, a1):
                for b in range(b0, b1):
                    at = start + a * row + b * channels + c
                    _move(x, at, tile, (a * n + b) * lanes, min(lanes, count - c))
            pixels(cut.m, tile, 0, n * lanes, lanes, v, at_v + c, n * v_step, v_step)


@jit()
def _transform_results(cut, t, product, at_m, m_step, y, n_filters, o0, count, ending, tile):
    """Y = A^T M A for tile t and some filters; what lies beyond the result is dropped."""
    lanes = VECTOR_BYTES // y.itemsize
    m, n = cut.m, cut.m + 2
    image, top, left = _place(cut, t)
    a1, b1 = min(m, cut.out_height - top), min(m, cut.out_width - left)
    inside = a1 == m and b1 == m
    row = cut.out_width * n_filters
    start = (image * cut.out_height + top) * row + left * n_filters + o0
    for o in range(0, count, lanes):
        if inside and o + lanes <= count:
            results(m, product, at_m + o, n * m_step, m_step, y, start + o, row, n_filters)
        else:
            results(m, product, at_m + o, n * m_step, m_step, tile, 0, m * lanes, lanes)
            for a in range(a1):
                for b in range(b1):
                    at = start + a * row + b * n_filters + o
                    _move(tile, (a * m + b) * lanes, y, at, min(lanes, count - o))
    for a in range(a1):
        finish_block(y, start + a * row, n_filters, b1, count, o0, ending)


@jit(inline=True)
def _place(cut, t):
    """Return the image of tile t, and where the tile begins in the result."""
    image, inside = divmod(t, cut.rows * cut.columns)
    i, j = divmod(inside, cut.columns)
    return image, i * cut.m, j * cut.m


@jit(inline=True)
def _move(source, at_source, target, at_target, count):
    """Copy a vector, or its first values: target[i] = source[i]."""
    if count == VECTOR_BYTES // source.itemsize:
        move(source, at_source, target, at_target)
    else:
        for i in range(count):
            target[at_target + i] = source[at_source + i]


@jit()
def _transform_panels(begin, end, m, w, turned, channels, n_filters, u):
    """Transform panels of the filters."""
    panel = tile_columns(w)
    first, last = begin * panel, min(end * panel, n_filters)
    u_step = u.size // ((m + 2) * (m + 2))
    _transform_filters(
        m,
        w,
        turned,
        channels,
        n_filters,
        0,
        channels,
        first,
        last - first,
        u,
        u_step,
        first * channels,
    )


@jit()
def _transform_filters(m, w, turned, channels, n_filters, c0, deep, o0, wide, u, u_step, at_u):
    """U = G g G^T for some channels and filters: u[point, panel, c, o]."""
    lanes, panel = VECTOR_BYTES // w.itemsize, tile_columns(w)
    taps = np.zeros((CHUNK * 9 + lanes) * panel, w.dtype)
    first, tap = (8 * panel, -panel) if turned else (0, panel)
    whole = -(-9 // lanes) * lanes  # squares are transposed fast; what is too much is overwritten
    for o in range(0, wide, panel):
        columns = min(panel, wide - o)
        for c in range(0, deep, CHUNK):
            chunk = min(CHUNK, deep - c)
            if turned:
                for k in range(chunk):
                    start = ((c0 + c + k) * n_filters + o0 + o) * 9
                    read = whole if start + columns * 9 + whole <= w.size else 9
                    _transpose(w, start, 9, columns, read, taps, k * 9 * panel, panel)
            else:
                start = ((o0 + o) * channels + c0 + c) * 9
                _transpose(w, start, channels * 9, columns, chunk * 9, taps, 0, panel)
            for k in range(chunk):
                for j in range(0, columns, lanes):
                    at = at_u + o * deep + (c + k) * panel + j
                    filters(
                        m, taps, k * 9 * panel + first + j, 3 * tap, tap,
                        u, at, (m + 2) * u_step, u_step,
                    )  # fmt: skip


@jit()
def _transpose(x, at_x, step_x, rows, columns, y, at_y, step_y):
    """y[j,i] = x[i,j], with rows that begin a step apart."""
    lanes = VECTOR_BYTES // x.itemsize
    for i in range(0, rows, lanes):
        for j in range(0, columns, lanes):
            here, there = at_x + i * step_x + j, at_y + j * step_y + i
            if i + lanes <= rows and j + lanes <= columns:
                transpose_square(x, here, step_x, y, there, step_y)
            else:
                for a in range(min(lanes, rows - i)):
                    for b in range(min(lanes, columns - j)):
                        y[there + b * step_y + a] = x[here + a * step_x + b]


# --- the kernels of the gradient by the filters ---------------------------------------------------


@jit()
def _add_products(
    begin, end, step, by_channels, cut, tiles, block, x, channels, dy, n_filters,
    v, row_v, product, row_m, du, row_u,
):  # fmt: skip
    """dU += V dM^T, for part of the tiles, or for part of the channels and all tiles."""
    lanes = VECTOR_BYTES // x.itemsize
    points = (cut.m + 2) * (cut.m + 2)
    tile = np.empty(points * lanes, x.dtype)
    for part in range(begin, end):
        c, last_c, t, last_t = 0, channels, part * step, min((part + 1) * step, tiles)
        if by_channels:
            c, last_c, t, last_t = part * step, min((part + 1) * step, channels), 0, tiles
        own_v, own_product, sums = v[part], product[part], du[0 if by_channels else part]
        v_step, m_step, u_step = (
            own_v.size // points,
            own_product.size // points,
            sums.size // points,
        )
        for first in range(t, last_t, block):
            count = min(block, last_t - first)
            for k in range(count):
                _transform_pixels(
                    cut, first + k, x, channels, c, last_c - c, own_v, k * row_v, v_step, tile
                )
                _transform_results_back(
                    cut, first + k, dy, n_filters, own_product, k, block, m_step, tile
                )
            for p in range(points):
                multiply_block(
                    own_v, p * v_step, 1, row_v, -(-(last_c - c) // ROWS) * ROWS, count,
                    own_product, p * m_step, block * tile_columns(x), row_u,
                    sums, p * u_step + c * row_u, row_u, first > t, tile,
                )  # fmt: skip


@jit()
def _transform_results_back(cut, t, dy, n_filters, product, k, block, m_step, tile):
    """dM = A dY A^T for tile t, in panels: product[point, panel, k, o]."""
    lanes, panel = VECTOR_BYTES // dy.itemsize, tile_columns(dy)
    m, n = cut.m, cut.m + 2
    image, top, left = _place(cut, t)
    a1, b1 = min(m, cut.out_height - top), min(m, cut.out_width - left)
    inside = a1 == m and b1 == m
    row = cut.out_width * n_filters
    start = (image * cut.out_height + top) * row + left * n_filters
    if not inside:
        tile[:] = 0
    for o in range(0, n_filters, lanes):
        to = o // panel * panel * block + k * panel + o % panel
        if inside and o + lanes <= n_filters:
            results_adjoint(m, dy, start + o, row, n_filters, product, to, n * m_step, m_step)
        else:
            for a in range(a1):
                for b in range(b1):
                    at = start + a * row + b * n_filters + o
                    _move(dy, at, tile, (a * m + b) * lanes, min(lanes, n_filters - o))
            results_adjoint(m, tile, 0, m * lanes, lanes, product, to, n * m_step, m_step)


@jit()
def _sums_as_filters(begin, end, m, du, row_u, dw):
    """dg = G^T dU G for some chunks of channels, dU summed over the parts."""
    lanes = VECTOR_BYTES // dw.itemsize
    points = (m + 2) * (m + 2)
    n_filters, channels = dw.shape[:2]
    sums, u_step, row = du[0], du.shape[1] // points, row_u + lanes
    taps = np.empty(CHUNK * 9 * row, dw.dtype)
    for first in range(begin * CHUNK, min(end * CHUNK, channels), CHUNK):
        chunk = min(CHUNK, channels - first)
        for p in range(points):
            start, stop = p * u_step + first * row_u, p * u_step + (first + chunk) * row_u
            for part in range(1, len(du)):
                _add(du[part, start:stop], sums[start:stop])
        for k in range(chunk):
            for o in range(0, n_filters, lanes):
                at = (first + k) * row_u + o
                filters_adjoint(
                    m, sums, at, (m + 2) * u_step, u_step, taps, k * 9 * row + o, 3 * row, row
                )
        _transpose(taps, 0, row, chunk * 9, n_filters, dw.reshape(-1), first * 9, channels * 9)


@jit(inline=True)
def _add(x, total):
    for i in range(x.size):
        total[i] += x[i]
