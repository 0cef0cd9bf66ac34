"""Pooling."""

from __future__ import annotations

from typing import Any

from minicnn.errors import ArgumentError, ShapeError
from minicnn.nn.functional._checks import batched, check_floating, windows_over
from minicnn.ops import pooling
from minicnn.ops.reduce import mean
from minicnn.ops.shape import squeeze
from minicnn_kernels.geometry import Windows, sides

__all__ = ["adaptive_avg_pool2d", "avg_pool2d", "max_pool2d"]


def _pool_windows(
    op: str, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil: bool
) -> Windows:
    windows = windows_over(op, x.shape[2:], kernel_size, stride, padding, dilation, ceil)
    if any(2 * p > k for p, k in zip(windows.padding, windows.kernel, strict=True)):
        raise ArgumentError(
            f"{op}: padding {windows.padding} may be at most half of the kernel {windows.kernel}"
        )
    return windows


def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Any:
    """Return the maximum of each window; the gradient goes to the remembered winner.

    y[n,c,i,j] = max_ab x[n, c, i*s + a*d - p, j*s + b*d - p]

    The padding counts as -inf, the first of equal maxima wins, NaN propagates.
    Shapes: (N, C, H, W) or (C, H, W).  `stride` defaults to `kernel_size`.
    """
    x, unbatched = batched("max_pool2d", input)
    windows = _pool_windows("max_pool2d", x, kernel_size, stride, padding, dilation, ceil_mode)
    y = pooling.max_pool2d(x, windows)
    return squeeze(y, 0) if unbatched else y


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

    Shapes: (N, C, H, W) or (C, H, W).  `stride` defaults to `kernel_size`.
    """
    x, unbatched = batched("avg_pool2d", input)
    check_floating("avg_pool2d", "input", x)
    if divisor_override == 0:
        raise ArgumentError("avg_pool2d: divisor_override must not be zero")
    windows = _pool_windows("avg_pool2d", x, kernel_size, stride, padding, 1, ceil_mode)
    y = pooling.avg_pool2d(x, windows, count_include_pad, divisor_override)
    return squeeze(y, 0) if unbatched else y


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    """Return the means of output_size bins over the image; None keeps a size.

    Shapes: (N, C, H, W) or (C, H, W) to (N, C, *output_size).
    """
    x, unbatched = batched("adaptive_avg_pool2d", input)
    check_floating("adaptive_avg_pool2d", "input", x)
    wanted = list(output_size) if isinstance(output_size, (tuple, list)) else [output_size] * 2
    kept = [n if m is None else m for n, m in zip(x.shape[2:], wanted, strict=False)]
    size = sides([*kept, *wanted[2:]], 2, "adaptive_avg_pool2d: output_size")
    if min(x.shape[2:]) < 1:
        raise ShapeError(f"adaptive_avg_pool2d: the image is empty, input has shape {x.shape}")
    if size == (1, 1):
        y = mean(x, (2, 3), keepdim=True)
    elif min(size) > 0 and x.shape[2] % size[0] == 0 and x.shape[3] % size[1] == 0:
        bins = (x.shape[2] // size[0], x.shape[3] // size[1])  # all of one size
        y = pooling.avg_pool2d(x, Windows(x.shape[2:], bins, stride=bins))
    else:
        y = pooling.adaptive_avg_pool2d(x, size)
    return squeeze(y, 0) if unbatched else y
