"""Taking turns: who is measured, for how long, and in which order.

A busy moment of the machine, a change of its clock rate or of its temperature must hit all
contestants alike.  So each runs for a short turn, then the next one, round after round; and the
minimum over all turns is the figure to compare.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from minicnn.errors import UsageError
from minicnn_kernels.arrays import Array
from minicnn_kernels.threads import parallel

Clock = Callable[[], float]

LARGEST_CACHE = Path("/sys/devices/system/cpu/cpu0/cache/index3/size")
ROUNDS = 5  # into which the least time of a contestant is divided
IDLE_STEP, IDLE_SHARE, IDLE_STEPS = 0.005, 0.2, 100  # seconds; of them at work; how often to look


@dataclass(frozen=True)
class Limits:
    """How long a contestant is measured, in seconds: at least min_time and min_runs, if within
    max_time."""

    min_time: float = 0.5
    min_runs: int = 10
    max_time: float = 5.0

    def __post_init__(self) -> None:
        if not (0 <= self.min_time <= self.max_time and self.min_runs >= 1):
            raise UsageError(
                f"--min-time must be at least 0 and at most --max-time, and --min-runs at least "
                f"1; got {self.min_time}, {self.max_time} and {self.min_runs}"
            )

    def enough(self, times: Sequence[float]) -> bool:
        """Say whether these runs will do."""
        return len(times) >= self.min_runs and sum(times) >= self.min_time

    def too_long(self, times: Sequence[float]) -> bool:
        """Say whether no further run may be made."""
        return bool(times) and sum(times) >= self.max_time


class Contestant(Protocol):
    """Somebody who takes turns."""

    def turn(self, seconds: float) -> list[float]:
        """Run for about so long and return the seconds of each run."""


def turn(
    call: Callable[[], Any],
    seconds: float,
    clock: Clock = time.perf_counter,
    before: Callable[[], None] = lambda: None,
) -> list[float]:
    """Time calls until `seconds` have passed, at least one; warm up first where that is cheap.

    Args:
        before: done before each run that is timed, and not part of its time.
    """
    start = clock()
    call()
    if (first := clock() - start) > seconds:
        return [first]  # so long a run does not feel what was in the caches before it
    times: list[float] = []
    start = now = clock()
    while now - start < seconds or not times:
        before()
        begin = clock()
        call()
        now = clock()
        times.append(now - begin)
    return times


@cache
def _filler() -> Array:
    """Return an array twice as large as the largest cache, in which all others fit."""
    try:
        text = LARGEST_CACHE.read_text().strip()
        size = int(text.rstrip("KMG")) * 2 ** {"K": 10, "M": 20, "G": 30}.get(text[-1], 0)
    except (OSError, ValueError):
        size = 64 * 2**20
    return np.zeros(2 * size, np.uint8)


def empty_caches() -> None:
    """Write to more memory than the caches hold, on all threads, so that nothing else is left."""
    filler = _filler()

    def write(begin: int, end: int) -> None:
        np.add(filler[begin:end], 1, out=filler[begin:end])

    parallel(write, filler.size, grain=2**20)


def settle(cpu: Clock = time.process_time, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait until no thread of this process is at work any more.

    After a product of matrices the threads of OpenBLAS wait for the next one, busily, for about
    0.1 s; those of OpenMP for some milliseconds.  Meanwhile the next contestant lacks a core.
    """
    for _ in range(IDLE_STEPS):
        before = cpu()
        sleep(IDLE_STEP)
        if cpu() - before < IDLE_SHARE * IDLE_STEP:
            return


def take_turns(contestants: Sequence[Contestant], limits: Limits) -> list[list[float]]:
    """Return the seconds of all runs of each contestant, made in turns until all have enough."""
    times: list[list[float]] = [[] for _ in contestants]
    while not all(limits.enough(t) or limits.too_long(t) for t in times):
        for contestant, its_times in zip(contestants, times, strict=True):
            if not limits.too_long(its_times):
                its_times += contestant.turn(limits.min_time / ROUNDS)
    return times
