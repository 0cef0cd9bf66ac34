"""A summary as text, as HTML and as CSV."""

from __future__ import annotations

import csv as csv_files
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minicnn.summaries.summary import Layer, Summary


@dataclass(frozen=True)
class Column:
    """A column: its title, the text of a row in it, and how dear it is when space is short.

    Attributes:
        worth: columns of little worth are left out first.
    """

    title: str
    cell: Callable[[Layer], str]
    worth: int
    left: bool = False


def amount(number: float, unit: str = "") -> str:
    """Write a number with three digits and a handy unit.

    >>> amount(15_470_264_320), amount(12_845_056, "B"), amount(26)
    ('15.5 G', '12.8 MB', '26')
    """
    for prefix, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        value = number / size
        if value >= 0.9995:
            digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
            return f"{value:.{digits}f} {prefix}{unit}"
    return f"{number:g} {unit}".strip()


def sides(numbers: Sequence[float]) -> str:
    """Write 3x5, or 3 where all sides are alike.

    >>> sides((3, 5)), sides((3, 3)), sides((0.5,))
    ('3x5', '3', '0.5')
    """
    alike = len(set(numbers)) == 1
    return f"{numbers[0]:g}" if alike else "x".join(f"{n:g}" for n in numbers)


def _name(row: Layer) -> str:
    times = f", {row.calls} calls" if row.calls > 1 else ""
    kind = "" if row.name.startswith(row.kind) else f" {row.kind}"
    return f"{'  ' * (row.level - 1)}{row.name}{kind}{times}" if row.level else row.kind


def _output(row: Layer) -> str:
    if row.output_shape is None:
        return "" if row.calls or not row.parameters else "not called"
    return "x".join(map(str, row.output_shape)) or "1"


def _window(row: Layer) -> str:
    if row.kernel_size is None:
        return ""
    text = "x".join(map(str, row.kernel_size))
    for letter, numbers, usual in (
        ("s", row.stride, 1),
        ("p", row.padding, 0),
        ("d", row.dilation, 1),
    ):
        if numbers is not None and set(numbers) != {usual}:
            text += f" {letter}{sides(numbers)}"
    return text + (f" g{row.groups}" if row.groups not in (None, 1) else "")


def _field(row: Layer) -> str:
    if not row.receptive_field:
        return ""
    return "all" if all(row.whole) else sides(row.receptive_field) + "*" * bool(row.meetings)


def _jump(row: Layer) -> str:
    return "" if not row.jump or all(row.whole) else sides(row.jump)


def _parameters(row: Layer) -> str:
    return row.formula + "*" * bool(row.shared)


def _nonzero(name: str, unit: str = "") -> Callable[[Layer], str]:
    return lambda row: amount(value, unit) if (value := getattr(row, name)) else ""


COLUMNS = [
    Column("layer", _name, 9, left=True),
    Column("output", _output, 8),
    Column("window", _window, 5, left=True),
    Column("parameters", _parameters, 6),
    Column("mult-adds", _nonzero("multiply_adds"), 7),
    Column("field", _field, 7),
    Column("jump", _jump, 4),
    Column("results", _nonzero("activation_bytes", "B"), 3),
    Column("saved", _nonzero("saved_bytes", "B"), 2),
    Column("im2col", _nonzero("im2col_bytes", "B"), 1),
]
BARE = Column("parameters", lambda row: f"{row.parameters:,}" if row.parameters else "", 6)
"""Without the formula, where that is too wide."""


def text(summary: Summary, width: int) -> str:
    """Return a line for each row, with the columns that fit the width, and the totals."""
    columns = list(COLUMNS)
    while max(map(len, lines := _lines(summary.rows, columns))) > width:
        least = min(columns, key=lambda column: column.worth)
        if least.worth > 6:
            break
        if least.cell is _parameters:
            columns[columns.index(least)] = BARE
        else:
            columns.remove(least)
    lines = [heading(summary), "", *lines, "", *totals(summary), *notes(summary)]
    shown = {column.title for column in columns}
    missing = [column.title for column in COLUMNS if column.title not in shown]
    if BARE in columns:
        missing.insert(0, "how parameters are counted")
    if missing:
        lines.append(f"Not shown in {width} columns: {', '.join(missing)}.")
    return "\n".join(lines)


