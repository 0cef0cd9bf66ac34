"""Convolution (cross-correlation, as everywhere in deep learning) and the window operations.

`conv`, `conv_input` and `conv_weight` are three views of one trilinear form; the gradients of
each are the other two, so derivatives of any order are at hand.  `names` says which algorithms
compute them, by kernel; the gradients hand it on.
"""

from __future__ import annotations

from collections.abc import Mapping

import minicnn_kernels as kernels
from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.ops.reduce import sum
from minicnn_kernels.geometry import Sides, Windows

Names = Mapping[str, str] | None


@differentiable
def conv(
    x: Array, w: Array, /, stride: Sides, padding: Sides, dilation: Sides, groups: int,
    names: Names = None,
) -> Array:  # fmt: skip
    """y[n,o,i,j] = sum_cab x[n, c, i*s + a*d - p, j*s + b*d - p] * w[o,c,a,b]."""
    return kernels.conv(
        x, w, stride=stride, padding=padding, dilation=dilation, groups=groups,
        algorithm=(names or {}).get("conv"),
    )  # fmt: skip


@conv.gradient(saves="x w")
def _(
    dy: Array, y: Array, x: Array, w: Array, *,
    stride: Sides, padding: Sides, dilation: Sides, groups: int, names: Names,
) -> Gradients:  # fmt: skip
    return (
        lambda: conv_input(dy, w, x.shape[2:], stride, padding, dilation, groups, names),
        lambda: conv_weight(x, dy, w.shape[2:], stride, padding, dilation, groups, names),
    )


@differentiable
def conv_input(
    dy: Array, w: Array, /,
    size: Sides, stride: Sides, padding: Sides, dilation: Sides, groups: int, names: Names = None,
) -> Array:  # fmt: skip
    """dx[n, c, i*s + a*d - p, j*s + b*d - p] += dy[n,o,i,j] * w[o,c,a,b]; `size` is that of x."""
    return kernels.conv_input(
        dy, w, size=size, stride=stride, padding=padding, dilation=dilation, groups=groups,
        algorithm=(names or {}).get("conv_input"),
    )  # fmt: skip


@conv_input.gradient(saves="dy w")
def _(
    ddx: Array, y: Array, dy: Array, w: Array, *,
    size: Sides, stride: Sides, padding: Sides, dilation: Sides, groups: int, names: Names,
) -> Gradients:  # fmt: skip
    return (
        lambda: conv(ddx, w, stride, padding, dilation, groups, names),
        lambda: conv_weight(ddx, dy, w.shape[2:], stride, padding, dilation, groups, names),
    )


@differentiable
def conv_weight(
    x: Array, dy: Array, /,
    size: Sides, stride: Sides, padding: Sides, dilation: Sides, groups: int, names: Names = None,
) -> Array:  # fmt: skip
    """dw[o,c,a,b] = sum_nij x[n, c, i*s + a*d - p, j*s + b*d - p] * dy[n,o,i,j]; `size` is w's."""
    return kernels.conv_weight(
        x, dy, size=size, stride=stride, padding=padding, dilation=dilation, groups=groups,
        algorithm=(names or {}).get("conv_weight"),
    )  # fmt: skip


@conv_weight.gradient(saves="x dy")
def _(
    ddw: Array, y: Array, x: Array, dy: Array, *,
    size: Sides, stride: Sides, padding: Sides, dilation: Sides, groups: int, names: Names,
) -> Gradients:  # fmt: skip
    return (
        lambda: conv_input(dy, ddw, x.shape[2:], stride, padding, dilation, groups, names),
        lambda: conv(x, ddw, stride, padding, dilation, groups, names),
    )


@differentiable
def conv_bias(
    x: Array, w: Array, b: Array, /, stride: Sides, padding: Sides, dilation: Sides, groups: int,
    names: Names = None,
) -> Array:  # fmt: skip
    """y[n,o,i,j] = b[o] + conv(x, w)[n,o,i,j], without a second array for the sum."""
    return kernels.conv_bias(
        x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups,
        algorithm=(names or {}).get("conv"),
    )  # fmt: skip


@conv_bias.gradient(saves="x w")
def _(
    dy: Array, y: Array, x: Array, w: Array, b: Array, *,
    stride: Sides, padding: Sides, dilation: Sides, groups: int, names: Names,
) -> Gradients:  # fmt: skip
    return (
        lambda: conv_input(dy, w, x.shape[2:], stride, padding, dilation, groups, names),
        lambda: conv_weight(x, dy, w.shape[2:], stride, padding, dilation, groups, names),
        lambda: sum(dy, (0, *range(2, dy.ndim))),
    )


# --- windows as columns: a pair of adjoints -------------------------------------------------------


@differentiable
def im2col(x: Array, /, windows: Windows) -> Array:
    """cols[n,c,a,b,i,j] = x[n, c, i*s + a*d - p, j*s + b*d - p], and 0 in the padding."""
    return kernels.im2col(x, windows)


@im2col.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, windows: Windows) -> Gradients:
    return lambda: col2im(dy, windows)


@differentiable
def col2im(cols: Array, /, windows: Windows) -> Array:
    """x[n, c, i*s + a*d - p, j*s + b*d - p] += cols[n,c,a,b,i,j]: shared pixels add up."""
    return kernels.col2im(cols, windows)


@col2im.gradient(saves="")
def _(dy: Array, y: Array, cols: Array, *, windows: Windows) -> Gradients:
    return lambda: im2col(dy, windows)
