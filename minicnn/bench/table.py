"""Results as text: a line for each contestant, and the totals over a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from minicnn.bench.peak import Roof
from minicnn.bench.results import OK, Result

NAME_WIDTH = 26
BUSY, BUSY_SHARE = 1.3, 0.25  # median over minimum of a disturbed one; share of those to warn at


@dataclass(frozen=True)
class Column:
    """A column of the table: its title, its width, and the text of a result in it."""

    title: str
    width: int
    text: Callable[[Result], str]


def _number(value: float | None, form: str, scale: float = 1.0) -> str:
    return "-" if value is None else format(value * scale, form)


COLUMNS = [
    Column("min ms", 9, lambda r: _number(r.least, ".3f", 1e3)),
    Column("median", 9, lambda r: _number(r.median, ".3f", 1e3)),
    Column("GFLOP/s", 9, lambda r: _number(r.rate, ".1f", 1e-9)),
    Column("% peak", 7, lambda r: _number(r.of_peak(), ".0f", 100)),
    Column("% roof", 7, lambda r: _number(r.of_limit(), ".0f", 100)),
    Column("scratch", 8, lambda r: _number(r.scratch_bytes, ".1f", 1e-6)),
    Column("error", 8, lambda r: _number(r.error, ".0e")),
    Column("speed-up", 9, lambda r: _number(r.speedup, ".2f") + "x" * (r.speedup is not None)),
]
MORE = [
    Column("p90", 9, lambda r: _number(r.p90, ".3f", 1e3)),
    Column("runs", 6, lambda r: str(len(r.times))),
    Column("executed", 9, lambda r: _number(r.executed_rate, ".1f", 1e-9)),
    Column("GB/s", 7, lambda r: _number(r.bandwidth, ".1f", 1e-9)),
    Column("jit s", 6, lambda r: _number(r.compile_seconds, ".1f")),
    Column("layout", 7, lambda r: r.layout),
    Column("device", 7, lambda r: r.device),
    Column("threads", 8, lambda r: str(r.threads)),
]


def heading(facts: dict[str, Any], threads: int, roofs: dict[str, Roof], wide: bool = False) -> str:
    """Describe the machine, and name the columns."""
    lines = [f"{name:<12}{value}" for name, value in facts.items()]
    lines.append(f"{'threads':<12}{threads}")
    for device, roof in roofs.items():
        name = "roof" if device == "cpu" else f"roof, {device}"
        lines.append(
            f"{name:<12}{roof.flops / 1e9:.0f} GFLOP/s in registers, "
            f"{roof.bandwidth / 1e9:.1f} GB/s to memory and back, measured just now"
        )
    titles = "".join(f"{column.title:>{column.width}}" for column in _columns(wide))
    return "\n".join([*lines, "", f"  {'':<6}{'':<{NAME_WIDTH}}{titles}"])


def group(results: Sequence[Result], before: Sequence[Result], wide: bool = False) -> str:
    """Give a line for each contestant of a work, below a title unless the last one still holds."""
    lines = [line(result, wide) for result in results]
    if not before or title(before[-1]) != title(results[0]):
        lines.insert(0, title(results[0]))
    return "\n".join(lines)


def title(result: Result) -> str:
    """Say what is computed, and what the roofline allows."""
    name = f"{result.layer}  " if result.layer != result.problem else ""
    times = f" (x{result.count})" if result.count > 1 else ""
    intensity = f", {result.intensity:.3g} FLOP/byte" if result.bytes else ""
    roof = f", at most {result.limit / 1e9:.0f} GFLOP/s" if result.limit else ""
    return f"{name}{result.problem}{times}: {operations(result.flops)}{intensity}{roof}"


def operations(flops: int) -> str:
    """Write a number of operations with a handy unit.

    >>> operations(3_580_000_000), operations(15_600)
    ('3.58 GFLOP', '15.6 kFLOP')
    """
    unit, size = next(
        (unit, size)
        for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1))
        if flops >= size
    )
    return f"{flops / size:.3g} {unit}FLOP"


def line(result: Result, wide: bool = False) -> str:
    """Give one contestant's figures, or say why there are none."""
    start = f"  {result.direction:<6}{shortened(label(result)):<{NAME_WIDTH}}"
    if result.status != OK:
        return f"{start}  {result.status}: {result.note}"
    return start + "".join(f"{column.text(result):>{column.width}}" for column in _columns(wide))


