"""Convolution and pooling on a card, written in Python to be read; Numba CUDA compiles them.

A kernel is what one thread does.  Threads come in warps of 32 that run in step, warps in blocks
that share a small fast memory, and blocks in a grid.  All arrays have their channels last in
memory, x[n,h,w,c], and neighbouring threads take neighbouring channels: so the 32 loads of a warp
are one piece of memory ("coalesced"), where scattered ones would be up to 32 pieces.

Shapes: x (N, H, W, C); y and dy (N, OH, OW, O).  i, a, s, d and p have one number a side.

This is the only file that imports numba.cuda, which lives in a package of its own, numba-cuda.
"""

from __future__ import annotations

import math
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from minicnn_kernels.arrays import Array, as_channels_first, as_channels_last
from minicnn_kernels.cards import cupy
from minicnn_kernels.errors import DeviceError
from minicnn_kernels.geometry import Sides, Windows

if not hasattr(np, "row_stack"):  # gone in NumPy 2.5; numba-cuda still asks for it to compile
    np.row_stack = np.vstack

NEEDED = (0, 30, 4)
NEEDS = f"kernels in Numba CUDA need numba-cuda {'.'.join(map(str, NEEDED))} or later"
ADVICE = "pip install 'minicnn[numba-cuda]'"

try:
    from numba import cuda
except Exception as error:  # an old numba-cuda beside a new Numba fails in many ways
    raise DeviceError(f"{NEEDS}; what is here cannot be imported ({error}): {ADVICE}") from None

THREADS = 256  # of a block that shares nothing
TILE = 16  # results on each side of a block that shares its operands: 256 threads


# --- where a thread's values lie ------------------------------------------------------------------


@cuda.jit(device=True)
def place(index, shape):
    """Return (n, h, w, c) of value number `index`; c moves fastest, from thread to thread."""
    rest, c = divmod(index, shape[3])
    rest, w = divmod(rest, shape[2])
    n, h = divmod(rest, shape[1])
    return n, h, w, c


@cuda.jit(device=True)
def window_through(pixel, tap, stride, padding, dilation, windows):
    """Return the window i that sees a pixel through cell a, i*s + a*d - p = pixel; -1 if none."""
    start = pixel + padding - tap * dilation
    return start // stride if 0 <= start < windows * stride and start % stride == 0 else -1


# --- convolution, direct: one thread, one result --------------------------------------------------


@cuda.jit
def direct(x, w, y, stride, padding, dilation):
    """y[n,i,j,o] = sum_abc x[n, i*s + a*d - p, j*s + b*d - p, c] * w[a,b,c,o].

    A warp has 32 filters and, mostly, one pixel: w is read as one piece, x once for all.  Each
    product needs two loads, so memory sets the pace, not arithmetic.
    """
    index = cuda.grid(1)
    if index >= y.size:  # the last block has threads to spare
        return
    n, i, j, o = place(index, y.shape)
    groups = x.shape[3] // w.shape[2]
    first = o // (y.shape[3] // groups) * w.shape[2]  # the group's first channel
    total = y.dtype.type(0)  # with a plain 0 the sum would be a float64, slow on most cards
    for a in range(w.shape[0]):
        h = i * stride[0] + a * dilation[0] - padding[0]
        for b in range(w.shape[1]):
            v = j * stride[1] + b * dilation[1] - padding[1]
            if 0 <= h < x.shape[1] and 0 <= v < x.shape[2]:
                for c in range(w.shape[2]):
                    total += x[n, h, v, first + c] * w[a, b, c, o]
    y[n, i, j, o] = total


