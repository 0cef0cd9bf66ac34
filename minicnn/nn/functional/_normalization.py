"""Normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from minicnn import storage
from minicnn.errors import ArgumentError, DTypeError, ShapeError
from minicnn.nn.functional._checks import check_floating
from minicnn.ops import normalization
from minicnn.ops.inplace import change
from minicnn.ops.normalization import per_channel
from minicnn.ops.shape import view_as
from minicnn.tensor import Tensor, values_of
from minicnn_kernels import Moments, move_averages, no_moments

__all__ = [
    "batch_norm", "group_norm", "instance_norm", "layer_norm", "local_response_norm", "rms_norm",
]  # fmt: skip


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    add: Any = None,
    relu: bool = False,
) -> Any:
    """Normalise each channel, with the batch's statistics in training, else with the running ones.

    y[n,c,..] = weight[c] * (x[n,c,..] - mean[c]) / sqrt(var[c] + eps) + bias[c]

    In training running_mean and running_var move towards the batch's mean and unbiased variance,
    in place: r = (1 - momentum) r + momentum b.
    What follows in most networks is computed in the same pass over memory: `add`, a shortcut, is
    added, and with `relu` max(y, 0) is the result.  PyTorch does not have these two arguments.
    Shapes: input and add (N, C, ...), all others (C).
    Paper: Ioffe, Szegedy 2015.

    >>> import minicnn
    >>> x = minicnn.tensor([[1.0], [3.0]])
    >>> batch_norm(x, None, None, training=True, eps=1e-9, add=x, relu=True).tolist()
    [[0.0], [4.0]]

    Raises:
        ShapeError: a size does not fit, or in training a channel has only one value.
        ArgumentError: eps is too small, or there are no running statistics to use.
    """
    _check_channels("batch_norm", input, running_mean, running_var, weight, bias)
    if eps < 0 or (training and eps == 0):
        raise ArgumentError(f"batch_norm: eps must be positive, got {eps}")
    if add is not None and add.shape != input.shape:
        raise ShapeError(f"batch_norm: add must have input's shape {input.shape}, got {add.shape}")
    if not training:
        fixed = _running_statistics("batch_norm", input, running_mean, running_var)
        weights = per_channel(input)
        return normalization.rescale(input, weight, bias, fixed, eps, weights, add, relu)
    axes = (0, *range(2, input.ndim))
    count = _more_than_one("batch_norm", input, axes)
    statistics = no_moments(values_of(input), axes)
    y = normalization.batch_normalize(input, weight, bias, add, relu, axes, eps, statistics)
    if running_mean is not None and count:
        _move(running_mean, running_var, statistics, count, momentum)
    return y


def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Normalise each channel of each image on its own.

    y[n,c,..] = weight[c] * (x[n,c,..] - mean[n,c]) / sqrt(var[n,c] + eps) + bias[c]

    With use_input_stats the running statistics, if any, move towards the mean of the images'; else
    they take the place of the images' own.
    Shapes: input (N, C, ...), all others (C).
    Paper: Ulyanov, Vedaldi, Lempitsky 2016.

    Raises:
        ShapeError: a size does not fit, or a channel of an image has only one value.
        ArgumentError: there are no running statistics to use.
    """
    _check_channels("instance_norm", input, running_mean, running_var, weight, bias)
    weights = per_channel(input)
    if not use_input_stats:
        fixed = _running_statistics("instance_norm", input, running_mean, running_var)
        return normalization.rescale(input, weight, bias, fixed, eps, weights)
    axes = tuple(range(2, input.ndim))
    count = _more_than_one("instance_norm", input, axes)
    statistics = no_moments(values_of(input), axes)
    y = normalization.normalize(input, weight, bias, axes, eps, statistics, weights)
    if running_mean is not None and count and len(input):
        of_images = Moments(*(v.mean(axis=0) for v in statistics))
        _move(running_mean, running_var, of_images, count, momentum)
    return y


