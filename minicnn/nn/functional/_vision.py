"""Images padded, resized, sampled and rearranged."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import numpy as np

from minicnn.errors import ArgumentError, DTypeError, ShapeError
from minicnn.nn.functional import _adaptive_pooling as _pools
from minicnn.nn.functional._checks import check_floating
from minicnn.ops import grid as grid_ops
from minicnn.ops import resample
from minicnn.ops.padding import Widths, extend
from minicnn.ops.resample import Taps
from minicnn.ops.shape import pad_with, permute_dims, transpose, view_as
from minicnn_kernels.arrays import is_floating
from minicnn_kernels.geometry import Sides

__all__ = [
    "affine_grid", "channel_shuffle", "grid_sample", "interpolate", "pad", "pixel_shuffle",
    "pixel_unshuffle",
]  # fmt: skip

# --- padding --------------------------------------------------------------------------------------


def pad(input: Any, pad: Any, mode: str = "constant", value: float | None = None) -> Any:
    """Put a border around a tensor, or cut one off where a width is negative.

    y[i] = x[i - before] inside, else `value` (default 0) or the pixel that `mode` names

    ``pad`` is (left, right, top, bottom, front, back): the last dimension comes first.  "constant"
    takes any number of dimensions; "reflect" (at the outer pixels), "replicate" (these) and
    "circular" pad all 1 to 3 sides of images with or without a batch.

    >>> import minicnn
    >>> x = minicnn.tensor([[1.0, 2.0, 3.0]])
    >>> pad(x, (1, 2), mode="reflect")
    tensor([[2., 1., 2., 3., 2., 1.]])

    Raises:
        ArgumentError, DTypeError: the widths are not pairs of integers, the mode is unknown, or a
            value is given to a mode other than "constant" or does not fit the element type.
        ShapeError: the border is wider than the mode can fill, or more is cut off than there is.
    """
    pairs = _pairs(pad)
    if mode not in ("constant", "reflect", "replicate", "circular"):
        raise ArgumentError(
            f'pad: mode must be "constant", "reflect", "replicate" or "circular", got {mode!r}'
        )
    if len(pairs) > input.ndim:
        raise ArgumentError(
            f"pad: needs (before, after) for at most {input.ndim} dimensions, got {tuple(pad)}"
        )
    widths = ((0, 0),) * (input.ndim - len(pairs)) + pairs
    if mode == "constant":
        _check_cut(pad, input.shape, widths)
        return pad_with(input, widths, _fitting(value, input.dtype))
    if value:
        raise ArgumentError(f'pad: mode "{mode}" takes no value, got {value}; leave it out')
    _check_border(input.shape, widths, len(pairs), mode)
    added = tuple((max(a, 0), max(b, 0)) for a, b in widths)
    cut = tuple((min(a, 0), min(b, 0)) for a, b in widths)
    if not any(map(any, cut)):
        return extend(input, widths, mode)
    if mode == "circular":  # what is left is wrapped around
        return extend(pad_with(input, cut), added, mode)
    return pad_with(extend(input, added, mode), cut)


def _pairs(pad: Any) -> Widths:
    """Return (before, after) for each dimension named, the first dimension first."""
    try:
        widths = [operator.index(width) for width in pad]
    except TypeError:
        raise DTypeError(f"pad: pad must be a tuple of integers, got {pad!r}") from None
    if len(widths) % 2:
        raise ArgumentError(f"pad: widths come in pairs (before, after), got {tuple(pad)}")
    return tuple(zip(widths[-2::-2], widths[::-2], strict=True))


def _check_cut(pad: Any, shape: Sides, widths: Widths) -> None:
    if any(n + min(a, 0) + min(b, 0) < 0 for n, (a, b) in zip(shape, widths, strict=True)):
        raise ShapeError(f"pad: {tuple(pad)} cuts more than there is from shape {shape}")


def _fitting(value: float | None, dtype: Any) -> Any:
    """Return the value, or 0 for None, as the element type holds it."""
    if value is None:
        return 0
    if dtype.kind not in "iu":
        return value
    if not np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:
        raise ArgumentError(f"pad: value {value} is no {dtype}; convert the tensor with .to(dtype)")
    return int(value)


def _check_border(shape: Sides, widths: Widths, count: int, mode: str) -> None:
    """Check a border that is made of the image's own values."""
    if count not in (1, 2, 3) or len(shape) not in (count + 1, count + 2):
        raise ArgumentError(
            f'pad: mode "{mode}" pads 1, 2 or 3 sides of images (C, ...) or (N, C, ...) with as '
            f"many sides; {count} were given for shape {shape}"
        )
    if mode != "circular" and 0 in shape[-count - 1 :]:
        raise ShapeError(f'pad: mode "{mode}" finds no values in shape {shape}')
    for n, (before, after) in zip(shape, widths, strict=True):
        added, left = max(before, after, 0), n + min(before, 0) + min(after, 0)
        most = added if mode == "replicate" else max(n - 1, 0) if mode == "reflect" else n
        if mode == "circular" and left < 1:
            most = 0
        if added > most:
            raise ShapeError(
                f'pad: mode "{mode}" adds at most {most} to a side of {n}, got {(before, after)}'
            )
    sizes = [n + before + after for n, (before, after) in zip(shape, widths, strict=True)][-count:]
    if min(sizes) < 0 or (max(sizes) == 0 and mode != "circular"):
        raise ShapeError(f"pad: {widths[-count:]} cuts more than there is from shape {shape}")