@cuda.jit
def input_direct(dy, w, dx, stride, padding, dilation):
    """dx[n,h,v,c] = sum_abo dy[n,i,j,o] * w[a,b,o,c], for i*s + a*d - p = h, j*s + b*d - p = v.

    Each pixel gathers from the windows that saw it.  To scatter dy would need atomic additions,
    whose order, and so the last digits, change from run to run.
    """
    index = cuda.grid(1)
    if index >= dx.size:
        return
    n, h, v, channel = place(index, dx.shape)
    groups = dx.shape[3] // w.shape[3]
    per_group = dy.shape[3] // groups
    group, c = divmod(channel, w.shape[3])
    total = dx.dtype.type(0)
    for a in range(w.shape[0]):
        i = window_through(h, a, stride[0], padding[0], dilation[0], dy.shape[1])
        for b in range(w.shape[1]):
            j = window_through(v, b, stride[1], padding[1], dilation[1], dy.shape[2])
            if i >= 0 and j >= 0:
                for o in range(group * per_group, (group + 1) * per_group):
                    total += dy[n, i, j, o] * w[a, b, o, c]
    dx[n, h, v, channel] = total


@cuda.jit
def weight_direct(x, dy, dw, stride, padding, dilation):
    """dw[o,a,b,c] = sum_nij x[n, i*s + a*d - p, j*s + b*d - p, c] * dy[n,i,j,o].

    One thread adds up over all images and windows: long sums, and few threads.
    """
    index = cuda.grid(1)
    if index >= dw.size:
        return
    o, a, b, c = place(index, dw.shape)
    groups = x.shape[3] // dw.shape[3]
    channel = o // (dy.shape[3] // groups) * dw.shape[3] + c
    total = dw.dtype.type(0)
    for n in range(dy.shape[0]):
        for i in range(dy.shape[1]):
            h = i * stride[0] + a * dilation[0] - padding[0]
            for j in range(dy.shape[2]):
                v = j * stride[1] + b * dilation[1] - padding[1]
                if 0 <= h < x.shape[1] and 0 <= v < x.shape[2]:
                    total += x[n, h, v, channel] * dy[n, i, j, o]
    dw[o, a, b, c] = total


# --- convolution, tiled: a block loads once what its threads share --------------------------------


@cuda.jit
def tiled(x, w, y, stride, padding, dilation):
    """y[n,i,j,o], TILE windows (rows) times TILE filters (columns) to a block.

    The sum over a, b, c is done TILE channels at a time.  First each thread loads one value of x
    and one of w into shared memory, then it takes TILE products from there: each value loaded
    serves TILE threads.  16 threads read a row of a tile as 16 neighbouring words, which lie in
    different banks, or one word for all, which costs one read: no two threads wait for a bank.
    """
    pixels = cuda.shared.array((TILE, TILE), x.dtype)  # [window, channel]
    weights = cuda.shared.array((TILE, TILE), x.dtype)  # [channel, filter]
    row, column, group = cuda.threadIdx.y, cuda.threadIdx.x, cuda.blockIdx.z
    window = cuda.blockIdx.x * TILE + row
    rest, j = divmod(window, y.shape[2])
    n, i = divmod(rest, y.shape[1])
    per_group = y.shape[3] // cuda.gridDim.z
    filter = cuda.blockIdx.y * TILE + column  # within the group
    o = group * per_group + filter
    total = zero = y.dtype.type(0)
    for a in range(w.shape[0]):
        h = i * stride[0] + a * dilation[0] - padding[0]
        for b in range(w.shape[1]):
            v = j * stride[1] + b * dilation[1] - padding[1]
            sees = n < y.shape[0] and 0 <= h < x.shape[1] and 0 <= v < x.shape[2]
            for start in range(0, w.shape[2], TILE):
                c = start + column
                fits = sees and c < w.shape[2]  # padding, and what sticks out, adds nothing
                pixels[row, column] = x[n, h, v, group * w.shape[2] + c] if fits else zero
                c = start + row
                fits = filter < per_group and c < w.shape[2]
                weights[row, column] = w[a, b, c, o] if fits else zero
                cuda.syncthreads()  # no thread reads before all have written
                for k in range(TILE):
                    total += pixels[row, k] * weights[k, column]
                cuda.syncthreads()  # no thread writes the next tiles before all have read
    if n < y.shape[0] and filter < per_group:  # not earlier: every thread must reach the barriers
        y[n, i, j, o] = total


