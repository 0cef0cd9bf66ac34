"""Pooling: windows reduced to their maximum, median or sum, and the way back.

Both directions go over the cells of the window, not over the windows: KH*KW passes over whole
images, each of them a single array operation.  The formulas are those of two sides, (i, j) and
(a, b); images of one and three sides take the same code.
"""

from __future__ import annotations

from functools import cache, reduce
from math import prod
from typing import Any

import numpy as np

from minicnn_kernels.arrays import Array, at_hand, beside, is_floating
from minicnn_kernels.geometry import Bins, Windows
from minicnn_kernels.reference.gather import add_at
from minicnn_kernels.reference.windows import pad_image
from minicnn_kernels.registry import Kernel

AnyWindows = Windows | Bins

max_winners = Kernel("max_winners")
median_winners = Kernel("median_winners")
take_winners = Kernel("take_winners")
route_to_winners = Kernel("route_to_winners")
window_sum = Kernel("window_sum")
window_spread = Kernel("window_spread")

BOTH = ("cpu", "cuda")


def _cost(*arrays: Array, windows: AnyWindows) -> float:
    """Estimate nanoseconds."""
    return 3.0 * prod(arrays[0].shape[:2]) * prod(windows.output) * windows.cells


def _are_windows(*arrays: Array, windows: AnyWindows) -> bool:
    return isinstance(windows, Windows)


def _compiled_cost(*arrays: Array, windows: AnyWindows) -> float:
    images, channels = arrays[0].shape[:2]
    visits = images * prod(windows.output) * windows.cells
    cost: float = 100_000 + visits * (3.0 + 0.2 * channels)
    return cost


def _compiled_serves(*arrays: Array, windows: AnyWindows) -> bool:
    some = all(array.size for array in arrays) and 0 not in windows.output
    return some and arrays[0].dtype in (np.float32, np.float64)


def _card_cost(*arrays: Array, windows: AnyWindows) -> float:
    return 1.0


def _card_serves(*arrays: Array, windows: AnyWindows) -> bool:
    """Say whether numbers of 32 bits count everything."""
    images, channels = arrays[0].shape[:2]
    sizes = [images * channels * prod(side) for side in (windows.image, windows.output)]
    sizes += [(n + 1) * (m + 1) for n, m in zip(windows.image, windows.output, strict=True)]
    known = arrays[0].dtype.name in ("float32", "bfloat16") and windows.ndim <= 3
    return known and min(sizes) > 0 and max(sizes) < 2**31


for _kernel, _formula in {
    max_winners: "Return y[n,c,i,j] = max_ab x[n,c,i+a,j+b] and which cell it was, row by row.",
    take_winners: "y[n,c,i,j] = the pixel of x that won window [i,j], row by row.",
    route_to_winners: "dx[n, c, winning pixel] += dy[n,c,i,j], image by image.",
    window_sum: "y[n,c,i,j] = sum_ab x[n,c,i+a,j+b], row by row.",
    window_spread: "dx[n,c,i+a,j+b] += dy[n,c,i,j], image by image.",
}.items():
    _kernel.compiled(
        "compiled", f"pooling.{_kernel.name}", _formula,
        cost=_compiled_cost, serves=_compiled_serves,
    )  # fmt: skip
    _kernel.compiled(
        "cuda", f"pooling.{_kernel.name}", _formula.replace("row by row", "window by window"),
        device="cuda", cost=_card_cost, serves=_card_serves,
    )  # fmt: skip


def _numba_serves(*arrays: Array, windows: AnyWindows) -> bool:
    floats = arrays[0].dtype in (np.float32, np.float64)
    return floats and windows.ndim == 2 and isinstance(windows, Windows)


for _kernel, _formula in {
    max_winners: "y[n,i,j,c] and which cell it was: one thread for each.",
    route_to_winners: "dx[n,h,v,c]: one thread for each, which looks for windows it has won.",
    window_sum: "y[n,i,j,c]: one thread for each.",
    window_spread: "dx[n,h,v,c]: one thread for each, which gathers from dy.",
}.items():
    _kernel.compiled(
        "numba", f"numba_cuda.{_kernel.name}", _formula, device="cuda", serves=_numba_serves
    )


