"""Scratch memory that each thread keeps: new pages for each call would cost more than the work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from math import prod
from typing import Any

import numpy as np

from minicnn_kernels.arrays import Array, aligned_empty
from minicnn_kernels.constants import is_constant, kept

_thread = threading.local()


def workspace(name: str, shape: int | tuple[int, ...], dtype: Any) -> Array:
    """Return this thread's scratch memory of that name, aligned; it holds anything.

    The next call with the same name, from the same thread, returns the same memory.  So a name
    belongs to one function, which needs it no longer when it returns.
    """
    shape = (shape,) if isinstance(shape, int) else shape
    n_bytes = prod(shape) * np.dtype(dtype).itemsize
    memory = vars(_thread).get(name)
    if memory is None or memory.nbytes < n_bytes:
        memory = vars(_thread)[name] = aligned_empty((n_bytes,), np.uint8)
    scratch: Array = memory[:n_bytes].view(dtype).reshape(shape)
    return scratch


def prepared(
    w: Array, name: str, how: Hashable, shape: tuple[int, ...], fill: Callable[[Array], None]
) -> Array:
    """Return memory that `fill` fills from w: scratch or, of a constant, filled once and kept."""
    if not is_constant(w):
        scratch = workspace(name, shape, w.dtype)
        fill(scratch)
        return scratch

    def make() -> Array:
        memory = aligned_empty(shape, w.dtype)
        fill(memory)
        return memory

    return kept(w, (name, how), make)
