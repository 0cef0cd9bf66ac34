"""PyTorch's `torch.nn.functional` for convolutional networks: checked arguments, then the op.

Names, order, defaults and refusals of the arguments are PyTorch's.  The mathematics is in
`minicnn.ops`; here an integer becomes a pair, "same" a number, and a bad call a clear error.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import minicnn_kernels.geometry as geometry
from minicnn.errors import ArgumentError, DTypeError, ShapeError
from minicnn.ops import activation, convolution, normalization, pooling
from minicnn.ops import dropout as dropout_ops
from minicnn.ops import linear as linear_ops
from minicnn.ops.arithmetic import cast
from minicnn.ops.loss import cross_entropy, mse_loss, nll_loss
from minicnn.ops.reduce import mean
from minicnn.ops.shape import pad_with, squeeze, unsqueeze, view_as
from minicnn.tensor import Tensor, values_of
from minicnn_kernels.arrays import is_floating
from minicnn_kernels.geometry import Pair, Windows, pair

__all__ = [
    "adaptive_avg_pool2d",
    "avg_pool2d",
    "batch_norm",
    "conv2d",
    "cross_entropy",
    "dropout",
    "fold",
    "linear",
    "log_softmax",
    "max_pool2d",
    "mse_loss",
    "nll_loss",
    "pad",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
    "unfold",
]


# --- convolution and linear -----------------------------------------------------------------------


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
        padding: pixels of zeros on each side (an integer or a pair), "valid" for none, or "same"
            for a result of the input's size (stride 1 only).

    Raises:
        ShapeError, DTypeError, ArgumentError: the arguments do not fit together.
    """
    x, unbatched = _batch("conv2d", input)
    steps, spacing = pair(stride, "conv2d: stride", 1), pair(dilation, "conv2d: dilation", 1)
    _check_filters(x, weight, bias, groups)
    kernel: Pair = weight.shape[2:]
    if padding == "same":
        if steps != (1, 1):
            raise ArgumentError(f'conv2d: padding="same" needs stride 1, got {stride}')
        (top, bottom), (left, right) = geometry.same_padding(kernel, spacing)
        if (top, left) != (bottom, right):  # an even reach: one more pixel at the end
            x = pad_with(x, ((0, 0), (0, 0), (0, bottom - top), (0, right - left)))
        border = (top, left)
    elif isinstance(padding, str):
        if padding != "valid":
            raise ArgumentError(
                f'conv2d: padding must be a number, "same" or "valid", got {padding!r}'
            )
        border = (0, 0)
    else:
        border = pair(padding, "conv2d: padding")
    Windows(x.shape[2:], kernel, steps, border, spacing).checked("conv2d")
    settings = (steps, border, spacing, groups)
    if bias is None:
        y = convolution.conv2d(x, weight, *settings)
    else:
        y = convolution.conv2d_bias(x, weight, bias, *settings)
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
    _check_floating("conv2d", "input", x)
    _check_floating("conv2d", "weight", weight)


def _check_floating(op: str, name: str, value: Any) -> None:
    if not is_floating(value.dtype):
        raise DTypeError(
            f"{op}: {name} must be floating-point, got {value.dtype}; use .to(dtype) first"
        )


