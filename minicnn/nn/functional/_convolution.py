"""Convolution, and windows as columns."""

from __future__ import annotations

from typing import Any

import minicnn_kernels.geometry as geometry
from minicnn.errors import ArgumentError, ShapeError
from minicnn.nn.functional._checks import batched, check_floating, windows_over
from minicnn.ops import convolution
from minicnn.ops.shape import pad_with, squeeze, unsqueeze, view_as
from minicnn_kernels.geometry import Sides, Windows, sides

__all__ = ["conv2d", "fold", "unfold"]


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Correlate images with filters.

    y[n,o,i,j] = bias[o] + sum_cab x[n, c, i*s + a*d - p, j*s + b*d - p] * w[o,c,a,b]

    Shapes: input (N, C, H, W) or (C, H, W), weight (O, C/groups, KH, KW), bias (O), result
    (N, O, OH, OW) with OH = floor((H + 2p - d(KH - 1) - 1) / s) + 1.

    Args:
        padding: pixels of zeros on each side (an integer or a sides), "valid" for none, or "same"
            for a result of the input's size (stride 1 only).

    Raises:
        ShapeError, DTypeError, ArgumentError: the arguments do not fit together.
    """
    x, unbatched = batched("conv2d", input)
    steps, spacing = (
        sides(stride, 2, "conv2d: stride", 1),
        sides(dilation, 2, "conv2d: dilation", 1),
    )
    _check_filters(x, weight, bias, groups)
    kernel: Sides = weight.shape[2:]
    if padding == "same":
        if steps != (1, 1):
            raise ArgumentError(f'conv2d: padding="same" needs stride 1, got {stride}')
        (top, bottom), (left, right) = geometry.same_padding(kernel, spacing)
        if (top, left) != (bottom, right):  # an even reach: one more pixel at the end
            x = pad_with(x, ((0, 0), (0, 0), (0, bottom - top), (0, right - left)))
        border: Sides = (top, left)
    elif isinstance(padding, str):
        if padding != "valid":
            raise ArgumentError(
                f'conv2d: padding must be a number, "same" or "valid", got {padding!r}'
            )
        border = (0, 0)
    else:
        border = sides(padding, 2, "conv2d: padding")
    Windows(x.shape[2:], kernel, steps, border, spacing).checked("conv2d")
    settings = (steps, border, spacing, groups)
    if bias is None:
        y = convolution.conv(x, weight, *settings)
    else:
        y = convolution.conv_bias(x, weight, bias, *settings)
    return squeeze(y, 0) if unbatched else y


def _check_filters(x: Any, weight: Any, bias: Any, groups: int) -> None:
    if weight.ndim != 4:
        raise ShapeError(f"conv2d: weight must be (O, C/groups, KH, KW), got shape {weight.shape}")
    if min(weight.shape) < 1:
        raise ShapeError(f"conv2d: weight is empty, it has shape {weight.shape}")
    filters, per_group = weight.shape[:2]
    if groups < 1 or filters % groups or x.shape[1] != per_group * groups:
        raise ShapeError(
            f"conv2d: with groups={groups}, weight {weight.shape} expects {per_group * groups} "
            f"input channels and a multiple of {groups} filters, but the input has shape {x.shape}"
        )
    if bias is not None and bias.shape != (filters,):
        raise ShapeError(f"conv2d: bias must have shape ({filters},), got {bias.shape}")
    check_floating("conv2d", "input", x)
    check_floating("conv2d", "weight", weight)


def unfold(
    input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Any:
    """Copy the windows of images side by side (im2col): (N, C, H, W) to (N, C*KH*KW, OH*OW)."""
    x, unbatched = batched("unfold", input)
    windows = windows_over("unfold", x.shape[2:], kernel_size, stride, padding, dilation)
    positions = windows.output[0] * windows.output[1]
    shape = (x.shape[0], x.shape[1] * windows.cells, positions)
    cols = view_as(convolution.im2col(x, windows), shape)
    return squeeze(cols, 0) if unbatched else cols


def fold(
    input: Any,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Any:
    """Add windows up where they came from (col2im): (N, C*KH*KW, OH*OW) to (N, C, H, W).

    The adjoint of `unfold`, not its inverse: a pixel receives the sum over its windows.
    """
    if input.ndim not in (2, 3):
        raise ShapeError(f"fold: input must be (N, C*KH*KW, L) or (C*KH*KW, L), got {input.shape}")
    unbatched = input.ndim == 2
    cols = unsqueeze(input, 0) if unbatched else input
    size = sides(output_size, 2, "fold: output_size", 1)
    windows = windows_over("fold", size, kernel_size, stride, padding, dilation)
    cells, positions = windows.cells, windows.output[0] * windows.output[1]
    if cols.shape[1] % cells or cols.shape[2] != positions:
        raise ShapeError(
            f"fold: an image of {size} has {positions} windows of {cells} pixels, so the input "
            f"must be (N, C*{cells}, {positions}), got {input.shape}"
        )
    shape = (cols.shape[0], cols.shape[1] // cells, *windows.kernel, *windows.output)
    image = convolution.col2im(view_as(cols, shape), windows)
    return squeeze(image, 0) if unbatched else image