# --- windows --------------------------------------------------------------------------------------


@max_winners.algorithm("taps", devices=BOTH, cost=_cost, serves=_are_windows)
def winners_by_taps(x: Array, *, windows: Windows) -> tuple[Array, Array]:
    """Return y[n,c,i,j] = max_ab x[n, c, i*s + a*d - p, j*s + b*d - p] and which a*KW + b it was.

    The padding counts as -inf, the first maximum wins, and NaN is larger than everything.
    """
    lowest = -np.inf if is_floating(x.dtype) else np.iinfo(x.dtype).min
    padded = pad_image(x, windows, lowest)
    seen = [padded[:, :, *place] for _, place in windows.taps()]
    best = seen[0].copy(order="K")
    for values in seen[1:]:
        np.maximum(best, values, out=best)
    winner = np.zeros_like(best, dtype=np.uint8 if windows.cells <= 256 else np.int32)
    some_nan: Any = is_floating(best.dtype)
    ties: Any = True
    if at_hand(best):
        some_nan, ties = some_nan and np.isnan(best).any(), (best == lowest).any()
    inside = _inside(x, windows) if ties else None  # the padding may tie with the lowest value
    not_yet = np.ones_like(best, dtype=bool)  # the winner's number is how many cells come before it
    for number, values in enumerate(seen[:-1]):
        wins = values == best
        if some_nan:
            wins |= np.isnan(values)
        if inside is not None:
            wins &= inside[number]
        not_yet &= ~wins
        np.add(winner, not_yet, out=winner)
    return best, winner


def _inside(x: Array, windows: Windows) -> list[Array]:
    """Return for each cell of the kernel in which windows it sees the image, not the padding."""
    image = pad_image(np.ones_like(x, bool, shape=(1, 1, *windows.image)), windows, False)
    return [image[:, :, *place] for _, place in windows.taps()]


@take_winners.algorithm("taps", devices=BOTH, cost=_cost, serves=_are_windows)
def take_by_taps(x: Array, winner: Array, *, windows: Windows) -> Array:
    """y[n,c,i,j] = the pixel of x that won window [i,j]."""
    padded = pad_image(x, windows)
    y = np.zeros_like(x, shape=winner.shape)
    for number, (_, place) in enumerate(windows.taps()):
        np.copyto(y, padded[:, :, *place], where=winner == number)
    return y


@route_to_winners.algorithm("taps", devices=BOTH, cost=_cost, serves=_are_windows)
def route_by_taps(dy: Array, winner: Array, *, windows: Windows) -> Array:
    """dx[n, c, winning pixel] += dy[n,c,i,j]: where windows overlap, a pixel can win several."""
    padded = np.zeros_like(dy, shape=(*dy.shape[:2], *windows.padded))
    overlap = windows.overlap
    for number, (_, place) in enumerate(windows.taps()):
        won = winner == number
        if overlap:
            padded[:, :, *place] += dy * won
        else:  # every pixel is in one window at most
            np.multiply(dy, won, out=padded[:, :, *place])
    return padded[:, :, *windows.inside]


@window_sum.algorithm("taps", devices=BOTH, cost=_cost, serves=_are_windows)
def sum_by_taps(x: Array, *, windows: Windows) -> Array:
    """y[n,c,i,j] = sum_ab x[n, c, i*s + a*d - p, j*s + b*d - p]."""
    padded = pad_image(x, windows)
    y = np.zeros_like(x, shape=(*x.shape[:2], *windows.output))
    for _, place in windows.taps():
        y += padded[:, :, *place]
    return y


@window_spread.algorithm("taps", devices=BOTH, cost=_cost, serves=_are_windows)
def spread_by_taps(dy: Array, *, windows: Windows) -> Array:
    """dx[n, c, i*s + a*d - p, j*s + b*d - p] += dy[n,c,i,j]: the adjoint of window_sum."""
    padded = np.zeros_like(dy, shape=(*dy.shape[:2], *windows.padded))
    for _, place in windows.taps():
        padded[:, :, *place] += dy
    return padded[:, :, *windows.inside]


