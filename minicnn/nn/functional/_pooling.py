"""Pooling over windows of (N, C, ...) or (C, ...); the stride is the kernel's size unless given."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from minicnn.errors import ArgumentError, DTypeError, ShapeError
from minicnn.nn.functional._checks import batched, check_floating, windows_over
from minicnn.ops import arithmetic, comparison, elementwise, pooling
from minicnn.ops.shape import squeeze
from minicnn.tensor import Tensor, values_of
from minicnn_kernels.arrays import at_hand
from minicnn_kernels.geometry import Sides, Windows, sides, transposed_size

__all__ = [
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "lp_pool1d", "lp_pool2d", "lp_pool3d", "max_pool1d",
    "max_pool2d", "max_pool3d", "max_unpool1d", "max_unpool2d", "max_unpool3d", "median_pool1d",
    "median_pool2d", "median_pool3d", "min_pool1d", "min_pool2d", "min_pool3d",
]  # fmt: skip


# --- maximum --------------------------------------------------------------------------------------


def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the maximum of each window; the gradient goes to the remembered winner.

    y[n,c,i,j] = max_ab x[n, c, i*s + a*d - p, j*s + b*d - p]

    The padding counts as -inf, the first of equal maxima wins, NaN propagates.  With
    `return_indices` also the position of each winner in its image, counted in reading order.
    Shapes: (N, C, H, W) or (C, H, W).

    Raises:
        ShapeError, ArgumentError, DTypeError: the arguments do not fit together.
    """
    given = (kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    return _max_pool(2, input, *given)


def max_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the maximum of each window of a sequence; see `max_pool2d`.

    y[n,c,i] = max_a x[n, c, i*s + a*d - p]
    """
    given = (kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    return _max_pool(1, input, *given)


def max_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the maximum of each window of a volume; see `max_pool2d`.

    y[n,c,h,i,j] = max_eab x[n, c, h*s + e*d - p, i*s + a*d - p, j*s + b*d - p]
    """
    given = (kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    return _max_pool(3, input, *given)


def _max_pool(
    ndim: int,
    input: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    op = f"max_pool{ndim}d"
    x, unbatched = batched(op, input, ndim)
    windows = _windows(op, x, kernel_size, stride, padding, dilation, ceil_mode)
    y, winner = pooling.max_pool(x, windows)
    if not return_indices:
        return squeeze(y, 0) if unbatched else y
    return with_indices(x, y, pooling.winning_pixels(winner, windows), unbatched)


def _windows(
    op: str, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> Windows:
    """Return the windows over images that are not empty, the padding at most half a kernel."""
    image = x.shape[2:]
    if x.dtype == bool:
        raise DTypeError(f"{op}: input must hold numbers, got bool; use .to(dtype) first")
    if min(x.shape[1:]) < 1:
        raise ShapeError(f"{op}: the images are empty, input has shape {x.shape}")
    windows = windows_over(op, image, kernel_size, stride, padding, dilation, ceil_mode)
    if any(2 * p > k for p, k in zip(windows.padding, windows.kernel, strict=True)):
        raise ArgumentError(
            f"{op}: padding {windows.padding} may be at most half of the kernel {windows.kernel}"
        )
    return windows


def with_indices(x: Any, y: Any, pixels: Any, unbatched: bool) -> tuple[Any, Any]:
    """Return y and the positions of its values, without the batch if there was none."""
    indices = Tensor(pixels) if isinstance(x, Tensor) else pixels
    return (squeeze(y, 0), squeeze(indices, 0)) if unbatched else (y, indices)


# --- back from the maximum ------------------------------------------------------------------------


def max_unpool2d(
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Any:
    """Put maxima back where they came from, zeros elsewhere: a partial inverse of `max_pool2d`.

    y[n, c, indices[n,c,i,j]] = x[n,c,i,j]

    Several sizes of image pool to the same size; `output_size` says which it was, else it is
    (size - 1) * stride - 2 * padding + kernel.

    Raises:
        ShapeError, DTypeError, ArgumentError: the arguments do not fit together.
    """
    return _max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool1d(
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Any:
    """Put maxima of a sequence back where they came from; see `max_unpool2d`.

    y[n, c, indices[n,c,i]] = x[n,c,i]
    """
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Any:
    """Put maxima of a volume back where they came from; see `max_unpool2d`.

    y[n, c, indices[n,c,h,i,j]] = x[n,c,h,i,j]
    """
    return _max_unpool(3, input, indices, kernel_size, stride, padding, output_size)


def _max_unpool(
    ndim: int,
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    output_size: Any,
) -> Any:
    op = f"max_unpool{ndim}d"
    x, unbatched = batched(op, input, ndim)
    pixels = values_of(indices)
    if pixels.dtype != np.int64:
        raise DTypeError(f"{op}: indices must be int64, as max_pool{ndim}d returns them")
    if pixels.shape != input.shape:
        raise ShapeError(f"{op}: indices {pixels.shape} must have the shape of input {input.shape}")
    size = _unpooled_size(op, x.shape[2:], kernel_size, stride, padding, output_size)
    count = int(np.prod(size))
    if at_hand(pixels) and pixels.size and not 0 <= pixels.min() <= pixels.max() < count:
        raise ArgumentError(
            f"{op}: indices must lie in [0, {count}), the pixels of an image of {size}; got "
            f"{pixels.min()} to {pixels.max()}"
        )
    y = pooling.unpool(x, pixels.reshape(x.shape), size)
    return squeeze(y, 0) if unbatched else y


def _unpooled_size(
    op: str, pooled: Sides, kernel_size: Any, stride: Any, padding: Any, output_size: Any
) -> Sides:
    ndim = len(pooled)
    kernel = sides(kernel_size, ndim, f"{op}: kernel_size", 1)
    steps = kernel if stride is None else sides(stride, ndim, f"{op}: stride", 1)
    border = sides(padding, ndim, f"{op}: padding")
    default = tuple(
        transposed_size(*side) for side in zip(pooled, kernel, steps, border, strict=True)
    )
    if output_size is None:
        return default
    wanted = tuple(output_size)[-ndim:]
    near = len(wanted) == ndim and len(tuple(output_size)) in (ndim, ndim + 2)
    if not near or any(abs(m - n) >= s for m, n, s in zip(wanted, default, steps, strict=True)):
        raise ArgumentError(
            f"{op}: output_size {tuple(output_size)} must differ from {default} by less than the "
            f"stride {steps}"
        )
    return wanted


# --- minimum and median ---------------------------------------------------------------------------


def min_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Any:
    """Return the minimum of each window.  PyTorch spells it -max_pool2d(-x).

    y[n,c,i,j] = min_ab x[n, c, i*s + a*d - p, j*s + b*d - p]

    The padding counts as +inf, the first of equal minima wins, NaN propagates.
    """
    return _min_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode)


def min_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Any:
    """Return the minimum of each window of a sequence; see `min_pool2d`.

    y[n,c,i] = min_a x[n, c, i*s + a*d - p]
    """
    return _min_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode)


def min_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Any:
    """Return the minimum of each window of a volume; see `min_pool2d`.

    y[n,c,h,i,j] = min_eab x[n, c, h*s + e*d - p, i*s + a*d - p, j*s + b*d - p]
    """
    return _min_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode)


def _min_pool(
    ndim: int,
    input: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
) -> Any:
    op = f"min_pool{ndim}d"
    x, unbatched = batched(op, input, ndim)
    check_floating(op, "input", x)
    y = pooling.min_pool(x, _windows(op, x, kernel_size, stride, padding, dilation, ceil_mode))
    return squeeze(y, 0) if unbatched else y


def median_pool2d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False
) -> Any:
    """Return the median of each window, a filter that removes single wrong pixels.

    y[n,c,i,j] = median_ab x[n, c, i*s + a - p, j*s + b - p]

    The padding does not count.  Of an even number of pixels it is the lower of the two in the
    middle, as in PyTorch's `median`; NaN propagates.
    """
    return _median_pool(2, input, kernel_size, stride, padding, ceil_mode)


def median_pool1d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False
) -> Any:
    """Return the median of each window of a sequence; see `median_pool2d`.

    y[n,c,i] = median_a x[n, c, i*s + a - p]
    """
    return _median_pool(1, input, kernel_size, stride, padding, ceil_mode)


def median_pool3d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False
) -> Any:
    """Return the median of each window of a volume; see `median_pool2d`.

    y[n,c,h,i,j] = median_eab x[n, c, h*s + e - p, i*s + a - p, j*s + b - p]
    """
    return _median_pool(3, input, kernel_size, stride, padding, ceil_mode)


