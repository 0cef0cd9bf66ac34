"""Formulas of many passes, computed on one part of the array after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn_kernels.arrays import Array

BLOCK = 32768
"""Values in a block: in float32 it stays in a second-level cache, with its intermediate results."""


def in_blocks(formula: Callable[..., Any], *arrays: Array, length: int = BLOCK) -> Array:
    """y[i] = formula(x[i], ...), computed block by block; `formula` takes and gives flat arrays.

    A formula of n steps would send the whole array through memory n times.  The memory order of
    the result is that of the arrays.
    """
    y: Array
    if not all(isinstance(array, np.ndarray) for array in arrays):
        y = formula(*arrays)  # a GPU has no cache to stay in, and small steps would cost it
        return y
    modes: Any = [*([["readonly"]] * len(arrays)), ["writeonly", "allocate"]]
    flags: Any = ["external_loop", "buffered", "zerosize_ok"]
    blocks = np.nditer([*arrays, None], flags, modes, order="K", buffersize=length)
    with blocks, np.errstate(all="ignore"):  # a formula may choose not to use an Inf
        for *parts, block in blocks:
            block[...] = formula(*parts)
        y = blocks.operands[-1]
    return y