@median_winners.algorithm("sort", devices=BOTH, cost=_cost)
def median_by_sorting(x: Array, *, windows: Windows) -> Array:
    """Return which cell holds the lower median of the pixels of each window; NaN wins.

    Cells of the padding count as +inf, so that they come last, and do not count.
    """
    highest = np.inf if is_floating(x.dtype) else np.iinfo(x.dtype).max
    padded = pad_image(x, windows, highest)
    seen = [padded[:, :, *place] for _, place in windows.taps()]
    cells = np.empty_like(x, shape=(len(seen), *seen[0].shape))
    for cell, values in zip(cells, seen, strict=True):
        cell[...] = values
    count: Any = sum(inside.astype(np.int64) for inside in _inside(x, windows))
    order = cells.argsort(axis=0, kind="stable")
    middle = np.broadcast_to((count - 1).clip(0) // 2, cells.shape[1:])
    if is_floating(x.dtype):
        middle = np.where(np.isnan(cells).any(axis=0), len(cells) - 1, middle)  # NaN comes last
    winner: Array = np.take_along_axis(order, middle[None], axis=0)[0]
    return winner


# --- bins -----------------------------------------------------------------------------------------


def _are_bins(*arrays: Array, windows: AnyWindows) -> bool:
    return isinstance(windows, Bins)


@max_winners.algorithm("gather", devices=BOTH, cost=_cost, serves=_are_bins)
def winners_of_bins(x: Array, *, windows: Bins) -> tuple[Array, Array]:
    """Return the maximum of each bin, and which of its cells it was; NaN wins."""
    pixels, inside = (beside(x, table) for table in _pixels(windows))
    values = np.where(inside, _flat(x)[:, :, pixels], -np.inf).astype(x.dtype)
    winner = values.argmax(axis=-1)
    return np.take_along_axis(values, winner[..., None], axis=-1)[..., 0], winner


@take_winners.algorithm("gather", devices=BOTH, cost=_cost, serves=_are_bins)
def take_from_bins(x: Array, winner: Array, *, windows: Bins) -> Array:
    """y[n,c,i,j] = the pixel of x that won bin [i,j]."""
    y = np.take_along_axis(_flat(x), _flat(_won(winner, windows)), axis=2)
    return y.reshape(winner.shape)


@route_to_winners.algorithm("gather", devices=BOTH, cost=_cost, serves=_are_bins)
def route_to_bins(dy: Array, winner: Array, *, windows: Bins) -> Array:
    """dx[n, c, winning pixel] += dy[n,c,i,j]."""
    dx = np.zeros_like(dy, shape=(*dy.shape[:2], *windows.image), order="C")
    pixels = prod(windows.image)
    first = pixels * np.arange(prod(dy.shape[:2]), like=winner).reshape(*dy.shape[:2], 1)
    places = first + _flat(_won(winner, windows))
    add_at(dx.reshape(-1), places.reshape(-1), dy.reshape(-1))
    return dx


@cache
def _pixels(bins: Bins) -> tuple[Array, Array]:
    """Return which pixels the bins see, in reading order, and whether a bin has so many cells.

    Shapes: both (OH, OW, cells).
    """
    sides = [
        np.array(side, np.int64).reshape(m, k)
        for side, m, k in zip(bins.places, bins.output, bins.kernel, strict=True)
    ]
    split = [n for side in sides for n in side.shape]
    order = (*range(0, 2 * bins.ndim, 2), *range(1, 2 * bins.ndim, 2))

    def cells(values: Array) -> Array:
        return values.reshape(split).transpose(order).reshape(*bins.output, bins.cells)

    grid = np.ix_(*(side.ravel() for side in sides))
    pixels = np.ravel_multi_index(grid, bins.image, mode="clip")
    return cells(pixels), cells(reduce(np.logical_and, [axis >= 0 for axis in grid]))


def _won(winner: Array, bins: Bins) -> Array:
    """Return which pixels the winners are, in reading order."""
    pixels = np.broadcast_to(beside(winner, _pixels(bins)[0]), (*winner.shape, bins.cells))
    return np.take_along_axis(pixels, winner[..., None].astype(np.int64), axis=-1)[..., 0]


def _flat(images: Array) -> Array:
    """See images (N, C, H, W) as (N, C, H * W)."""
    return images.reshape(*images.shape[:2], prod(images.shape[2:]))
