"""Random numbers that only a key and a place decide, so that every device draws the same.

Paper: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.registry import Kernel

keep_mask = Kernel("keep_mask")
"""Draw a mask of a shape, on the device of an array, that is True with probability 1 - p."""


def _cost(like: Any, key: Array, *, shape: tuple[int, ...], p: float) -> float:
    return prod(shape)


@keep_mask.algorithm("philox", cost=_cost)
def philox(like: Any, key: Array, shape: tuple[int, ...], p: float) -> Array:
    """mask[i] = word i % 2 of number i // 2 of the stream of the key >= p * 2^32.

    The stream is Philox 4x64-10; its numbers have 64 bits, word 0 being the lower half.
    """
    count = prod(shape)
    words = np.random.Philox(key=key).random_raw((count + 1) // 2)
    words = words.astype("<u8", copy=False).view("<u4")[:count]
    kept: Array = (words >= np.uint64(round(p * 2**32))).reshape(shape)
    return kept


keep_mask.compiled("philox_cuda", "random.keep_mask", "the same, eight words in a thread",
                   device="cuda", cost=_cost)  # fmt: skip