# --- convolution as a matrix product: im2col ------------------------------------------------------


@cuda.jit
def columns_of(x, cols, output, stride, padding, dilation):
    """cols[(n,i,j),a,b,c] = x[n, i*s + a*d - p, j*s + b*d - p, c], and 0 in the padding.

    Shapes: cols (N*OH*OW, KH, KW, C), a matrix whose rows are windows; output is (OH, OW).
    """
    index = cuda.grid(1)
    if index >= cols.size:
        return
    window, a, b, c = place(index, cols.shape)
    rest, j = divmod(window, output[1])
    n, i = divmod(rest, output[0])
    h = i * stride[0] + a * dilation[0] - padding[0]
    v = j * stride[1] + b * dilation[1] - padding[1]
    inside = 0 <= h < x.shape[1] and 0 <= v < x.shape[2]
    cols[window, a, b, c] = x[n, h, v, c] if inside else x.dtype.type(0)


@cuda.jit
def matrix_product(a, b, y):
    """y[r,o] = sum_k a[r,k] * b[k,o], TILE x TILE results to a block, as in `tiled`."""
    left = cuda.shared.array((TILE, TILE), a.dtype)
    right = cuda.shared.array((TILE, TILE), a.dtype)
    row, column = cuda.threadIdx.y, cuda.threadIdx.x
    r = cuda.blockIdx.x * TILE + row
    o = cuda.blockIdx.y * TILE + column
    total = zero = y.dtype.type(0)
    for start in range(0, a.shape[1], TILE):
        k = start + column
        left[row, column] = a[r, k] if r < a.shape[0] and k < a.shape[1] else zero
        k = start + row
        right[row, column] = b[k, o] if o < b.shape[1] and k < b.shape[0] else zero
        cuda.syncthreads()
        for k in range(TILE):
            total += left[row, k] * right[k, column]
        cuda.syncthreads()
    if r < y.shape[0] and o < y.shape[1]:
        y[r, o] = total


# --- pooling --------------------------------------------------------------------------------------


@cuda.jit
def largest(x, y, winner, kernel, stride, padding, dilation):
    """y[n,i,j,c] = max_ab x[n, i*s + a*d - p, j*s + b*d - p, c]; winner: which a*KW + b it was.

    The first maximum wins, and NaN wins over everything.
    """
    index = cuda.grid(1)
    if index >= y.size:
        return
    n, i, j, c = place(index, y.shape)
    best, which = x.dtype.type(-math.inf), -1
    for a in range(kernel[0]):
        h = i * stride[0] + a * dilation[0] - padding[0]
        for b in range(kernel[1]):
            v = j * stride[1] + b * dilation[1] - padding[1]
            if 0 <= h < x.shape[1] and 0 <= v < x.shape[2]:
                value = x[n, h, v, c]
                nan_wins = value != value and best == best
                if which < 0 or value > best or nan_wins:
                    best, which = value, a * kernel[1] + b
    y[n, i, j, c] = best
    winner[n, i, j, c] = which if which >= 0 else kernel[0] * kernel[1] - 1  # it saw only padding


@cuda.jit
def route(dy, winner, dx, kernel, stride, padding, dilation):
    """dx[n,h,v,c] = sum of dy[n,i,j,c] over the windows that pixel (h,v) has won."""
    index = cuda.grid(1)
    if index >= dx.size:
        return
    n, h, v, c = place(index, dx.shape)
    total = dx.dtype.type(0)
    for a in range(kernel[0]):
        i = window_through(h, a, stride[0], padding[0], dilation[0], dy.shape[1])
        for b in range(kernel[1]):
            j = window_through(v, b, stride[1], padding[1], dilation[1], dy.shape[2])
            if i >= 0 and j >= 0 and winner[n, i, j, c] == a * kernel[1] + b:
                total += dy[n, i, j, c]
    dx[n, h, v, c] = total


