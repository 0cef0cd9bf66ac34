"""The matrices of short convolutions with few multiplications (Cook, Toom, Winograd).

A polynomial of n coefficients is known by its values at n points, and the values of a product are
products of values.  So a product of polynomials, which is a convolution of their coefficients,
costs one multiplication a point: evaluate, multiply, interpolate.  The sliding sums of a filter,
y[i] = sum_a d[i + a] g[a], are the transpose of that, with the same number of multiplications:

    y = A^T [(G g) * (B^T d)]

A and G evaluate at the points, B^T is the transpose of interpolation.  F(m, r), that is m outputs
of r taps, needs n = m + r - 1 points; the last is infinity, where the value is the highest
coefficient.

Papers: Winograd 1980, "Arithmetic complexity of computations"; Lavin, Gray 2015, arXiv:1509.09308;
Barabasz, Anderson, Soodhalter, Gregg 2018, arXiv:1803.10986 (which points round best).
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from minicnn_kernels.arrays import Array

POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)
"""Finite points in order of use.  The usual 2, -2 would round twice as much as 1/2, -2."""


class CookToom(NamedTuple):
    """y = at @ ((g @ taps) * (bt @ data))."""

    at: Array
    g: Array
    bt: Array


@cache
def cook_toom(outputs: int, taps: int) -> CookToom:
    """Return A^T (m, n), G (n, r) and B^T (n, n) for m outputs, r taps, n = m + r - 1 points.

    >>> at, g, bt = cook_toom(outputs=2, taps=3)
    >>> at @ ((g @ [1, 2, 3]) * (bt @ [10, 20, 30, 40]))  # 10 + 2*20 + 3*30, 20 + 2*30 + 3*40
    array([140., 200.])
    """
    points = POINTS[: outputs + taps - 2]
    others = [np.setdiff1d(points, point) for point in points]
    scale = np.array([*(np.prod(p - rest) for p, rest in zip(points, others, strict=True)), 1.0])
    # Lagrange: the polynomial of degree n - 2 that is 1 at a point and 0 at the others is
    # prod_j (t - others[j]) / scale; what infinity adds is its value times prod_j (t - points[j])
    bt = np.zeros((len(points) + 1, len(points) + 1))
    for row, zeros in zip(bt, [*others, np.array(points)], strict=True):
        row[: zeros.size + 1] = np.poly(zeros)[::-1]
    return CookToom(_values(points, outputs).T, _values(points, taps) / scale[:, None], bt)


def _values(points: tuple[float, ...], coefficients: int) -> Array:
    """Evaluate polynomials at the points and at infinity: rows 1, t, t^2, ... and 0, ..., 0, 1."""
    finite = np.vander(points, coefficients, increasing=True)
    return np.vstack([finite, np.eye(coefficients)[-1]])
