"""Pooling: windows reduced to their maximum or their sum, and the way back.

Both directions go over the cells of the window, not over the windows: KH*KW passes over whole
images, each of them a single array operation.  The formulas are those of two sides, (i, j) and
(a, b); images of one and three sides take the same code.
"""

from __future__ import annotations

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.geometry import Windows
from minicnn_kernels.reference.windows import pad_image
from minicnn_kernels.registry import Kernel

max_winners = Kernel("max_winners")
take_winners = Kernel("take_winners")
route_to_winners = Kernel("route_to_winners")
window_sum = Kernel("window_sum")
window_spread = Kernel("window_spread")

BOTH = ("cpu", "cuda")


def _cost(*arrays: Array, windows: Windows) -> float:
    return 1.0


@max_winners.algorithm("taps", devices=BOTH, cost=_cost)
def winners_by_taps(x: Array, *, windows: Windows) -> tuple[Array, Array]:
    """Return y[n,c,i,j] = max_ab x[n, c, i*s + a*d - p, j*s + b*d - p] and which a*KW + b it was.

    The padding counts as -inf, the first maximum wins, and NaN is larger than everything.
    """
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    padded = pad_image(x, windows, lowest)
    seen = [padded[:, :, *place] for _, place in windows.taps()]
    best = seen[0].copy(order="K")
    for values in seen[1:]:
        np.maximum(best, values, out=best)
    winner = np.zeros_like(best, dtype=np.uint8 if windows.cells <= 256 else np.int32)
    some_nan = best.dtype.kind == "f" and np.isnan(best).any()
    not_yet = np.ones_like(best, dtype=bool)  # the winner's number is how many cells come before it
    for values in seen[:-1]:
        not_yet &= values != best
        if some_nan:
            not_yet &= ~np.isnan(values)
        np.add(winner, not_yet, out=winner)
    return best, winner


@take_winners.algorithm("taps", devices=BOTH, cost=_cost)
def take_by_taps(x: Array, winner: Array, *, windows: Windows) -> Array:
    """y[n,c,i,j] = the pixel of x that won window [i,j]."""
    padded = pad_image(x, windows)
    y = np.zeros_like(x, shape=winner.shape)
    for number, (_, place) in enumerate(windows.taps()):
        np.copyto(y, padded[:, :, *place], where=winner == number)
    return y


@route_to_winners.algorithm("taps", devices=BOTH, cost=_cost)
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


@window_sum.algorithm("taps", devices=BOTH, cost=_cost)
def sum_by_taps(x: Array, *, windows: Windows) -> Array:
    """y[n,c,i,j] = sum_ab x[n, c, i*s + a*d - p, j*s + b*d - p]."""
    padded = pad_image(x, windows)
    y = np.zeros_like(x, shape=(*x.shape[:2], *windows.output))
    for _, place in windows.taps():
        y += padded[:, :, *place]
    return y


@window_spread.algorithm("taps", devices=BOTH, cost=_cost)
def spread_by_taps(dy: Array, *, windows: Windows) -> Array:
    """dx[n, c, i*s + a*d - p, j*s + b*d - p] += dy[n,c,i,j]: the adjoint of window_sum."""
    padded = np.zeros_like(dy, shape=(*dy.shape[:2], *windows.padded))
    for _, place in windows.taps():
        padded[:, :, *place] += dy
    return padded[:, :, *windows.inside]