def _median_pool(
    ndim: int, input: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool
) -> Any:
    op = f"median_pool{ndim}d"
    x, unbatched = batched(op, input, ndim)
    y = pooling.median_pool(x, _windows(op, x, kernel_size, stride, padding, 1, ceil_mode))
    return squeeze(y, 0) if unbatched else y


# --- mean and power mean --------------------------------------------------------------------------


def avg_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """Return the mean of each window.

    y[n,c,i,j] = sum_ab x[n, c, i*s + a - p, j*s + b - p] / (number of pixels that count)

    With `count_include_pad` the pixels of the padding count, but never those that `ceil_mode`
    adds; `divisor_override` replaces the number.  Means of integers are rounded towards zero.
    Shapes: (N, C, H, W) or (C, H, W).

    Raises:
        ShapeError, ArgumentError, DTypeError: the arguments do not fit together.
    """
    given = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _avg_pool(2, input, *given)


def avg_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """Return the mean of each window of a sequence; see `avg_pool2d`.

    y[n,c,i] = sum_a x[n, c, i*s + a - p] / (number of values that count)
    """
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """Return the mean of each window of a volume; see `avg_pool2d`.

    y[n,c,h,i,j] = sum_eab x[n, c, h*s + e - p, i*s + a - p, j*s + b - p] / (number that count)
    """
    given = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _avg_pool(3, input, *given)


