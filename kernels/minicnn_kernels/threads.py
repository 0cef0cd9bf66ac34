"""`parallel` runs a kernel on all cores.

A kernel computes a part of a range, kernel(begin, end, ...), and gives up the interpreter's lock
while it runs.  The caller works too, and takes the parts that no other thread has begun: so nothing
is lost when a thread is slow to wake, and a call from inside a kernel, from two Python threads at
once, or after a fork cannot wait for ever.

Kernels compiled by Numba run on threads that need no lock to start (`cpu/pool.py`, some 3 us);
Python functions that call compiled ones on those of this file (some 60 us).
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable
from functools import cached_property
from importlib import import_module
from itertools import pairwise
from queue import SimpleQueue
from typing import Any

from minicnn_kernels.errors import ArgumentError

_inside = threading.local()

HAS_COMPILED = os.name == "posix" and sys.maxsize > 2**32  # where cpu/pool.py works


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
        if "compiled" in vars(self):
            self.compiled.stop()

    @cached_property
    def compiled(self) -> Any:
        """The threads for compiled kernels; made when the first of them is to run."""
        return import_module("minicnn_kernels.cpu.pool").Pool(self.size)

    def run(self, kernel: Callable[..., None], count: int, parts: int, arguments: Any) -> None:
        bounds = [count * i // parts for i in range(parts + 1)]
        job = _Job(kernel, arguments, list(pairwise(bounds)))
        self.start()
        for _ in range(min(self.size, parts) - 1):
            self.jobs.put(job)
        job.work()
        for error in [job.finished.get() for _ in range(parts)]:
            if error is not None:
                raise error


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


def _end() -> None:
    _pool.stop()


atexit.register(_end)  # no thread may run compiled code when the interpreter takes it down
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
    kernel: Callable[..., None],
    count: int,
    *arguments: Any,
    grain: int = 1,
    pieces: int | None = None,
) -> None:
    """Call kernel(begin, end, *arguments) for parts of range(count), on all threads at once.

    Args:
        kernel: compiled without the interpreter's lock; writes only what belongs to its part.
        grain: the least number of items worth a part; below two of them only the caller works.
        pieces: parts per thread; more than one evens out parts, or cores, of unequal speed. At
            first 4 for compiled kernels, for which a part costs next to nothing, else 1.
    """
    pool = _pool
    compiled = HAS_COMPILED and type(kernel).__name__ == "CPUDispatcher"  # without importing Numba
    parts = min(pool.size * (pieces or (4 if compiled else 1)), count // max(1, grain))
    if parts < 2 or pool.size == 1 or getattr(_inside, "kernel", False):
        if count > 0:
            kernel(0, count, *arguments)
    elif not (compiled and pool.compiled.run(kernel, count, parts, arguments)):
        pool.run(kernel, count, parts, arguments)
