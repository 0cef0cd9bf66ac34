"""Winograd's convolution with 3x3 filters, F(2x2, 3x3) and F(4x4, 3x3), and its gradients.

The image is cut into overlapping tiles d of (m + 2)^2 pixels, each of which gives m^2 results:

    Y = A^T [(G g G^T) * (B^T d B)] A = A^T [U * V] A        summed over the channels

With U and V at hand there is one multiplication a point of a tile, (m + 2)^2, instead of nine a
result, 9 m^2: 2.25 times fewer for m = 2, 4 times fewer for m = 4.  The sum over channels makes of
each of the (m + 2)^2 points one matrix product, U (O, C) @ V (C, tiles).

The formula is linear in d and in g, so its gradients are read off: with dM = A dY A^T

    dV = U^T dM,  dd = B dV B^T        dU = dM V^T,  dg = G^T dU G

Paper: Lavin, Gray 2015, "Fast algorithms for convolutional neural networks", arXiv:1509.09308.
"""

from __future__ import annotations

from math import inf, prod
from typing import Any

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.cook_toom import CookToom, cook_toom
from minicnn_kernels.geometry import Sides, Windows
from minicnn_kernels.reference.convolution import conv, conv_input, conv_weight
from minicnn_kernels.reference.windows import col2im, im2col, pad_image

# --- which convolutions, and what they cost -------------------------------------------------------


def _is_3x3(kernel: Sides, stride: Sides, dilation: Sides, groups: int) -> bool:
    """Say whether the formula computes a convolution: 3x3, dense, at stride 1."""
    return (tuple(kernel), stride, dilation, groups) == ((3, 3), (1, 1), (1, 1), 1)


def _serves_filters(
    x: Array, w: Array, *, stride: Sides, dilation: Sides, groups: int, **settings: Any
) -> bool:
    """Say whether conv(x, w) or conv_input(dy, w) can be computed."""
    return x.dtype.kind == "f" and _is_3x3(w.shape[2:], stride, dilation, groups)


def _serves_size(
    x: Array,
    dy: Array,
    *,
    size: Sides,
    stride: Sides,
    dilation: Sides,
    groups: int,
    **settings: Any,
) -> bool:
    """Say whether conv_weight(x, dy) can be computed."""
    return x.dtype.kind == "f" and _is_3x3(size, stride, dilation, groups)


def _compiled(a: Array, b: Array) -> bool:
    """Say whether the compiled forms take these arrays."""
    return a.dtype in (np.float32, np.float64) and a.dtype == b.dtype and a.size * b.size > 0


