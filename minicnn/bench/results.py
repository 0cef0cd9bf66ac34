"""What comes out of a measurement, row by row: times, rates, errors; as JSON and CSV."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from minicnn.bench.peak import Roof

OK, WRONG, FAILED, SKIPPED = "ok", "FAIL", "error", "skipped"

Key = tuple[str, str, str, str, str, int]


def place(device: str, threads: int) -> str:
    """Name where something ran: the number of threads, or the card."""
    return str(threads) if device == "cpu" else device


@dataclass
class Result:
    """One contestant on one work.

    Attributes:
        layer: the name in the suite, or the problem.  problem: the text that repeats it.
        count: how often the layer occurs in its network.
        algorithms: what was chosen, one for each part of the work.
        status: "ok"; "FAIL" for a wrong result; "error" if there is none; "skipped" if the
            algorithm does not serve such a layer.  Only "ok" has times.
        note: why there are no times.
        flops: operations by definition.  executed: those that the algorithms make.
        bytes: of operands and result, each moved once; 0 if unknown.
        times: seconds of each run.
        limit: operations a second that are possible by the roofline.
        peak: operations a second that the device can do.
        error: relative error in the norm, against float64.
        scratch_bytes: memory beside operands and result; of a network all that it took.
        speedup: the baseline's least time over ours.
    """

    layer: str
    problem: str
    count: int
    direction: str
    contestant: str
    device: str
    threads: int
    layout: str
    flops: int
    executed: int
    bytes: int
    algorithms: list[str] = field(default_factory=list)
    status: str = OK
    note: str = ""
    times: list[float] = field(default_factory=list)
    limit: float | None = None
    peak: float | None = None
    error: float | None = None
    tolerance: float | None = None
    scratch_bytes: int | None = None
    compile_seconds: float = 0.0
    speedup: float | None = None
    baseline: str = ""

    @property
    def key(self) -> Key:
        """What identifies a measurement when it is repeated."""
        return (
            self.problem, self.direction, self.contestant, self.device, self.layout, self.threads
        )  # fmt: skip

    @property
    def place(self) -> str:
        """Where it ran: the number of threads, or the card."""
        return place(self.device, self.threads)

    @property
    def least(self) -> float | None:
        """The shortest run, in seconds."""
        return min(self.times, default=None)

    @property
    def median(self) -> float | None:
        """The run in the middle, in seconds."""
        return statistics.median(self.times) if self.times else None

    @property
    def p90(self) -> float | None:
        """The time that nine of ten runs do not exceed, in seconds."""
        return sorted(self.times)[(9 * len(self.times) - 1) // 10] if self.times else None

    @property
    def rate(self) -> float | None:
        """Operations a second by definition: what a caller gets."""
        return self.flops / self.least if self.least else None

    @property
    def executed_rate(self) -> float | None:
        """Operations a second that the processor made."""
        return self.executed / self.least if self.least else None

    @property
    def bandwidth(self) -> float | None:
        """Bytes a second, of operands and result; None if their number is unknown."""
        return self.bytes / self.least if self.least and self.bytes else None

    @property
    def intensity(self) -> float:
        """Operations for a byte; without limit if the bytes are unknown."""
        return self.flops / self.bytes if self.bytes else math.inf

    def of_peak(self) -> float | None:
        """The rate as a share of the peak; Winograd's may be above 1."""
        return self.rate / self.peak if self.rate and self.peak else None

    def of_limit(self) -> float | None:
        """The rate as a share of what the roofline allows."""
        return self.rate / self.limit if self.rate and self.limit else None

    def under(self, roof: Roof) -> None:
        """Note what the machine allows."""
        self.peak, self.limit = roof.flops, roof.limit(self.intensity)

    def to_dict(self) -> dict[str, Any]:
        """Return everything, in seconds, bytes and operations a second."""
        fields = asdict(self)
        times = fields.pop("times")
        return {
            **fields,
            "runs": len(times),
            "min_seconds": self.least,
            "median_seconds": self.median,
            "p90_seconds": self.p90,
            "flops_per_second": self.rate,
            "executed_flops_per_second": self.executed_rate,
            "bytes_per_second": self.bandwidth,
            "flops_per_byte": self.intensity if self.bytes else None,
            "of_peak": self.of_peak(),
            "of_limit": self.of_limit(),
            "times": times,
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Result:
        """Read what `to_dict` wrote."""
        return cls(**{name: fields[name] for name in cls.__dataclass_fields__})


@dataclass
class Report:
    """All results of a command, and what they depend on.

    Attributes:
        roofs: what the machine can do at most, by the place of a result.
    """

    kind: str
    machine: dict[str, str] = field(default_factory=dict)
    roofs: dict[str, Roof] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return {
            "kind": self.kind,
            "machine": self.machine,
            "roofs": {place: asdict(roof) for place, roof in self.roofs.items()},
            "results": [result.to_dict() for result in self.results],
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Report:
        """Read what `to_dict` wrote."""
        return cls(
            fields["kind"],
            fields["machine"],
            {place: Roof(**roof) for place, roof in fields["roofs"].items()},
            [Result.from_dict(result) for result in fields["results"]],
        )


def rate(results: Sequence[Result], baseline: Sequence[str]) -> None:
    """Note each one's speed-up over the fastest of the baseline; the results are of one work."""
    timed = [r for r in results if r.contestant in baseline and r.least]
    if timed:
        best = min(timed, key=lambda result: result.least or 0)
        for result in results:
            if result.least and best.least:
                result.speedup, result.baseline = best.least / result.least, best.contestant


def to_csv(results: Iterable[Result]) -> str:
    """Write a table for a spreadsheet, without the single runs."""
    rows = []
    for result in results:
        row = result.to_dict()
        del row["times"]
        rows.append({**row, "algorithms": "+".join(result.algorithms)})
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()
