"""Results as one web page: bars, the roofline, the totals and every figure; nothing is loaded.

The pictures are SVG written out here: a few rectangles, lines and circles.  Colours are variables
of the style sheet, so that the page follows the reader's light or dark mode.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from minicnn.bench import table
from minicnn.bench.peak import Roof
from minicnn.bench.results import OK, Report, Result

WIDTH, LEFT, RIGHT = 900, 190, 60
BAR, GAP = 11, 12  # pixels: height of a bar, space between two layers
DIRECTIONS = {
    "fwd": "Forward",
    "bwd_d": "Gradient by the data",
    "bwd_w": "Gradient by the weights",
    "train": "Forward and all gradients",
    "infer": "Inference",
    "max": "Maximum",
    "avg": "Mean",
    "max_d": "Gradient of the maximum",
    "avg_d": "Gradient of the mean",
    "bwd_a": "Gradient by the left matrix",
    "bwd_b": "Gradient by the right matrix",
}
COLOURS = 8  # of the style sheet; further contestants use them again

STYLE = """
:root { color-scheme: light dark; --ink: #1d2330; --soft: #5d6675; --line: #d9dde5;
  --paper: #ffffff; --card: #f6f7f9; --roof: #b3261e;
  --c0: #0072b2; --c1: #e69f00; --c2: #009e73; --c3: #cc79a7; --c4: #56b4e9; --c5: #d55e00;
  --c6: #7a6ff0; --c7: #8c8c8c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #a2abb9; --line: #363d49;
  --paper: #14171c; --card: #1d2128; --roof: #ff8a80;
  --c0: #4da3e0; --c1: #f0b63a; --c2: #2fbf96; --c3: #e39bc3; --c4: #8fd0f5; --c5: #f08344;
  --c6: #a79ff8; --c7: #a8a8a8; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 960px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p, dt { color: var(--soft); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; background: var(--card);
  padding: .8rem 1rem; border-radius: 8px; } dd { margin: 0; }
svg { width: 100%; height: auto; font-size: 12px; } svg text { fill: var(--ink); }
svg .soft { fill: var(--soft); } svg .grid { stroke: var(--line); }
svg .roof { stroke: var(--roof); stroke-width: 2; fill: none; } svg text.roof { fill: var(--roof);
  stroke: none; }
.legend span { margin-right: 1.2rem; white-space: nowrap; }
.legend i { display: inline-block; width: .8em; height: .8em; border-radius: 2px;
  margin-right: .4em; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .15rem .6rem; border-bottom: 1px solid var(--line);
  white-space: nowrap; } th { color: var(--soft); font-weight: 600; }
th:nth-child(-n+3), td:nth-child(-n+3) { text-align: left; }
"""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{style}</style></head>
<body><h1>{title}</h1>
{body}
</body></html>
"""


INTRODUCTION = """<p>Bars: GFLOP/s of each layer, counted by definition, so that algorithms that
need fewer operations can pass the peak, the line at the right. Roofline: each point is a layer; the
line is what this machine allows for so many operations per byte of operands and result, as it was
measured just before. Longer and higher is faster; hover for the milliseconds.</p>"""


def page(report: Report) -> str:
    """Return the page."""
    names = dict.fromkeys(result.contestant for result in report.results)
    colours = {name: f"var(--c{number % COLOURS})" for number, name in enumerate(names)}
    parts = [_facts(report), INTRODUCTION]
    for place, direction in dict.fromkeys((r.place, r.direction) for r in report.results):
        some = [r for r in report.results if (r.place, r.direction) == (place, direction)]
        parts += [
            f"<h2>{escape(DIRECTIONS.get(direction, direction))}, {_on(place)}</h2>",
            _legend(colours, some),
            bars(some, report.roofs[place], colours),
            roofline(some, report.roofs[place], colours) if some[0].bytes else "",
        ]
    totals = escape(table.footing(report.results)) if report.results else ""
    parts += [f'<h2>Totals</h2><pre class="scroll">{totals}</pre>']
    parts += ["<h2>All figures</h2>", figures(report.results)]
    title = f"minicnn bench {escape(report.kind)}"
    return PAGE.format(title=title, style=STYLE, body="\n".join(parts))


def _on(place: str) -> str:
    return f"threads: {place}" if place.isdigit() else escape(place)


def _facts(report: Report) -> str:
    facts = dict(report.machine)
    for place, roof in report.roofs.items():
        facts[f"roof, {_on(place)}"] = (
            f"{roof.flops / 1e9:.0f} GFLOP/s, {roof.bandwidth / 1e9:.1f} GB/s"
        )
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts.items()
    )
    return f"<dl>{rows}</dl>"


def _legend(colours: dict[str, str], results: Iterable[Result]) -> str:
    names = dict.fromkeys(result.contestant for result in results)
    items = (f'<span><i style="background:{colours[n]}"></i>{escape(n)}</span>' for n in names)
    return f'<p class="legend">{"".join(items)}</p>'


# --- bars -----------------------------------------------------------------------------------------


def bars(results: Sequence[Result], roof: Roof, colours: dict[str, str]) -> str:
    """Draw a group of bars for each layer: GFLOP/s, and the peak as a line."""
    layers: dict[str, list[Result]] = {}
    for result in results:
        layers.setdefault(result.layer, []).append(result)
    top = 1.05 * max([roof.flops, *(result.rate or 0 for result in results)]) / 1e9
    scale = (WIDTH - LEFT - RIGHT) / top
    shapes, y = [], 24.0
    for name, group in layers.items():
        middle = y + BAR * len(group) / 2 + 4
        shapes.append(_text(LEFT - 8, middle, name, "end"))
        for result in group:
            shapes.append(_bar(result, y, scale, colours[result.contestant]))
            y += BAR
        y += GAP
    grid = []
    for value in ticks(top):
        x = LEFT + value * scale
        grid.append(_grid(x, 18, x, y) + _text(x, 12, f"{value:g}", "middle", "soft"))
    peak = LEFT + roof.flops / 1e9 * scale
    grid.append(f'<path class="roof" d="M{peak:.1f} 18V{y:.0f}"/>')
    label = f"GFLOP/s of {len(layers)} layers as bars, peak {roof.flops / 1e9:.0f}"
    return _picture(y + 4, label, [*grid, *shapes])


