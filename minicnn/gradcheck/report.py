"""The report: what was compared, what came out, where it is wrong and what the likely cause is."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minicnn.gradcheck.causes import CAUSES, Hint
from minicnn.gradcheck.compare import (
    AT_KINK,
    EXCUSED,
    INCONCLUSIVE,
    RIGHT,
    UNMEASURED,
    VANISHING,
    WRONG,
)
from minicnn.gradcheck.promises import Finding
from minicnn.gradcheck.search import Row, Tie
from minicnn.io.files import StrPath, write_text
from minicnn_kernels.arrays import Array

LINES = 25  # a report is at most so long
ROWS = 8  # inputs listed one by one
WORST = 4  # of these, so many with their worst element
MAP_ROWS, MAP_COLUMNS = 7, 60
OPEN_SHARE = 0.05  # more than this share of inconclusive directions, and the row is inconclusive
SIGNS = {UNMEASURED: " ", RIGHT: ".", AT_KINK: "k", VANISHING: ".", EXCUSED: "e",
         INCONCLUSIVE: "?", WRONG: "#"}  # fmt: skip
FIRST = ("raises", "count", "random", "unrepeatable", "input-modified", "upstream-modified", "none")


@dataclass
class Report:
    """What a gradient check found; true in a condition if the check passed.

    Attributes:
        name: the function that was checked.
        rows: one per input: states, measured slopes and their bounds.
        findings: promises that are broken.
        hints: likely causes, best first; empty where the evidence is weak.
        ties: elements that tie for a maximum and share the gradient wrongly.
        mode: "full" (each element) or "fast" (directions).
        calls: how often the function ran.  seconds: how long the check took.
    """

    name: str
    inputs: list[Array]
    names: list[str]
    settings: dict[str, Any]
    seed: int
    rows: list[Row] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    hints: list[Hint] = field(default_factory=list)
    ties: list[Tie] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    mode: str = "full"
    calls: int = 0
    seconds: float = 0.0
    repeat: str = ""
    error: Exception | None = None

    def __bool__(self) -> bool:
        return self.verdict == "pass"

    @property
    def verdict(self) -> str:
        """ "pass", "fail" or "inconclusive"."""
        verdicts = {row_verdict(row) for row in self.rows}
        if self.findings or "fail" in verdicts:
            return "fail"
        return "inconclusive" if "inconclusive" in verdicts else "pass"

    @property
    def compared(self) -> int:
        """The number of elements and directions that were compared."""
        return sum(sum(row.counts.values()) for row in self.rows)

    def found(self, cause: str) -> bool:
        """Say whether a promise of this name is broken."""
        return any(finding.cause == cause for finding in self.findings)

    @property
    def causes(self) -> list[Hint]:
        """Likely causes, the likeliest first: broken promises that explain wrong values, hints."""
        ties = [Hint("ties", self._tie_text(tie), 0.0) for tie in self.ties[:1]]
        promises = [Hint(finding.cause, finding.text, 0.0) for finding in self.findings]
        before = [hint for hint in promises if hint.cause in FIRST]
        after = [hint for hint in promises if hint.cause not in FIRST]
        found: dict[str, Hint] = {}
        for hint in (*before, *ties, *self.hints, *after):
            whole = hint._replace(text=f"{CAUSES[hint.cause]}: {hint.text}")
            found.setdefault(hint.cause, whole)
        return list(found.values())

    def _tie_text(self, tie: Tie) -> str:
        return (
            f"{len(tie.elements)} elements tie in output {tie.output}; together they get "
            f"{tie.claimed:.4g} of its gradient, and should get {tie.measured:.4g}: "
            f"{'each gets all of it' if tie.claimed > tie.measured else 'too little of it arrives'}"
        )

    # --- text --------------------------------------------------------------------------------

    def __str__(self) -> str:
        lines = [f"gradcheck {self.verdict.upper()}  {self.signature()}"]
        order = sorted(self.rows, key=lambda row: _ORDER.index(row_verdict(row)))
        for k, row in enumerate(order[:ROWS]):
            lines += self._row_lines(row)[: 2 if k < WORST else 1]
        if len(order) > ROWS:
            rest = [row_verdict(row) for row in order[ROWS:]]
            counts = ", ".join(f"{rest.count(v)} {v}" for v in _ORDER if v in rest)
            lines.append(f"  ... and {len(rest)} more inputs: {counts}")
        told = [hint.text for hint in self.causes[:2]] if not self else []
        words = ("likely cause", "or")[: len(told)]
        lines += [f"  {word}: {text}" for word, text in zip(words, told, strict=True)]
        known = {hint.cause for hint in self.causes[: len(told)]}
        broken = [str(finding) for finding in self.findings if finding.cause not in known]
        lines += [f"  broken promise: {text}" for text in broken[:3]]
        lines += [f"  note: {note}" for note in self.notes[:3]]
        again = self.repeat or f"the same call with mode={self.mode!r}, seed={self.seed}"
        tail = [f"  repeat: {again}"] if self.repeat or not self else []
        tail.append(
            f"  {self.mode} mode, seed {self.seed}: {self.compared} comparisons, "
            f"{self.calls} calls, {self.seconds:.2f} s"
        )
        picture = self._map(order[0], LINES - len(lines) - len(tail)) if order else []
        return "\n".join(_on_one_line(line) for line in (*lines, *picture, *tail))

    def signature(self) -> str:
        """Return the call as text: name, shapes and settings."""
        shapes = [f"{n} {list(x.shape)}" for n, x in zip(self.names, self.inputs, strict=False)]
        if len(shapes) > 4:
            shapes = [*shapes[:3], f"{len(shapes) - 3} more"]
        fixed = [f"{key}={value!r}" for key, value in self.settings.items()]
        return _on_one_line(f"{self.name}({', '.join([*shapes, *fixed])})")[:150]

    def _row_lines(self, row: Row) -> list[str]:
        name = self.names[row.place.position]
        counts = row.counts
        total = sum(counts.values())
        words = [f"{counts[state]} {word}" for state, word in _WORDS.items() if counts.get(state)]
        line = f"  {name:<12} {row_verdict(row):<12} {', '.join(words) or 'nothing'} of {total}"
        worst = row.worst
        if row_verdict(row) == "pass" or worst is None:
            return [line]
        index = ", ".join(str(i) for i in np.unravel_index(worst, row.place.shape))
        for tie in self.ties:
            if row.place.start + worst in tie.elements:
                return [
                    line,
                    f"      tied  {name}[{index}] and {len(tie.elements) - 1} more, together: "
                    f"backward {tie.claimed:.7g}, measured {tie.measured:.7g}",
                ]
        return [
            line,
            f"      worst {name}[{index}]: backward {row.claimed[worst]:.7g}, "
            f"measured {row.measured[worst]:.7g} ± {row.bound[worst]:.1g}",
        ]

    def _map(self, row: Row, room: int) -> list[str]:
        """Draw where a gradient is wrong: the last two axes, the others laid over each other."""
        if row_verdict(row) != "fail" or not np.any(row.state == WRONG) or room < 3:
            return []
        picture = state_map(row)
        if picture.size < 2:
            return []
        rows, columns = picture.shape
        shown, top, left = _window(picture, min(room - 1, MAP_ROWS), MAP_COLUMNS)
        cut = f"; from [{top}, {left}] of {rows} x {columns}" if shown.size < picture.size else ""
        title = f"  map of d{self.names[row.place.position]} (# wrong, . right, k at a kink{cut}):"
        return [title, *("      " + "".join(SIGNS[int(s)] for s in line) for line in shown)]

    # --- other forms -------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain lists, numbers and texts; what was not measured is None."""
        everything = {
            "verdict": self.verdict,
            "function": self.signature(),
            "mode": self.mode,
            "seed": self.seed,
            "calls": self.calls,
            "seconds": self.seconds,
            "compared": self.compared,
            "inputs": [self._row_dict(row) for row in self.rows],
            "findings": [finding._asdict() for finding in self.findings],
            "causes": [hint._asdict() for hint in self.causes] if not self else [],
            "ties": [tie._asdict() for tie in self.ties],
            "notes": self.notes,
            "repeat": self.repeat,
        }
        return {key: _finite(value) for key, value in everything.items()}

    def _row_dict(self, row: Row) -> dict[str, Any]:
        shape = row.place.shape
        return {
            "name": self.names[row.place.position],
            "verdict": row_verdict(row),
            "shape": list(shape),
            "counts": {_WORDS[state]: count for state, count in row.counts.items()},
            "worst": None if row.worst is None else
            [int(i) for i in np.unravel_index(row.worst, shape)],
            "backward": row.claimed.reshape(shape).tolist(),
            "measured": row.measured.reshape(shape).tolist(),
            "bound": row.bound.reshape(shape).tolist(),
        }  # fmt: skip

    def to_json(self) -> str:
        """Return everything as JSON; what was not measured is null."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def to_html(self) -> str:
        """Return a page of its own, with the map of every input in full."""
        return PAGE.format(title=html.escape(self.signature()), body=self._repr_html_())

    def save(self, path: StrPath) -> None:
        """Write the report: JSON, HTML or text, as the suffix of `path` says."""
        suffix = str(path).rpartition(".")[2]
        forms = {"json": self.to_json, "html": self.to_html, "htm": self.to_html}
        write_text(path, forms.get(suffix, self.__str__)() + "\n")

    def _repr_html_(self) -> str:
        """Show the text and coloured maps in a notebook."""
        maps = "".join(
            f"<h4>d{html.escape(self.names[row.place.position])} {list(row.place.shape)}: "
            f"{row_verdict(row)}</h4>{_html_map(row)}"
            for row in self.rows
            if row.place.size
        )
        style = "line-height:1.35;white-space:pre-wrap"
        return f'<pre style="{style}">{html.escape(str(self))}</pre>{maps}'


class GradcheckError(AssertionError, RuntimeError):
    """A gradient check that did not pass; `report` holds the particulars."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


