"""The one name for "an array" and the few questions asked about one."""

from __future__ import annotations

import ctypes
import os
from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from minicnn_kernels import cards
from minicnn_kernels.cuda import memory, replay
from minicnn_kernels.errors import DeviceError

Array: TypeAlias = npt.NDArray[Any]

CACHE_LINE = 64  # bytes
IMAGE_DIMENSIONS = (3, 4, 5)  # of images with one to three sides, and of their filters


def device_of(array: Any) -> str:
    """Name the device that holds `array`: "cpu", or "cuda:0" for the first card.

    >>> device_of(np.zeros(3))
    'cpu'
    """
    if isinstance(array, (np.ndarray, np.generic)):
        return "cpu"
    return f"cuda:{array.device.id}"


def is_on_card(value: Any) -> bool:
    """Say whether this is an array that lies on a card."""
    return hasattr(type(value), "__cuda_array_interface__")


def can_be_changed(x: Any) -> bool:
    """Say whether values may be written, each to a place of its own."""
    if isinstance(x, np.ndarray):
        return x.flags.writeable
    return is_on_card(x) and 0 not in x.strides


def keep_freed_memory() -> None:
    """Let the C library keep freed arrays for the next ones instead of returning their pages.

    glibc returns blocks above a threshold to the system at once, and what is free at the end of its
    memory; a new page then costs a microsecond.  Other C libraries are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        trim_threshold, mmap_threshold, largest_allowed = -1, -3, 2**25
        mallopt(mmap_threshold, largest_allowed)
        mallopt(trim_threshold, 2**28)


def aligned_empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """Make an array that begins where a cache line does: a vector then never lies in two.

    NumPy's own begin at any multiple of 16 bytes; loads of 64 take up to twice as long from there.
    """
    n_bytes = prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(n_bytes + CACHE_LINE, np.uint8)
    start = -address_of(memory) % CACHE_LINE
    aligned: Array = memory[start : start + n_bytes].view(dtype).reshape(shape)
    return aligned


def as_channels_last(x: Array) -> Array:
    """See (N, C, ...) as (N, ..., C).

    >>> as_channels_last(np.zeros((2, 3, 4, 5))).shape
    (2, 4, 5, 3)
    """
    return x.transpose(0, *range(2, x.ndim), 1)


def as_channels_first(x: Array) -> Array:
    """See (N, ..., C) as (N, C, ...).

    >>> as_channels_first(np.zeros((2, 4, 5, 3))).shape
    (2, 3, 4, 5)
    """
    return x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))


def address_of(x: Array) -> int:
    """Return where in memory the first value lies; `x.ctypes` takes several microseconds."""
    place: int = x.__array_interface__["data"][0]
    return place


def is_floating(dtype: Any) -> bool:
    """Say whether values of this type can have a gradient.

    >>> is_floating(np.dtype("float32")), is_floating(np.dtype("int64"))
    (True, False)
    """
    found = np.dtype(dtype)
    return bool(found.kind == "f" or (found.kind == "V" and found.name == "bfloat16"))


def to_device(array: Any, device: str) -> Any:
    """Return the array on `device`: "cpu", "cuda" or "cuda:1"; a copy if it has to move.

    "cuda" is the current card.  Images and filters, (N, C, ...), get their channels last in memory
    there, as kernels for cards want them.

    Raises:
        DeviceError: there is no such device, or no CuPy to reach it.
        OutOfMemoryError: it has no room.
    """
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise DeviceError(f'unknown device {device!r}; it must be "cpu", "cuda" or "cuda:1"')
    on_host = isinstance(array, np.ndarray)
    if kind == "cpu" and on_host:
        return array
    if kind == "cpu":
        replay.refuse(f"values of an array of shape {array.shape} are read on the CPU")
        return array.get()
    with cards.device(int(number) if number else None) as card, memory.named("to", [array]):
        if not on_host and array.device == card:
            return array
        replay.refuse(f"an array of shape {array.shape} is copied to a card")
        moved = cards.cupy().asarray(array) if on_host else array.copy()
        if moved.ndim not in IMAGE_DIMENSIONS:
            return moved
        return as_channels_first(cards.cupy().ascontiguousarray(as_channels_last(moved)))
