"""Produce items in a background thread, a few ahead of the reader."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")

THREAD_NAME = "minicnn-prefetch"


@dataclass
class _End:
    """What the thread hands over last: the error that stopped it, if one did."""

    error: BaseException | None = None


def prefetched(items: Iterable[T], ahead: int) -> Iterator[T]:
    """Yield `items`, of which up to `ahead` wait ready while the reader is busy.

    The thread starts with the first item asked for. An error in it is raised here, with its own
    traceback. A reader that leaves early (break, an error, garbage collection) stops the thread:
    it ends with the item it is working on, and nobody waits for that.

    >>> list(prefetched(range(5), ahead=2))
    [0, 1, 2, 3, 4]
    """
    # The reader may be closed by the garbage collector, at any moment and in any thread. Hence
    # SimpleQueue, whose put() is safe there; queue.Queue could meet its own lock and hang. The
    # thread must not know this generator, or the collector would never find it unused.
    ready: SimpleQueue[T | _End] = SimpleQueue()
    room: SimpleQueue[None] = SimpleQueue()  # one entry for each item that may be put in ready
    reader_left = threading.Event()
    for _ in range(ahead):
        room.put(None)
    threading.Thread(
        target=_produce, args=(items, ready, room, reader_left), name=THREAD_NAME, daemon=True
    ).start()
    try:
        while not isinstance(item := ready.get(), _End):
            room.put(None)
            yield item
        if item.error is not None:
            raise item.error
    finally:
        reader_left.set()
        room.put(None)  # wakes a thread that waits for room


def _produce(
    items: Iterable[T],
    ready: SimpleQueue[T | _End],
    room: SimpleQueue[None],
    reader_left: threading.Event,
) -> None:
    try:
        for item in items:
            room.get()
            if reader_left.is_set():
                return
            ready.put(item)
    except BaseException as error:  # also SystemExit: the reader must not wait for ever
        ready.put(_End(error))
    else:
        ready.put(_End())