def _lines(rows: Sequence[Layer], columns: Sequence[Column]) -> list[str]:
    table = [[c.title for c in columns], *([c.cell(row) for c in columns] for row in rows)]
    widths = [max(map(len, cells)) for cells in zip(*table, strict=True)]
    return [
        "  ".join(
            cell.ljust(size) if column.left else cell.rjust(size)
            for cell, column, size in zip(cells, columns, widths, strict=True)
        ).rstrip()
        for cells in table
    ]


def heading(summary: Summary) -> str:
    """Name the model and its input."""
    shapes = " and ".join("x".join(map(str, shape)) for shape in summary.input_shapes)
    mode = "training" if summary.training else "evaluation"
    return f"{summary.model} for one example of {shapes}, in {mode}"


def totals(summary: Summary) -> list[str]:
    """Return sentences about the whole model."""
    frozen = summary.parameters - summary.trainable
    columns = amount(summary.im2col_bytes, "B") if summary.im2col_bytes else ""
    return [
        f"{summary.parameters:,} parameters, {amount(summary.parameter_bytes, 'B')}"
        + (f"; {frozen:,} of them are frozen" if frozen else ""),
        f"{summary.multiply_adds:,} multiply-adds = {amount(summary.flops, 'FLOP')}, two for each",
        f"{amount(summary.activation_bytes, 'B')} of results, {amount(summary.saved_bytes, 'B')} "
        f"saved for backward" + (f"; the largest im2col matrix {columns}" if columns else ""),
    ]


def notes(summary: Summary) -> list[str]:
    """Return what the asterisks stand for."""
    found = []
    for row in summary.rows:
        if row.shared:
            found.append(f"* {row.path}: counted already as {', '.join(row.shared)}")
        if row.meetings:
            jumps = " and ".join(f"{jump:g}" for jump in sorted(set(row.meetings)))
            found.append(
                f"* {row.path}: branches of different jumps meet, {jumps} pixels; the field is "
                f"that of the branch that sees most"
            )
    return found


# --- HTML and CSV ---------------------------------------------------------------------------------

STYLE = """<style>
.minicnn-summary { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.minicnn-summary th, .minicnn-summary td { text-align: right; padding: .1rem .6rem;
  white-space: nowrap; border-bottom: 1px solid #8884; }
.minicnn-summary .left { text-align: left; white-space: pre; }
</style>"""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem; }}</style></head>
<body>
{body}
</body></html>
"""


def html(summary: Summary) -> str:
    """Return the whole table, for a notebook."""

    def line(tag: str, cells: Sequence[str]) -> str:
        kinds = [' class="left"' if column.left else "" for column in COLUMNS]
        parts = zip(kinds, cells, strict=True)
        return "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in parts)

    rows = [line("td", [column.cell(row) for column in COLUMNS]) for row in summary.rows]
    head = line("th", [column.title for column in COLUMNS])
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    sentences = "<br>".join(map(escape, (*totals(summary), *notes(summary))))
    return (
        f'{STYLE}\n<p>{escape(heading(summary))}</p>\n<table class="minicnn-summary">\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>\n<p>{sentences}</p>"
    )


def page(summary: Summary) -> str:
    """Return the whole table as a web page."""
    return PAGE.format(title=escape(heading(summary)), body=html(summary))


def csv(rows: Sequence[dict[str, Any]]) -> str:
    """Return a line for each row, below one with the names."""
    file = io.StringIO()
    writer = csv_files.DictWriter(file, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})
    return file.getvalue()


def _cell(value: Any) -> Any:
    if not isinstance(value, tuple):
        return value
    numbers = all(isinstance(part, (int, float)) and not isinstance(part, bool) for part in value)
    return ("x" if numbers else " ").join(map(str, value))
