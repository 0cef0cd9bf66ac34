"""Values that kernels read several at once, see pack.cuh: their types, and how many."""

from __future__ import annotations

from typing import Any

PACK = 4  # values that are read at once, if they lie so

SUFFIX = {"float32": "f32", "bfloat16": "bf16", "uint8": "u8", "int32": "i32", "float64": "f64"}
"""What the names of a kernel's variants end with, by the names of types."""

STORED = ("float32", "bfloat16")  # types of values that kernels of this kind take


def pack_of(run: int, *arrays: Any) -> int:
    """Return how many values are read at once: PACK, or 1 where runs or arrays are not aligned."""
    aligned = run % PACK == 0 and not any(
        array.data.ptr % (PACK * array.dtype.itemsize) for array in arrays
    )
    return PACK if aligned else 1
