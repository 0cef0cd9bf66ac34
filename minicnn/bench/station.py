"""A contestant at its place: it computes once to be checked, and then takes turns.

`Own` computes in this process.  `worker.Remote` lets another process do it.
"""

from __future__ import annotations

import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from minicnn.bench.timing import Clock, empty_caches, settle, turn
from minicnn.bench.work import Operands, Work
from minicnn_kernels.arrays import Array, to_device

PATIENCE = 2.0  # seconds: a call that takes longer is not made again only to measure its memory


@dataclass
class Built:
    """A call that computes a work.

    Attributes:
        algorithms: those that were chosen, one for each part of the work.
        fetch: turns what the call returns into arrays, one for each part.
    """

    call: Callable[[], Any]
    algorithms: list[str]
    fetch: Callable[[Any], list[Array]] = list


Build: TypeAlias = Callable[[Work, Operands], Built]


@dataclass
class Started:
    """What the first calls of a contestant showed.

    Attributes:
        samples: values of the results at the places that are checked.
        scratch_bytes: memory that a call takes beside operands and result; None if unknown.
    """

    samples: list[Array]
    algorithms: list[str]
    compile_seconds: float = 0.0
    scratch_bytes: int | None = None


@dataclass
class Own:
    """A contestant in this process.

    Attributes:
        label: its name in the table.
        build: makes the call for a work and its operands.
        cold: whether the caches are emptied before each run.
    """

    label: str
    build: Build
    clock: Clock = time.perf_counter
    measures_memory: bool = True
    cold: bool = False
    built: Built = field(init=False)

    def start(self, work: Work, operands: Operands) -> Started:
        """Compute once, compiling what has to be compiled."""
        self.built = self.build(work, operands)
        compiled, begin = compile_seconds(), self.clock()
        result = self.built.fetch(self.built.call())
        seconds, compiled = self.clock() - begin, compile_seconds() - compiled
        samples = work.sampled(result)
        scratch = None
        if self.measures_memory and seconds - compiled < PATIENCE:
            scratch = scratch_bytes(self.built.call, sum(array.nbytes for array in result))
        settle()
        return Started(samples, self.built.algorithms, compiled, scratch)

    def turn(self, seconds: float) -> list[float]:
        """Compute for about so long."""
        before = (empty_caches,) if self.cold else ()
        times = turn(self.built.call, seconds, self.clock, *before)
        settle()
        return times

    def stop(self) -> None:
        """Let go of the arrays."""
        del self.built


def on_device(build: Build, device: str) -> Build:
    """Return a builder whose arrays lie on a device, and whose calls wait until it has finished."""
    if device == "cpu":
        return build

    def built(work: Work, operands: Operands) -> Built:
        moved = {name: to_device(array, device) for name, array in operands.items()}
        there = build(work, moved)
        place = next(iter(moved.values())).device

        def call() -> Any:
            result = there.call()
            place.synchronize()
            return result

        def fetch(results: Any) -> list[Array]:
            return [to_device(array, "cpu") for array in there.fetch(results)]

        return Built(call, there.algorithms, fetch)

    return built


def compile_seconds() -> float:
    """Return the seconds that compiling has taken so far, without importing Numba for it."""
    compiler = sys.modules.get("minicnn_kernels.cpu.jit")
    return float(compiler.compile_seconds()) if compiler else 0.0


def scratch_bytes(call: Callable[[], Any], result_bytes: int) -> int:
    """Return the memory that a call takes at most, beside its result.

    It runs in a thread of its own: workspaces that are kept for the next call belong to a thread,
    and count here as in the first call.
    """
    peak = 0

    def measured() -> None:
        nonlocal peak
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        call()
        peak = tracemalloc.get_traced_memory()[1] - before

    tracemalloc.start()
    try:
        thread = threading.Thread(target=measured)
        thread.start()
        thread.join()
    finally:
        tracemalloc.stop()
    return max(0, peak - result_bytes)