@cuda.jit
def window_total(x, y, kernel, stride, padding, dilation):
    """y[n,i,j,c] = sum_ab x[n, i*s + a*d - p, j*s + b*d - p, c]; average pooling divides later."""
    index = cuda.grid(1)
    if index >= y.size:
        return
    n, i, j, c = place(index, y.shape)
    total = y.dtype.type(0)
    for a in range(kernel[0]):
        h = i * stride[0] + a * dilation[0] - padding[0]
        for b in range(kernel[1]):
            v = j * stride[1] + b * dilation[1] - padding[1]
            if 0 <= h < x.shape[1] and 0 <= v < x.shape[2]:
                total += x[n, h, v, c]
    y[n, i, j, c] = total


@cuda.jit
def spread(dy, dx, kernel, stride, padding, dilation):
    """dx[n,h,v,c] = sum of dy[n,i,j,c] over the windows that see pixel (h,v)."""
    index = cuda.grid(1)
    if index >= dx.size:
        return
    n, h, v, c = place(index, dx.shape)
    total = dx.dtype.type(0)
    for a in range(kernel[0]):
        i = window_through(h, a, stride[0], padding[0], dilation[0], dy.shape[1])
        for b in range(kernel[1]):
            j = window_through(v, b, stride[1], padding[1], dilation[1], dy.shape[2])
            if i >= 0 and j >= 0:
                total += dy[n, i, j, c]
    dx[n, h, v, c] = total


# --- the algorithms: arrays (N, C, H, W) in, kernels launched, arrays out -------------------------


def conv_direct(x: Array, w: Array, **settings: Any) -> Array:
    """One thread for each result of the convolution."""
    y = _result(x, w, **settings)
    _each(direct, y, _images(x), _by_filter(w), y, *_geometry(**settings))
    return as_channels_first(y)


