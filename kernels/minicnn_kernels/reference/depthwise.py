"""Depthwise convolution and its gradients: one filter per channel, as multiply-adds of long lines.

With one channel per group a matrix product has nothing to share, and im2col copies each pixel once
for every cell of the kernel all the same.  But with the images last, (C, H, W, N), a padded channel
is one line in memory, and on it all windows look alike: cell [a, b] of a window lies

    offset[a,b] = (a*d*W + b*d) * N

values behind its first cell.  So the line of results is a sum over the cells of the kernel, of the
whole line moved by an offset and multiplied by one weight.  Windows are thereby computed at every
place; those that reach over the border or that the stride skips are dropped.

Paper: Chollet 2017, arXiv:1610.02357 (depthwise separable convolutions).
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.geometry import Sides, Windows
from minicnn_kernels.reference.convolution import (
    conv,
    conv_input,
    conv_weight,
    forward_products,
    im2col_cost,
    im2col_input_cost,
    im2col_weight_cost,
    input_products,
    weight_products,
)

SMALL = 2**15
"""Values up to which compiled code is not worth its start."""


def _one_filter_per_channel(_: Array, w: Array, *, groups: int, **settings: Any) -> bool:
    return bool(w.shape[:2] == (groups, 1))


def _one_result_per_channel(x: Array, dy: Array, *, groups: int, **settings: Any) -> bool:
    return bool(x.shape[1] == dy.shape[1] == groups)


def _cost(x: Array, w: Array, *, stride: Sides, **settings: Any) -> float:
    """Of the windows computed the stride drops all but one in prod(stride)."""
    return 0.1 * prod(stride) * im2col_cost(x, w, stride=stride, **settings)


def _input_cost(dy: Array, w: Array, *, stride: Sides, **settings: Any) -> float:
    return 0.1 * prod(stride) * im2col_input_cost(dy, w, **settings)


def _weight_cost(x: Array, dy: Array, *, stride: Sides, **settings: Any) -> float:
    return 0.1 * prod(stride) * im2col_weight_cost(x, dy, **settings)


@conv.algorithm("depthwise", cost=_cost, serves=_one_filter_per_channel)
def conv_depthwise(
    x: Array, w: Array, *, stride: Sides, padding: Sides, dilation: Sides, groups: int
) -> Array:
    """y[c,q] = sum_ab x[c, q + offset[a,b]] * w[c,a,b], with q a place on the line."""
    windows = Windows(x.shape[2:], w.shape[2:], stride, padding, dilation)
    steps, reach = _steps(windows, len(x))
    line = _line(x, windows, windows.inside, after=reach)
    y = _sum_over_cells(_seen(line, windows.kernel, steps), w[:, 0])
    return _taken(y, windows, windows.starts, len(x))


@conv_input.algorithm("depthwise", cost=_input_cost, serves=_one_filter_per_channel)
def conv_input_depthwise(
    dy: Array, w: Array, *, size: Sides, stride: Sides, padding: Sides, dilation: Sides, groups: int
) -> Array:
    """dx[c,q] = sum_ab dy[c, q - offset[a,b]] * w[c,a,b]: the turned filter, looking back."""
    windows = Windows(size, w.shape[2:], stride, padding, dilation)
    steps, reach = _steps(windows, len(dy))
    line = _line(dy, windows, windows.starts, before=reach)
    turned = np.flip(w[:, 0], tuple(range(1, w.ndim - 1)))
    dx = _sum_over_cells(_seen(line, windows.kernel, steps), turned)
    return _taken(dx, windows, windows.inside, len(dy))


@conv_weight.algorithm("depthwise", cost=_weight_cost, serves=_one_result_per_channel)
def conv_weight_depthwise(
    x: Array, dy: Array, *, size: Sides, stride: Sides, padding: Sides, dilation: Sides, groups: int
) -> Array:
    """dw[c,a,b] = sum_q x[c, q + offset[a,b]] * dy[c,q], with q a place on the line."""
    windows = Windows(x.shape[2:], size, stride, padding, dilation)
    steps, reach = _steps(windows, len(x))
    seen = _seen(_line(x, windows, windows.inside, after=reach), size, steps)
    line = _line(dy, windows, windows.starts)
    dw = np.empty_like(x, shape=(groups, 1, *size), order="C")
    for cell, _ in windows.taps():
        dw[:, 0, *cell] = np.vecdot(seen[:, *cell], line)
    return dw


def _steps(windows: Windows, n_images: int) -> tuple[Sides, int]:
    """Return how far apart on the line two cells are, for each side, and the largest offset."""
    steps = tuple(
        d * prod(windows.padded[side + 1 :]) * n_images for side, d in enumerate(windows.dilation)
    )
    return steps, sum(step * (k - 1) for step, k in zip(steps, windows.kernel, strict=True))


def _line(
    values: Array, windows: Windows, where: tuple[slice, ...], before: int = 0, after: int = 0
) -> Array:
    """Lay images (N, C, H, W) on the lines (C, ...) of the padded image, with zeros elsewhere."""
    n_images, channels, *_ = values.shape
    length = prod(windows.padded) * n_images
    line = np.zeros_like(values, shape=(channels, before + length + after), order="C")
    image = line[:, before : before + length].reshape(channels, *windows.padded, n_images)
    image[:, *where] = np.moveaxis(values, 0, -1)
    return line


def _taken(line: Array, windows: Windows, where: tuple[slice, ...], n_images: int) -> Array:
    """Take from the lines (C, ...) of the padded image what is wanted, as (N, C, H, W)."""
    image = line.reshape(len(line), *windows.padded, n_images)
    return np.moveaxis(image[:, *where], -1, 0)


def _seen(line: Array, kernel: Sides, steps: Sides) -> Array:
    """Look at the line from each cell of the kernel: v[c,a,b,q] = line[c, q + offset[a,b]]."""
    of_channel, of_value = line.strides
    reach = sum(step * (k - 1) for step, k in zip(steps, kernel, strict=True))
    return np.lib.stride_tricks.as_strided(
        line,
        shape=(len(line), *kernel, line.shape[1] - reach),
        strides=(of_channel, *(step * of_value for step in steps), of_value),
        writeable=False,
    )


def _sum_over_cells(seen: Array, w: Array) -> Array:
    """y[c,q] = sum_ab v[c,a,b,q] * w[c,a,b]."""
    if w.ndim > 1 and seen.strides[-2] == seen.strides[-1]:
        # einsum runs along the dimension of the smallest stride; it must not be that of the cells
        total = np.zeros_like(seen, shape=(len(seen), seen.shape[-1]))
        for b in range(w.shape[-1]):
            total += _sum_over_cells(seen[..., b, :], w[..., b])
        return total
    cells, q = list(range(1, w.ndim)), w.ndim
    y: Array = np.einsum(seen, [0, *cells, q], w, [0, *cells], [0, q])
    return y


# --- compiled: groups of any size, best of few channels -------------------------------------------


def _share(first: Array, rows: int, groups: int, used: int = 1) -> float:
    """Return the cost as a share of im2col's, which has flat matrices for small groups.

    Groups of several channels are first spread to so many rows, pixels that are not used as well.
    A single group has no flat matrices.
    """
    share = 0.05 if groups > 1 and first.size > SMALL else 2.0
    return share * (rows * used if rows > 1 else 1)


def _compiled_cost(x: Array, w: Array, *, stride: Sides, groups: int, **settings: Any) -> float:
    share = _share(x, w.shape[1], groups, prod(stride))
    return share * im2col_cost(x, w, stride=stride, groups=groups, **settings)


def _compiled_input_cost(dy: Array, w: Array, *, groups: int, **settings: Any) -> float:
    return _share(dy, len(w) // groups, groups) * im2col_input_cost(dy, w, groups=groups)


def _compiled_weight_cost(
    x: Array, dy: Array, *, stride: Sides, groups: int, **settings: Any
) -> float:
    share = _share(x, x.shape[1] // groups, groups, prod(stride))
    return share * im2col_weight_cost(x, dy, stride=stride, groups=groups, **settings)


def _serves_floats(a: Array, b: Array, **settings: Any) -> bool:
    return a.dtype == b.dtype and a.dtype in (np.float32, np.float64)


conv.compiled(
    "grouped_direct", "grouped.conv_grouped",
    "y[n,i,o] = sum_ra x[n, i*s + a*d - p, r of o's group] * w[a,r,o].",
    cost=_compiled_cost, serves=_serves_floats,
)  # fmt: skip
conv_input.compiled(
    "grouped_direct", "grouped.conv_input_grouped",
    "dx[n,q,c] = sum_ta dy[n,i,t of c's group] * w[a,t,c] over the i with i*s + a*d - p = q.",
    cost=_compiled_input_cost, serves=_serves_floats,
)  # fmt: skip
conv_weight.compiled(
    "grouped_direct", "grouped.conv_weight_grouped",
    "dw[a,r,o] = sum_ni x[n, i*s + a*d - p, r of o's group] * dy[n,i,o].",
    cost=_compiled_weight_cost, serves=_serves_floats,
)  # fmt: skip


# --- on cards: small groups, whose results stay in registers --------------------------------------


def _nanoseconds_on_card(products: int, inputs: int, *arrays: Array) -> float:
    """Count a start, what is moved, and 5,000 products in a nanosecond, fewer in larger groups."""
    return 5_000 + products / (5_000 if inputs <= 4 else 1_000) + sum(a.size for a in arrays) / 750


def _serves_on_card(
    a: Array, b: Array, kernel: Sides, per_group: int, *, groups: int, **settings: Any
) -> bool:
    able = a.dtype == b.dtype and a.dtype.name in ("float32", "bfloat16")
    some = a.size > 0 and b.size > 0 and len(kernel) <= 2 and groups > 1
    return able and some and prod(kernel) * per_group <= FILTER_ON_CARD


FILTER_ON_CARD = 12 * 1024
"""Values of a filter that fit the memory that a block of threads shares."""

conv.compiled(
    "small_groups", "depthwise.conv",
    "y[n,i,j,o] = sum_abr x[n, i*s + a*d - p, j*s + b*d - p, r of o's group] * w[o,a,b,r].",
    device="cuda", extras=("bias", "add", "relu"),
    cost=lambda x, w, **settings: _nanoseconds_on_card(
        forward_products(x, w, **settings), w.shape[1], x, x
    ),
    serves=lambda x, w, **settings: _serves_on_card(
        x, w, w.shape[2:], w.shape[1], **settings
    ),
)  # fmt: skip
conv_input.compiled(
    "small_groups", "depthwise.conv_input",
    "dx[n,h,w,c] = sum_abt dy[n,i,j, t of c's group] * w[t,a,b,c] over i*s + a*d - p = h.",
    device="cuda",
    cost=lambda dy, w, *, groups, **settings: _nanoseconds_on_card(
        input_products(dy, w), len(w) // groups, dy, dy
    ),
    serves=lambda dy, w, *, groups, **settings: _serves_on_card(
        dy, w, w.shape[2:], len(w) // groups, groups=groups, **settings
    ),
)  # fmt: skip
conv_weight.compiled(
    "small_groups", "depthwise.conv_weight",
    "dw[o,a,b,r] = sum_nij x[n, i*s + a*d - p, j*s + b*d - p, r of o's group] * dy[n,i,j,o].",
    device="cuda",
    cost=lambda x, dy, *, groups, **settings: _nanoseconds_on_card(
        weight_products(x, dy, groups=groups, **settings), x.shape[1] // groups, x, dy
    ),
    serves=lambda x, dy, *, size, **settings: _serves_on_card(x, dy, size, 1, **settings),
)  # fmt: skip