# --- resizing -------------------------------------------------------------------------------------

METHODS: dict[str, tuple[Sides, Callable[..., Taps]]] = {
    "nearest": ((1, 2, 3), partial(resample.nearest_taps, exact=False)),
    "nearest-exact": ((1, 2, 3), partial(resample.nearest_taps, exact=True)),
    "linear": ((1,), resample.linear_taps),
    "bilinear": ((2,), resample.linear_taps),
    "trilinear": ((3,), resample.linear_taps),
    "bicubic": ((2,), resample.cubic_taps),
}
"""For each mode how many sides the image may have, and the table that resizes one of them."""

SMOOTHED: dict[str, Callable[..., Taps]] = {
    "bilinear": partial(resample.smoothed_taps, kernel=resample.triangle, reach=1),
    "bicubic": partial(resample.smoothed_taps, kernel=resample.cubic, reach=2),
    "lanczos": partial(resample.smoothed_taps, kernel=resample.lanczos, reach=3),
}
"""The same with antialiasing."""


def interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    """Resize images to `size`, or to floor(size * scale_factor).

    y[n,c] = R x[n,c] C^T, with the weights of the mode in the rows of R and C

    Shapes: (N, C, L), (N, C, H, W) or (N, C, D, H, W) to (N, C, *size).

    Args:
        mode: "nearest" (the pixel at the left edge), "nearest-exact" (at the middle), "area" (the
            mean of a bin), "linear", "bilinear", "trilinear", "bicubic" (Keys, 1981, a = -0.75),
            and with `antialias` "lanczos".
        align_corners: whether the middles of the corner pixels stay, or (default) the corners.
        recompute_scale_factor: take the ratio of the sizes, where the scale itself is the default.
        antialias: average over all pixels that a new one covers ("bilinear", "bicubic").

    Raises:
        ArgumentError, DTypeError, ShapeError: the arguments do not fit together.
    """
    _check_method(input.ndim - 2, mode, align_corners, antialias)
    image = input.shape[2:]
    sizes, scales = _sizes_and_scales(image, size, scale_factor, recompute_scale_factor)
    if mode == "area":
        means = (_pools.adaptive_avg_pool1d, _pools.adaptive_avg_pool2d,
                 _pools.adaptive_avg_pool3d)  # fmt: skip
        return means[len(image) - 1](input, sizes)
    if min(*image, *sizes) < 1 or input.shape[1] < 1:
        raise ShapeError(f"interpolate: no pixels; shape {input.shape} is to become {sizes}")
    bytes_allowed = mode not in ("linear", "trilinear")
    if not (is_floating(input.dtype) or (input.dtype == np.uint8 and bytes_allowed)):
        raise DTypeError(f'interpolate: mode "{mode}" does not take {input.dtype}; use .to(dtype)')
    table = SMOOTHED[mode] if antialias else METHODS[mode][1]
    if not antialias and not mode.startswith("nearest"):
        table = partial(table, align_corners=bool(align_corners))
    steps = _steps(mode, image, sizes, scales, bool(align_corners), input.dtype)
    # along rows is slower: first if images grow, last if they shrink; bytes are rounded as in torch
    grows = prod(sizes) >= prod(image) or input.dtype == np.uint8
    y = input
    for side in sorted(range(len(image)), reverse=grows):
        y = resample.resample(y, table(image[side], sizes[side], steps[side]), 2 + side)
    return y


