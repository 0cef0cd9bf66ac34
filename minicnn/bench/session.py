"""A session: one number of threads, the other process, the roof; and contest after contest."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any

from minicnn.bench import machine, peak
from minicnn.bench.contest import Entry, Station, compete
from minicnn.bench.kinds import Kind
from minicnn.bench.peak import Roof
from minicnn.bench.results import Result, rate
from minicnn.bench.station import Own, on_device
from minicnn.bench.timing import Limits
from minicnn.bench.work import Operands, Work
from minicnn.bench.worker import Remote, Worker, expected
from minicnn_kernels.precision import math_mode
from minicnn_kernels.threads import get_num_threads, set_num_threads


@dataclass(frozen=True)
class Plan:
    """Who competes, where and for how long.

    Attributes:
        algorithms: by name; "all": all that can compute a work; "auto": what minicnn chooses.
        rivals: PyTorch's variants.
        baseline: the contestant to compare with; None: the fastest rival, else the reference.
        cold: whether the caches are emptied before each run.
        math: how exactly a card multiplies, see `minicnn_kernels.precision`.
    """

    kind: Kind
    algorithms: Sequence[str]
    rivals: Sequence[str] = ()
    devices: Sequence[str] = ("cpu",)
    layouts: Sequence[str] = ("nhwc",)
    baseline: str | None = None
    limits: Limits = field(default_factory=Limits)
    cold: bool = False
    math: str = "fp32"


class Session:
    """Contests on a number of threads, within a `with` block.

    Attributes:
        facts: what the figures depend on.
        roofs: what each device allows.
    """

    facts: dict[str, str]
    roofs: dict[str, Roof]

    def __init__(self, plan: Plan, threads: int) -> None:
        self.plan, self.threads = plan, threads
        self.worker: Worker | None = None
        self.others: list[Worker] = []

    def __enter__(self) -> Session:
        self.before = ExitStack()  # puts back what is changed
        self.before.callback(set_num_threads, get_num_threads())
        try:
            set_num_threads(self.threads)
            self.before.enter_context(math_mode(self.plan.math))
            self.roofs = {device: peak.measure(device) for device in self.plan.devices}
            if self.plan.rivals:
                self.worker = self._worker(torch=True)
            self.facts = {**machine.facts(), **(self.worker.facts if self.worker else {})}
            if "cuda" in self.plan.devices:
                self.facts |= machine.card_facts()
            if self.plan.cold:
                self.facts["caches"] = "emptied before each run"
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        for worker in [self.worker, *self.others]:
            if worker:
                worker.close()
        self.before.close()

    def contest(self, work: Work) -> list[Result]:
        """Let all contestants compute a work."""
        operands = work.operands()
        own, rivals = self._own(work, operands), self._rivals()
        entries = [*own, *rivals]
        if self.plan.kind.apart:
            right = expected(work, self.threads)
            operands = {}  # the other processes draw their own
        else:
            right = work.expected(operands)
        results = compete(work, operands, right, entries, self.threads, self.plan.limits)
        while self.others:
            self.others.pop().close()
        rate(results, self._baseline(own, rivals))
        for result in results:
            result.under(self.roofs[result.device])
        return results

    def _baseline(self, own: Sequence[Entry], rivals: Sequence[Entry]) -> list[str]:
        """Return those of which the fastest is the one to compare with."""
        if self.plan.baseline:
            return [self.plan.baseline]
        if rivals:
            return [entry.station.label for entry in rivals]
        labels = [entry.station.label for entry in own]
        reference = self.plan.kind.reference
        return [label for label in labels if label.partition("/")[0] == reference] or labels[:1]

    def _own(self, work: Work, operands: Operands) -> list[Entry]:
        """Return minicnn's contestants: algorithms, on each device, with each layout."""
        kind, entries = self.plan.kind, []
        for device, layout in product(self.plan.devices, self.plan.layouts):
            able = kind.served_by(work, operands, device)
            every = able if kind.algorithms == "all" else [*able, "auto"]
            names: dict[str, None] = {}
            for name in self.plan.algorithms:
                names |= dict.fromkeys(every if name == "all" else [name])
            for name in names:
                label = self._label(name, device, layout)
                entries.append(Entry(self._station(name, label, device), device, layout))
        return entries

    def _station(self, name: str, label: str, device: str) -> Station:
        """Return the place of one of minicnn's contestants: this process or one of its own."""
        if self.plan.kind.apart:
            return Remote(label, self._other(torch=False), name, device, self.plan.cold)
        build = on_device(partial(self.plan.kind.build, name), device)
        return Own(label, build, measures_memory=device == "cpu", cold=self.plan.cold)

    def _other(self, torch: bool) -> Worker:
        self.others.append(self._worker(torch))
        return self.others[-1]

    def _worker(self, torch: bool) -> Worker:
        return Worker(self.threads, torch, MINICNN_MATH=self.plan.math)

    def _rivals(self) -> list[Entry]:
        """Return PyTorch's contestants."""
        if self.worker is None:
            return []
        entries = []
        for device, variant in product(self.plan.devices, self.plan.rivals):
            worker = self._other(torch=True) if self.plan.kind.apart else self.worker
            station = Remote(self._label(variant, device), worker, variant, device, self.plan.cold)
            entries.append(Entry(station, device, "nhwc" if variant == "torch-cl" else "nchw"))
        return entries

    def _label(self, name: str, device: str, layout: str = "") -> str:
        """Add device and layout to a name where there are several."""
        parts = [name]
        if len(self.plan.devices) > 1 and device != "cpu":
            parts.append(device)
        if len(self.plan.layouts) > 1 and layout:
            parts.append(layout)
        return "/".join(parts)
