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

from minicnn_kernels.arrays import Array, at_hand
from minicnn_kernels.registry import Kernel

BLOCK_BYTES = 2**21  # of x at a time, so that all steps find it in the cache
LONG_SUM = 2**13  # so many values are added up in their own type without a loss to speak of
RUN_BYTES = 2**11  # blocks whose values lie in memory in shorter runs than this cost more than gain

Axes = tuple[int, ...]

BOTH = ("cpu", "cuda")

normalize = Kernel("normalize")
normalize_gradients = Kernel("normalize_gradients")
rescale = Kernel("rescale")
move_averages = Kernel("move_averages")


class Moments(NamedTuple):
    """Mean and biased variance of each group, in float64."""

    mean: Array
    var: Array


def no_moments(x: Array, axes: Axes) -> Moments:
    """Make room for mean and variance over `axes`, which `normalize` will fill."""
    shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    room = np.empty_like if x.size else np.zeros_like
    return Moments(*room(x, shape=(2, *shape), dtype=np.float64, order="C"))


def _blocks_cost(x: Array, *others: Array, **settings: Any) -> float:
    return 4.0 * x.size


def _compiled_cost(x: Array, *others: Array, **settings: Any) -> float:
    return 60_000 + 0.4 * x.size


def _compiled_serves(x: Array, *others: Array, **settings: Any) -> bool:
    return x.dtype in (np.float32, np.float64) and x.size > 0


def _normalize_serves(
    x: Array, gamma: Array, beta: Array, add: Array | None, *moments: Array,
    axes: Axes, relu: bool = False, **settings: Any,
) -> bool:  # fmt: skip
    return _compiled_serves(x) and (_repeats(gamma, axes) or (add is None and not relu))


def _gradients_serve(
    dy: Array, x: Array, gamma: Array, beta: Array | None, y: Array | None, *moments: Array,
    axes: Axes, **settings: Any,
) -> bool:  # fmt: skip
    return _compiled_serves(x) and (_repeats(gamma, axes) or y is None)


def _repeats(gamma: Array, axes: Axes) -> bool:
    """Say whether the values of a group share their weight, as in batch normalisation."""
    return all(gamma.shape[i] == 1 for i in axes)


def _card_cost(*arrays: Array, **settings: Any) -> float:
    return 1.0


def _card_serves(
    x: Array, gamma: Array, beta: Array, add: Array | None, *moments: Array,
    axes: Axes, relu: bool = False, **settings: Any,
) -> bool:  # fmt: skip
    return _on_card(x, gamma, axes, plain=add is None and not relu)


def _card_gradients_serve(
    dy: Array, x: Array, gamma: Array, beta: Array | None, y: Array | None, *moments: Array,
    axes: Axes, **settings: Any,
) -> bool:  # fmt: skip
    return _on_card(x, gamma, axes, plain=y is None)


def _rescale_serves_on_card(
    x: Array, gamma: Array, beta: Array, add: Array | None, mean: Array, *others: Array,
    **settings: Any,
) -> bool:  # fmt: skip
    return _on_card(x, gamma, tuple(i for i, n in enumerate(mean.shape) if n == 1), plain=False)


def _on_card(x: Array, gamma: Array, axes: Axes, plain: bool) -> bool:
    """Say whether the kernels for cards take this; they are loaded where there is a card."""
    from minicnn_kernels.cuda.normalization import serves

    return serves(x, gamma, axes, plain)


for _kernel, _serves, _serves_on_card, _formula in (
    (normalize, _normalize_serves, _card_serves,
     "Return gamma * (x - mean) / sqrt(var + eps) + beta + add in two passes."),
    (normalize_gradients, _gradients_serve, _card_gradients_serve,
     "Return dx, dgamma, dbeta and dadd of `normalize` in two passes."),
    (rescale, _compiled_serves, _rescale_serves_on_card,
     "Return gamma * (x - mean) / sqrt(var + eps) + beta + add in one pass."),
):  # fmt: skip
    _kernel.compiled(
        "compiled", f"normalization.{_kernel.name}", _formula, cost=_compiled_cost, serves=_serves
    )
    _kernel.compiled(
        "cuda", f"normalization.{_kernel.name}", _formula,
        device="cuda", cost=_card_cost, serves=_serves_on_card,
    )  # fmt: skip


def _moves_on_card(mean: Array, var: Array, *moments: Array, **settings: Any) -> bool:
    in_rows = all(v.flags.c_contiguous for v in (mean, var, *moments))
    types = [v.dtype for v in (mean, var, *moments)]
    return in_rows and mean.size > 0 and types == [np.float32] * 2 + [np.float64] * 2


move_averages.compiled(
    "cuda", "normalization.move_averages", "r = (1 - momentum) r + momentum b, in one kernel.",
    device="cuda", cost=_card_cost, serves=_moves_on_card,
)  # fmt: skip


