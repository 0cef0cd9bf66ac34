"""Products of a few rows with a large matrix: a dense layer that sees a small batch.

    c[i,j] = sum_k a[i,k] * b[k,j]

Each value of b serves only a few multiplications, so the time is that of reading b, once, as it
lies.  Libraries for larger products first copy b into another order.
"""

from __future__ import annotations

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.cpu.jit import jit
from minicnn_kernels.cpu.lanes import load, multiply_add, repeat, store, zeros
from minicnn_kernels.threads import parallel

LANES = 16
ROWS = 4  # of a that share what is read of b
TERMS = 4  # of a sum that share what is read and written of c
COLUMNS = 512  # of c that stay in the first-level cache
GRAIN = 2**16  # values of b that are worth a thread


def product(a: Array, b: Array) -> Array:
    """c[i,j] = sum_k a[i,k] * b[k,j], with b contiguous in one of the two orders."""
    (rows, depth), columns = a.shape, b.shape[1]
    padded = np.zeros((-(-rows // ROWS) * ROWS, depth), a.dtype)
    padded[:rows] = a
    c = np.empty((len(padded), columns), a.dtype)
    arguments = padded.reshape(-1), (b.T if b.flags.f_contiguous else b).reshape(-1), c.reshape(-1)
    if b.flags.f_contiguous:
        parallel(_sum_lines, -(-columns // 2), depth, *arguments, grain=1 + GRAIN // depth)
    else:
        blocks = -(-columns // COLUMNS)
        parallel(_add_lines, blocks, depth, *arguments, grain=1 + GRAIN // (COLUMNS * depth))
    return c[:rows]


@jit()
def _sum_lines(begin, end, depth, a, lines, c):
    """c[i,j] = sum_k a[i,k] * lines[j,k], for part of the pairs of columns."""
    columns, whole, lanes = lines.size // depth, depth // LANES * LANES, np.empty(LANES, c.dtype)
    for pair in range(begin, end):
        left, right = 2 * pair, min(2 * pair + 1, columns - 1)
        here, there = left * depth, right * depth
        for i in range(0, a.size // depth, ROWS):
            row0, row1, row2, row3 = i * depth, (i + 1) * depth, (i + 2) * depth, (i + 3) * depth
            left0 = left1 = left2 = left3 = zeros(a, LANES)
            right0 = right1 = right2 = right3 = zeros(a, LANES)
            for k in range(0, whole, LANES):
                a0, a1 = load(a, row0 + k, LANES), load(a, row1 + k, LANES)
                a2, a3 = load(a, row2 + k, LANES), load(a, row3 + k, LANES)
                line = load(lines, here + k, LANES)
                left0, left1 = multiply_add(a0, line, left0), multiply_add(a1, line, left1)
                left2, left3 = multiply_add(a2, line, left2), multiply_add(a3, line, left3)
                line = load(lines, there + k, LANES)
                right0, right1 = multiply_add(a0, line, right0), multiply_add(a1, line, right1)
                right2, right3 = multiply_add(a2, line, right2), multiply_add(a3, line, right3)
            at = i * columns
            for j, line, s0, s1, s2, s3 in (
                (left, here, left0, left1, left2, left3),
                (right, there, right0, right1, right2, right3),
            ):
                c[at + j] = _total(s0, lanes, a, row0, lines, line, whole, depth)
                c[at + columns + j] = _total(s1, lanes, a, row1, lines, line, whole, depth)
                c[at + 2 * columns + j] = _total(s2, lanes, a, row2, lines, line, whole, depth)
                c[at + 3 * columns + j] = _total(s3, lanes, a, row3, lines, line, whole, depth)


@jit(inline=True)
def _total(sums, lanes, a, row, lines, line, whole, depth):
    """Add up the lanes of a sum, and the terms from `whole` to `depth`."""
    store(lanes, 0, sums)
    total = lanes[0]
    for k in range(1, LANES):
        total += lanes[k]
    for k in range(whole, depth):
        total += a[row + k] * lines[line + k]
    return total


@jit()
def _add_lines(begin, end, depth, a, lines, c):
    """c[i,j] = sum_k a[i,k] * lines[k,j], for some blocks of columns."""
    columns, rows = lines.size // depth, a.size // depth
    for first in range(begin * COLUMNS, min(end * COLUMNS, columns), COLUMNS):
        last = min(first + COLUMNS, columns)
        whole = first + (last - first) // LANES * LANES
        for i in range(rows):
            c[i * columns + first : i * columns + last] = 0
        for k in range(0, depth - TERMS + 1, TERMS):
            line0 = k * columns
            line1, line2, line3 = line0 + columns, line0 + 2 * columns, line0 + 3 * columns
            for i in range(rows):
                here, at = i * columns, i * depth + k
                a0, a1 = repeat(a, at, LANES), repeat(a, at + 1, LANES)
                a2, a3 = repeat(a, at + 2, LANES), repeat(a, at + 3, LANES)
                for j in range(first, whole, LANES):
                    total = multiply_add(
                        a0, load(lines, line0 + j, LANES), load(c, here + j, LANES)
                    )
                    total = multiply_add(a1, load(lines, line1 + j, LANES), total)
                    total = multiply_add(a2, load(lines, line2 + j, LANES), total)
                    total = multiply_add(a3, load(lines, line3 + j, LANES), total)
                    store(c, here + j, total)
        for i in range(rows):
            here = i * columns
            for k in range(depth):
                line, factor = k * columns, a[i * depth + k]
                for j in range(first if k >= depth // TERMS * TERMS else whole, last):
                    c[here + j] += factor * lines[line + j]
