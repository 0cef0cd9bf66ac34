"""Convolution and its transpose over one, two or three sides, and windows as columns.

How a convolution becomes a matrix product ("im2col"): `unfold` copies what each window sees into a
column, so an image of C channels becomes a matrix with C*KH*KW rows and a column for each of the
OH*OW windows.  Filters are rows of C*KH*KW weights, and

    y = w @ unfold(x)

holds every window times every filter.  A pixel is copied once for each window that sees it: memory
is paid for the speed of one large matrix product.  The gradient by x goes the way back,
dx = fold(w^T @ dy), and the gradient by w is dw = dy @ unfold(x)^T.
"""

from __future__ import annotations

from typing import Any

from minicnn.errors import ArgumentError, ShapeError
from minicnn.nn.functional._checks import batched, check_one_type
from minicnn.ops import convolution
from minicnn.ops.shape import pad_with, squeeze, unsqueeze, view_as
from minicnn_kernels.geometry import (
    Sides,
    Windows,
    output_size,
    same_padding,
    sides,
    transposed_size,
)
from minicnn_kernels.registry import chosen

__all__ = [
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "fold", "unfold",
]  # fmt: skip

# --- convolution ----------------------------------------------------------------------------------


def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Correlate sequences with filters.

    y[n,o,i] = bias[o] + sum_ca x[n, c, i*s + a*d - p] * w[o,c,a]

    Shapes: input (N, C, L) or (C, L), weight (O, C/groups, K), bias (O), result (N, O, OL); the
    rest is as in `conv2d`.

    With the padding in front only, a causal convolution, no result sees a later value:

    >>> import minicnn
    >>> from minicnn.nn import functional as F
    >>> x, w = minicnn.tensor([[1.0, 2.0, 3.0, 4.0]]), minicnn.tensor([[[1.0, 10.0]]])
    >>> dilation, kernel = 2, 2
    >>> F.conv1d(F.pad(x, (dilation * (kernel - 1), 0)), w, dilation=dilation)
    tensor([[10., 20., 31., 42.]])
    """
    return _conv(1, input, weight, bias, stride, padding, dilation, groups)


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

    With groups = C each filter sees one channel (a depthwise convolution); a 1x1 convolution then
    mixes the channels, and both together are called separable:

    >>> import minicnn
    >>> x, per_channel = minicnn.ones(2, 4, 4), minicnn.ones(2, 1, 3, 3)
    >>> conv2d(conv2d(x, per_channel, groups=2), minicnn.ones(5, 2, 1, 1)).shape
    (5, 2, 2)

    Args:
        stride, dilation: pixels; one integer for all sides, or one for each.
        padding: pixels of zeros before and after each side; "valid" for none, or "same" for a
            result of the input's size (stride 1 only; an odd total has one more at the end).
        groups: into how many parts channels and filters are split; part i sees only part i.

    Raises:
        ShapeError: the sizes do not fit together, or the kernel does not fit into the image.
        DTypeError: the element types differ, or a setting is no integer.
        ArgumentError: a padding with an unknown name, or "same" with a stride.
    """
    return _conv(2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Correlate volumes, or images over time, with filters.

    y[n,o,i,j,k] = bias[o]
                   + sum_cabe x[n, c, i*s + a*d - p, j*s + b*d - p, k*s + e*d - p] * w[o,c,a,b,e]

    Shapes: input (N, C, D, H, W) or (C, D, H, W), weight (O, C/groups, KD, KH, KW), bias (O),
    result (N, O, OD, OH, OW); the rest is as in `conv2d`.
    """
    return _conv(3, input, weight, bias, stride, padding, dilation, groups)


def _conv(
    ndim: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
) -> Any:
    op = f"conv{ndim}d"
    x, unbatched = batched(op, input, ndim)
    (groups,) = sides(groups, 1, f"{op}: groups", 1)
    _check_weight(op, weight, ndim, ("O", "C/groups"))
    _check_groups(op, weight, groups, x, channels=weight.shape[1] * groups)
    _check_bias(op, bias, filters=weight.shape[0])
    check_one_type(op, input=input, weight=weight, bias=bias)
    kernel: Sides = weight.shape[2:]
    steps = sides(stride, ndim, f"{op}: stride", 1)
    spacing = sides(dilation, ndim, f"{op}: dilation", 1)
    x, border = _with_padding(op, x, kernel, steps, padding, spacing)
    Windows(x.shape[2:], kernel, steps, border, spacing).checked(op)
    settings = (steps, border, spacing, groups, chosen())
    if bias is None:
        y = convolution.conv(x, weight, *settings)
    else:
        y = convolution.conv_bias(x, weight, bias, *settings)
    return squeeze(y, 0) if unbatched else y


def _with_padding(
    op: str, x: Any, kernel: Sides, steps: Sides, padding: Any, spacing: Sides
) -> tuple[Any, Sides]:
    """Return x and the padding in pixels that `padding` asks for."""
    if padding == "valid":
        return x, (0,) * len(kernel)
    if padding == "same":
        if max(steps) > 1:
            raise ArgumentError(f'{op}: padding="same" needs stride 1, got {steps}')
        widths = same_padding(kernel, spacing)
        more_after = tuple((0, after - before) for before, after in widths)
        if any(map(any, more_after)):
            x = pad_with(x, ((0, 0), (0, 0), *more_after))
        return x, tuple(before for before, _ in widths)
    if isinstance(padding, str):
        raise ArgumentError(f'{op}: padding must be a number, "same" or "valid", got {padding!r}')
    return x, sides(padding, len(kernel), f"{op}: padding")


def _check_weight(op: str, weight: Any, ndim: int, names: tuple[str, ...]) -> None:
    names += ("KD", "KH", "KW")[-ndim:]
    if weight.ndim != len(names):
        raise ShapeError(f"{op}: weight must be ({', '.join(names)}), got shape {weight.shape}")
    if any(n == 0 and name != "C/groups" for n, name in zip(weight.shape, names, strict=True)):
        raise ShapeError(f"{op}: weight is empty, it has shape {weight.shape}")


def _check_groups(op: str, weight: Any, groups: int, x: Any, channels: int) -> None:
    if weight.shape[0] % groups or x.shape[1] != channels:
        raise ShapeError(
            f"{op}: with groups={groups}, weight {weight.shape} needs {channels} input channels "
            f"and a first dimension that is a multiple of {groups}, but the input has shape "
            f"{x.shape}"
        )
    if 0 in x.shape[2:] and x.shape[0] and x.shape[1]:
        raise ShapeError(f"{op}: the image is empty, the input has shape {x.shape}")


def _check_bias(op: str, bias: Any, filters: int) -> None:
    if bias is not None and bias.shape != (filters,):
        raise ShapeError(f"{op}: bias must have shape ({filters},), got {bias.shape}")


# --- transposed convolution -----------------------------------------------------------------------


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """Spread sequences with filters: the adjoint of `conv1d`, from its results to its inputs.

    y[n, o, i*s + a*d - p] += x[n,c,i] * w[c,o,a]

    and bias[o] everywhere.

    Shapes: input (N, C, L) or (C, L), weight (C, O/groups, K), bias (O), result (N, O, OL); the
    rest is as in `conv_transpose2d`.
    """
    return _conv_transpose(
        1, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """Spread images with filters: the adjoint of `conv2d`, from its results to its inputs.

    y[n, o, i*s + a*d - p, j*s + b*d - p] += x[n,c,i,j] * w[c,o,a,b]

    and bias[o] everywhere.  It is what `conv2d` with the same weight and settings does to a
    gradient.  Convolutions of images of several sizes have results of one size; `output_padding`
    says by how many pixels the result shall be larger than the smallest of these images.

    Shapes: input (N, C, H, W) or (C, H, W), weight (C, O/groups, KH, KW), bias (O), result
    (N, O, OH, OW) with OH = (H - 1)s - 2p + d(KH - 1) + 1 + output_padding.

    Raises:
        ShapeError: the sizes do not fit together, the result would be empty, or `output_padding`
            reaches both the stride and the dilation.
        DTypeError: the element types differ, or a setting is no integer.

    Paper: Dumoulin, Visin 2016, arXiv:1603.07285, section 4.
    """
    return _conv_transpose(
        2, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


def conv_transpose3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """Spread volumes with filters: the adjoint of `conv3d`, from its results to its inputs.

    y[n, o, i*s + a*d - p, j*s + b*d - p, k*s + e*d - p] += x[n,c,i,j,k] * w[c,o,a,b,e]

    and bias[o] everywhere.

    Shapes: input (N, C, D, H, W) or (C, D, H, W), weight (C, O/groups, KD, KH, KW), bias (O),
    result (N, O, OD, OH, OW); the rest is as in `conv_transpose2d`.
    """
    return _conv_transpose(
        3, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


def _conv_transpose(
    ndim: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: Any,
    dilation: Any,
) -> Any:
    op = f"conv_transpose{ndim}d"
    x, unbatched = batched(op, input, ndim)
    (groups,) = sides(groups, 1, f"{op}: groups", 1)
    _check_weight(op, weight, ndim, ("C", "O/groups"))
    _check_groups(op, weight, groups, x, channels=weight.shape[0])
    filters = weight.shape[1] * groups
    _check_bias(op, bias, filters)
    check_one_type(op, input=input, weight=weight, bias=bias)
    kernel: Sides = weight.shape[2:]
    steps = sides(stride, ndim, f"{op}: stride", 1)
    border = sides(padding, ndim, f"{op}: padding")
    spacing = sides(dilation, ndim, f"{op}: dilation", 1)
    extra = sides(output_padding, ndim, f"{op}: output_padding")
    geometry = [*zip(kernel, steps, border, spacing, strict=True)]
    smallest = (transposed_size(n, *g) for n, g in zip(x.shape[2:], geometry, strict=True))
    size = tuple(n + more for n, more in zip(smallest, extra, strict=True))
    _check_result(op, x, size, extra, steps, spacing)
    counts = (output_size(n, *g) for n, g in zip(size, geometry, strict=True))
    unseen = tuple((0, count - n) for n, count in zip(x.shape[2:], counts, strict=True))
    if any(map(any, unseen)):  # so much output_padding that more windows fit into the result
        x = pad_with(x, ((0, 0), (0, 0), *unseen))
    y = convolution.conv_input(x, weight, size, steps, border, spacing, groups, chosen())
    if bias is not None:
        y = y + view_as(bias, (filters, *(1,) * ndim))
    return squeeze(y, 0) if unbatched else y


def _check_result(op: str, x: Any, size: Sides, extra: Sides, steps: Sides, spacing: Sides) -> None:
    if any(more >= max(s, d) for more, s, d in zip(extra, steps, spacing, strict=True)):
        raise ShapeError(
            f"{op}: output_padding {extra} must be smaller than the stride {steps} or the dilation "
            f"{spacing}"
        )
    if min(size) < min(1, x.shape[0]):
        raise ShapeError(
            f"{op}: the result would have {size} pixels for an input of shape {x.shape}; use less "
            f"padding"
        )


# --- windows as columns ---------------------------------------------------------------------------


def unfold(
    input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Any:
    """Copy the windows of images side by side, each as a column (im2col).

    y[n, c*KH*KW + a*KW + b, i*OW + j] = x[n, c, i*s + a*d - p, j*s + b*d - p]

    Shapes: input (N, C, H, W) or (C, H, W), result (N, C*KH*KW, OH*OW).

    Raises:
        ShapeError: no window fits, or the images are empty.
        DTypeError: a setting is no integer.
    """
    x, unbatched = batched("unfold", input)
    if 0 in x.shape[1:]:
        raise ShapeError(f"unfold: the images are empty, the input has shape {input.shape}")
    windows = _grid("unfold", x.shape[2:], kernel_size, dilation, padding, stride)
    shape = (x.shape[0], x.shape[1] * windows.cells, windows.output[0] * windows.output[1])
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
    """Add windows, given as columns, up where they came from (col2im).

    y[n, c, i*s + a*d - p, j*s + b*d - p] += x[n, c*KH*KW + a*KW + b, i*OW + j]

    The adjoint of `unfold`, not its inverse: a pixel receives the sum over its windows.

    Shapes: input (N, C*KH*KW, OH*OW) or without N, result (N, C, *output_size).

    Raises:
        ShapeError: the input does not hold all windows of an image of `output_size`.
        DTypeError: a setting is no integer.
    """
    if input.ndim not in (2, 3) or 0 in input.shape[-2:]:
        raise ShapeError(f"fold: input must be (N, C*KH*KW, L) or (C*KH*KW, L), got {input.shape}")
    unbatched = input.ndim == 2
    cols = unsqueeze(input, 0) if unbatched else input
    size = _two_sides(output_size, "fold: output_size", 1)
    windows = _grid("fold", size, kernel_size, dilation, padding, stride)
    cells, positions = windows.cells, windows.output[0] * windows.output[1]
    if cols.shape[1] % cells or cols.shape[2] != positions:
        raise ShapeError(
            f"fold: an image of {size} has {positions} windows of {cells} pixels, so the input "
            f"must be (N, C*{cells}, {positions}), got {input.shape}"
        )
    shape = (cols.shape[0], cols.shape[1] // cells, *windows.kernel, *windows.output)
    image = convolution.col2im(view_as(cols, shape), windows)
    return squeeze(image, 0) if unbatched else image


def _grid(
    op: str, image: Sides, kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> Windows:
    return Windows(
        image,
        _two_sides(kernel_size, f"{op}: kernel_size", 1),
        _two_sides(stride, f"{op}: stride", 1),
        _two_sides(padding, f"{op}: padding"),
        _two_sides(dilation, f"{op}: dilation", 1),
    ).checked(op)


def _two_sides(value: Any, name: str, least: int = 0) -> Sides:
    """Return one integer for each side; other than `conv2d`, PyTorch takes no tuple of one here."""
    if isinstance(value, (tuple, list)) and len(value) == 1:
        raise ShapeError(f"{name} must be an integer or two, got {value!r}")
    return sides(value, 2, name, least)
