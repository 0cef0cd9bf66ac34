"""Convolution and its two gradients, by definition and as matrix products.

The three are one trilinear form seen from three sides: sum y*dy = sum x*dx = sum w*dw.
Shapes: x (N, C, H, W); w (O, C/groups, KH, KW); y and dy (N, O, OH, OW).  Images of one and three
sides take the same code: i, a, s, d and p then have one number per side, as i*s + a*d - p.

Paper: Chellapilla, Puri, Simard 2006, "High performance convolutional neural networks for document
processing" (convolution as a matrix product).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from importlib import import_module
from itertools import product
from math import inf, prod
from typing import Any

import numpy as np

from minicnn_kernels.arrays import Array, at_hand, contiguous, filled
from minicnn_kernels.constants import is_constant
from minicnn_kernels.geometry import Sides, Windows
from minicnn_kernels.products import ON_CARDS, matmul, on_card_cost, on_card_serves
from minicnn_kernels.reference.normalization import per_channel
from minicnn_kernels.reference.windows import pad_image, window_view
from minicnn_kernels.registry import BOTH, Kernel, can_compile

conv = Kernel("conv", tunable=True)
conv_input = Kernel("conv_input", tunable=True)
conv_weight = Kernel("conv_weight", tunable=True)


LARGE = 2**18
"""Results worth a compiled pass for the bias: NumPy starts anew for the channels of each pixel."""


def conv_bias(
    x: Array, w: Array, b: Array, *, add: Array | None = None, relu: bool = False,
    algorithm: str | None = None, **settings: Any,
) -> Array:  # fmt: skip
    """y[n,o,i,j] = b[o] + conv(x, w)[n,o,i,j] (+ add[n,o,i,j]); with `relu` 0 where negative.

    Some algorithms do all that while a block of results is still in the cache.
    """
    chosen = conv.choose(x, w, algorithm=algorithm, **settings)
    if "bias" in chosen.extras:
        b = contiguous(b)
        y: Array = chosen.compute(x, w, bias=b, add=add, relu=relu, **settings)
        return y
    y = chosen.compute(x, w, **settings)
    if (
        at_hand(y)
        and can_compile()
        and y.size >= LARGE
        and np.moveaxis(y, 1, -1).flags.c_contiguous
    ):
        import_module("minicnn_kernels.cpu.convolution").finish(y, b, add, relu)
        return y
    y += per_channel(b, y.ndim)
    if add is not None:
        y += add
    return np.maximum(y, 0, out=y) if relu else y


WORKSPACE_BYTES = 4 * 2**20
"""How large the im2col matrix of one pass may grow; the rest takes further passes."""

ON_CARD = 64
"""So many times as large on a card, which has no cache to stay in."""

_thread = threading.local()


# --- by definition, for the eye and as an oracle --------------------------------------------------


@conv.algorithm("loops")
def conv_loops(
    x: Array, w: Array, *, stride: Sides, padding: Sides, dilation: Sides, groups: int
) -> Array:
    """y[n,o,i,j] = sum_cab x[n, c, i*s + a*d - p, j*s + b*d - p] * w[o,c,a,b]."""
    windows = Windows(x.shape[2:], w.shape[2:], stride, padding, dilation)
    y = np.zeros_like(x, shape=(x.shape[0], w.shape[0], *windows.output))
    for n, o, i, c, a, pixel in _products(windows, x.shape, w.shape, groups):
        y[n, o, *i] += x[n, c, *pixel] * w[o, c % w.shape[1], *a]
    return y


@conv_input.algorithm("loops")
def conv_input_loops(
    dy: Array, w: Array, *, size: Sides, stride: Sides, padding: Sides, dilation: Sides, groups: int
) -> Array:
    """dx[n, c, i*s + a*d - p, j*s + b*d - p] += dy[n,o,i,j] * w[o,c,a,b]."""
    windows = Windows(size, w.shape[2:], stride, padding, dilation)
    dx = np.zeros_like(dy, shape=(dy.shape[0], w.shape[1] * groups, *size))
    for n, o, i, c, a, pixel in _products(windows, dx.shape, w.shape, groups):
        dx[n, c, *pixel] += dy[n, o, *i] * w[o, c % w.shape[1], *a]
    return dx


@conv_weight.algorithm("loops")
def conv_weight_loops(
    x: Array, dy: Array, *, size: Sides, stride: Sides, padding: Sides, dilation: Sides, groups: int
) -> Array:
    """dw[o,c,a,b] = sum_nij x[n, c, i*s + a*d - p, j*s + b*d - p] * dy[n,o,i,j]."""
    windows = Windows(x.shape[2:], size, stride, padding, dilation)
    dw = np.zeros_like(x, shape=(dy.shape[1], x.shape[1] // groups, *size))
    for n, o, i, c, a, pixel in _products(windows, x.shape, dw.shape, groups):
        dw[o, c % dw.shape[1], *a] += x[n, c, *pixel] * dy[n, o, *i]
    return dw


def _products(
    windows: Windows, x_shape: tuple[int, ...], w_shape: tuple[int, ...], groups: int
) -> Iterator[tuple[int, int, Sides, int, Sides, Sides]]:
    """Go over every product of the sum: (n, o, i, c, a, the pixel i*s + a*d - p of x)."""
    (n_images, _, *image), (n_filters, per_group, *_) = x_shape, w_shape
    positions, cells = (list(product(*map(range, n))) for n in (windows.output, windows.kernel))
    steps = list(zip(windows.stride, windows.dilation, windows.padding, strict=True))
    for n, o, i in product(range(n_images), range(n_filters), positions):
        first = o // (n_filters // groups) * per_group  # the group's first channel
        for c, a in product(range(first, first + per_group), cells):
            moves = zip(i, a, steps, strict=True)
            pixel = tuple(at * s + tap * d - p for at, tap, (s, d, p) in moves)
            if all(0 <= k < size for k, size in zip(pixel, image, strict=True)):
                yield n, o, i, c, a, pixel


# --- what a call costs, in estimated nanoseconds on two cores -------------------------------------


def forward_products(
    x: Array, w: Array, *, stride: Sides, padding: Sides, dilation: Sides, **settings: Any
) -> int:
    """Count the products in y: each weight meets a pixel for each result of its filter."""
    windows = Windows(x.shape[2:], w.shape[2:], stride, padding, dilation)
    return int(len(x) * prod(windows.output) * w.size)


def input_products(dy: Array, w: Array, **settings: Any) -> int:
    """Count the products in dx."""
    return int(len(dy) * prod(dy.shape[2:]) * w.size)


def weight_products(x: Array, dy: Array, *, size: Sides, groups: int, **settings: Any) -> int:
    """Count the products in dw."""
    return int(dy.size * (x.shape[1] // groups) * prod(size))


def im2col_cost(x: Array, w: Array, *, groups: int, **settings: Any) -> float:
    """NumPy's calls, 40 products in a nanosecond, and two values of windows copied."""
    products = forward_products(x, w, **settings)
    return 40_000 + products / 40 + _of_windows(products, len(w), groups) / 2


