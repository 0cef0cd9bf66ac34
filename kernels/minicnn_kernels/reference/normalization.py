"""Normalisation: centre and scale the values of each group, a few groups at a time.

A group is what shares a mean: the values along some axes, one group for each position of the other
axes.  What belongs to groups, and scale and shift, have as many dimensions as x, with size 1 where
they repeat, so that they broadcast.  The groups of a block stay in the cache for all steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.registry import Kernel

BLOCK_BYTES = 2**21  # of x at a time, so that all steps find it in the cache
LONG_SUM = 2**13  # so many values are added up in their own type without a loss to speak of
RUN_BYTES = 2**11  # blocks whose values lie in memory in shorter runs than this cost more than gain

Axes = tuple[int, ...]

BOTH = ("cpu", "cuda")

normalize = Kernel("normalize")
normalize_gradients = Kernel("normalize_gradients")
rescale = Kernel("rescale")


class Moments(NamedTuple):
    """Mean and biased variance of each group, in float64."""

    mean: Array
    var: Array


def no_moments(x: Array, axes: Axes) -> Moments:
    """Make room for mean and variance over `axes`, which `normalize` will fill."""
    shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    return Moments(*(np.zeros_like(x, shape=shape, dtype=np.float64) for _ in range(2)))


def _blocks_cost(x: Array, *others: Array, **settings: Any) -> float:
    return 4.0 * x.size


def _compiled_cost(x: Array, *others: Array, **settings: Any) -> float:
    return 60_000 + 0.4 * x.size


def _compiled_serves(x: Array, *others: Array, **settings: Any) -> bool:
    return x.dtype in (np.float32, np.float64) and x.size > 0


for _kernel, _formula in {
    normalize: "Return gamma * (x - mean) / sqrt(var + eps) + beta in two passes.",
    normalize_gradients: "Return dx, dgamma and dbeta of `normalize` in two passes.",
    rescale: "Return gamma * (x - mean) / sqrt(var + eps) + beta in one pass.",
}.items():
    _kernel.compiled(
        "compiled", f"normalization.{_kernel.name}", _formula,
        cost=_compiled_cost, serves=_compiled_serves,
    )  # fmt: skip


@normalize.algorithm("blocks", devices=BOTH, cost=_blocks_cost)
def normalize_in_blocks(
    x: Array, gamma: Array, beta: Array, *,
    axes: Axes, eps: float, statistics: Moments, centered: bool = True,
) -> Array:  # fmt: skip
    """Return gamma * (x - mean) / sqrt(var + eps) + beta; write mean and var to `statistics`.

    mean = sum_i x[i] / M;  var = sum_i (x[i] - mean)^2 / M.  Without `centered` the mean is 0.
    """
    y, count = np.empty_like(x), _count(x, axes)
    for part, out, mean, var, weight, shift in _blocks(x, y, *statistics, gamma, beta, fixed=axes):
        mean[...] = _sum_of_products(axes, part) / count if centered else 0
        np.subtract(part, mean.astype(x.dtype), out=out)
        var[...] = _sum_of_products(axes, out, out) / count
        for factor in _factors(weight, _inv_std(var, eps, x), part):
            out *= factor
        out += shift
    return y


@normalize_gradients.algorithm("blocks", devices=BOTH, cost=_blocks_cost)
def gradients_in_blocks(
    dy: Array, x: Array, gamma: Array, *,
    axes: Axes, eps: float, statistics: Moments, centered: bool = True,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Return dx, dgamma and dbeta of `normalize`, which has filled `statistics`.

    dgamma = sum dy * x_hat;  dbeta = sum dy
    dx = (g - mean(g) - x_hat * mean(g * x_hat)) / sqrt(var + eps) with g = dy * gamma
    """
    repeated = tuple(i for i in range(x.ndim) if gamma.shape[i] == 1)  # along these gamma is
    common = tuple(i for i in axes if i in repeated)  # summed over for gamma and for groups alike
    dx, count = np.empty_like(x), _count(x, axes)
    dgamma, dbeta = (np.zeros_like(gamma, dtype=np.float64) for _ in range(2))
    for part, g, out, mean, var, weight, by_x, by_1 in _blocks(
        x, dy, dx, *statistics, gamma, dgamma, dbeta, fixed=axes
    ):
        inv_std = _inv_std(var, eps, x)
        np.subtract(part, mean.astype(x.dtype), out=out)
        sum_dy, sum_dy_x = _sum_of_products(common, g), _sum_of_products(common, g, out)
        by_1 += _sum_of_products(repeated, sum_dy)
        by_x += _sum_of_products(repeated, sum_dy_x, inv_std)
        mean_g = _sum_of_products(axes, sum_dy, weight) / count
        mean_g_x = _sum_of_products(axes, sum_dy_x, weight) / count
        first, *others = _factors(weight, inv_std, part)
        scaled = g * first
        for factor in others:
            scaled *= factor
        out *= mean_g_x * inv_std**3
        np.subtract(scaled, out, out=out)
        if centered:
            out -= mean_g * inv_std
    return dx, dgamma.astype(x.dtype), dbeta.astype(x.dtype)


