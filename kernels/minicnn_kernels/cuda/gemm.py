"""Products of matrices on a card: a matrix is an image whose windows are single pixels.

So the kernels are those of convolution.py.  Which of its passes computes a product depends on how
the two factors lie in memory; no factor is turned.
"""

from __future__ import annotations

from functools import cache, partial
from math import prod
from typing import Any, NamedTuple

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.cuda.convolution import Plan, divisor, planned, processors, run

LARGEST = 2**30  # values from the first of a matrix to the last, which are counted in 32 bits


class Layout(NamedTuple):
    """How matrices lie in memory, in values.

    Attributes:
        turned: whether a column's values are neighbours, not a row's.
        pitch: from one row, or column, to the next.
        batch: from one matrix to the next; 0 if there is one for all.
    """

    turned: bool
    pitch: int
    batch: int

    def seen_turned(self) -> Layout:
        """Describe the same memory as that of the matrices' transposes."""
        return self._replace(turned=not self.turned)


def product(a: Array, b: Array, *, math: str, bias: Array | None = None) -> Array:
    """y[..,i,j] = sum_k a[..,i,k] * b[..,k,j] (+ bias[j]), over broadcast batches."""
    if a.dtype != np.float32:
        math = "bf16_arrays"
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    rows, inner, columns = *a.shape[-2:], b.shape[-1]
    count = prod(batch)
    if not count * rows * columns * inner:
        nothing: Array = np.zeros((*batch, rows, columns), a.dtype, like=a)
        return nothing if bias is None else np.add(nothing, bias, out=nothing)
    (a, of_a), (b, of_b) = _laid_out(a, batch), _laid_out(b, batch)
    if of_a.turned and of_b.turned:  # y^T = b^T a^T, for which neither is turned
        y = _product(
            b, a, math, count, columns, inner, rows, of_b.seen_turned(), of_a.seen_turned()
        )
        y = y.reshape(*batch, columns, rows).swapaxes(-1, -2)
        return y if bias is None else np.add(y, bias, out=y)
    y = _product(a, b, math, count, rows, inner, columns, of_a, of_b, bias)
    return y.reshape(*batch, rows, columns)


def _laid_out(x: Array, batch: tuple[int, ...]) -> tuple[Array, Layout]:
    """Return matrices whose rows or columns are runs, evenly apart; a copy if they are not so."""
    if x.shape[:-2] != batch and x.size != x.shape[-2] * x.shape[-1]:
        x = np.broadcast_to(x, (*batch, *x.shape[-2:]))
    found = _layout(x)
    if found is None:
        x = x.copy(order="C")
        found = _layout(x)
        assert found is not None
    return x, found


def _layout(x: Any) -> Layout | None:
    """Describe how matrices lie in memory, or return None if neither rows nor columns are runs.

    Nor are there units of 16 bytes if the first begins elsewhere than at a multiple of them.
    """
    if x.data.ptr % 16:
        return None
    size = x.dtype.itemsize
    rows, columns = x.shape[-2:]
    (*outer, down, across) = (stride // size for stride in x.strides)
    batch = 0
    matrices = [(n, stride) for n, stride in zip(x.shape, outer, strict=False) if n > 1]
    if matrices:
        batch = matrices[-1][1]
        count = 1
        for n, stride in reversed(matrices):
            if stride != batch * count:
                return None
            count *= n
    if (across == 1 or columns == 1) and (down >= columns or rows == 1):
        turned, lines, pitch = False, rows, down if rows > 1 else columns
    elif (down == 1 or rows == 1) and (across >= rows or columns == 1):
        turned, lines, pitch = True, columns, across if columns > 1 else rows
    else:
        return None
    return Layout(turned, pitch, batch) if lines * pitch < LARGEST else None


@cache
def plan(
    rows: int, inner: int, columns: int, count: int, a: Layout, b: Layout, math: str, itemsize: int,
    processors: int,
) -> Plan:  # fmt: skip
    """Plan so many products of matrices (rows, inner) and (inner, columns)."""
    unit = 16 // itemsize

    def in_units(x: Layout, run: int) -> bool:
        return not (x.pitch % unit or x.batch % unit or run % unit)

    name = "conv_weight" if a.turned else "conv" if b.turned else "conv_input"
    of_windows, of_matrix = (b, a) if a.turned else (a, b)
    described = {
        **{"a_group": a.batch, "b_group": b.batch, "y_group": rows * columns},
        "windows": {
            **dict.fromkeys(("per_image", "per_line", "channels", "kernel_w"), divisor(1)),
            **{"height": 1, "width": 1, "pixel": of_windows.pitch},
        },
        **{"rows": rows, "columns": columns, "inner": inner},
        **{"matrix_pitch": of_matrix.pitch, "y_pitch": columns, "plain": True},
        "a_vectors": in_units(a, rows if a.turned else inner),
        "b_vectors": in_units(b, inner if b.turned else columns),
        "y_vectors": columns % 4 == 0,
    }
    return planned(name, described, math, count, rows * columns * count, processors)


def _product(
    a: Array, b: Array, math: str, count: int, rows: int, inner: int, columns: int,
    of_a: Layout, of_b: Layout, bias: Array | None = None,
) -> Array:  # fmt: skip
    chosen = plan(rows, inner, columns, count, of_a, of_b, math, a.dtype.itemsize, processors())
    return run(chosen, a, b, (count, rows, columns), bias)


product_simt = partial(product, math="simt")
product_tf32x3 = partial(product, math="tf32x3")
product_tf32 = partial(product, math="tf32")
product_bf16 = partial(product, math="bf16")
