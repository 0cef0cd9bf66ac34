"""What the fixture `gradcheck` of the pytest plugin does."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from minicnn.gradcheck import Report, gradcheck, gradcheck_pair, gradgradcheck
from minicnn.gradcheck.compare import AT_KINK
from minicnn.testing.operations import raise_if_refused

SLOWEST = 3
Record = dict[str, Any]  # plain values only: it travels between processes


class GradcheckFixture:
    """Check gradients in a test, with settings from the command line and from markers.

    ::

        @pytest.mark.gradcheck(rtol=1e-6)
        def test_my_layer(gradcheck):
            gradcheck(MyLayer(4), x)
            gradcheck.second(my_function, (x, y))
            gradcheck.pair(my_forward, my_backward, [x, w], mode="full")

    Attributes:
        records: one per check: test, function, verdict, seconds, comparisons, kinks, files.
    """

    def __init__(self, test: str, settings: dict[str, Any], folder: Path | None = None) -> None:
        self.test, self.settings, self.folder = test, settings, folder
        self.records: list[Record] = []

    def __call__(self, func: Callable[..., Any], inputs: Any, **settings: Any) -> Report:
        """Check the gradients of a function, an operation, a layer or a model."""
        __tracebackhide__ = True  # of a failed check pytest shall show the report only
        return self._checked(gradcheck, (func, inputs), settings)

    def second(self, func: Callable[..., Any], inputs: Any, **settings: Any) -> Report:
        """Check the second derivatives."""
        __tracebackhide__ = True
        return self._checked(gradgradcheck, (func, inputs), settings)

    def pair(
        self,
        forward: Callable[..., Any],
        backward: Callable[..., Any],
        inputs: Sequence[Any],
        **settings: Any,
    ) -> Report:
        """Check a backward written in plain NumPy against its forward."""
        __tracebackhide__ = True
        return self._checked(gradcheck_pair, (forward, backward, inputs), settings)

    def _checked(
        self, check: Callable[..., Report], arguments: tuple[Any, ...], given: dict[str, Any]
    ) -> Report:
        __tracebackhide__ = True
        settings = {**self.settings, **given}
        report = check(*arguments, **{**settings, "raise_exception": False})
        self.records.append(
            {
                "test": self.test,
                "function": report.signature(),
                "verdict": report.verdict,
                "seconds": report.seconds,
                "comparisons": report.compared,
                "kinks": sum(row.counts.get(AT_KINK, 0) for row in report.rows),
                "files": [] if report or self.folder is None else self._saved(report, self.folder),
            }
        )
        raise_if_refused(report, settings)
        return report

    def _saved(self, report: Report, folder: Path) -> list[str]:
        """Write a report, and say in it where; a full disk must not hide what it says."""
        name = re.sub(r"[^\w.-]+", "-", self.test)[-80:]
        stem = f"{name}-{zlib.crc32(self.test.encode()):08x}-{len(self.records)}"
        files = [folder / f"{stem}.json", folder / f"{stem}.html"]
        try:
            for file in files:
                report.save(file)
        except OSError as error:
            report.notes.insert(0, f"the report could not be written: {error}")
            return []
        report.notes.insert(0, f"the whole report: {files[1]}")
        return [str(file) for file in files]


def summary(records: Sequence[Record]) -> list[str]:
    """Return the lines that tell, after all tests, what was checked."""
    verdicts = [record["verdict"] for record in records]
    counts = [(verdicts.count(v), v) for v in ("pass", "fail", "inconclusive")]
    seconds = sum(record["seconds"] for record in records)
    kinks = [record for record in records if record["kinks"]]
    lines = [
        f"{_number(len(records), 'check')}: {', '.join(f'{n} {v}' for n, v in counts if n)}; "
        f"{_number(sum(r['comparisons'] for r in records), 'comparison')} in {seconds:.2f} s"
    ]
    slowest = sorted(records, key=lambda record: -record["seconds"])[:SLOWEST]
    lines += [f"slow: {record['seconds']:.2f} s  {record['test']}" for record in slowest]
    for record in records:
        if record["verdict"] == "inconclusive":
            lines.append(f"inconclusive: {record['test']}  {record['function']}")
    if kinks:
        touched = sum(record["kinks"] for record in kinks)
        lines.append(
            f"kinks: {_number(touched, 'comparison')} at a kink in {_number(len(kinks), 'check')}, "
            f"first {kinks[0]['test']}"
        )
    files = [Path(file) for record in records for file in record["files"]]
    if files:
        lines.append(f"reports: {_number(len(files), 'file')} in {files[0].parent}")
    return lines


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
