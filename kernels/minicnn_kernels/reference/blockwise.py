"""Formulas of many passes, computed on one part of the array after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn_kernels.arrays import Array, at_hand
from minicnn_kernels.pointwise import Lazy
from minicnn_kernels.threads import parallel

BLOCK = 32768
"""Values in a block: in float32 it stays in a second-level cache, with its intermediate results."""


def in_blocks(formula: Callable[..., Any], *arrays: Any, length: int = BLOCK) -> Array:
    """y[i] = formula(x[i], ...), computed block by block; `formula` takes and gives flat arrays.

    A formula of n steps would send the whole array through memory n times.  The memory order of
    the result is that of the arrays.
    """
    y: Array
    if not all(isinstance(array, np.ndarray) for array in arrays):
        y = formula(*arrays)  # a GPU has no cache to stay in, and small steps would cost it
        return y.astype(arrays[0].dtype, copy=False)
    if arrays[0].size >= 2 * length and all(
        x.flags.c_contiguous and x.shape == arrays[0].shape for x in arrays
    ):
        return _on_all_threads(formula, arrays, length)
    modes: Any = [*([["readonly"]] * len(arrays)), ["writeonly", "allocate"]]
    flags: Any = ["external_loop", "buffered", "zerosize_ok"]
    blocks = np.nditer([*arrays, None], flags, modes, order="K", buffersize=length)
    with blocks, np.errstate(all="ignore"):  # a formula may choose not to use an Inf
        for *parts, block in blocks:
            block[...] = formula(*parts)
        y = blocks.operands[-1]
    return y


def _on_all_threads(formula: Callable[..., Any], arrays: tuple[Array, ...], length: int) -> Array:
    """Compute block by block as `in_blocks`, on arrays that lie in memory alike."""
    y = np.empty(arrays[0].shape, np.result_type(*arrays))
    out, *flat = (x.reshape(-1) for x in (y, *arrays))

    def blocks(begin: int, end: int) -> None:
        with np.errstate(all="ignore"):
            for start in range(begin, end, length):
                here = slice(start, min(start + length, end))
                out[here] = formula(*(x[here] for x in flat))

    parallel(blocks, y.size, grain=length)
    return y


def pieces(x: Array, conditions: list[Array], formulas: list[Any]) -> Array:
    """Return np.piecewise: formulas[k](x) where conditions[k] holds, else the last, if it is left.

    A card computes each formula everywhere.
    """
    if at_hand(x):
        return np.piecewise(x, conditions, formulas)
    values = [formula(x) if callable(formula) else formula for formula in formulas]
    y: Any = values.pop() if len(values) > len(conditions) else 0
    for condition, value in zip(conditions, values, strict=True):
        y = np.where(condition, value, y)
    chosen: Array = y
    return chosen


def choose(condition: Array, a: Any, b: Any) -> Any:
    """y[i] = a[i] where the condition holds, else b[i], as np.where, without a branch per value.

    A branch that cannot be foretold costs some 15 cycles.  Here the condition becomes a number of
    all ones or all zeros in binary, m, and y is b ^ ((a ^ b) & m).
    """
    if any(isinstance(value, Lazy) for value in (condition, a, b)):
        return np.where(condition, a, b)
    dtype = np.result_type(a, b)
    if (
        dtype not in (np.float32, np.float64)
        or np.size(condition) < BLOCK
        or not at_hand(condition)
    ):
        y: Array = np.where(condition, a, b)
        return y
    whole = np.dtype(f"i{dtype.itemsize}")

    def pick(mask: Array, first: Array, second: Array) -> Array:
        bits: Array = np.negative(mask.view(np.int8), dtype=whole)
        bits &= first.view(whole) ^ second.view(whole)
        bits ^= second.view(whole)
        return bits.view(dtype)

    return in_blocks(pick, condition, np.asarray(a, dtype), np.asarray(b, dtype))
