"""`minicnn models`: the networks that can be built by name."""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

from minicnn.errors import UsageError

if TYPE_CHECKING:
    from minicnn.models.catalogue import Entry

DESCRIPTION = """List the networks that come with minicnn: the year and the paper, how many
parameters they have, and how many multiply-adds one example of the paper's size takes (a FLOP count
is twice that).
"""

EXAMPLES = """examples:
  minicnn models                 all of them
  minicnn models resnet          those with resnet in the name or the paper
  minicnn models 'vgg*_bn'       names that fit a pattern
  minicnn models --csv > models.csv
  minicnn summary vgg16          one of them, layer by layer
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "models",
        help="the networks that can be built by name",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pattern", nargs="?", default="", metavar="PATTERN", help="show only those")
    parser.add_argument("--csv", action="store_true", help="print a table for a spreadsheet")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    from minicnn import models
    from minicnn.cli.targets import near
    from minicnn.models.catalogue import CATALOGUE

    found = {
        name: entry
        for name, entry in sorted(CATALOGUE.items(), key=lambda item: (item[1].year, item[0]))
        if _fits(options.pattern.lower(), name, entry)
    }
    if not found:
        raise UsageError(
            f"no model fits {options.pattern!r}; {near(options.pattern.lower(), models.list())}"
        )
    if options.csv:
        _print_csv(found)
    else:
        _print_table(found)
    return 0


def _fits(pattern: str, name: str, entry: Entry) -> bool:
    text = f"{name} {entry.paper.lower()}"
    return pattern in text or fnmatch(name, pattern)


def _print_csv(found: dict[str, Entry]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["name", "year", "parameters", "multiply_adds", "flops", "input", "paper"])
    for name, e in found.items():
        shape, work = "x".join(map(str, e.input_shape)), e.multiply_adds
        writer.writerow([name, e.year, e.parameters, work, 2 * work, shape, e.paper])


def _print_table(found: dict[str, Entry]) -> None:
    from minicnn.summaries.tables import amount

    rows = [("name", "year", "parameters", "mult-adds", "input", "paper")]
    for name, e in found.items():
        shape, work = "x".join(map(str, e.input_shape)), amount(e.multiply_adds)
        rows.append((name, str(e.year), f"{e.parameters:,}", work, shape, e.paper))
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    width = shutil.get_terminal_size((200, 24)).columns
    for name, year, parameters, work, shape, paper in rows:
        line = (
            f"{name:<{widths[0]}}  {year}  {parameters:>{widths[2]}}  {work:>{widths[3]}}  "
            f"{shape:<{widths[4]}}  {paper}"
        )
        print(line if len(line) <= width else f"{line[: width - 1]}…")