def im2col_input_cost(dy: Array, w: Array, *, groups: int, **settings: Any) -> float:
    """As forward; to add windows up takes longer."""
    products = input_products(dy, w)
    return 40_000 + products / 40 + _of_windows(products, len(w), groups) * 0.75


def im2col_weight_cost(x: Array, dy: Array, *, groups: int, **settings: Any) -> float:
    """As forward."""
    products = weight_products(x, dy, groups=groups, **settings)
    return 40_000 + products / 40 + _of_windows(products, dy.shape[1], groups) / 2


def _of_windows(products: int, filters: int, groups: int) -> float:
    """Count the values of the windows of a single group."""
    return products / max(1, filters) if groups == 1 else 0


# --- im2col: every window becomes a column, and the sum one matrix product ------------------------
#
# These matrices want the images last: for one filter cell and one row of the result, the values of
# all images then lie side by side, and a column of windows is copied in long runs.  So results
# lie in memory as (O, OH, OW, N).  The shape the caller sees is (N, O, OH, OW) all the same: only
# the strides differ, and element-wise operations keep them for the next convolution.


@conv.algorithm("im2col", devices=BOTH, cost=im2col_cost)
def conv_im2col(
    x: Array, w: Array, *, stride: Sides, padding: Sides, dilation: Sides, groups: int
) -> Array:
    """y = w @ cols: filters as rows (O, C*KH*KW), windows as columns (C*KH*KW, OH*OW*N)."""
    windows = Windows(x.shape[2:], w.shape[2:], stride, padding, dilation)
    view = _windows_of(x, windows)
    y = np.empty_like(x, shape=(w.shape[0], *windows.output, x.shape[0]), order="C")
    filters = _matrices(w, groups)
    for rows, part in _passes(view, windows):
        product = filters @ _matrices(_columns(part), groups, 1 + windows.ndim)
        y[:, rows] = product.reshape(y[:, rows].shape)
    return _images_first(y)