def _steps(
    mode: str,
    image: Sides,
    sizes: Sides,
    scales: tuple[float | None, ...],
    align_corners: bool,
    dtype: Any,
) -> list[Any]:
    """Return how many old pixels lie between two new ones, as precisely as PyTorch computes it.

    The precision decides which of two pixels at the same distance is the nearest.
    """
    nearest = mode.startswith("nearest")
    double = dtype == np.float64 or (dtype == np.uint8 and not nearest)
    if nearest and len(image) == 2 and sum(sizes) <= 128:  # for small images it has other code
        double = False
        if mode == "nearest":
            scales = tuple(
                None if m in (n, 2 * n) else scale
                for n, m, scale in zip(image, sizes, scales, strict=True)
            )
    number = np.float64 if double else np.float32
    return [
        resample.step_between(n, m, scale, align_corners, number)
        for n, m, scale in zip(image, sizes, scales, strict=True)
    ]


def _check_method(ndim: int, mode: str, align_corners: bool | None, antialias: bool) -> None:
    counts = {"area": (1, 2, 3), "lanczos": (2,)}
    if mode not in METHODS and mode not in counts:
        raise ArgumentError(f"interpolate: unknown mode {mode!r}; there are {[*METHODS, *counts]}")
    if align_corners is not None and mode in ("nearest", "nearest-exact", "area"):
        raise ArgumentError(f'interpolate: mode "{mode}" takes no align_corners; leave it out')
    if antialias and (mode not in SMOOTHED or ndim != 2):
        raise ArgumentError(
            f'interpolate: antialias is for (N, C, H, W) and {[*SMOOTHED]}, got mode "{mode}"'
        )
    if mode == "lanczos" and (align_corners or not antialias):
        raise ArgumentError('interpolate: mode "lanczos" needs antialias=True and no align_corners')
    sides = counts[mode] if mode in counts else METHODS[mode][0]
    if ndim not in sides:
        raise ShapeError(
            f'interpolate: mode "{mode}" takes (N, C, ...) with {" or ".join(map(str, sides))} '
            f"sides, got an input of {ndim + 2} dimensions"
        )


def _sizes_and_scales(
    image: Sides, size: Any, scale_factor: Any, recompute: bool | None
) -> tuple[Sides, tuple[float | None, ...]]:
    """Return the new sizes, and the scales that are to be used as they are."""
    if (size is None) == (scale_factor is None):
        raise ArgumentError(
            f"interpolate: give size or scale_factor, got size={size}, scale_factor={scale_factor}"
        )
    if recompute and scale_factor is None:
        raise ArgumentError("interpolate: recompute_scale_factor needs a scale_factor, not a size")
    given = scale_factor if size is None else size
    numbers = tuple(given) if isinstance(given, (tuple, list)) else (given,) * len(image)
    if len(numbers) != len(image):
        raise ShapeError(f"interpolate: {given} must have one number for each side of {image}")
    unscaled = (None,) * len(image)
    try:
        if scale_factor is None:
            return tuple(operator.index(m) for m in numbers), unscaled
        scales = tuple(scale * 1.0 for scale in numbers)
        sizes = tuple(int(n * scale) for n, scale in zip(image, scales, strict=True))
    except TypeError:
        raise DTypeError(f"interpolate: {given!r} is neither a size nor a scale") from None
    except (ValueError, OverflowError):
        raise ArgumentError(f"interpolate: scale_factor must be finite, got {given}") from None
    return sizes, unscaled if recompute else scales


