"""A measurement beside an older one: what has become slower."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from minicnn.bench.results import OK, Report, Result
from minicnn.errors import FileFormatError
from minicnn.io.files import StrPath


@dataclass(frozen=True)
class Change:
    """One measurement made twice; `ratio` is the new least time over the old one."""

    result: Result
    old: float
    ratio: float


def load(path: StrPath) -> Report:
    """Read what `minicnn bench --json` wrote.

    Raises:
        FileFormatError: it is another file.
        OSError: it cannot be read.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return Report.from_dict(json.load(file))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(
            f"{path} was not written by minicnn bench --json: {type(error).__name__}: {error}"
        ) from None


def changes(new: Sequence[Result], old: Sequence[Result]) -> list[Change]:
    """Pair what was measured both times, the slowest-grown first."""
    before = {result.key: result for result in old}
    found = []
    for result in new:
        past = before.get(result.key)
        if past and past.least and result.least:
            found.append(Change(result, past.least, result.least / past.least))
    return sorted(found, key=lambda change: -change.ratio)


def lost(new: Sequence[Result], old: Sequence[Result]) -> list[Result]:
    """Return what had a right result before, and has none now."""
    right = {result.key for result in old if result.status == OK}
    return [result for result in new if result.status != OK and result.key in right]


def table(now: Report, before: Report, limit: float) -> tuple[str, bool]:
    """Describe the changes, and say whether any is a regression, slower by more than `limit`."""
    new, old = now.results, before.results
    found, gone = changes(new, old), lost(new, old)
    slower = [change for change in found if change.ratio > 1 + limit]
    faster = [change for change in found if change.ratio < 1 - limit]
    lines = [f"{'':2}{'before ms':>10}{'now ms':>10}{'change':>8}"] if slower or faster else []
    for change in [*slower, *faster]:
        lines.append(
            f"  {change.old * 1e3:>10.3f}{(change.result.least or 0) * 1e3:>10.3f}"
            f"{change.ratio - 1:>+8.1%}  {_named(change.result)}"
        )
    lines += [f"  {result.status}, was right before: {_named(result)}" for result in gone]
    lines.append(
        f"{len(found)} of {len(new)} measured before as well: {len(slower)} slower and "
        f"{len(faster)} faster by more than {limit:.0%}"
    )
    if now.machine != before.machine:
        lines.append("the older file is of another machine or other versions: compare with care")
    return "\n".join(lines), bool(slower or gone)


def _named(result: Result) -> str:
    return f"{result.layer} {result.direction} {result.contestant}"