def _bar(result: Result, y: float, scale: float, colour: str) -> str:
    if result.rate is None:
        note = result.status if result.status != OK else ""
        return _text(LEFT + 4, y + BAR - 2, f"{result.contestant}: {note}", "start", "soft")
    rate = result.rate / 1e9
    return (
        f'<rect x="{LEFT}" y="{y:.1f}" width="{rate * scale:.1f}" height="{BAR - 1.5}" rx="2" '
        f'fill="{colour}">{_tooltip(result)}</rect>'
        + _text(LEFT + rate * scale + 4, y + BAR - 2.5, f"{rate:.3g}", "start", "soft")
    )


def ticks(top: float) -> list[float]:
    """Return at most nine round numbers from 0 to `top`.

    >>> ticks(445)
    [0.0, 100.0, 200.0, 300.0, 400.0]
    """
    rough = top / 8
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    return [number * step for number in range(int(top / step + 1e-9) + 1)]


# --- the roofline ---------------------------------------------------------------------------------


def roofline(results: Sequence[Result], roof: Roof, colours: dict[str, str]) -> str:
    """Draw rates over operations per byte, both in powers of ten, below what is possible."""
    timed = [result for result in results if result.rate and result.bytes]
    height, bottom, top = 390, 350, 26
    knee = roof.flops / roof.bandwidth
    xs = [result.intensity for result in timed] + [knee / 3, knee]
    ys = [(result.rate or 0) for result in timed] + [roof.flops]
    (x_low, x_high), (y_low, y_high) = _decades(xs), _decades(ys)

    def x_of(intensity: float) -> float:
        share = (math.log10(intensity) - x_low) / (x_high - x_low)
        return 70 + share * (WIDTH - 70 - RIGHT)

    def y_of(rate: float) -> float:
        return bottom - (math.log10(rate) - y_low) / (y_high - y_low) * (bottom - top)

    shapes = []
    for power in range(x_low, x_high + 1):
        x = x_of(10.0**power)
        shapes.append(_grid(x, top, x, bottom))
        shapes.append(_text(x, bottom + 16, f"{10.0**power:g}", "middle", "soft"))
    for power in range(y_low, y_high + 1):
        y = y_of(10.0**power)
        shapes.append(_grid(70, y, WIDTH - RIGHT, y))
        shapes.append(_text(62, y + 4, f"{10.0 ** (power - 9):g}", "end", "soft"))
    shapes.append(_text(WIDTH / 2, height - 6, "FLOP per byte", "middle", "soft"))
    shapes.append(_text(62, 12, "GFLOP/s", "end", "soft"))
    start = max(10.0**x_low, 10.0**y_low / roof.bandwidth)
    shapes.append(
        f'<path class="roof" d="M{x_of(start):.1f} {y_of(roof.limit(start)):.1f}'
        f'L{x_of(knee):.1f} {y_of(roof.flops):.1f}H{WIDTH - RIGHT}"/>'
    )
    peak = f"{roof.flops / 1e9:.0f}"
    shapes.append(_text(WIDTH - RIGHT + 6, y_of(roof.flops) + 4, peak, "start", "roof"))
    shapes += [
        f'<circle cx="{x_of(result.intensity):.1f}" cy="{y_of(result.rate or 1):.1f}" r="5" '
        f'fill="{colours[result.contestant]}" fill-opacity="0.75">{_tooltip(result)}</circle>'
        for result in timed
    ]
    return _picture(height, f"roofline of {len(timed)} measurements", shapes)


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """Return the powers of ten that enclose the values."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


# --- the figures ----------------------------------------------------------------------------------


def figures(results: Iterable[Result]) -> str:
    """Return the table of all columns."""
    columns = table.COLUMNS + table.MORE
    heads = "".join(f"<th>{name}</th>" for name in ("layer", "", "contestant"))
    heads += "".join(f"<th>{escape(column.title)}</th>" for column in columns)
    rows = []
    for result in results:
        name = f'<td title="{escape(table.title(result))}">{escape(result.layer)}</td>'
        start = f"{name}<td>{escape(result.direction)}</td><td>{escape(table.label(result))}</td>"
        if result.status == OK:
            cells = "".join(f"<td>{escape(column.text(result))}</td>" for column in columns)
        else:
            note = escape(f"{result.status}: {result.note}")
            cells = f'<td colspan="{len(columns)}" style="text-align:left">{note}</td>'
        rows.append(f"<tr>{start}{cells}</tr>")
    return f'<div class="scroll"><table><tr>{heads}</tr>{"".join(rows)}</table></div>'


# --- pieces of SVG --------------------------------------------------------------------------------


def _picture(height: float, label: str, shapes: Iterable[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(label)}">'
        f"{''.join(shapes)}</svg>"
    )


def _grid(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="grid" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _tooltip(result: Result) -> str:
    figures = f"{(result.least or 0) * 1e3:.3f} ms, {(result.rate or 0) / 1e9:.1f} GFLOP/s"
    name = f"{result.layer} {result.direction} {table.label(result)}"
    return f"<title>{escape(name)}: {figures}</title>"