# --- sampling at points ---------------------------------------------------------------------------

_CHANGED = (
    "Default grid_sample and affine_grid behavior has changed to align_corners=False since PyTorch "
    "1.3.0; give align_corners to say which one you mean"
)


def affine_grid(theta: Any, size: Any, align_corners: bool | None = None) -> Any:
    """Return the points that an affine map of the output's pixels reaches, for `grid_sample`.

    grid[n,i,j] = theta[n] (column j, row i, 1), with columns and rows in [-1, 1]

    Shapes: theta (N, 2, 3) and size (N, C, H, W) to (N, H, W, 2), or theta (N, 3, 4) and size
    (N, C, D, H, W) to (N, D, H, W, 3).

    Raises:
        ArgumentError, DTypeError, ShapeError: theta and size do not fit together.
    """
    if align_corners is None:
        warnings.warn(_CHANGED, stacklevel=2)
    if not is_floating(theta.dtype):
        raise ArgumentError(f"affine_grid: theta must be floating-point, got {theta.dtype}")
    try:
        target = tuple(operator.index(n) for n in size)
    except TypeError:
        raise DTypeError(f"affine_grid: size must be a tuple of integers, got {size!r}") from None
    sides = len(target) - 2
    if sides not in (2, 3):
        raise ShapeError(f"affine_grid: size must be (N, C, H, W) or (N, C, D, H, W), got {target}")
    if theta.shape != (target[0], sides, sides + 1):
        raise ShapeError(
            f"affine_grid: size {target} needs theta of shape {(target[0], sides, sides + 1)}, "
            f"got {theta.shape}"
        )
    if align_corners and min(target[2:]) == 1:
        warnings.warn("affine_grid: a side of 1 with align_corners=True lies at 0", stacklevel=2)
    elif min(target) < 1:
        raise ShapeError(f"affine_grid: all sizes must be positive, got {target}")
    return grid_ops.affine_grid(theta, target[2:], bool(align_corners))