def _batch(op: str, x: Any) -> tuple[Any, bool]:
    """Return x with a batch dimension, and whether it had none."""
    if x.ndim not in (3, 4):
        raise ShapeError(f"{op}: input must be (N, C, H, W) or (C, H, W), got shape {x.shape}")
    return (unsqueeze(x, 0), True) if x.ndim == 3 else (x, False)


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """Return input @ weight.T + bias: y[..,o] = sum_i x[..,i] * w[o,i] + b[o].

    Shapes: input (..., I), weight (O, I), bias (O), result (..., O).
    """
    if weight.ndim != 2 or input.ndim == 0 or input.shape[-1] != weight.shape[1]:
        raise ShapeError(
            f"linear: weight {weight.shape} is (out, in) and must meet the last size of the input "
            f"{input.shape}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(f"linear: bias must have shape {weight.shape[:1]}, got {bias.shape}")
    return linear_ops.affine(input, weight, bias)


def unfold(
    input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Any:
    """Copy the windows of images side by side (im2col): (N, C, H, W) to (N, C*KH*KW, OH*OW)."""
    x, unbatched = _batch("unfold", input)
    windows = _windows("unfold", x.shape[2:], kernel_size, stride, padding, dilation)
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
    size = pair(output_size, "fold: output_size", 1)
    windows = _windows("fold", size, kernel_size, stride, padding, dilation)
    cells, positions = windows.cells, windows.output[0] * windows.output[1]
    if cols.shape[1] % cells or cols.shape[2] != positions:
        raise ShapeError(
            f"fold: an image of {size} has {positions} windows of {cells} pixels, so the input "
            f"must be (N, C*{cells}, {positions}), got {input.shape}"
        )
    shape = (cols.shape[0], cols.shape[1] // cells, *windows.kernel, *windows.output)
    image = convolution.col2im(view_as(cols, shape), windows)
    return squeeze(image, 0) if unbatched else image


# --- pooling --------------------------------------------------------------------------------------


def _windows(
    op: str,
    image: Pair,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any = 1,
    ceil: bool = False,
) -> Windows:
    kernel = pair(kernel_size, f"{op}: kernel_size", 1)
    steps = kernel if stride is None or stride == () else pair(stride, f"{op}: stride", 1)
    border, spacing = pair(padding, f"{op}: padding"), pair(dilation, f"{op}: dilation", 1)
    return Windows(image, kernel, steps, border, spacing, ceil).checked(op)


def _pool_windows(
    op: str, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil: bool
) -> Windows:
    windows = _windows(op, x.shape[2:], kernel_size, stride, padding, dilation, ceil)
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
    x, unbatched = _batch("max_pool2d", input)
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
    x, unbatched = _batch("avg_pool2d", input)
    _check_floating("avg_pool2d", "input", x)
    if divisor_override == 0:
        raise ArgumentError("avg_pool2d: divisor_override must not be zero")
    windows = _pool_windows("avg_pool2d", x, kernel_size, stride, padding, 1, ceil_mode)
    y = pooling.avg_pool2d(x, windows, count_include_pad, divisor_override)
    return squeeze(y, 0) if unbatched else y


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    """Return the means of output_size bins over the image; None keeps a size.

    Shapes: (N, C, H, W) or (C, H, W) to (N, C, *output_size).
    """
    x, unbatched = _batch("adaptive_avg_pool2d", input)
    _check_floating("adaptive_avg_pool2d", "input", x)
    wanted = list(output_size) if isinstance(output_size, (tuple, list)) else [output_size] * 2
    kept = [n if m is None else m for n, m in zip(x.shape[2:], wanted, strict=False)]
    size = pair([*kept, *wanted[2:]], "adaptive_avg_pool2d: output_size")
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


def pad(input: Any, pad: Any, mode: str = "constant", value: float | None = None) -> Any:
    """Put `value` (default 0) around a tensor: pad = (left, right, top, bottom, ...).

    The last dimension comes first.  Negative widths cut off.
    """
    if mode != "constant":
        raise ArgumentError(f'pad: mode must be "constant", got {mode!r}')
    widths = tuple(pad)
    if len(widths) % 2 or len(widths) > 2 * input.ndim:
        raise ArgumentError(
            f"pad: needs (before, after) for at most {input.ndim} dimensions, got {widths}"
        )
    pairs = list(zip(widths[::2], widths[1::2], strict=True))
    everywhere = ((0, 0),) * (input.ndim - len(pairs)) + tuple(reversed(pairs))
    if any(
        n + min(a, 0) + min(b, 0) < 0 for n, (a, b) in zip(input.shape, everywhere, strict=True)
    ):
        raise ShapeError(f"pad: {widths} cuts more than there is from shape {input.shape}")
    return pad_with(input, everywhere, 0.0 if value is None else value)


# --- activation, normalisation, dropout -----------------------------------------------------------


def relu(input: Any, inplace: bool = False) -> Any:
    """Return max(input, 0).

    `inplace` is accepted as in PyTorch; the result is always new.
    """
    return activation.relu(input)


def sigmoid(input: Any) -> Any:
    """Return 1 / (1 + e^-input)."""
    return activation.sigmoid(input)


def tanh(input: Any) -> Any:
    """Return (e^x - e^-x) / (e^x + e^-x)."""
    return activation.tanh(input)


def softmax(input: Any, dim: int | None = None, dtype: Any = None) -> Any:
    """Return e^x[i] / sum_j e^x[j] along `dim`, computed in `dtype` if one is given.

    Raises:
        ArgumentError: no dimension is named; it is not guessed.
    """
    return activation.softmax(
        input if dtype is None else cast(input, np.dtype(dtype)), _named_dim("softmax", dim)
    )


def log_softmax(input: Any, dim: int | None = None, dtype: Any = None) -> Any:
    """Return x[i] - ln sum_j e^x[j] along `dim`, computed in `dtype` if one is given.

    Raises:
        ArgumentError: no dimension is named; it is not guessed.
    """
    return activation.log_softmax(
        input if dtype is None else cast(input, np.dtype(dtype)), _named_dim("log_softmax", dim)
    )


def _named_dim(op: str, dim: int | None) -> int:
    if dim is None:
        raise ArgumentError(f"{op}: name the dimension of the classes, as in {op}(x, dim=1)")
    return dim


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Normalise each channel, with the batch's statistics in training, else with the running ones.

    y[n,c,..] = weight[c] * (x[n,c,..] - mean[c]) / sqrt(var[c] + eps) + bias[c]

    In training running_mean and running_var move towards the batch's mean and unbiased variance,
    in place: r = (1 - momentum) r + momentum b.
    Shapes: input (N, C, ...), all others (C).
    """
    if input.ndim < 2:
        raise ShapeError(f"batch_norm: input must be (N, C, ...), got shape {input.shape}")
    _check_floating("batch_norm", "input", input)
    channels, dtype = input.shape[1], input.dtype
    for name, value in (
        ("running_mean", running_mean),
        ("running_var", running_var),
        ("weight", weight),
        ("bias", bias),
    ):
        if value is not None and value.shape != (channels,):
            raise ShapeError(f"batch_norm: {name} must have shape ({channels},), got {value.shape}")
    gamma = np.ones(channels, dtype) if weight is None else weight
    beta = np.zeros(channels, dtype) if bias is None else bias
    if not training:
        if running_mean is None or running_var is None:
            raise ArgumentError("batch_norm: needs running_mean and running_var unless training")
        average, variance = (
            values_of(r).astype(dtype, copy=False) for r in (running_mean, running_var)
        )
        return normalization.batch_norm_inference(input, gamma, beta, average, variance, eps)
    count = int(np.prod(input.shape)) // max(channels, 1)
    if count < 2:
        raise ShapeError(
            f"batch_norm: training needs more than one value per channel, got shape {input.shape}"
        )
    y, (average, variance) = normalization.batch_norm_training(input, gamma, beta, eps)
    for running, batch in (
        (running_mean, average),
        (running_var, variance * (count / (count - 1))),
    ):
        if running is not None:
            moving = running if isinstance(running, Tensor) else Tensor(running)
            moving.copy_(moving.array * (1 - momentum) + batch * momentum)
    return y


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Set values to 0 with probability p and scale the rest by 1 / (1 - p).

    In inference the input is returned as it is.  The mask comes from the global generator, which
    `minicnn.manual_seed` seeds.  `inplace` is accepted as in PyTorch; the result is always new.
    """
    if not 0 <= p <= 1:
        raise ArgumentError(f"dropout: p must be in [0, 1], got {p}")
    return dropout_ops.dropout_training(input, p) if training and p > 0 else input
