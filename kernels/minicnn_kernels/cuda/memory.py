"""Memory of the current card: who holds it, and an error that says so when it is used up.

CuPy keeps the memory of freed arrays in a pool for the next ones.  A captured step has a pool of
its own, because its kernels write to the same places in every replay.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

from minicnn_kernels import cards
from minicnn_kernels.errors import OutOfMemoryError


class Pool:
    """The memory of a captured step."""

    def __init__(self) -> None:
        self.pool = cards.cupy().cuda.MemoryPool()
        _of_steps.add(self)


_of_steps: weakref.WeakSet[Pool] = weakref.WeakSet()


class Held(NamedTuple):
    """Bytes on a card.

    Attributes:
        arrays: of arrays, and of captured steps.
        reserved: those, and what the pools keep for the next arrays.
        free: what no program has taken.
        total: all there are.
    """

    arrays: int
    reserved: int
    free: int
    total: int


def held() -> Held:
    """Return who holds the memory of the current card."""
    cupy = cards.cupy()
    pool = cupy.get_default_memory_pool()
    of_steps = sum(int(step.pool.total_bytes()) for step in _of_steps)
    free, total = cupy.cuda.runtime.memGetInfo()
    arrays, reserved = int(pool.used_bytes()), int(pool.total_bytes())
    return Held(arrays + of_steps, reserved + of_steps, int(free), int(total))


@cache
def peak() -> Any:
    """Return what counts the bytes of arrays, `now` and `most`, from the first call on."""

    class Peak(cards.cupy().cuda.MemoryHook):  # type: ignore[misc]
        name = "minicnn"

        def __init__(self) -> None:
            self.now = self.most = held().arrays

        def malloc_postprocess(self, *, mem_size: int, mem_ptr: int, **others: Any) -> None:
            if mem_ptr:  # else there was no room
                self.now += mem_size
                self.most = max(self.most, self.now)

        def free_postprocess(self, *, mem_size: int, **others: Any) -> None:
            self.now -= mem_size

    counting = Peak()
    counting.__enter__()
    return counting


def give_back() -> None:
    """Return to the driver what the pools keep for the next arrays."""
    cupy = cards.cupy()
    cupy.get_default_memory_pool().free_all_blocks()
    cupy.get_default_pinned_memory_pool().free_all_blocks()


@contextmanager
def named(who: str, arrays: Iterable[Any]) -> Iterator[None]:
    """Let an error about memory inside a `with` block say who wanted it."""
    try:
        yield
    except OutOfMemoryError:
        raise
    except MemoryError as error:
        raise used_up(who, arrays, error) from None


def used_up(who: str, arrays: Iterable[Any], error: MemoryError) -> OutOfMemoryError:
    """Return the error for an operation that found no memory, on a card or on the CPU."""
    given = [array for array in arrays if hasattr(array, "dtype")]
    text = f"{who}: {str(error).rstrip('.') or 'out of memory'}"
    if given:
        text += f", given {', '.join(f'{array.dtype} {tuple(array.shape)}' for array in given)}"
    if not type(error).__module__.startswith("cupy"):
        return OutOfMemoryError(f"{text}; take a smaller batch")
    now = held()
    return OutOfMemoryError(
        f"{text}; on the card arrays hold {size(now.arrays)}, the pool keeps "
        f"{size(now.reserved - now.arrays)} more, {size(now.free)} of {size(now.total)} are free; "
        f"take a smaller batch, compute activations again in backward "
        f"(minicnn.utils.checkpoint), or give back what is kept (minicnn.cuda.empty_cache())"
    )


def size(count: int) -> str:
    """Spell a number of bytes.

    >>> size(300), size(5 * 2**20), size(80 * 2**30)
    ('300 B', '5.0 MiB', '80.0 GiB')
    """
    if count < 2**10:
        return f"{count} B"
    powers = (("KiB", 2**10), ("MiB", 2**20), ("GiB", 2**30))
    unit, power = [pair for pair in powers if pair[1] <= count][-1]
    return f"{count / power:.1f} {unit}"