def grid_sample(
    input: Any,
    grid: Any,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Any:
    """Sample images at points (Jaderberg et al., 2015).

    y[n,c,i,j] = x[n, c] at column grid[n,i,j,0], row grid[n,i,j,1], both in [-1, 1]

    Shapes: input (N, C, H, W), grid (N, OH, OW, 2), result (N, C, OH, OW); or input
    (N, C, D, H, W), grid (N, OD, OH, OW, 3) of (column, row, slice), result (N, C, OD, OH, OW).

    Args:
        mode: "bilinear" (for three sides it is trilinear), "nearest", or "bicubic" (two sides).
        padding_mode: what lies outside: "zeros", "border" (the outer pixels), or "reflection".
        align_corners: whether -1 and 1 are the middles of the outer pixels, or their edges.

    Raises:
        ArgumentError, DTypeError, ShapeError: the arguments do not fit together.
    """
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ArgumentError(
            f'grid_sample: mode must be "bilinear", "nearest" or "bicubic", got {mode!r}'
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ArgumentError(
            f'grid_sample: padding_mode must be "zeros", "border" or "reflection", '
            f"got {padding_mode!r}"
        )
    if align_corners is None:
        warnings.warn(_CHANGED, stacklevel=2)
    sides = input.ndim - 2
    if sides not in ((2,) if mode == "bicubic" else (2, 3)) or grid.ndim != input.ndim:
        raise ShapeError(
            f'grid_sample: mode "{mode}" does not take an input of shape {input.shape} with a grid '
            f"of shape {grid.shape}; see the shapes in its documentation"
        )
    if grid.shape[0] != input.shape[0] or grid.shape[-1] != sides or min(input.shape[2:]) < 1:
        raise ShapeError(
            f"grid_sample: input {input.shape} needs pixels, and a grid of shape "
            f"({input.shape[0]}, ..., {sides}), got {grid.shape}"
        )
    check_floating("grid_sample", "input", input)
    if grid.dtype != input.dtype:
        raise DTypeError(f"grid_sample: input is {input.dtype}, grid {grid.dtype}; convert one")
    return grid_ops.grid_sample(input, grid, mode, padding_mode, bool(align_corners))


# --- pixels into channels and back ----------------------------------------------------------------


def pixel_shuffle(input: Any, upscale_factor: int) -> Any:
    """Make r x r pixels of r^2 channels (Shi et al., 2016, sub-pixel convolution).

    y[.., c, h*r + i, w*r + j] = x[.., c*r^2 + i*r + j, h, w]

    Shapes: (..., C*r^2, H, W) to (..., C, H*r, W*r).
    """
    r = _positive("pixel_shuffle", "upscale_factor", upscale_factor, input)
    *batch, channels, height, width = input.shape
    if channels % r**2:
        raise ShapeError(f"pixel_shuffle: {input.shape} has no multiple of {r}^2 channels")
    x = view_as(input, (*batch, channels // r**2, r, r, height, width))
    x = permute_dims(x, (*range(len(batch) + 1), *(len(batch) + d for d in (3, 1, 4, 2))))
    return view_as(x, (*batch, channels // r**2, height * r, width * r))


def pixel_unshuffle(input: Any, downscale_factor: int) -> Any:
    """Make r^2 channels of r x r pixels: the inverse of `pixel_shuffle`.

    y[.., c*r^2 + i*r + j, h, w] = x[.., c, h*r + i, w*r + j]

    Shapes: (..., C, H*r, W*r) to (..., C*r^2, H, W).
    """
    r = _positive("pixel_unshuffle", "downscale_factor", downscale_factor, input)
    *batch, channels, height, width = input.shape
    if height % r or width % r:
        raise ShapeError(f"pixel_unshuffle: the sides of {input.shape} must be multiples of {r}")
    x = view_as(input, (*batch, channels, height // r, r, width // r, r))
    x = permute_dims(x, (*range(len(batch) + 1), *(len(batch) + d for d in (2, 4, 1, 3))))
    return view_as(x, (*batch, channels * r**2, height // r, width // r))


def channel_shuffle(input: Any, groups: int) -> Any:
    """Deal the channels of each group out to all groups (Zhang et al., 2018, ShuffleNet).

    y[n, c*g + i] = x[n, i*(C/g) + c]

    Shapes: (N, C, ...) to the same.
    """
    g = _positive("channel_shuffle", "groups", groups, input)
    batch, channels, *image = input.shape
    if channels % g:
        raise ShapeError(f"channel_shuffle: {input.shape} has no multiple of {g} channels")
    x = transpose(view_as(input, (batch, g, channels // g, *image)), 1, 2)
    return view_as(x, input.shape)


def _positive(op: str, name: str, value: Any, x: Any) -> int:
    """Return a positive integer, a setting for images (.., C, H, W)."""
    if x.ndim < 3:
        raise ShapeError(f"{op}: input needs at least 3 dimensions, got shape {x.shape}")
    try:
        number = operator.index(value)
    except TypeError:
        raise DTypeError(f"{op}: {name} must be an integer, got {value!r}") from None
    if number < 1:
        raise ArgumentError(f"{op}: {name} must be positive, got {number}")
    return number
