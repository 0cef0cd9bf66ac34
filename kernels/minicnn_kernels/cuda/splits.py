"""Sums that blocks have split among them, added in order."""

from __future__ import annotations

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.cuda.launch import launch
from minicnn_kernels.cuda.packs import SUFFIX

THREADS, VALUES = 256, 32


def add_parts(
    parts: Array, dtype: np.dtype,
    bias: Array | None = None, add: Array | None = None, relu: bool = False,
) -> Array:  # fmt: skip
    """y[...] = sum_s parts[s,...], in the order of s; `parts` are float32.

    Args:
        bias: is added, a value for each place of the last dimension; so is `add`, of y's shape.
        relu: whether y is 0 where it would be negative.
    """
    if len(parts) == 1 and parts.dtype == dtype and bias is add is None and not relu:
        first: Array = parts[0]
        return first
    y: Array = np.empty(parts.shape[1:], dtype, like=parts)
    launch(
        "splits.cu", f"add_parts_{SUFFIX[dtype.name]}", (-(-y.size // VALUES),), (THREADS,),
        (
            *(parts, y, np.int64(y.size), np.int32(len(parts))),
            *(bias, add, np.int32(y.shape[-1]), np.int32(relu)),
        ),
    )  # fmt: skip
    return y
