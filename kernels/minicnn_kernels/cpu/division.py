"""What a division leaves: `fmod` and `remainder` of float32, in vector instructions.

The C library subtracts bit by bit.  In float64, q = trunc(a / b) is right, and q * b and a - q * b
are exact, as long as |q| < 2^28.  A block where that does not hold for all is computed again,
number by number.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.cpu.jit import jit
from minicnn_kernels.threads import parallel

BLOCK = 1024
LARGE = 2.0**28
GRAIN = 2**14


def fmod(a: Array, b: Array) -> Array:
    """y = a - b * trunc(a / b), with the sign of a."""
    return _computed(_fmod, a, b)


def remainder(a: Array, b: Array) -> Array:
    """y = a - b * floor(a / b), with the sign of b."""
    return _computed(_remainder, a, b)


def _computed(loop: Any, a: Array, b: Array) -> Array:
    y = np.empty(a.shape, np.float32)
    parallel(loop, a.size, *(x.reshape(-1) for x in (a, b, y)), grain=GRAIN)
    return y


@jit(inline=True)
def _left(x: Any, d: Any) -> Any:
    """Return x - d * trunc(x / d), and the quotient's size."""
    q = np.trunc(x / d)
    return (x if q == 0 else x - q * d), abs(q)


@jit()
def _fmod(begin: Any, end: Any, a: Array, b: Array, y: Array) -> None:
    for start in range(begin, end, BLOCK):
        stop = min(start + BLOCK, end)
        part_a, part_b, part_y = a[start:stop], b[start:stop], y[start:stop]
        others = 0
        for i in range(part_y.size):
            x = np.float64(part_a[i])
            left, quotient = _left(x, np.float64(part_b[i]))
            part_y[i] = np.float32(np.copysign(left, x))
            others += not quotient < LARGE
        if others:
            for i in range(part_y.size):
                part_y[i] = np.fmod(part_a[i], part_b[i])


@jit()
def _remainder(begin: Any, end: Any, a: Array, b: Array, y: Array) -> None:
    for start in range(begin, end, BLOCK):
        stop = min(start + BLOCK, end)
        part_a, part_b, part_y = a[start:stop], b[start:stop], y[start:stop]
        others = 0
        for i in range(part_y.size):
            d = np.float64(part_b[i])
            left, quotient = _left(np.float64(part_a[i]), d)
            moved = left + d if left * d < 0 else left
            part_y[i] = np.float32(np.copysign(moved, d))
            others += not quotient < LARGE
        if others:
            for i in range(part_y.size):
                left = np.fmod(part_a[i], part_b[i])
                if left == 0:
                    left = np.copysign(left, part_b[i])
                elif (left < 0) != (part_b[i] < 0):
                    left += part_b[i]
                part_y[i] = left
