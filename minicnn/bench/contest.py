"""A contest: all contestants compute the same work; those whose result is right are measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from minicnn.bench.results import FAILED, SKIPPED, WRONG, Result
from minicnn.bench.station import Started
from minicnn.bench.timing import Limits, take_turns
from minicnn.bench.work import Operands, Work, in_layout, relative_error
from minicnn.errors import AlgorithmError, DeviceError
from minicnn_kernels.arrays import Array

Turns = Callable[[Sequence["Station"], Limits], list[list[float]]]


class Station(Protocol):
    """A contestant at its place: `station.Own` or `worker.Remote`."""

    label: str

    def start(self, work: Work, operands: Operands) -> Started:
        """Compute once."""

    def turn(self, seconds: float) -> list[float]:
        """Compute for about so long, and return the seconds of each run."""

    def stop(self) -> None:
        """Let go of the arrays."""


@dataclass
class Entry:
    """A contestant's entry: who computes where, and with arrays in which memory order."""

    station: Station
    device: str = "cpu"
    layout: str = "nhwc"


def compete(
    work: Work,
    operands: Operands,
    expected: Sequence[Array],
    entries: Sequence[Entry],
    threads: int,
    limits: Limits,
    turns: Turns = take_turns,
) -> list[Result]:
    """Compare every entry's result with what is expected; let those that are right take turns."""
    layouts = {entry.layout for entry in entries}
    laid_out = {layout: in_layout(operands, layout) for layout in layouts}
    results, running = [], []
    for entry in entries:
        result = empty_result(work, entry, threads)
        results.append(result)
        try:
            started = entry.station.start(work, laid_out[entry.layout])
        except AlgorithmError:
            result.status, result.note = SKIPPED, "does not serve this"
            continue
        except DeviceError as error:  # a package for kernels of this kind is missing
            result.status, result.note = SKIPPED, str(error)
            continue
        except Exception as error:  # an algorithm under test may raise anything
            result.status, result.note = FAILED, f"{type(error).__name__}: {error}"
            continue
        note_start(result, work, started, expected)
        if result.status == WRONG:
            entry.station.stop()
        else:
            running.append((entry.station, result))
    try:
        times = turns([station for station, _ in running], limits)
    finally:
        for station, _ in running:
            station.stop()
    for (_, result), seconds in zip(running, times, strict=True):
        result.times = seconds
    return results


def empty_result(work: Work, entry: Entry, threads: int) -> Result:
    """Return a result that says only who does what."""
    problem = work.problem
    return Result(
        layer=problem.name or problem.key,
        problem=problem.key,
        count=problem.count,
        direction=work.direction,
        contestant=entry.station.label,
        device=entry.device,
        threads=threads,
        layout=entry.layout,
        flops=work.flops,
        executed=work.flops,
        bytes=work.bytes,
    )


def note_start(result: Result, work: Work, started: Started, expected: Sequence[Array]) -> None:
    """Note what the first call showed, and judge its result."""
    result.algorithms = started.algorithms
    result.executed = work.executed(started.algorithms)
    result.compile_seconds, result.scratch_bytes = started.compile_seconds, started.scratch_bytes
    worst = 0.0
    for part, algorithm, found, right in zip(
        work.parts, started.algorithms, started.samples, expected, strict=True
    ):
        error, tolerance = relative_error(found, right), work.tolerance(part, algorithm)
        if error / tolerance >= worst:
            worst, result.error, result.tolerance = error / tolerance, error, tolerance
    if worst > 1:
        result.status = WRONG
        result.note = f"relative error {result.error:.1e}, allowed {result.tolerance:.1e}"