def conv_tiled(x: Array, w: Array, *, groups: int, **settings: Any) -> Array:
    """A block for TILE windows and TILE filters, which it reads through shared memory."""
    y = _result(x, w, **settings)
    blocks = (_tiles(math.prod(y.shape[:3])), _tiles(len(w) // groups), groups)
    _launch(tiled, blocks, (TILE, TILE), _images(x), _by_filter(w), y, *_geometry(**settings))
    return as_channels_first(y)


def conv_im2col(x: Array, w: Array, *, groups: int, **settings: Any) -> Array:
    """Copy the windows to be rows of a matrix, then multiply it by the filters."""
    y = _result(x, w, **settings)
    windows, cells = math.prod(y.shape[:3]), math.prod(w.shape[1:])
    cols = np.empty((windows, *w.shape[2:], w.shape[1]), x.dtype, like=x)
    _each(columns_of, cols, _images(x), cols, y.shape[1:3], *_geometry(**settings))
    matrices = cols.reshape(windows, cells), _by_filter(w).reshape(cells, len(w))
    blocks = (_tiles(windows), _tiles(len(w)))
    _launch(matrix_product, blocks, (TILE, TILE), *matrices, y.reshape(windows, len(w)))
    return as_channels_first(y)


def conv_input_direct(dy: Array, w: Array, *, size: Sides, groups: int, **settings: Any) -> Array:
    """One thread for each pixel of dx and channel."""
    dx = np.empty((len(dy), *size, w.shape[1] * groups), dy.dtype, like=dy)
    filters = _contiguous(w.transpose(2, 3, 0, 1))  # (KH, KW, O, C/groups)
    _each(input_direct, dx, _images(dy), filters, dx, *_geometry(**settings))
    return as_channels_first(dx)


def conv_weight_direct(x: Array, dy: Array, *, size: Sides, groups: int, **settings: Any) -> Array:
    """One thread for each weight."""
    dw = np.empty((dy.shape[1], *size, x.shape[1] // groups), x.dtype, like=x)
    _each(weight_direct, dw, _images(x), _images(dy), dw, *_geometry(**settings))
    return as_channels_first(dw)


def max_winners(x: Array, *, windows: Windows) -> tuple[Array, Array]:
    """One thread for each window and channel."""
    shape = (len(x), *windows.output, x.shape[1])
    y = np.empty(shape, x.dtype, like=x)
    winner = np.empty(shape, np.uint8 if windows.cells <= 256 else np.int32, like=x)
    _each(largest, y, _images(x), y, winner, windows.kernel, *_of(windows))
    return as_channels_first(y), as_channels_first(winner)


def route_to_winners(dy: Array, winner: Array, *, windows: Windows) -> Array:
    """One thread for each pixel and channel."""
    dx = np.empty((len(dy), *windows.image, dy.shape[1]), dy.dtype, like=dy)
    _each(route, dx, _images(dy), _images(winner), dx, windows.kernel, *_of(windows))
    return as_channels_first(dx)


def window_sum(x: Array, *, windows: Windows) -> Array:
    """One thread for each window and channel."""
    y = np.empty((len(x), *windows.output, x.shape[1]), x.dtype, like=x)
    _each(window_total, y, _images(x), y, windows.kernel, *_of(windows))
    return as_channels_first(y)


def window_spread(dy: Array, *, windows: Windows) -> Array:
    """One thread for each pixel and channel."""
    dx = np.empty((len(dy), *windows.image, dy.shape[1]), dy.dtype, like=dy)
    _each(spread, dx, _images(dy), dx, windows.kernel, *_of(windows))
    return as_channels_first(dx)


def _result(x: Array, w: Array, **settings: Any) -> Array:
    """Make the array (N, OH, OW, O) that a convolution will fill."""
    windows = Windows(x.shape[2:], w.shape[2:], *_geometry(**settings))
    return np.empty((len(x), *windows.output, len(w)), x.dtype, like=x)


def _geometry(*, stride: Sides, padding: Sides, dilation: Sides, groups: int = 1) -> Any:
    return stride, padding, dilation


def _of(windows: Windows) -> tuple[Sides, Sides, Sides]:
    return windows.stride, windows.padding, windows.dilation


def _images(x: Array) -> Array:
    """See images (N, C, H, W) as (N, H, W, C), side by side in memory."""
    return _contiguous(as_channels_last(x))


def _by_filter(w: Array) -> Array:
    """Put filters (O, C, KH, KW) in the order (KH, KW, C, O): a warp reads 32 of them as one."""
    return _contiguous(w.transpose(2, 3, 1, 0))


def _contiguous(x: Array) -> Array:
    return x if x.flags.c_contiguous else x.copy()


# --- launching ------------------------------------------------------------------------------------


def _tiles(count: int) -> int:
    return -(-count // TILE)


def _each(kernel: Any, result: Array, *arguments: Any) -> None:
    """Launch a thread for each value of the result."""
    _launch(kernel, (-(-result.size // THREADS),), (THREADS,), *arguments)


def _launch(kernel: Any, blocks: Sides, threads: Sides, *arguments: Any) -> None:
    """Launch on CuPy's current stream; arrays of NumPy, in the simulator, on none."""
    if 0 in blocks:
        return
    if any(isinstance(value, np.ndarray) for value in arguments):
        kernel[blocks, threads](*arguments)
        return
    _check_version()
    stream = cuda.external_stream(cupy().cuda.get_current_stream().ptr)
    seen = (  # without `sync=False` each array would wait for its stream, which is this one
        value if isinstance(value, tuple) else cuda.as_cuda_array(value, sync=False)
        for value in arguments
    )
    kernel[blocks, threads, stream](*seen)


@cache
def _check_version() -> None:
    """Raise DeviceError if numba-cuda is missing or too old."""
    try:
        found = version("numba-cuda")
    except PackageNotFoundError:
        raise DeviceError(f"{NEEDS}, which is not installed: {ADVICE}") from None
    if tuple(int(part) for part in found.split(".")[:3]) < NEEDED:
        raise DeviceError(f"{NEEDS}, here is {found}: {ADVICE}")