def _cost(m: int, like: Array, channels: int, filters: int, result: Sides) -> float:
    """Estimate nanoseconds: 120 products of points in one, 5 transformed values, 3 of filters.

    Fewer channels or filters than 16 take as long as these.
    In double precision `auto` prefers algorithms that round less.
    """
    if like.dtype != np.float32:
        return inf
    channels, filters = max(channels, 16), max(filters, 16)
    points: int = (m + 2) ** 2
    tiles = like.shape[0] * prod(-(-n // m) for n in result)
    products = channels * filters
    transforms = tiles * (channels + filters) / 5 + products / 3
    return 100_000 + points * float(tiles * products / 120 + transforms)


# --- the three convolutions -----------------------------------------------------------------------


def _register(m: int) -> None:
    """Register the three convolutions with tiles of m x m results, and their compiled forms."""

    @conv.algorithm(f"winograd{m}_numpy", serves=_serves_filters)
    def forward(
        x: Array, w: Array, *, stride: Sides, padding: Sides, dilation: Sides, groups: int
    ) -> Array:
        """Y = A^T [(G g G^T) * (B^T d B)] A for each tile."""
        by = _Tiling(x, Windows(x.shape[2:], (3, 3), padding=padding), m)
        return by.image(by.filters(w) @ by.pixels(x))

    @conv_input.algorithm(f"winograd{m}_numpy", serves=_serves_filters)
    def input_gradient(
        dy: Array, w: Array, *, size: Sides, stride: Sides, padding: Sides, dilation: Sides,
        groups: int,
    ) -> Array:  # fmt: skip
        """dd = B [(G g G^T)^T * (A dY A^T)] B^T for each tile, added where tiles overlap."""
        by = _Tiling(dy, Windows(size, (3, 3), padding=padding), m)
        return by.pixels_adjoint(by.filters(w).swapaxes(2, 3) @ by.image_adjoint(dy))

    @conv_weight.algorithm(f"winograd{m}_numpy", serves=_serves_size)
    def weight_gradient(
        x: Array, dy: Array, *, size: Sides, stride: Sides, padding: Sides, dilation: Sides,
        groups: int,
    ) -> Array:  # fmt: skip
        """dg = G^T [(A dY A^T) * (B^T d B)] G, summed over the tiles."""
        by = _Tiling(x, Windows(x.shape[2:], (3, 3), padding=padding), m)
        return by.filters_adjoint(by.image_adjoint(dy) @ by.pixels(x).swapaxes(2, 3))

    conv.compiled(
        f"winograd{m}",
        f"winograd.conv{m}",
        "Y = A^T [(G g G^T) * (B^T d B)] A for each tile.",
        cost=lambda x, w, *, padding, **settings: _cost(
            m, x, w.shape[1], w.shape[0], Windows(x.shape[2:], (3, 3), padding=padding).output
        ),
        serves=lambda x, w, **settings: _compiled(x, w) and _serves_filters(x, w, **settings),
        extras=("bias", "add", "relu"),
    )
    conv_input.compiled(
        f"winograd{m}",
        f"winograd.conv_input{m}",
        "dx = conv(dy, w turned by 180 degrees, its channels exchanged).",
        cost=lambda dy, w, *, size, **settings: _cost(m, dy, w.shape[0], w.shape[1], size),
        serves=lambda dy, w, **settings: _compiled(dy, w) and _serves_filters(dy, w, **settings),
    )
    conv_weight.compiled(
        f"winograd{m}",
        f"winograd.conv_weight{m}",
        "dg = G^T [(A dY A^T) * (B^T d B)] G, summed over the tiles.",
        cost=lambda x, dy, **settings: _cost(m, x, x.shape[1], dy.shape[1], dy.shape[2:]),
        serves=lambda x, dy, **settings: _compiled(x, dy) and _serves_size(x, dy, **settings),
    )


class _Tiling:
    """The linear maps between images and the points of their tiles, and their adjoints.

    Shapes: pixels V (n, n, C, tiles), filters U (n, n, O, C), products M (n, n, O, tiles).
    """

    def __init__(self, like: Array, windows: Windows, m: int) -> None:
        n = m + 2
        self.matrices = CookToom(*(each.astype(like.dtype) for each in cook_toom(m, 3)))
        self.windows = windows
        self.n_images = like.shape[0]
        self.tiles = Windows(windows.padded, (n, n), (m, m), ceil_mode=True)
        self.results = Windows(windows.output, (m, m), (m, m), ceil_mode=True)

    def pixels(self, x: Array) -> Array:
        """V = B^T d B."""
        d = im2col(pad_image(x, self.windows), self.tiles)
        return _between(self.matrices.bt, _tiles_last(d))

    def pixels_adjoint(self, dv: Array) -> Array:
        """dd = B dV B^T, added up where tiles overlap."""
        dd = self._tiles_first(_between(self.matrices.bt.T, dv))
        return col2im(dd, self.tiles)[:, :, *self.windows.inside]

    def filters(self, w: Array) -> Array:
        """U = G g G^T."""
        return _between(self.matrices.g, w.transpose(2, 3, 0, 1))

    def filters_adjoint(self, du: Array) -> Array:
        """dg = G^T dU G."""
        return _between(self.matrices.g.T, du).transpose(2, 3, 0, 1)

    def image(self, product: Array) -> Array:
        """Y = A^T M A, its tiles side by side."""
        return col2im(self._tiles_first(_between(self.matrices.at, product)), self.results)

    def image_adjoint(self, dy: Array) -> Array:
        """dM = A dY A^T."""
        return _between(self.matrices.at.T, _tiles_last(im2col(dy, self.results)))

    def _tiles_first(self, points: Array) -> Array:
        """See (n, n, C, tiles) as windows (N, C, n, n, TH, TW)."""
        sizes = (*points.shape[:3], self.n_images, *self.tiles.output)
        return points.reshape(sizes).transpose(3, 2, 0, 1, 4, 5)


def _tiles_last(windows: Array) -> Array:
    """Lay windows (N, C, n, n, TH, TW) out as (n, n, C, tiles)."""
    n_images, channels, n, _, rows, columns = windows.shape
    return windows.transpose(2, 3, 1, 0, 4, 5).reshape(n, n, channels, n_images * rows * columns)


def _between(matrix: Array, points: Array) -> Array:
    """Return matrix @ points @ matrix^T over the first two dimensions."""
    rows = np.tensordot(matrix, points, 1)  # (i, b, ...)
    return np.moveaxis(np.tensordot(matrix, rows, (1, 1)), 0, 1)  # (j, i, ...) -> (i, j, ...)


for _m in (2, 4):
    _register(_m)
