"""Images as windows, and windows back to images: im2col and its adjoint col2im."""

from __future__ import annotations

import numpy as np

from minicnn_kernels.arrays import Array, as_strided
from minicnn_kernels.geometry import Windows


def pad_image(x: Array, windows: Windows, value: float = 0.0) -> Array:
    """Return x (N, C, H, W), or with other sides, with its padding of `value` around it."""
    if windows.padded == windows.image:
        return x
    padded = np.full_like(x, value, shape=(*x.shape[:2], *windows.padded))
    padded[:, :, *windows.inside] = x
    return padded


def window_view(x: Array, windows: Windows, writeable: bool = False) -> Array:
    """Look at a padded image as its windows, without a copy.

    v[n,c,a,b,i,j] = x[n, c, i*stride + a*dilation, j*stride + b*dilation]

    The windows overlap: write to one cell [a, b] of all of them at a time.
    """
    n, c, *sides = x.strides
    taps = (step * d for step, d in zip(sides, windows.dilation, strict=True))
    moves = (step * s for step, s in zip(sides, windows.stride, strict=True))
    return as_strided(
        x,
        shape=(*x.shape[:2], *windows.kernel, *windows.output),
        strides=(n, c, *taps, *moves),
        writeable=writeable,
    )


def im2col(x: Array, windows: Windows) -> Array:
    """Copy the windows of x (N, C, H, W) side by side: (N, C, KH, KW, OH, OW).

    cols[n,c,a,b,i,j] = x[n, c, i*s + a*d - p, j*s + b*d - p], and 0 in the padding
    """
    return window_view(pad_image(x, windows), windows).copy()


def col2im(cols: Array, windows: Windows) -> Array:
    """Add windows (N, C, KH, KW, OH, OW) up where they came from: the adjoint of im2col.

    x[n, c, i*s + a*d - p, j*s + b*d - p] += cols[n,c,a,b,i,j]

    A pixel that several windows share receives the sum of their values.
    """
    padded = np.zeros_like(cols, shape=(*cols.shape[:2], *windows.padded), order="C")
    for cell, place in windows.taps():
        padded[:, :, *place] += cols[:, :, *cell]
    return padded[:, :, *windows.inside]
