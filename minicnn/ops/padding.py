"""A border made of the image's own values: reflected, replicated or wrapped around.

A line of the border repeats a line of the image; so its gradient is added to that line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from minicnn.differentiable import Array, Gradients, differentiable
from minicnn_kernels.geometry import Sides
from minicnn_kernels.reference.copying import in_parts

Widths = tuple[tuple[int, int], ...]

SOURCES: dict[str, Callable[[int, int], int]] = {
    "reflect": lambda i, n: n - 1 - abs(n - 1 - abs(i)),
    "replicate": lambda i, n: min(max(i, 0), n - 1),
    "circular": lambda i, n: i % n,
}
"""Which line of the n lines of an image the line i outside of it repeats, for each mode."""


@differentiable
def extend(x: Array, /, widths: Widths, mode: str) -> Array:
    """y[i] = x[source(i - before)]; widths are (before, after) for each dimension."""
    shape = tuple(n + before + after for n, (before, after) in zip(x.shape, widths, strict=True))
    y = np.empty_like(x, shape=shape)

    def fill(part: slice) -> None:
        y[part][_inside(widths, y[part].shape)] = x[part]
        for border, source in _borders(y[part], widths, mode):
            border[...] = source

    if any(widths[0]):
        fill(slice(None))
    else:
        in_parts(fill, len(x), y.nbytes)
    return y


@extend.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, widths: Widths, mode: str) -> Gradients:
    return lambda: fold_border(dy, widths, mode)


@differentiable
def fold_border(dy: Array, /, widths: Widths, mode: str) -> Array:
    """dx[j] = sum of dy[i] over all i that repeat j: the adjoint of `extend`."""
    dx = dy.copy()
    for border, source in _borders(dx, widths, mode):
        source += border
    return dx[_inside(widths, dx.shape)]


@fold_border.gradient(saves="")
def _(ddx: Array, y: Array, dy: Array, *, widths: Widths, mode: str) -> Gradients:
    return lambda: extend(ddx, widths, mode)


def _inside(widths: Widths, shape: Sides) -> tuple[slice, ...]:
    return tuple(slice(a, n - b) for n, (a, b) in zip(shape, widths, strict=True))


def _borders(y: Array, widths: Widths, mode: str) -> Iterator[tuple[Array, Array]]:
    """Go over the lines of the border of a padded image: (line, the line that it repeats).

    Those of a later dimension run through the borders of the earlier ones.
    """
    for axis, (before, after) in enumerate(widths):
        lines = y.swapaxes(0, axis)
        n = len(lines) - before - after
        for i in (*range(-before, 0), *range(n, n + after)):
            yield lines[before + i, ...], lines[before + SOURCES[mode](i, n), ...]
