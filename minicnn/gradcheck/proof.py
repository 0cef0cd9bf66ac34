"""The checker proves itself: wrong backwards must be caught, right ones that look wrong must not.

A checker that never fails is worth nothing, and one that fails without a mistake is soon ignored.
`prove` runs it over the pairs of `minicnn.gradcheck.planted`, whose faults are known.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from minicnn.gradcheck.check import gradcheck_pair
from minicnn.gradcheck.planted import Planted, all_planted, all_tricky
from minicnn.gradcheck.report import Report

NAMED_SHARE = 0.85  # of the wrong pairs: the share whose mistake must be named rightly


@dataclass(frozen=True)
class Outcome:
    """What the checker said about one pair.

    Attributes:
        case: the pair, and what is wrong with it.
        verdict: "pass", "fail" or "inconclusive"; "error" if the checker itself gave up.
        cause: the key of the likeliest cause, empty if the report names none.
        said: the sentence that goes with it.
        seconds: how long the check took.
        report: the report; None after an error.
    """

    case: Planted
    verdict: str
    cause: str
    said: str
    seconds: float
    report: Report | None = None

    @property
    def caught(self) -> bool:
        """Whether the pair was called wrong."""
        return self.verdict == "fail"

    @property
    def named(self) -> bool:
        """Whether the likeliest cause is a right name for the mistake."""
        return self.caught and self.cause in self.case.causes

    def to_dict(self) -> dict[str, Any]:
        """Return name, verdict and cause as plain values."""
        return {
            "name": self.case.name,
            "family": self.case.family,
            "planted": list(self.case.causes),
            "verdict": self.verdict,
            "cause": self.cause,
            "said": self.said,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class Proof:
    """What came out over all pairs; true in a condition if it is good enough.

    Attributes:
        wrong: the outcomes of the pairs with a planted mistake.
        tricky: the outcomes of the right pairs that look wrong.
        seconds: how long everything took.
    """

    wrong: list[Outcome]
    tricky: list[Outcome]
    seconds: float

    @property
    def missed(self) -> list[Outcome]:
        """The mistakes that were not caught; inconclusive is not caught."""
        return [outcome for outcome in self.wrong if not outcome.caught]

    @property
    def misnamed(self) -> list[Outcome]:
        """The mistakes that were caught, but not called by a right name."""
        return [outcome for outcome in self.wrong if outcome.caught and not outcome.named]

    @property
    def alarms(self) -> list[Outcome]:
        """The right pairs that were called wrong."""
        return [outcome for outcome in self.tricky if outcome.verdict in ("fail", "error")]

    @property
    def undecided(self) -> list[Outcome]:
        """The right pairs about which nothing could be said."""
        return [outcome for outcome in self.tricky if outcome.verdict == "inconclusive"]

    @property
    def named_share(self) -> float:
        """The share of the mistakes that were called by a right name; 1 if there are none."""
        return sum(outcome.named for outcome in self.wrong) / len(self.wrong) if self.wrong else 1.0

    def __bool__(self) -> bool:
        return not self.missed and not self.alarms and self.named_share >= NAMED_SHARE

    def families(self) -> dict[str, list[Outcome]]:
        """Return the planted mistakes family by family."""
        found: dict[str, list[Outcome]] = {}
        for outcome in self.wrong:
            found.setdefault(outcome.case.family, []).append(outcome)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain lists, numbers and texts."""
        return {
            "planted": len(self.wrong),
            "caught": sum(outcome.caught for outcome in self.wrong),
            "named": sum(outcome.named for outcome in self.wrong),
            "tricky": len(self.tricky),
            "false alarms": len(self.alarms),
            "inconclusive": len(self.undecided),
            "seconds": self.seconds,
            "outcomes": [outcome.to_dict() for outcome in (*self.wrong, *self.tricky)],
        }


def prove(
    planted: Sequence[Planted] | None = None,
    tricky: Sequence[Planted] | None = None,
    *,
    progress: Callable[[Outcome], Any] = lambda outcome: None,
    **settings: Any,
) -> Proof:
    """Check every planted and every tricky pair.

    >>> from minicnn.gradcheck.planted import all_planted
    >>> proof = prove(all_planted()[:1], ())
    >>> proof.wrong[0].verdict
    'fail'

    Args:
        planted: the wrong pairs; by default all that come with minicnn.
        tricky: the right pairs; by default all.
        progress: called with each outcome as soon as it is known.
        settings: as for `gradcheck_pair`: `mode`, `seed`, ...
    """
    start = time.perf_counter()

    def outcomes(cases: Sequence[Planted]) -> list[Outcome]:
        found = []
        for case in cases:
            found.append(judge(case, **settings))
            progress(found[-1])
        return found

    wrong = outcomes(all_planted() if planted is None else planted)
    right = outcomes(all_tricky() if tricky is None else tricky)
    return Proof(wrong, right, time.perf_counter() - start)


def judge(case: Planted, **settings: Any) -> Outcome:
    """Check one pair and keep what was said about it."""
    start = time.perf_counter()
    try:
        pair = case.build()
        report = gradcheck_pair(*pair, **{"progress": False, **settings, "raise_exception": False})
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        return Outcome(case, "error", "", said, time.perf_counter() - start)
    best = report.causes[0] if report.causes and not report else None
    cause, said = (best.cause, best.text) if best else ("", "")
    return Outcome(case, report.verdict, cause, said, time.perf_counter() - start, report)