@normalize.algorithm("blocks", devices=BOTH, cost=_blocks_cost)
def normalize_in_blocks(
    x: Array, gamma: Array, beta: Array, add: Array | None, mean: Array, var: Array, *,
    axes: Axes, eps: float, centered: bool = True, relu: bool = False,
) -> Array:  # fmt: skip
    """Return gamma * (x - mean) / sqrt(var + eps) + beta + add; write mean and var.

    mean = sum_i x[i] / M;  var = sum_i (x[i] - mean)^2 / M.  Without `centered` the mean is 0.
    mean and var lie in float64 in the order of their indices.  `add` has x's shape, or is None.
    With `relu` the result is 0 where it would be negative.
    """
    y, count = np.empty_like(x), _count(x, axes)
    others = (y, mean, var, gamma, beta) if add is None else (y, mean, var, gamma, beta, add)
    for part, out, center, spread, weight, shift, *more in _blocks(x, *others, fixed=axes):
        center[...] = _sum_of_products(axes, part) / count if centered else 0
        np.subtract(part, center.astype(x.dtype), out=out)
        spread[...] = _sum_of_products(axes, out, out) / count
        for factor in _factors(weight, _inv_std(spread, eps, x), part):
            out *= factor
        for term in (shift, *more):
            out += term
        if relu:
            np.maximum(out, 0, out=out)
    return y


@normalize_gradients.algorithm("blocks", devices=BOTH, cost=_blocks_cost)
def gradients_in_blocks(
    dy: Array, x: Array, gamma: Array, beta: Array | None, y: Array | None, mean: Array,
    var: Array, *, axes: Axes, eps: float, centered: bool = True,
) -> tuple[Array, Array, Array, Array | None]:  # fmt: skip
    """Return dx, dgamma, dbeta and dadd of `normalize`, which has filled mean and var.

    dgamma = sum dy * x_hat;  dbeta = sum dy
    dx = (g - mean(g) - x_hat * mean(g * x_hat)) / sqrt(var + eps) with g = dy * gamma

    y, if it was rectified, says where nothing of dy arrives.  beta says that it could also be
    computed again, as nothing was added; then, and without y, dadd is None.
    """
    dadd = None
    if y is not None:
        dy = dy * (y != 0)
        dadd = dy if beta is None else None
    repeated = tuple(i for i in range(x.ndim) if gamma.shape[i] == 1)  # along these gamma is
    common = tuple(i for i in axes if i in repeated)  # summed over for gamma and for groups alike
    dx, count = np.empty_like(x), _count(x, axes)
    dgamma, dbeta = (np.zeros_like(gamma, dtype=np.float64) for _ in range(2))
    for part, g, out, center, spread, weight, by_x, by_1 in _blocks(
        x, dy, dx, mean, var, gamma, dgamma, dbeta, fixed=axes
    ):
        inv_std = _inv_std(spread, eps, x)
        np.subtract(part, center.astype(x.dtype), out=out)
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
    return dx, dgamma.astype(x.dtype), dbeta.astype(x.dtype), dadd


@rescale.algorithm("broadcast", devices=BOTH, cost=_blocks_cost)
def rescale_by_broadcasting(
    x: Array, gamma: Array, beta: Array, add: Array | None, mean: Array, var: Array, *,
    eps: float, relu: bool = False,
) -> Array:  # fmt: skip
    """Return gamma * (x - mean) / sqrt(var + eps) + beta + add with given statistics."""
    y: Array = x - mean.astype(x.dtype)
    y *= gamma * _inv_std(var, eps, x)
    y += beta
    if add is not None:
        y += add
    return np.maximum(y, 0, out=y) if relu else y


@move_averages.algorithm("numpy", devices=BOTH, cost=lambda mean, *others, **settings: mean.size)
def move_averages_by_numpy(
    running_mean: Array, running_var: Array, mean: Array, var: Array, *, momentum: float,
    unbiased: float,
) -> None:  # fmt: skip
    """r = (1 - momentum) r + momentum b, in place, of b = mean and b = var * unbiased."""
    for running, now in ((running_mean, mean), (running_var, var * unbiased)):
        moved = running * (1 - momentum) + now.reshape(-1) * momentum
        np.copyto(running, moved, casting="same_kind")


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
    if not at_hand(a):  # CuPy adds up by halves
        summed: Array = (a if b is None else a * b).sum(axis=axes, keepdims=True)
        return summed
    factors = (a,) if b is None else (a, b)
    if (length := _count(a, axes)) > LONG_SUM:
        total = np.zeros([1 if i in axes else n for i, n in enumerate(a.shape)])
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
    if x.nbytes <= size or not at_hand(x) or strides[axis] * step < max(RUN_BYTES, 1):
        yield x, *others
        return
    for start in range(0, x.shape[axis], step):
        here = (*[slice(None)] * axis, slice(start, start + step))
        parts = (v if v.shape[axis] == 1 else v[here] for v in (x, *others))
        yield from _blocks(*parts, fixed=fixed, size=size)


def per_channel(v: Array, ndim: int) -> Array:
    """See a vector (C,) as (1, C, 1, ...) so that it broadcasts over channels."""
    return v.reshape(1, -1, *[1] * (ndim - 2))
