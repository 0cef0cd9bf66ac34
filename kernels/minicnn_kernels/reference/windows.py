"""Images as windows, and windows back to images: im2col and its adjoint col2im."""

from __future__ import annotations

import numpy as np
from minicnn_kernels.arrays import Array
from minicnn_kernels.geometry import Windows


def pad_image(x: Array, windows: Windows, value: float = 0.0) -> Array:
    """Return x (N, C, H, W) with its padding, filled with `value`, around it."""
    if windows.padded == windows.image:
        return x
    padded = np.full_like(x, value, shape=(*x.shape[:2], *windows.padded))
    padded[:, :, *windows.inside] = x
    return padded


def window_view(x: Array, windows: Windows) -> Array:
    """Look at a padded image as its windows, without a copy.

    v[n,c,a,b,i,j] = x[n, c, i*stride + a*dilation, j*stride + b*dilation]
    """
    n, c, h, w = x.strides
    (down, right), (down_tap, right_tap) = windows.stride, windows.dilation
    return np.lib.stride_tricks.as_strided(
        x,
        shape=(*x.shape[:2], *windows.kernel, *windows.output),
        strides=(n, c, h * down_tap, w * right_tap, h * down, w * right),
        writeable=False,
    )


def im2col(x: Array, windows: Windows) -> Array:
    """Copy the windows of x (N, C, H, W) side by side: (N, C, KH, KW, OH, OW).

    cols[n,c,a,b,i,j] = x[n, c, i*s + a*d - p, j*s + b*d - p], and 0 in the padding

    No copy is made where the windows already lie side by side (a 1x1 kernel).
    """
    return np.ascontiguousarray(window_view(pad_image(x, windows), windows))


def col2im(cols: Array, windows: Windows) -> Array:
    """Add windows (N, C, KH, KW, OH, OW) up where they came from: the adjoint of im2col.

    x[n, c, i*s + a*d - p, j*s + b*d - p] += cols[n,c,a,b,i,j]

    A pixel that several windows share receives the sum of their values.
    """
    n, c = cols.shape[:2]
    images_first = cols.strides[0] >= cols.strides[1]  # keep the order in memory
    shape = (n, c) if images_first else (c, n)
    padded = np.zeros_like(cols, shape=(*shape, *windows.padded), order="C")
    padded = padded if images_first else padded.swapaxes(0, 1)
    for a, b, (rows, columns) in windows.taps():
        padded[:, :, rows, columns] += cols[:, :, a, b]
    return padded[:, :, *windows.inside]
