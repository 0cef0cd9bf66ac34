"""Dropout: in training each value is kept with probability 1 - p; in inference nothing happens.

Paper: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov 2014, JMLR 15.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import random
from minicnn.differentiable import Array, Gradients, differentiable


@differentiable
def keep(x: Array, /, mask: Array, scale: float) -> Array:
    """y = scale * x where the mask is set, else 0."""
    return x * mask * scale


@keep.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, mask: Array, scale: float) -> Gradients:
    return lambda: keep(dy, mask, scale)


def dropout_training(x: Any, p: float) -> Any:
    """Set values to 0 with probability p and scale the others by 1 / (1 - p)."""
    return keep(x, dropout_mask(x.shape, p), 1 / (1 - p) if p < 1 else 0.0)


def dropout_mask(shape: tuple[int, ...], p: float) -> Array:
    """Draw a mask that is True with probability 1 - p.

    Value number i is kept when word i % 2 of the 64-bit number i // 2 of the Philox stream, a
    number in [0, 2^32), is at least p * 2^32: the same on every device.
    """
    count = int(np.prod(shape))
    words = random.default.numpy_generator().bit_generator.random_raw((count + 1) // 2)
    words = words.astype("<u8", copy=False).view("<u4")[:count]
    return (words >= np.uint64(round(p * 2**32))).reshape(shape)
