"""The one name for "an array" and the few questions asked about one."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
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
    kind = type(value)  # NumPy's first: to look for what is not there takes ten times as long
    return kind is not np.ndarray and hasattr(kind, "__cuda_array_interface__")


def can_be_changed(x: Any) -> bool:
    """Say whether values may be written, each to a place of its own."""
    if isinstance(x, np.ndarray):
        return x.flags.writeable
    if not is_on_card(x):
        return False
    return all(n == 1 or step != 0 for n, step in zip(x.shape, x.strides, strict=True))


def at_hand(value: Any) -> bool:
    """Say whether looking at values does not wait for a card.

    >>> at_hand(np.zeros(3)), at_hand(0.5)
    (True, True)
    """
    return isinstance(value, (np.ndarray, np.generic, int, float))


def as_array(value: Any) -> Array:
    """Return an array of either device as it is, and numbers and lists as NumPy's array.

    >>> as_array(np.float32(0.5)), as_array([1, 2])
    (array(0.5, dtype=float32), array([1, 2]))
    """
    array: Array = value if is_on_card(value) else np.asarray(value)
    return array


def filled(x: Array, number: Any) -> Any:
    """Return a number as the card that holds x takes it without a copy from the host."""
    if not is_on_card(x):
        return number
    value = np.empty((), x.dtype, like=x)
    value[...] = number
    return value


def contiguous(x: Array) -> Array:
    """Return the array itself if its values lie in reading order, else a copy that does."""
    return x if x.flags.c_contiguous else x.copy()


def beside(x: Any, table: Any) -> Array:
    """Return a small table, made by NumPy, where x lies; a card keeps each that it was given.

    So positions and weights are copied in the first step only, and later ones can be captured.
    """
    if not (is_on_card(x) and isinstance(table, np.ndarray)):
        array: Array = table
        return array
    return _table(device_of(x), table.tobytes(), table.shape, table.dtype)


@cache
def _table(device: str, values: bytes, shape: tuple[int, ...], dtype: Any) -> Array:
    found: Array = to_device(np.frombuffer(values, dtype).reshape(shape), device)
    return found


def as_strided(
    x: Any, shape: tuple[int, ...], strides: tuple[int, ...], writeable: bool = False
) -> Array:
    """Look at the memory of x in another shape, with these steps in bytes."""
    if not is_on_card(x):
        return np.lib.stride_tricks.as_strided(x, shape, strides, writeable=writeable)
    view: Array = cards.cupy().lib.stride_tricks.as_strided(x, shape, strides)
    return view


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


def on(device: str) -> AbstractContextManager[Any]:
    """Let new arrays of a card lie on this one, inside a `with` block.

    Raises:
        DeviceError: there is no such device, or no CuPy to reach it.
    """
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise DeviceError(f'unknown device {device!r}; it must be "cpu", "cuda" or "cuda:1"')
    if kind == "cpu":
        return nullcontext()
    card: AbstractContextManager[Any] = cards.device(int(number) if number else None)
    return card


def like(device: str) -> Array:
    """Return an array of nothing, for NumPy's argument `like`: `np.zeros(3, like=like("cuda"))`."""
    return _NOTHING if device == "cpu" else _nothing_on_card()


_NOTHING = np.empty(0)


@cache
def _nothing_on_card() -> Array:
    nothing: Array = cards.cupy().empty(0)
    return nothing


def new(device: str, shape: tuple[int, ...], make: Callable[[tuple[int, ...]], Array]) -> Array:
    """Return make(shape) on a device; images on cards have their channels last in memory."""
    with on(device):
        if device == "cpu" or len(shape) not in IMAGE_DIMENSIONS:
            return make(shape)
        images, channels, *sides = shape
        return as_channels_first(make((images, *sides, channels)))


def taken_to(x: Any, array: Array) -> Array:
    """Return an array where x lies; a copy of one on the CPU, if that is a card."""
    if not is_on_card(x):
        return array
    taken: Array = to_device(array, device_of(x))
    return taken


def drawn(x: Any, draw: Callable[[], Array]) -> Array:
    """Return numbers that NumPy draws where x lies; a captured step draws them anew each time."""
    if not is_on_card(x):
        return draw()
    numbers: Array = replay.repeated(lambda: replay.numbers(draw()))
    return _channels_last_in_memory(numbers)


def to_device(array: Any, device: str) -> Any:
    """Return the array on `device`: "cpu", "cuda" or "cuda:1"; a copy if it has to move.

    "cuda" is the current card.  Images and filters, (N, C, ...), get their channels last in memory
    there, as kernels for cards want them.

    Raises:
        DeviceError: there is no such device, or no CuPy to reach it.
        OutOfMemoryError: it has no room.
    """
    place, on_host = on(device), not is_on_card(array)
    if device == "cpu" and on_host:
        return array
    if device == "cpu":
        replay.refuse(f"values of an array of shape {array.shape} are read on the CPU")
        return array.get()
    with place as card, memory.named("to", [array]):
        if not on_host and array.device == card:
            return array
        replay.refuse(f"an array of shape {array.shape} is copied to a card")
        moved = cards.cupy().asarray(array) if on_host else array.copy()
        return _channels_last_in_memory(moved)


def _channels_last_in_memory(x: Array) -> Array:
    """Return images and filters of a card in the order that its kernels want."""
    if x.ndim not in IMAGE_DIMENSIONS:
        return x
    return as_channels_first(contiguous(as_channels_last(x)))