def _avg_pool(
    ndim: int,
    input: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Any:
    op = f"avg_pool{ndim}d"
    x, unbatched = batched(op, input, ndim)
    if divisor_override == 0:
        raise ArgumentError(f"{op}: divisor_override must not be zero")
    windows = _windows(op, x, kernel_size, stride, padding, 1, ceil_mode)
    y = pooling.avg_pool(x, windows, count_include_pad, divisor_override)
    return squeeze(y, 0) if unbatched else y


def lp_pool2d(
    input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Any:
    """Return the p-norm of each window, p = norm_type; 1 is the sum, inf the largest size.

    y[n,c,i,j] = (sum_ab x[n, c, i*s + a, j*s + b]^p)^(1/p)

    A window that `ceil_mode` lets reach beyond the image takes its mean power for all pixels.
    Negative values under an odd p may make the sum negative, and its root NaN, as in PyTorch.
    """
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool1d(
    input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Any:
    """Return the p-norm of each window of a sequence; see `lp_pool2d`.

    y[n,c,i] = (sum_a x[n, c, i*s + a]^p)^(1/p)
    """
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Any:
    """Return the p-norm of each window of a volume; see `lp_pool2d`.

    y[n,c,h,i,j] = (sum_eab x[n, c, h*s + e, i*s + a, j*s + b]^p)^(1/p)
    """
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)


def _lp_pool(
    ndim: int, input: Any, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool
) -> Any:
    op = f"lp_pool{ndim}d"
    if norm_type == 0:
        raise ArgumentError(f"{op}: there is no root of order norm_type=0; 1 gives the sum")
    x, unbatched = batched(op, input, ndim)
    x = elementwise.abs(x) if norm_type in (inf, -inf) else arithmetic.pow(x, norm_type)
    windows = _windows(op, x, kernel_size, stride, 0, 1, ceil_mode)
    if norm_type == inf:
        y, _ = pooling.max_pool(x, windows)
    elif norm_type == -inf:
        y = pooling.min_pool(x, windows)
    else:
        total = pooling.avg_pool(x, windows) * windows.cells
        is_zero = comparison.eq(total, 0)  # where the root is infinitely steep; PyTorch's dx is 0
        root = arithmetic.pow(arithmetic.where(is_zero, 1.0, total), 1 / norm_type)
        y = arithmetic.where(is_zero, 0.0 if norm_type > 0 else inf, root)
    return squeeze(y, 0) if unbatched else y