@conv_weight.algorithm("im2col", devices=BOTH, cost=im2col_weight_cost)
def conv_weight_im2col(
    x: Array, dy: Array, *, size: Sides, stride: Sides, padding: Sides, dilation: Sides, groups: int
) -> Array:
    """dw = dy @ cols^T: dy as rows (O, OH*OW*N), windows as columns (C*KH*KW, OH*OW*N)."""
    windows = Windows(x.shape[2:], size, stride, padding, dilation)
    view = _windows_of(x, windows)
    dw = np.zeros_like(x, shape=(dy.shape[1], x.shape[1] // groups, *size), order="C")
    filters, dy = _matrices(dw, groups), _images_last(dy)
    for rows, part in _passes(view, windows):
        cols = _matrices(_columns(part), groups, 1 + windows.ndim)
        filters += _matrices(dy[:, rows], groups) @ cols.swapaxes(1, 2)
    return dw


@conv_input.algorithm("im2col", devices=BOTH, cost=im2col_input_cost)
def conv_input_im2col(
    dy: Array, w: Array, *, size: Sides, stride: Sides, padding: Sides, dilation: Sides, groups: int
) -> Array:
    """dx = col2im(w^T @ dy): every pixel of a window receives its filter weights times dy."""
    windows = Windows(size, w.shape[2:], stride, padding, dilation)
    channels, n_images = w.shape[1] * groups, dy.shape[0]
    dx = _zeros_by_phase(dy, windows, channels)
    filters, dy = _matrices(w, groups).swapaxes(1, 2), _images_last(dy)
    shape = (channels, *windows.kernel, *windows.output, n_images)
    for rows, part in _passes(np.broadcast_to(filled(dy, dy.dtype.type(0)), shape), windows):
        cols = _workspace(part)
        matrices = _matrices(cols, groups, 1 + windows.ndim)
        np.matmul(filters, _matrices(dy[:, rows], groups), out=matrices)
        for cell, _ in windows.taps():
            dx[:, *_phase(cell, rows, windows)] += cols[:, *cell]
    return _images_first(_interleaved(dx, windows))[:, :, *windows.inside]


# The pixels that one cell sees are a stride apart, and adding to every s-th pixel is slow.  So dx
# is added up as (C, s, s', H/s, W/s', N), in which pixels of one phase, that is of one remainder
# by the stride, are neighbours; at the end it is put in order.


def _zeros_by_phase(dy: Array, windows: Windows, channels: int) -> Array:
    """Make zeros (C, s, s', H/s, W/s', N) for the padded image, its sides rounded up."""
    steps = (-(-n // s) for n, s in zip(windows.padded, windows.stride, strict=True))
    return np.zeros_like(dy, shape=(channels, *windows.stride, *steps, dy.shape[0]), order="C")


def _phase(cell: Sides, rows: slice, windows: Windows) -> tuple[int | slice, ...]:
    """Find the pixels i*s + a*d, for a cell and the windows of some rows, in (s, s', H/s, W/s')."""
    offsets = [a * d for a, d in zip(cell, windows.dilation, strict=True)]
    starts = [(rows.start, rows.stop), *((0, count) for count in windows.output[1:])]
    phases, places = [], []
    for offset, s, (first, last) in zip(offsets, windows.stride, starts, strict=True):
        phases.append(offset % s)
        places.append(slice(offset // s + first, offset // s + last))
    return *phases, *places


def _interleaved(dx: Array, windows: Windows) -> Array:
    """Put (C, s, s', H/s, W/s', N) in order: (C, H, W, N)."""
    ndim = windows.ndim
    order = [axis for side in range(ndim) for axis in (1 + ndim + side, 1 + side)]
    sizes = (dx.shape[1 + side] * dx.shape[1 + ndim + side] for side in range(ndim))
    return dx.transpose(0, *order, -1).reshape(len(dx), *sizes, dx.shape[-1])


def _images_last(array: Array) -> Array:
    """See (N, C, ...) as (C, ..., N)."""
    return np.moveaxis(array, 0, -1)


def _images_first(array: Array) -> Array:
    """See (C, ..., N) as (N, C, ...)."""
    return np.moveaxis(array, -1, 0)


def _windows_of(x: Array, windows: Windows) -> Array:
    """Look at the windows of x as (C, KH, KW, OH, OW, N), the images side by side in memory."""
    padded = contiguous(_images_last(pad_image(x, windows)))
    return _images_last(window_view(_images_first(padded), windows))


def _matrices(array: Array, groups: int, row_dims: int = 1) -> Array:
    """Flatten to a matrix per group: the first `row_dims` dimensions are rows, the rest columns."""
    rows, columns = prod(array.shape[:row_dims]), prod(array.shape[row_dims:])
    return array.reshape(groups, rows // groups, columns)


def _passes(view: Array, windows: Windows) -> Iterator[tuple[slice, Array]]:
    """Split the windows (C, KH, KW, OH, OW, N) by rows so that each part fits WORKSPACE_BYTES."""
    n_rows = windows.output[0]
    bytes_per_row = view.itemsize * prod(view.shape) // max(1, n_rows)
    workspace = WORKSPACE_BYTES if at_hand(view) else ON_CARD * WORKSPACE_BYTES
    step = max(1, workspace // max(1, bytes_per_row))
    by_rows = np.moveaxis(view, 1 + windows.ndim, 0)
    for i in range(0, n_rows, step):
        rows = slice(i, min(i + step, n_rows))
        yield rows, np.moveaxis(by_rows[rows], 0, 1 + windows.ndim)


def _columns(view: Array) -> Array:
    """Copy a part of the windows into the workspace; windows of one pixel are the image itself."""
    if prod(view.shape[1 : view.ndim // 2]) == 1:
        return view
    cols = _workspace(view)
    np.copyto(cols, view)
    return cols


def _workspace(like: Array) -> Array:
    """Return this thread's scratch memory in a shape; new pages for each call would cost more.

    On a card CuPy's pool keeps it.
    """
    if not at_hand(like):
        return np.empty_like(like, order="C")
    n_bytes = like.itemsize * prod(like.shape)
    memory = getattr(_thread, "memory", None)
    if memory is None or memory.nbytes < n_bytes:
        memory = _thread.memory = np.empty(max(n_bytes, WORKSPACE_BYTES), np.uint8)
    return memory[:n_bytes].view(like.dtype).reshape(like.shape)


# --- flipped filter: the gradient of a convolution is a convolution -------------------------------


def _flipped_filter_cost(
    dy: Array, w: Array, *, stride: Sides, groups: int, **settings: Any
) -> float:
    """Gathering windows of dy against scattering windows of dx, a part of the work: by channels."""
    ratio = float(dy.shape[1] * prod(stride) / max(1, w.shape[1] * groups))
    return im2col_input_cost(dy, w, groups=groups) * (3 + ratio) / 4


@conv_input.algorithm("flipped_filter", devices=BOTH, cost=_flipped_filter_cost)
def conv_input_flipped_filter(
    dy: Array, w: Array, *, size: Sides, stride: Sides, padding: Sides, dilation: Sides, groups: int
) -> Array:
    """dx = conv(spread(dy), w turned by 180 degrees, its input and output channels exchanged).

    dx[n,c,k,l] = sum_oab spread[n, o, k + p - a*d, l + q - b*d] * w[o,c,a,b]

    `spread` puts stride - 1 zeros between the values of dy.  Each pixel of dx gathers from the
    outputs that used it: one convolution with stride 1 and padding d*(K-1) - p.
    """
    filters, channels, *kernel = w.shape
    flipped = np.flip(w, tuple(range(2, w.ndim)))
    by_group = flipped.reshape(groups, filters // groups, channels, *kernel)
    turned = by_group.swapaxes(1, 2).reshape(groups * channels, filters // groups, *kernel)
    turned = contiguous(turned)  # matrices with negative strides are multiplied slowly
    spread = _spread(dy, size, w.shape[2:], stride, padding, dilation)
    ones, zeros = (1,) * len(size), (0,) * len(size)
    dx: Array = conv_im2col(
        spread, turned, stride=ones, padding=zeros, dilation=dilation, groups=groups
    )
    return dx


def _spread(
    dy: Array, size: Sides, kernel: Sides, stride: Sides, padding: Sides, dilation: Sides
) -> Array:
    """Place dy on the grid of x, with zeros between and around, for windows at stride 1.

    The border is reach - 1 - padding wide; where that is negative the outer values are cut off.
    """
    extent, source, target = [], [], []
    for n, k, s, p, d, count in zip(
        size, kernel, stride, padding, dilation, dy.shape[2:], strict=True
    ):
        border = d * (k - 1) - p
        length = n + d * (k - 1)
        first = max(0, -(border // s)) if border < 0 else 0  # rows of dy before the first of x
        last = min(count - 1, (length - 1 - border) // s)
        extent.append(length)
        source.append(slice(first, last + 1))
        target.append(slice(border + first * s, border + last * s + 1, s))
    spread = np.zeros_like(dy, shape=(dy.shape[1], *extent, dy.shape[0]), order="C")
    spread[:, *target] = _images_last(dy)[:, *source]
    return _images_first(spread)


# --- one window: where the kernel covers the whole image, the product of a dense layer -----------


def _one_window(image: Sides, kernel: Sides, padding: Sides, groups: int) -> bool:
    return image == kernel and not any(padding) and groups == 1


def _rows(x: Array) -> Array:
    return x.reshape(len(x), prod(x.shape[1:]))


@conv.algorithm(
    "one_window",
    devices=BOTH,
    cost=lambda x, w, **settings: 25_000 + forward_products(x, w, **settings) / 60,
    serves=lambda x, w, *, padding, groups, **settings: _one_window(
        x.shape[2:], w.shape[2:], padding, groups
    ),
)
def conv_one_window(x: Array, w: Array, **settings: Any) -> Array:
    """y[n,o] = sum_cab x[n,c,a,b] * w[o,c,a,b]."""
    return matmul(_rows(x), _rows(w).T).reshape(len(x), len(w), *(1,) * (x.ndim - 2))


@conv_input.algorithm(
    "one_window",
    devices=BOTH,
    cost=lambda dy, w, **settings: 25_000 + input_products(dy, w) / 60,
    serves=lambda dy, w, *, size, padding, groups, **settings: _one_window(
        size, w.shape[2:], padding, groups
    ),
)
def conv_input_one_window(dy: Array, w: Array, **settings: Any) -> Array:
    """dx[n,c,a,b] = sum_o dy[n,o] * w[o,c,a,b]."""
    return matmul(_rows(dy), _rows(w)).reshape(len(dy), *w.shape[1:])


@conv_weight.algorithm(
    "one_window",
    devices=BOTH,
    cost=lambda x, dy, **settings: 25_000 + weight_products(x, dy, **settings) / 60,
    serves=lambda x, dy, *, size, padding, groups, **settings: _one_window(
        x.shape[2:], size, padding, groups
    ),
)
def conv_weight_one_window(x: Array, dy: Array, **settings: Any) -> Array:
    """dw[o,c,a,b] = sum_n dy[n,o] * x[n,c,a,b]."""
    return matmul(_rows(dy).T, _rows(x)).reshape(dy.shape[1], *x.shape[1:])


# --- compiled: the windows copied into the matrix product, block by block -------------------------
#
# Tiles have 32 columns, filters of a group, or 16, which take 5/8 of the time; what is missing is
# computed for nothing.


def _filled(columns: int) -> int:
    whole, rest = divmod(columns, 32)
    return 32 * whole + (0 if rest == 0 else 20 if rest <= 16 else 32)


def _copies(products: int, channels: int, filters: int, kernel: Sides, groups: int) -> float:
    """Count 4 ns for each run of values copied: cells side by side are one run without groups."""
    cells = products / max(1, channels * filters)
    return 4 * cells / (kernel[-1] if groups == 1 else 1)


def implicit_gemm_cost(x: Array, w: Array, *, groups: int, **settings: Any) -> float:
    """120 products in a nanosecond, and the filters to put in order, or only to read."""
    filters = max(1, len(w) // groups)
    products = forward_products(x, w, **settings)
    copies = _copies(products, w.shape[1], filters, w.shape[2:], groups)
    ready = is_constant(w)
    in_order = w.size / 4 if ready else w.size / 1.4
    fixed = 30_000 if ready else 120_000
    return float(fixed + products * _filled(filters) / filters / 120 + in_order + copies)


def implicit_gemm_input_cost(dy: Array, w: Array, *, groups: int, **settings: Any) -> float:
    """As forward, with the channels as results."""
    channels = max(1, w.shape[1])
    products, filters = input_products(dy, w), len(w) // groups
    copies = _copies(products, channels, filters, w.shape[2:], groups)
    return float(120_000 + products * _filled(channels) / channels / 120 + w.size / 4 + copies)


def implicit_gemm_weight_cost(
    x: Array, dy: Array, *, size: Sides, groups: int, **settings: Any
) -> float:
    """As forward."""
    filters = max(1, dy.shape[1] // groups)
    products = weight_products(x, dy, size=size, groups=groups)
    copies = _copies(products, x.shape[1] // groups, filters, size, groups)
    return float(120_000 + products * _filled(filters) / filters / 120 + copies)


def serves_floats(a: Array, b: Array, **settings: Any) -> bool:
    """Say whether there is compiled code for these types."""
    return a.dtype == b.dtype and a.dtype in (np.float32, np.float64)


conv.compiled(
    "implicit_gemm", "convolution.conv",
    "y[p,o] = sum_e windows[p,e] * w[e,o]: blocks of windows times filters.",
    cost=implicit_gemm_cost, serves=serves_floats, extras=("bias", "add", "relu"),
)  # fmt: skip
conv_input.compiled(
    "implicit_gemm", "convolution.conv_input",
    "dx[p,c] = sum_e windows of dy[p,e] * w[e,c], for the pixels of a phase.",
    cost=implicit_gemm_input_cost, serves=serves_floats,
)  # fmt: skip
conv_weight.compiled(
    "implicit_gemm", "convolution.conv_weight",
    "dw[e,o] = sum_p windows[p,e] * dy[p,o]: blocks of windows times gradients.",
    cost=implicit_gemm_weight_cost, serves=serves_floats,
)  # fmt: skip


# --- for cards, in Numba CUDA: to be read, and taken by name --------------------------------------


def serves_planes(a: Array, b: Array, **settings: Any) -> bool:
    """Say whether these are images of two sides, of a type that there is compiled code for."""
    return a.ndim == 4 and serves_floats(a, b)


def _ungrouped_planes(a: Array, b: Array, *, groups: int, **settings: Any) -> bool:
    return groups == 1 and serves_planes(a, b)


conv.compiled(
    "numba_direct", "numba_cuda.conv_direct", "y[n,i,j,o]: one thread for each.",
    device="cuda", serves=serves_planes,
)  # fmt: skip
conv.compiled(
    "numba_tiled", "numba_cuda.conv_tiled",
    "y[n,i,j,o]: a block for 16 windows and 16 filters, through shared memory.",
    device="cuda", serves=serves_planes,
)  # fmt: skip
conv.compiled(
    "numba_im2col", "numba_cuda.conv_im2col",
    "y = cols @ w: windows as rows of a matrix, then a product by tiles.",
    device="cuda", serves=_ungrouped_planes,
)  # fmt: skip
conv_input.compiled(
    "numba_direct", "numba_cuda.conv_input_direct",
    "dx[n,h,v,c]: one thread for each, which gathers from dy.",
    device="cuda", serves=serves_planes,
)  # fmt: skip
conv_weight.compiled(
    "numba_direct", "numba_cuda.conv_weight_direct", "dw[o,a,b,c]: one thread for each.",
    device="cuda", serves=serves_planes,
)  # fmt: skip


# --- compiled for cards: implicit GEMM, by how exactly it multiplies ------------------------------
#
# Costs are nanoseconds on a large card, where nothing else waits.


LARGEST_ON_CARD = 2**30  # values; the kernels count in 32 bits


def _card_cost(a: Array, products: int, math: str, inner: int, *sides: int) -> float:
    """Count the products of whole tiles, whose `sides` the result has in a group.

    Values that are no units of four are loaded one by one.  However few of a tile's products are
    wanted, what is made of NumPy's calls takes longer, and cannot be captured.
    """
    whole = products
    for side in sides:
        whole = whole * -(-side // 64) * 64 // max(1, side)
    cost = on_card_cost(a, whole * (4 if inner % 4 else 1), math)
    return cost if cost == inf else min(cost, 24_000 + products / 100)


def _card_serves(a: Array, b: Array, math: str) -> bool:
    largest = max(prod(a.shape[1:]), a.size // max(1, a.shape[1]), b.size)
    return a.ndim <= 4 and largest < LARGEST_ON_CARD and on_card_serves(a, b, math)


for _math in ON_CARDS:
    conv.compiled(
        _math, f"convolution.conv_{_math}",
        "y[p,o] = sum_e windows[p,e] * w[e,o]: a block of threads for each tile of y.",
        device="cuda", extras=("bias", "add", "relu"),
        cost=lambda x, w, *, groups, math=_math, **settings: _card_cost(
            x, forward_products(x, w, **settings), math, w.shape[1], len(w) // groups
        ),
        serves=lambda x, w, math=_math, **settings: _card_serves(x, w, math),
    )  # fmt: skip
    conv_input.compiled(
        _math, f"convolution.conv_input_{_math}",
        "dx[p,c] = sum_e windows of dy[p,e] * w[e,c], for the pixels of a phase.",
        device="cuda",
        cost=lambda dy, w, *, groups, math=_math, **settings: _card_cost(
            dy, input_products(dy, w), math, len(w) // groups, w.shape[1]
        ),
        serves=lambda dy, w, math=_math, **settings: _card_serves(dy, w, math),
    )  # fmt: skip
    conv_weight.compiled(
        _math, f"convolution.conv_weight_{_math}",
        "dw[o,e] = sum_p dy[p,o] * windows[p,e], the sum in parts.",
        device="cuda",
        cost=lambda x, dy, *, size, groups, math=_math, **settings: _card_cost(
            x, weight_products(x, dy, size=size, groups=groups), math, x.shape[1] // groups,
            dy.shape[1] // groups, x.shape[1] // groups * prod(size),
        ),
        serves=lambda x, dy, math=_math, **settings: _card_serves(x, dy, math),
    )  # fmt: skip


# --- compiled for cards: first layers -------------------------------------------------------------
#
# Where pixels have so few channels, implicit GEMM gathers value after value.


def _few_channels_cost(products: int) -> float:
    return 5_000 + products / 50_000


def _few_channels_serves(
    x: Array, other: Array, kernel: Sides, *, stride: Sides, dilation: Sides, groups: int,
    **settings: Any,
) -> bool:  # fmt: skip
    """A row of a filter, and the step to the next window, must not be long: lines are shared."""
    channels, types = x.shape[1], ("float32", "bfloat16")
    short = kernel[-1] * channels <= 64 and stride[-1] * channels <= 24 and dilation[-1] == 1
    few = 1 <= channels <= 4 and groups == 1 and x.ndim <= 4 and x.size > 0 and other.size > 0
    return few and short and x.dtype == other.dtype and x.dtype.name in types


conv.compiled(
    "few_channels", "few_channels.conv",
    "y[n,i,j,o] = sum_k line[i*s + a*d - p, j*s*C + k] * w[a,k,o]: lines shared by a block.",
    device="cuda", extras=("bias", "add", "relu"),
    cost=lambda x, w, **settings: _few_channels_cost(forward_products(x, w, **settings)),
    serves=lambda x, w, **settings: _few_channels_serves(x, w, w.shape[2:], **settings),
)  # fmt: skip
conv_weight.compiled(
    "few_channels", "few_channels.conv_weight",
    "dw[o,a,k] = sum_nij line[i*s + a*d - p, j*s*C + k] * dy[n,i,j,o]: lines shared by a block.",
    device="cuda",
    cost=lambda x, dy, **settings: _few_channels_cost(weight_products(x, dy, **settings)),
    serves=lambda x, dy, *, size, **settings: _few_channels_serves(x, dy, size, **settings),
)  # fmt: skip