@rescale.algorithm("broadcast", devices=BOTH, cost=_blocks_cost)
def rescale_by_broadcasting(
    x: Array, gamma: Array, beta: Array, *, statistics: Moments, eps: float
) -> Array:
    """Return gamma * (x - mean) / sqrt(var + eps) + beta with given statistics."""
    y: Array = x - statistics.mean.astype(x.dtype)
    y *= gamma * _inv_std(statistics.var, eps, x)
    y += beta
    return y


def _inv_std(var: Array, eps: float, x: Array) -> Array:
    return (1 / np.sqrt(var + eps)).astype(x.dtype)


def _factors(gamma: Array, inv_std: Array, x: Array) -> list[Array]:
    """Return gamma * inv_std, or both apart where their product would be as large as x."""
    size = prod(np.broadcast_shapes(gamma.shape, inv_std.shape))
    return [gamma * inv_std] if size < x.size else [gamma, inv_std]


def _sum_of_products(axes: Axes, a: Array, b: Array | None = None) -> Array:
    """Return sum_i a[i] * b[i] over `axes`, which stay there with size 1; without b, sum_i a[i].

    Sums of more than LONG_SUM values are added up in float64, block by block.
    """
    if not axes:
        return a if b is None else a * b
    factors = (a,) if b is None else (a, b)
    if (length := _count(a, axes)) > LONG_SUM:
        total = no_moments(a, axes).mean
        for *parts, here in _blocks(*factors, total, size=a.nbytes * LONG_SUM // length):
            here += _einsum(axes, *parts)
        narrow: Array = total.astype(a.dtype)
        return narrow
    return _einsum(axes, *factors)


def _einsum(axes: Axes, a: Array, b: Array | None = None) -> Array:
    """Return the sum over `axes`; where b has only those, which are the last, by BLAS."""
    shape = [1 if i in axes else n for i, n in enumerate(a.shape)]
    first = a.ndim - len(axes)
    of_a_row = (*[1] * first, *a.shape[first:])
    if b is not None and b.size and axes[0] == first and b.shape == of_a_row:
        total = a.reshape(-1, b.size) @ b.reshape(-1)  # matrix times vector
    else:
        labels = list(range(a.ndim))
        operands = (a, labels) if b is None else (a, labels, b, labels)
        total = np.einsum(*operands, [i for i in labels if i not in axes])
    return np.reshape(total, shape)


def _count(x: Array, axes: Axes) -> int:
    """Return the number of values in a group; 1 for none, so that mean and variance become 0."""
    count: int = prod(x.shape[i] for i in axes)
    return max(1, count)


def _blocks(
    x: Array, *others: Array, fixed: Axes = (), size: int | None = None
) -> Iterator[tuple[Array, ...]]:
    """Cut x, and others that broadcast to it, into blocks of `size` bytes; never along `fixed`."""
    size = BLOCK_BYTES if size is None else size
    strides = [
        abs(stride) if n > 1 and i not in fixed else 0
        for i, (n, stride) in enumerate(zip(x.shape, x.strides, strict=True))
    ]
    axis = int(np.argmax(strides))  # the outermost in memory
    step = max(1, x.shape[axis] * size // max(1, x.nbytes))
    if x.nbytes <= size or strides[axis] * step < max(RUN_BYTES, 1):
        yield x, *others
        return
    for start in range(0, x.shape[axis], step):
        here = (*[slice(None)] * axis, slice(start, start + step))
        parts = (v if v.shape[axis] == 1 else v[here] for v in (x, *others))
        yield from _blocks(*parts, fixed=fixed, size=size)


def per_channel(v: Array, ndim: int) -> Array:
    """See a vector (C,) as (1, C, 1, ...) so that it broadcasts over channels."""
    return v.reshape(1, -1, *[1] * (ndim - 2))
