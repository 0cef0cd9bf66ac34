"""Softmax and its logarithm along one dimension, their gradients, and cross-entropy with labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn_kernels.arrays import Array, as_array
from minicnn_kernels.registry import Kernel

softmax = Kernel("softmax")
softmax_gradient = Kernel("softmax_gradient")
log_softmax = Kernel("log_softmax")
log_softmax_gradient = Kernel("log_softmax_gradient")
log_total = Kernel("log_total")
cross_entropy = Kernel("cross_entropy")
mean_cross_entropy = Kernel("mean_cross_entropy")
cross_entropy_gradient = Kernel("cross_entropy_gradient")

BOTH = ("cpu", "cuda")


def _cost(x: Array, *others: Array, **settings: Any) -> float:
    """Estimate nanoseconds."""
    return 3.0 * x.size


def _compiled_cost(x: Array, *others: Array, dim: int) -> float:
    return 40_000 + 0.5 * x.size


def _compiled_serves(x: Array, *others: Array, dim: int) -> bool:
    return x.size > 0 and x.ndim > 0 and x.dtype in (np.float32, np.float64)


def _card_cost(*arrays: Array, **settings: Any) -> float:
    return 1.0


def _card_serves(x: Array, *others: Array, **settings: Any) -> bool:
    return x.dtype.name in ("float32", "bfloat16") and x.ndim > 0 and 0 < x.size < 2**31


def _gradient_serves(dy: Array, x: Array, *others: Array, **settings: Any) -> bool:
    return _card_serves(x)


for _kernel, _formula in {
    softmax: "y[i] = e^x[i] / sum_j e^x[j], in one pass over memory.",
    softmax_gradient: "dx[i] = y[i] * (dy[i] - sum_j dy[j] * y[j]), in one pass over memory.",
    log_softmax: "y[i] = x[i] - ln sum_j e^x[j], in one pass over memory.",
    log_softmax_gradient: "dx[i] = dy[i] - e^y[i] * sum_j dy[j], in one pass over memory.",
    log_total: "Return top = max_i x[i] and ln sum_i e^(x[i] - top), in one pass over memory.",
}.items():
    _kernel.compiled(
        "compiled", f"softmax.{_kernel.name}", _formula,
        cost=_compiled_cost, serves=_compiled_serves,
    )  # fmt: skip
    _kernel.compiled(
        "cuda", f"softmax.{_kernel.name}", _formula,
        device="cuda", cost=_card_cost, serves=_card_serves,
    )  # fmt: skip
for _kernel, _serves, _formula in (
    (cross_entropy, _card_serves, "y[n,..] = ln sum_c e^x[n,c,..] - x[n,t,..], in one kernel."),
    (mean_cross_entropy, _card_serves, "Return the mean of cross-entropy, in two kernels."),
    (cross_entropy_gradient, _gradient_serves,
     "dx[n,c,..] = dy[n,..] * (softmax(x) - (c == t)), in one kernel."),
):  # fmt: skip
    _kernel.compiled(
        "cuda", f"softmax.{_kernel.name}", _formula,
        device="cuda", cost=_card_cost, serves=_serves,
    )  # fmt: skip


@softmax.algorithm("numpy", devices=BOTH, cost=_cost)
def softmax_by_numpy(x: Array, scale: Any = None, *, dim: int) -> Array:
    """y[i] = e^x[i] / sum_j e^x[j], times scale; x less its maximum, so that nothing overflows."""
    y = _shifted(x, dim)
    np.exp(y, out=y)
    total = _sums(y, dim)
    y *= 1 / total if scale is None else scale / total
    return y


@softmax_gradient.algorithm("numpy", devices=BOTH, cost=_cost)
def softmax_gradient_by_numpy(dy: Array, y: Array, *, dim: int) -> Array:
    """dx[i] = y[i] * (dy[i] - sum_j dy[j] * y[j])."""
    dx: Array = y * (dy - _sums(dy * y, dim))
    return dx


@log_softmax.algorithm("numpy", devices=BOTH, cost=_cost)
def log_softmax_by_numpy(x: Array, *, dim: int) -> Array:
    """y[i] = x[i] - ln sum_j e^x[j], shifted by the maximum so that nothing overflows."""
    y = _shifted(x, dim)
    y -= np.log(_sums(np.exp(y), dim))
    return y


@log_softmax_gradient.algorithm("numpy", devices=BOTH, cost=_cost)
def log_softmax_gradient_by_numpy(dy: Array, y: Array, *, dim: int) -> Array:
    """dx[i] = dy[i] - e^y[i] * sum_j dy[j]."""
    dx: Array = dy - np.exp(y) * _sums(dy, dim)
    return dx


@log_total.algorithm("numpy", devices=BOTH, cost=_cost)
def log_total_by_numpy(x: Array, *, dim: int) -> tuple[Array, Array]:
    """Return top = max_i x[i] and ln sum_i e^(x[i] - top); both keep the dimension, of size 1."""
    top = maximum(x, dim)
    return top, np.log(_sums(np.exp(x - top), dim))


@cross_entropy.algorithm("numpy", devices=BOTH, cost=_cost)
def cross_entropy_by_numpy(x: Array, labels: Array, *, dim: int) -> Array:
    """y[n,..] = ln sum_c e^x[n,c,..] - x[n,t,..], t = labels[n,..]."""
    top, rest = (v.squeeze(dim) for v in log_total(x, dim=dim))
    y: Array = rest - (x[places(labels, dim)] - top)
    return y


@mean_cross_entropy.algorithm("numpy", devices=BOTH, cost=_cost)
def mean_cross_entropy_by_numpy(
    x: Array, labels: Array, count: Array, *, dim: int, ignore: int
) -> Array:
    """y = sum of cross_entropy / count, over the labels that are not `ignore`; write their count.

    The mean of nothing is NaN, as it is with something that is no label.
    """
    used, inside = labels != ignore, (labels >= 0) & (labels < x.shape[dim])
    losses = cross_entropy(x, np.where(inside, labels, 0), dim=dim)
    losses = np.where(used, np.where(inside, losses, np.nan), 0).astype(x.dtype)
    count[...] = used.sum()
    with np.errstate(invalid="ignore"):
        return as_array(losses.sum() / count)


@cross_entropy_gradient.algorithm("numpy", devices=BOTH, cost=_cost)
def cross_entropy_gradient_by_numpy(
    dy: Array, x: Array, labels: Array, count: Array | None = None, *, dim: int,
    ignore: int | None = None,
) -> Array:  # fmt: skip
    """dx[n,c,..] = dy[n,..] * (softmax(x)[n,c,..] - (c == t)), t = labels[n,..].

    Divided by `count`, and 0 where the label is `ignore`.
    """
    if count is not None:
        used = labels != ignore
        with np.errstate(divide="ignore", invalid="ignore"):
            dy = np.where(used, dy / count, 0).astype(x.dtype)
        labels = np.where(used, labels, 0)
    dx: Array = softmax(x, np.expand_dims(dy, dim), dim=dim)
    dx[places(labels, dim)] -= dy
    return dx


def places(labels: Array, dim: int) -> tuple[Array, ...]:
    """Return the index of x[n,t,..], t = labels[n,..]; the classes are along `dim`."""
    others = [
        np.arange(n, like=labels).reshape(-1, *[1] * (labels.ndim - i - 1))
        for i, n in enumerate(labels.shape)
    ]
    return (*others[:dim], labels, *others[dim:])


def maximum(x: Array, axes: int | tuple[int, ...]) -> Array:
    """top = max_i x[i] over dimensions that stay there with size 1; -inf where there is nothing."""
    if x.size:
        return as_array(np.max(x, axis=axes if x.ndim else None, keepdims=True))
    sum_of_none = np.sum(x, axis=axes, keepdims=True)
    return np.full_like(sum_of_none, -np.inf)


def _sums(x: Array, dim: int) -> Array:
    """Sum along a dimension that stays there; a single value has none, though NumPy takes 0."""
    total: Array = x.sum(axis=dim if x.ndim else None, keepdims=True)
    return total


def _shifted(x: Array, dim: int) -> Array:
    return as_array(x - maximum(x, dim))
