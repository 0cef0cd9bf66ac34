"""Convolution with large kernels by the fast Fourier transform.

A convolution of images is a product of their spectra.  At each frequency the channels then meet in
a matrix product, and the three convolutions are those of a linear layer (H: transposed, conjugate):

    Y = X W^H        DX = DY W        DW = DY^H X

The kernel costs nothing but its transform, however large it is.  Spectra are as long as the padded
image: windows lie inside, so nothing wraps around.  A stride is a step between the values of dy,
a dilation one between the cells of w; what lies in between is zero, or dropped from a result.

Papers: Mathieu, Henaff, LeCun 2013, arXiv:1312.5851; Vasilache et al. 2014, arXiv:1412.7580.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.geometry import Sides, Windows
from minicnn_kernels.reference.convolution import conv, conv_input, conv_weight


def _serves(a: Array, b: Array, **settings: Any) -> bool:
    return a.dtype == b.dtype and a.dtype.kind == "f" and a.dtype != np.float16


@conv.algorithm("fft", serves=_serves)
def conv_fft(
    x: Array, w: Array, *, stride: Sides, padding: Sides, dilation: Sides, groups: int
) -> Array:
    """Y = X W^H at each frequency."""
    windows = Windows(x.shape[2:], w.shape[2:], stride, padding, dilation)
    y = _of_images(x, windows.inside, windows, groups) @ _adjoint(_of_filters(w, windows, groups))
    return _images(y, windows)[:, :, *windows.starts]


@conv_input.algorithm("fft", serves=_serves)
def conv_input_fft(
    dy: Array, w: Array, *, size: Sides, stride: Sides, padding: Sides, dilation: Sides, groups: int
) -> Array:
    """DX = DY W at each frequency."""
    windows = Windows(size, w.shape[2:], stride, padding, dilation)
    dx = _of_images(dy, windows.starts, windows, groups) @ _of_filters(w, windows, groups)
    return _images(dx, windows)[:, :, *windows.inside]


@conv_weight.algorithm("fft", serves=_serves)
def conv_weight_fft(
    x: Array, dy: Array, *, size: Sides, stride: Sides, padding: Sides, dilation: Sides, groups: int
) -> Array:
    """DW = DY^H X at each frequency."""
    windows = Windows(x.shape[2:], size, stride, padding, dilation)
    of_dy = _of_images(dy, windows.starts, windows, groups)
    dw = _adjoint(of_dy) @ _of_images(x, windows.inside, windows, groups)
    return _filters(dw, windows)[:, :, *_cells(windows)]


def _of_images(images: Array, where: tuple[slice, ...], windows: Windows, groups: int) -> Array:
    """Transform images (N, G*C, ...) within the padded image: (frequencies, G, N, C)."""
    spectra = _spectra(images, where, windows)
    n_images, channels, *frequencies = spectra.shape
    by_group = spectra.reshape(n_images, groups, channels // groups, *frequencies)
    return np.moveaxis(by_group, (0, 1, 2), (-2, -3, -1))


def _of_filters(w: Array, windows: Windows, groups: int) -> Array:
    """Transform filters (G*O, C, ...): (frequencies, G, O, C)."""
    spectra = _spectra(w, _cells(windows), windows)
    n_filters, channels, *frequencies = spectra.shape
    by_group = spectra.reshape(groups, n_filters // groups, channels, *frequencies)
    return np.moveaxis(by_group, (0, 1, 2), (-3, -2, -1))


def _images(spectra: Array, windows: Windows) -> Array:
    """Transform (frequencies, G, N, C) back to padded images (N, G*C, ...)."""
    by_group = np.moveaxis(spectra, (-2, -3, -1), (0, 1, 2))
    n_images, groups, channels, *frequencies = by_group.shape
    return _values(by_group.reshape(n_images, groups * channels, *frequencies), windows)


def _filters(spectra: Array, windows: Windows) -> Array:
    """Transform (frequencies, G, O, C) back to filters (G*O, C, ...) of a padded image's size."""
    by_group = np.moveaxis(spectra, (-3, -2, -1), (0, 1, 2))
    groups, n_filters, channels, *frequencies = by_group.shape
    return _values(by_group.reshape(groups * n_filters, channels, *frequencies), windows)


def _spectra(values: Array, where: tuple[slice, ...], windows: Windows) -> Array:
    """Place values in zeros of the padded image's size, and transform them."""
    placed = np.zeros_like(values, shape=(*values.shape[:2], *windows.padded), order="C")
    placed[:, :, *where] = values
    return np.fft.rfftn(placed, axes=range(2, placed.ndim))


def _values(spectra: Array, windows: Windows) -> Array:
    """Transform spectra back."""
    return np.fft.irfftn(spectra, windows.padded, axes=range(2, spectra.ndim))


def _cells(windows: Windows) -> tuple[slice, ...]:
    """Where the cells of the kernel lie in the first window."""
    reaches = zip(windows.reach, windows.dilation, strict=True)
    return tuple(slice(0, reach, d) for reach, d in reaches)


def _adjoint(matrices: Array) -> Array:
    """Transpose and conjugate."""
    return matrices.conj().swapaxes(-2, -1)
