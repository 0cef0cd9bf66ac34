"""`minicnn gradcheck --planted`: the checker on known mistakes, and on code that is right."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import minicnn
from minicnn.cli.progress import progress
from minicnn.errors import UsageError

if TYPE_CHECKING:
    from minicnn.gradcheck.planted import Planted
    from minicnn.gradcheck.proof import Outcome, Proof

WIDTH = 200  # characters of a line about a miss


def run(options: argparse.Namespace, settings: dict[str, Any]) -> int:
    """Check the pairs, print a table and every miss; return 0 if the checker is good enough."""
    from minicnn.gradcheck.planted import all_planted, all_tricky
    from minicnn.gradcheck.proof import prove
    from minicnn.io.files import write_json

    if options.html or options.model or options.shape or options.order == 2:
        raise UsageError("--planted takes names of mistakes, settings and --json; nothing else")
    wrong, tricky = all_planted(), all_tricky()
    if options.targets:
        wrong, tricky = picked(options.targets, wrong, tricky)
    with progress(len(wrong) + len(tricky), "pair") as (write, tick):

        def tell(outcome: Outcome) -> None:
            if options.targets:
                write(told(outcome))
            tick()

        proof = prove(wrong, tricky, progress=tell, **settings)
    print("\n".join(table(proof)))
    if options.json:
        write_json(options.json, {"minicnn": minicnn.__version__, **proof.to_dict()})
    return 0 if proof else 1


def picked(
    names: Sequence[str], *sets: Sequence[Planted]
) -> tuple[tuple[Planted, ...], tuple[Planted, ...]]:
    """Return the pairs that are named, alone or by their family.

    Raises:
        UsageError: there is no such name.
    """
    from minicnn.cli.targets import near

    known = dict.fromkeys(word for cases in sets for case in cases for word in _names(case))
    for name in names:
        if name not in known:
            raise UsageError(f"no planted mistake {name!r}; {near(name, list(known))}")
    wrong, tricky = (
        tuple(case for case in cases if set(_names(case)) & set(names)) for cases in sets
    )
    return wrong, tricky


def _names(case: Planted) -> tuple[str, str]:
    return case.family, case.name


def told(outcome: Outcome) -> str:
    """Return what is wrong with a pair, and what the checker said."""
    case = outcome.case
    truth = f"planted: {', '.join(case.causes)}" if case.causes else "nothing is wrong with it"
    said = outcome.said if outcome.report is None else str(outcome.report)
    return f"{case.name}: {case.description}  ({truth})\n{said}\n"


def table(proof: Proof) -> list[str]:
    """Return the figures family by family, then every miss by name."""
    lines = [f"{'family':<16}{'planted':>9}{'caught':>9}{'right cause':>13}"]
    for family, outcomes in proof.families().items():
        lines.append(_row(family, outcomes))
    lines.append(_row("all", proof.wrong))
    lines.append(
        f"right pairs that look wrong: {len(proof.tricky)}, false alarms {len(proof.alarms)}, "
        f"inconclusive {len(proof.undecided)}"
    )
    for title, outcomes in (
        ("not caught", proof.missed),
        ("false alarm", proof.alarms),
        ("inconclusive", proof.undecided),
        ("other cause", proof.misnamed),
    ):
        lines += [_miss(title, outcome) for outcome in outcomes]
    verdict = "good" if proof else "NOT GOOD ENOUGH"
    lines.append(
        f"{verdict}: {1 - len(proof.missed) / max(len(proof.wrong), 1):.0%} caught, "
        f"{proof.named_share:.0%} with the right cause, {proof.seconds:.1f} s"
    )
    return lines


def _row(title: str, outcomes: Sequence[Outcome]) -> str:
    caught, named = (sum(getattr(o, what) for o in outcomes) for what in ("caught", "named"))
    return f"{title:<16}{len(outcomes):>9}{caught:>9}{named:>13}"


def _miss(title: str, outcome: Outcome) -> str:
    case = outcome.case
    expected = f" (it is: {' or '.join(case.causes)})" if case.causes else ""
    said = f"{outcome.cause}: {outcome.said}" if outcome.cause else outcome.said or "no cause named"
    first = f"  {title:<13}{case.family}/{case.name}{expected}"
    return f"{first}\n      said {outcome.verdict}, {said}"[: len(first) + WIDTH]
