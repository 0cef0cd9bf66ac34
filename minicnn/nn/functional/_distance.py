"""Distances and similarities of vectors, and the losses made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn.errors import ArgumentError, DTypeError, ShapeError
from minicnn.nn.functional._loss import check_broadcast, raised_to
from minicnn.ops.arithmetic import clamp, minimum, where
from minicnn.ops.broadcast import broadcast_to
from minicnn.ops.comparison import eq
from minicnn.ops.elementwise import sqrt
from minicnn.ops.indexing import dimension
from minicnn.ops.linear import inner_product
from minicnn.ops.loss import reduced
from minicnn.ops.norm import difference, norm
from minicnn_kernels.arrays import is_floating

__all__ = [
    "cosine_embedding_loss", "cosine_similarity", "pairwise_distance", "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]  # fmt: skip


def pairwise_distance(
    x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Any:
    """Return the p-norm of the difference of vectors, which lie along the last dimension.

    y[n] = (sum_i |x1[n,i] - x2[n,i] + eps|^p)^(1/p)

    Raises:
        ShapeError: the shapes do not broadcast.
    """
    check_broadcast("pairwise_distance", x1=x1, x2=x2)
    return norm(difference(x1, x2, float(eps)), p, -1, keepdim)


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """Return the cosine of the angle between vectors, which lie along `dim`.

    y[n] = sum_i x1[n,i] * x2[n,i] / (max(|x1[n]|, eps) * max(|x2[n]|, eps))

    The gradient of max(|x|, eps) is taken as that of |x|, below eps too.

    Raises:
        ShapeError, IndexOutOfRange: the shapes do not broadcast, or there is no such dimension.
        DTypeError: both are integers.
    """
    op = "cosine_similarity"
    check_broadcast(op, x1=x1, x2=x2)
    if not (is_floating(x1.dtype) or is_floating(x2.dtype)):
        raise DTypeError(f"{op}: needs floating-point tensors, got {x1.dtype} and {x2.dtype}")
    x1, x2 = _floating_of_one_shape(x1, x2)
    along = dimension(op, dim, x1.ndim)
    first, second = (raised_to(norm(x, 2, along), eps) for x in (x1, x2))
    return inner_product(x1, x2, along) / first / second


def _floating_of_one_shape(*tensors: Any) -> list[Any]:
    shape = np.broadcast_shapes(*(x.shape for x in tensors))
    return [broadcast_to(x if is_floating(x.dtype) else x * 1.0, shape) for x in tensors]


def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0, *, reduction: str = "mean"
) -> Any:
    """Return a loss of pairs of vectors, which shall point alike (target 1) or not (target -1).

    y[n] = 1 - cos(input1[n], input2[n]) if target[n] == 1, else max(0, cos(..) - margin)

    Shapes: input1 and input2 (N, D), target (N); or, for one pair, (D) and ().
    """
    op = "cosine_embedding_loss"
    if target.ndim > 1 or not input1.ndim == input2.ndim == target.ndim + 1:
        raise ShapeError(
            f"{op}: the inputs must be (N, D) and the target (N), or (D) and (); got "
            f"{input1.shape}, {input2.shape} and {target.shape}"
        )
    check_broadcast(op, input1=input1, input2=input2)
    a, b = _floating_of_one_shape(input1, input2)
    product = inner_product(a, b)
    check_broadcast(op, pairs=product, target=target)
    tiny = 1e-12  # keeps the angle of a vector of zeros from being 0 / 0
    squares = (inner_product(a, a) + tiny) * (inner_product(b, b) + tiny)
    cosine = product / sqrt(squares)
    of_unlike = where(eq(target, -1), clamp(cosine - margin, 0), 0.0)
    return reduced(where(eq(target, 1), 1 - cosine, of_unlike), reduction)


def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    *,
    reduction: str = "mean",
) -> Any:
    """Return a loss of triplets: the anchor shall be closer to the positive than to the negative.

    y[n] = max(0, d(anchor[n], positive[n]) - d(anchor[n], negative[n]) + margin)

    d is `pairwise_distance`.

    Args:
        swap: take the negative's distance to the positive where that is smaller.

    Raises:
        ArgumentError: the margin is not positive.

    Paper: Balntas, Riba et al. 2016, for `swap`.
    """

    def distance(a: Any, b: Any) -> Any:
        return pairwise_distance(a, b, p, eps)

    return _triplet_loss(
        "triplet_margin_loss", (anchor, positive, negative), distance, margin, swap, reduction
    )


def triplet_margin_with_distance_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    distance_function: Callable[[Any, Any], Any] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Any:
    """Return the triplet loss for a distance of one's own; `pairwise_distance` by default.

    y[n] = max(0, d(anchor[n], positive[n]) - d(anchor[n], negative[n]) + margin)

    Args:
        swap: take the negative's distance to the positive where that is smaller.

    Raises:
        ArgumentError: the margin is not positive.
    """
    return _triplet_loss(
        "triplet_margin_with_distance_loss",
        (anchor, positive, negative),
        distance_function or pairwise_distance,
        margin,
        swap,
        reduction,
    )


def _triplet_loss(
    op: str,
    triplet: tuple[Any, Any, Any],
    distance: Callable[[Any, Any], Any],
    margin: float,
    swap: bool,
    reduction: str,
) -> Any:
    anchor, positive, negative = triplet
    if margin <= 0:
        raise ArgumentError(f"{op}: margin must be greater than 0, got {margin}")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise ShapeError(
            f"{op}: anchor {anchor.shape}, positive {positive.shape} and negative "
            f"{negative.shape} must have the same number of dimensions"
        )
    check_broadcast(op, anchor=anchor, positive=positive, negative=negative)
    to_negative = distance(anchor, negative)
    if swap:
        to_negative = minimum(to_negative, distance(positive, negative))
    return reduced(clamp(distance(anchor, positive) - to_negative + margin, 0), reduction)
