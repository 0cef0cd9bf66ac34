"""Pooling to a given size: over bins, which may be uneven and overlap, instead of windows."""

from __future__ import annotations

from typing import Any

from minicnn.errors import ShapeError
from minicnn.nn.functional._checks import batched, check_floating
from minicnn.nn.functional._pooling import with_indices
from minicnn.ops import pooling
from minicnn.ops.reduce import mean
from minicnn.ops.shape import squeeze
from minicnn_kernels.geometry import Sides, Windows, sides

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d",
    "adaptive_max_pool2d", "adaptive_max_pool3d",
]  # fmt: skip


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    """Return the means of output_size bins over the image; None keeps a size, 1 pools globally.

    y[n,c,i,j] = mean of x[n, c, floor(iH/OH) : ceil((i+1)H/OH), floor(jW/OW) : ceil((j+1)W/OW)]

    Shapes: (N, C, H, W) or (C, H, W) to (N, C, *output_size).

    Raises:
        ShapeError, DTypeError: the arguments do not fit together.
    """
    return _adaptive_avg_pool(2, input, output_size)


def adaptive_avg_pool1d(input: Any, output_size: Any) -> Any:
    """Return the means of output_size bins over a sequence; see `adaptive_avg_pool2d`.

    y[n,c,i] = mean of x[n, c, floor(iL/OL) : ceil((i+1)L/OL)]
    """
    return _adaptive_avg_pool(1, input, output_size)


def adaptive_avg_pool3d(input: Any, output_size: Any) -> Any:
    """Return the means of output_size bins over a volume; see `adaptive_avg_pool2d`."""
    return _adaptive_avg_pool(3, input, output_size)


def _adaptive_avg_pool(ndim: int, input: Any, output_size: Any) -> Any:
    op = f"adaptive_avg_pool{ndim}d"
    x, unbatched = batched(op, input, ndim)
    check_floating(op, "input", x)
    size = _adaptive_size(op, input, x.shape[2:], output_size)
    windows = _even_bins(x.shape[2:], size)
    if set(size) == {1}:
        y = mean(x, tuple(range(2, x.ndim)), keepdim=True)
    elif windows is not None:
        y = pooling.avg_pool(x, windows)
    else:
        y = pooling.adaptive_avg_pool(x, size)
    return squeeze(y, 0) if unbatched else y


def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Return the maxima of output_size bins over the image; None keeps a size, 1 pools globally.

    y[n,c,i,j] = max of x[n, c, floor(iH/OH) : ceil((i+1)H/OH), floor(jW/OW) : ceil((j+1)W/OW)]

    With `return_indices` also the position of each maximum in its image, in reading order.
    Shapes: (N, C, H, W) or (C, H, W) to (N, C, *output_size).

    Raises:
        ShapeError, DTypeError: the arguments do not fit together.
    """
    return _adaptive_max_pool(2, input, output_size, return_indices)


def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Return the maxima of output_size bins over a sequence; see `adaptive_max_pool2d`.

    y[n,c,i] = max of x[n, c, floor(iL/OL) : ceil((i+1)L/OL)]
    """
    return _adaptive_max_pool(1, input, output_size, return_indices)


def adaptive_max_pool3d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Return the maxima of output_size bins over a volume; see `adaptive_max_pool2d`."""
    return _adaptive_max_pool(3, input, output_size, return_indices)


def _adaptive_max_pool(ndim: int, input: Any, output_size: Any, return_indices: bool) -> Any:
    op = f"adaptive_max_pool{ndim}d"
    x, unbatched = batched(op, input, ndim)
    check_floating(op, "input", x)
    size = _adaptive_size(op, input, x.shape[2:], output_size)
    windows = _even_bins(x.shape[2:], size)
    if windows is not None:
        y, winner = pooling.max_pool(x, windows)
        pixels = pooling.winning_pixels(winner, windows) if return_indices else None
    else:
        y, pixels = pooling.adaptive_max_pool(x, size)
    if return_indices:
        return with_indices(x, y, pixels, unbatched)
    return squeeze(y, 0) if unbatched else y


def _even_bins(image: Sides, size: Sides) -> Windows | None:
    """Return the bins as windows if they are all of one size."""
    if min(size) < 1 or any(n % m for n, m in zip(image, size, strict=True)):
        return None
    bins = tuple(n // m for n, m in zip(image, size, strict=True))
    return Windows(image, bins, stride=bins)


def _adaptive_size(op: str, input: Any, image: Sides, output_size: Any) -> Sides:
    if min(input.shape[1:]) < 1:
        raise ShapeError(f"{op}: the images are empty, input has shape {input.shape}")
    wanted = output_size if isinstance(output_size, (tuple, list)) else [output_size] * len(image)
    kept = [n if m is None else m for n, m in zip(image, wanted, strict=False)]
    return sides([*kept, *wanted[len(image) :]], len(image), f"{op}: output_size")
