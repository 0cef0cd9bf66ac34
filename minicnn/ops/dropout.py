"""Dropout: in training values are kept with probability 1 - p; in inference nothing happens.

Papers: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov 2014, JMLR 15 (values); Tompson,
Goroshin, Jain, LeCun, Bregler 2015, arXiv:1411.4280 (whole channels); Klambauer, Unterthiner, Mayr,
Hochreiter 2017, arXiv:1706.02515 (alpha dropout).
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from minicnn import random
from minicnn.differentiable import Array, Gradients
from minicnn.pointwise import pointwise
from minicnn.tensor import values_of
from minicnn_kernels import keep_mask
from minicnn_kernels.cuda import replay

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
ON_CPU = np.empty(0)
SATURATED = -SELU_ALPHA * SELU_SCALE  # what selu(x) tends to for x to -infinity


@pointwise
def keep(x: Array, /, mask: Array, scale: float) -> Array:
    """y = scale * x where the mask is set, else 0; a mask of channels holds for their values."""
    return x * (mask * x.dtype.type(scale))


@keep.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, mask: Array, scale: float) -> Gradients:
    return lambda: keep(dy, mask, scale)


@pointwise
def keep_or_saturate(
    x: Array, /, mask: Array, scale: float, saturated: float, shift: float
) -> Array:
    """y = scale * x where the mask is set, else the saturated value; everywhere plus a shift."""
    number = x.dtype.type
    return x * (mask * number(scale)) + (~mask * number(saturated) + number(shift))


@keep_or_saturate.gradient(saves="")
def _(
    dy: Array, y: Array, x: Array, *,
    mask: Array, scale: float, saturated: float, shift: float,
) -> Gradients:  # fmt: skip
    return lambda: keep(dy, mask, scale)


def dropout_training(x: Any, p: float, channels: bool = False) -> Any:
    """Set values, or whole channels, to 0 with probability p; scale the others by 1 / (1 - p)."""
    mask = dropout_mask(_mask_shape(x.shape, channels), p, like=values_of(x))
    return keep(x, mask, 1 / (1 - p) if p < 1 else 0.0)


def alpha_dropout_training(x: Any, p: float, channels: bool = False) -> Any:
    """Set values, or whole channels, to s with probability p, so that mean and variance stay.

    y = a * (x where kept, else s) + b, a = ((1 - p) * (1 + p * s^2))^(-1/2), b = -a * p * s

    s is the value at which selu saturates.  Of x with mean 0 and variance 1, what stands in the
    brackets has mean p * s and variance (1 - p) * (1 + p * s^2); a and b make them 0 and 1 again.
    """
    if p == 1:
        return x * 0.0
    mask = dropout_mask(_mask_shape(x.shape, channels), p, like=values_of(x))
    a = 1 / sqrt((1 - p) * (1 + p * SATURATED**2))
    return keep_or_saturate(x, mask, a, a * SATURATED, -a * p * SATURATED)


def _mask_shape(shape: tuple[int, ...], channels: bool) -> tuple[int, ...]:
    """Return one place for each value, or for each channel: (N, C, 1, ...)."""
    return (*shape[:2], *[1] * (len(shape) - 2)) if channels else shape


def dropout_mask(shape: tuple[int, ...], p: float, like: Any = ON_CPU) -> Array:
    """Draw a mask that is True with probability 1 - p, on the device of an array.

    Value number i, counted in reading order whatever the order in memory, is kept when word i % 2
    of the 64-bit number i // 2 of the Philox stream of this call (see `minicnn.random`), a number
    in [0, 2^32), is at least p * 2^32: the same on every device.
    """
    draw = lambda: keep_mask(like, random.default.next_key(), shape=shape, p=p)  # noqa: E731
    return replay.repeated(draw)
