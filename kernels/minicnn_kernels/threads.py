"""One pool of threads for all kernels: `parallel` runs a compiled kernel on all cores.

A kernel takes part in a range, kernel(begin, end, ...), and gives up the interpreter's lock
while it runs.  The caller works too, and takes the parts that no other thread has begun: so nothing
is lost when a thread is slow to wake, and a call from inside a kernel, from two Python threads at
once, or after a fork cannot wait for ever.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from itertools import pairwise
from queue import SimpleQueue
from typing import Any

from minicnn_kernels.errors import ArgumentError

_inside = threading.local()


class _Job:
    """One call of `parallel`: the parts that nobody has begun, and a queue of those finished."""

    def __init__(self, kernel: Callable[..., None], arguments: Any, parts: list[Any]) -> None:
        self.kernel, self.arguments = kernel, arguments
        self.parts = iter(parts)  # `next` of a list's iterator is safe between threads
        self.finished: SimpleQueue[BaseException | None] = SimpleQueue()

    def work(self) -> None:
        """Compute parts until none is left; put None, or what went wrong, in the queue for each."""
        for begin, end in self.parts:
            try:
                self.kernel(begin, end, *self.arguments)
                self.finished.put(None)
            except BaseException as error:
                self.finished.put(error)


class _Pool:
    """Threads that wait for jobs; started when the first job comes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self.threads: list[threading.Thread] = []

    def start(self) -> None:
        while len(self.threads) < self.size - 1:
            thread = threading.Thread(target=self._run, daemon=True, name="minicnn kernels")
            self.threads.append(thread)
            thread.start()

    def _run(self) -> None:
        _inside.kernel = True
        while (job := self.jobs.get()) is not None:
            job.work()

    def stop(self) -> None:
        for _ in self.threads:
            self.jobs.put(None)


def _default_size() -> int:
    for name in ("MINICNN_NUM_THREADS", "OMP_NUM_THREADS"):
        if (value := os.environ.get(name, "")).isdigit() and int(value) > 0:
            return int(value)
    available = getattr(os, "sched_getaffinity", None)
    return len(available(0)) if available else os.cpu_count() or 1


_pool = _Pool(_default_size())


def _forget_threads() -> None:
    """In a forked process there are no threads but the caller's: start anew when needed."""
    global _pool
    _pool = _Pool(_pool.size)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


def get_num_threads() -> int:
    """Return the number of threads that kernels run on."""
    return _pool.size


def set_num_threads(number: int) -> None:
    """Let kernels, and NumPy's matrix product, run on this many threads.

    At first it is MINICNN_NUM_THREADS, else OMP_NUM_THREADS, else the processors available.

    Raises:
        ArgumentError: not a positive integer.
    """
    global _pool
    if not isinstance(number, int) or number < 1:
        raise ArgumentError(f"set_num_threads: needs a positive integer, got {number!r}")
    from threadpoolctl import threadpool_limits

    threadpool_limits(number, user_api="blas")
    _pool.stop()
    _pool = _Pool(number)


def parallel(
    kernel: Callable[..., None], count: int, *arguments: Any, grain: int = 1, pieces: int = 1
) -> None:
    """Call kernel(begin, end, *arguments) for parts of range(count), on all threads at once.

    Args:
        kernel: compiled without the interpreter's lock; writes only what belongs to its part.
        grain: the least number of items worth a part; below two of them only the caller works.
        pieces: parts per thread; more than one evens out parts, or cores, of unequal speed.
    """
    pool = _pool
    parts = min(pool.size * pieces, count // max(1, grain))
    if parts < 2 or pool.size == 1 or getattr(_inside, "kernel", False):
        if count > 0:
            kernel(0, count, *arguments)
        return
    bounds = [count * i // parts for i in range(parts + 1)]
    job = _Job(kernel, arguments, list(pairwise(bounds)))
    pool.start()
    for _ in range(min(pool.size, parts) - 1):
        pool.jobs.put(job)
    job.work()
    for error in [job.finished.get() for _ in range(parts)]:
        if error is not None:
            raise error