def layer_norm(
    input: Any,
    normalized_shape: Sequence[int],
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Any:
    """Normalise over the last dimensions, those of `normalized_shape`.

    y[n,i] = weight[i] * (x[n,i] - mean[n]) / sqrt(var[n] + eps) + bias[i]

    Shapes: input (..., *normalized_shape), weight and bias normalized_shape.
    Paper: Ba, Kiros, Hinton 2016.

    Raises:
        ShapeError: a size does not fit.
    """
    axes = _last_axes("layer_norm", input, normalized_shape, weight=weight, bias=bias)
    return normalization.normalize(
        input, weight, bias, axes, eps, weights=_leading_ones(input, axes)
    )


def rms_norm(
    input: Any, normalized_shape: Sequence[int], weight: Any = None, eps: float | None = None
) -> Any:
    """Divide by the root of the mean square over the last dimensions.

    y[n,i] = weight[i] * x[n,i] / sqrt(mean_j x[n,j]^2 + eps)

    eps None is the distance from 1 to the next number of input's type.
    Shapes: input (..., *normalized_shape), weight normalized_shape.
    Paper: Zhang, Sennrich 2019.

    Raises:
        ShapeError: a size does not fit.
    """
    axes = _last_axes("rms_norm", input, normalized_shape, weight=weight)
    eps = storage.eps(input.dtype) if eps is None else eps
    return normalization.normalize(
        input, weight, None, axes, eps, weights=_leading_ones(input, axes), centered=False
    )


def group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """Normalise each of `num_groups` equal groups of neighbouring channels of each image.

    y[n,c,..] = weight[c] * (x[n,c,..] - mean[n,g]) / sqrt(var[n,g] + eps) + bias[c], c in group g

    Shapes: input (N, C, ...), weight and bias (C).
    Paper: Wu, He 2018.

    Raises:
        ShapeError: a size does not fit, or the channels cannot be shared out.
    """
    _check_channels("group_norm", input, None, None, weight, bias)
    channels, *sides = input.shape[1:]
    if num_groups < 1 or channels % num_groups:
        raise ShapeError(f"group_norm: {channels} channels cannot form {num_groups} equal groups")
    group = (num_groups, channels // num_groups)
    _more_than_one("group_norm", input, (0, 1, *range(2, input.ndim)), num_groups)
    grouped = view_as(input, (len(input), *group, *sides))
    axes, weights = tuple(range(2, grouped.ndim)), (1, *group, *[1] * len(sides))
    y = normalization.normalize(grouped, weight, bias, axes, eps, weights=weights)
    return view_as(y, input.shape)


def local_response_norm(
    input: Any,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    *,
    average: bool = True,
) -> Any:
    """Divide each value by the strength of the `size` channels around its own.

    y[n,c,..] = x[n,c,..] / (k + alpha / size * sum_j x[n,j,..]^2)^beta, j from c - size // 2 on

    This is PyTorch's convention.  average=False leaves out the division of alpha by size, as the
    paper does: AlexNet is `local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=2, average=False)`.
    Shapes: input (N, C, ...).
    Paper: Krizhevsky, Sutskever, Hinton 2012, section 3.3.

    Raises:
        ShapeError: the input has no channels, or only those.
        ArgumentError: size is not positive.
    """
    if input.ndim < 3:
        raise ShapeError(f"local_response_norm: input must be (N, C, ...), got shape {input.shape}")
    if size < 1:
        raise ArgumentError(f"local_response_norm: size must be positive, got {size}")
    if 0 in input.shape:
        return input
    check_floating("local_response_norm", "input", input)
    scale = alpha / size if average else alpha
    return normalization.divide_by_neighbours(input, size, scale, beta, k)


# --- what they share ------------------------------------------------------------------------------


def _check_channels(
    op: str, input: Any, running_mean: Any, running_var: Any, weight: Any, bias: Any
) -> None:
    """Refuse an input without channels, and what has not one value for each of them."""
    if input.ndim < 2:
        raise ShapeError(f"{op}: input must be (N, C, ...), got shape {input.shape}")
    check_floating(op, "input", input)
    if (running_mean is None) != (running_var is None):
        raise ArgumentError(f"{op}: needs both running_mean and running_var, or neither")
    expected = {
        "running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias
    }  # fmt: skip
    for name, value in expected.items():
        if value is not None and value.shape != (input.shape[1],):
            raise ShapeError(f"{op}: {name} must have shape ({input.shape[1]},), got {value.shape}")


def _more_than_one(op: str, input: Any, axes: tuple[int, ...], groups: int = 1) -> int:
    """Return how many values lie along `axes` in each group; one alone would always become 0."""
    count: int = prod(input.shape[i] for i in axes) // groups
    if count == 1:
        raise ShapeError(
            f"{op}: needs more than one value to normalise together, got shape {input.shape}"
        )
    return count


def _running_statistics(op: str, input: Any, mean: Any, var: Any) -> Moments:
    if mean is None:
        raise ArgumentError(f"{op}: needs running_mean and running_var unless it uses the input's")
    dtype = np.float32 if storage.is_half(input) else input.dtype
    arrays = (values_of(v).astype(dtype, copy=False) for v in (mean, var))
    return Moments(*(array.reshape(per_channel(input)) for array in arrays))


def _move(mean: Any, var: Any, now: Moments, count: int, momentum: float) -> None:
    """Move running averages in place, towards moments of groups of `count` values."""
    averages = [v if isinstance(v, Tensor) else Tensor(v) for v in (mean, var)]
    for average in averages:
        change(average, "batch_norm", lambda array: None)  # whether it may be; and count it
    unbiased = count / (count - 1)
    move_averages(*(v.array for v in averages), *now, momentum=momentum, unbiased=unbiased)


def _last_axes(op: str, input: Any, shape: Sequence[int], **weights: Any) -> tuple[int, ...]:
    """Return the dimensions that `shape`, the normalized_shape, names, once everything fits it."""
    check_floating(op, "input", input)
    if not isinstance(shape, Sequence):
        raise DTypeError(f"{op}: normalized_shape must be a tuple of integers, got {shape!r}")
    if not shape or input.shape[-len(shape) :] != tuple(shape):
        raise ShapeError(
            f"{op}: input must end in normalized_shape {tuple(shape)}, got {input.shape}"
        )
    for name, value in weights.items():
        if value is not None and value.shape != tuple(shape):
            raise ShapeError(f"{op}: {name} must have shape {tuple(shape)}, got {value.shape}")
    return tuple(range(input.ndim - len(shape), input.ndim))


def _leading_ones(input: Any, axes: tuple[int, ...]) -> tuple[int, ...]:
    return (*[1] * axes[0], *input.shape[axes[0] :])