_ORDER = ("fail", "inconclusive", "pass")
_WORDS = {
    WRONG: "wrong",
    INCONCLUSIVE: "inconclusive",
    EXCUSED: "excused by atol",
    AT_KINK: "at a kink",
    VANISHING: "lost in rounding",
    RIGHT: "right",
}


def row_verdict(row: Row) -> str:
    """Return "pass", "fail" or "inconclusive" for one input."""
    counts = row.counts
    total = sum(counts.values())
    if counts.get(WRONG):
        return "fail"
    certified = total - counts.get(EXCUSED, 0) - counts.get(INCONCLUSIVE, 0)
    if total and (not certified or counts.get(INCONCLUSIVE, 0) > OPEN_SHARE * total):
        return "inconclusive"
    return "pass"


def state_map(row: Row) -> Array:
    """Return the states as a picture: the last two axes; of the others the worst state counts."""
    state = row.state.reshape(row.place.shape)
    while state.ndim > 2:
        state = state.max(axis=0)
    return np.atleast_2d(state)


def _window(picture: Array, height: int, width: int) -> tuple[Array, int, int]:
    """Cut a part out of a picture, around the first wrong element; return where it begins too."""
    row, column = np.argwhere(picture == WRONG)[0]
    top = int(np.clip(row - height // 2, 0, max(picture.shape[0] - height, 0)))
    left = int(np.clip(column - width // 2, 0, max(picture.shape[1] - width, 0)))
    return picture[top : top + height, left : left + width], top, left


def _on_one_line(text: object) -> str:
    """Return a text, as of an error that somebody raised, without its line breaks."""
    return " ".join(str(text).splitlines())


def _finite(value: Any) -> Any:
    """Return nested lists and dicts with None for NaN and infinity, which JSON does not know."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _html_map(row: Row) -> str:
    """Draw all elements as small coloured squares, block by block of the last two axes."""
    colours = {UNMEASURED: "#ddd", RIGHT: "#7bc47f", AT_KINK: "#6fa8dc", VANISHING: "#cfe8cf",
               EXCUSED: "#f0e08a", INCONCLUSIVE: "#f5b971", WRONG: "#d9534f"}  # fmt: skip
    shape = row.place.shape
    state = row.state.reshape(-1, *([1, 1, *shape][-2:]))
    measured, claimed = row.measured.reshape(state.shape), row.claimed.reshape(state.shape)
    blocks = []
    for k in range(min(len(state), 64)):
        cells = []
        for i, j in np.ndindex(*state.shape[1:]):
            index = np.unravel_index(int(np.ravel_multi_index((k, i, j), state.shape)), shape)
            text = f"{[int(n) for n in index]}: {claimed[k, i, j]:.6g} / {measured[k, i, j]:.6g}"
            colour = colours[int(state[k, i, j])]
            cells.append(f'<i style="background:{colour}" title="{text}"></i>')
        width = f"grid-template-columns:repeat({state.shape[2]},10px)"
        style = f"display:inline-grid;gap:1px;grid-auto-rows:10px;margin:4px;{width}"
        blocks.append(f'<div style="{style}">{"".join(cells)}</div>')
    return "".join(blocks)


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body style="font-family:sans-serif;max-width:70em;margin:2em auto;padding:0 1em">{body}
<p>One square an element, one block for each index before the last two axes; hold the pointer over
a square to read backward / measured. Red wrong, green right, blue at a kink, orange inconclusive,
yellow excused by atol, grey not measured.</p></body></html>"""
