"""The norm of several arrays together in two launches, which nobody waits for: norm.cu."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.cuda import replay
from minicnn_kernels.cuda.launch import launch
from minicnn_kernels.cuda.packs import SUFFIX
from minicnn_kernels.cuda.pointwise import CHUNK, blocks_of, table_of
from minicnn_kernels.strides import without_gaps

THREADS = 256


def norm_of_all(*arrays: Any, order: float) -> Array:
    """(sum_i |x[i]|^order)^(1 / order) over all arrays, or max_i |x[i]| for the order infinity."""
    first = arrays[0]
    suffix, exponent = SUFFIX[first.dtype.name], first.dtype.type(order)
    dense = [without_gaps(x) for x in arrays]
    members = [[x] for x in dense]
    blocks = blocks_of(members)
    parts = np.empty(blocks, first.dtype, like=first)
    norm: Array = np.empty((), first.dtype, like=first)
    if blocks:
        table = replay.same_numbers(lambda: table_of(members))
        launch(
            "norm.cu", f"norm_parts_{suffix}", (blocks,), (THREADS,),
            (table, np.int32(len(members)), np.int32(CHUNK), exponent, parts),
        )  # fmt: skip
    launch(
        "norm.cu", f"norm_of_parts_{suffix}", (1,), (THREADS,),
        (parts, np.int32(blocks), exponent, norm),
    )  # fmt: skip
    return norm