def label(result: Result) -> str:
    """Name the contestant, and the algorithms it chose."""
    chosen = "+".join(dict.fromkeys(result.algorithms))
    return (
        result.contestant if chosen in ("", result.contestant) else f"{result.contestant}: {chosen}"
    )


def shortened(text: str) -> str:
    """Cut a text to the width of its column."""
    return text if len(text) < NAME_WIDTH else f"{text[: NAME_WIDTH - 2]}…"


def _columns(wide: bool) -> list[Column]:
    return COLUMNS + MORE if wide else COLUMNS


# --- totals ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Total:
    """A contestant over all layers of a network, in one direction.

    Attributes:
        layers: how many it was measured on.
        seconds: of these layers, each as often as it occurs.
        mean: the geometric mean of the speed-ups; None without a baseline.
        worst: the layer with the least speed-up.
    """

    direction: str
    contestant: str
    threads: int
    layers: int
    seconds: float
    mean: float | None
    wins: int
    losses: int
    worst: Result | None


def totals(results: Iterable[Result]) -> list[Total]:
    """Sum up, for each number of threads, direction and contestant."""
    groups: dict[tuple[int, str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.threads, result.direction, result.contestant), []).append(result)
    return [_total(group) for group in groups.values()]


def _total(group: Sequence[Result]) -> Total:
    timed = [result for result in group if result.least is not None]
    rated = [result for result in timed if result.speedup]
    logarithms = [math.log(result.speedup) for result in rated if result.speedup]
    return Total(
        direction=group[0].direction,
        contestant=group[0].contestant,
        threads=group[0].threads,
        layers=len(timed),
        seconds=sum(result.count * (result.least or 0) for result in timed),
        mean=math.exp(sum(logarithms) / len(logarithms)) if logarithms else None,
        wins=sum((result.speedup or 0) > 1 for result in rated),
        losses=sum((result.speedup or 0) < 1 for result in rated),
        worst=min(rated, key=lambda result: result.speedup or 0, default=None),
    )


def warning(results: Sequence[Result]) -> str:
    """Say so if the machine was busy with something else, as the spread of the runs shows."""
    spreads = [r.median / r.least for r in results if r.median and r.least]
    disturbed = sum(spread > BUSY for spread in spreads)
    if disturbed <= BUSY_SHARE * len(spreads):
        return ""
    return (
        f"{disturbed} of {len(spreads)} medians lie {BUSY - 1:.0%} or more above the minimum: "
        f"something else was running; measure again"
    )


def footing(results: Sequence[Result]) -> str:
    """Give the totals of a suite, each layer as often as it occurs."""
    several = len({result.threads for result in results}) > 1
    heads = f"{'total ms':>10}{'layers':>8}{'mean':>8}{'won':>5}{'lost':>5}  worst layer"
    lines = [f"  {'':<6}{'each layer times its count':<{NAME_WIDTH}}{heads}"]
    for total in totals(results):
        name = f"{total.contestant} @{total.threads}" if several else total.contestant
        text = f"  {total.direction:<6}{shortened(name):<{NAME_WIDTH}}"
        seconds = _number(total.seconds if total.layers else None, ".2f", 1e3)
        text += f"{seconds:>10}{total.layers:>8}"
        if total.mean and total.worst:
            text += f"{total.mean:>7.2f}x{total.wins:>5}{total.losses:>5}"
            if total.wins + total.losses:
                text += f"  {total.worst.speedup:.2f}x {total.worst.layer}"
        lines.append(text)
    if baseline := sorted({result.baseline for result in results if result.baseline}):
        lines.append(
            f"  mean: the geometric mean of the speed-ups over {' or '.join(baseline)}, "
            f"whichever is faster"
        )
    return "\n".join(lines)
