"""Suites: the layers of known networks as plain text, one problem a line, `#` for comments."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from minicnn.bench.problem import Problem
from minicnn.errors import UsageError

P = TypeVar("P", bound=Problem)

FOLDER = Path(__file__).parent


def names(kind: str) -> list[str]:
    """Return the suites of a kind, "conv", "gemm" or "pool"."""
    return sorted(file.stem for file in (FOLDER / kind).glob("*.txt"))


def load(kind: str, name: str, read: Callable[[str], P]) -> list[P]:
    """Return the problems of a suite, by its name or its file.

    Raises:
        UsageError: there is neither, or a line of the file cannot be read.
    """
    file = FOLDER / kind / f"{name}.txt" if name in names(kind) else Path(name)
    if not file.is_file():
        close = difflib.get_close_matches(name, names(kind), n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise UsageError(
            f"there is no suite and no file {name!r}; {hint}suites: {', '.join(names(kind))}"
        )
    problems = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        text = without_comment(line)
        if text:
            try:
                problems.append(read(text))
            except UsageError as error:
                raise UsageError(f"{file}, line {number}: {error}") from None
    if not problems:
        raise UsageError(f"{file} holds no problem")
    return problems


def without_comment(line: str) -> str:
    """Return what stands before a `#`, unless it is within a name.

    >>> without_comment('ic3 # three')
    'ic3'
    """
    quoted = False
    for place, letter in enumerate(line):
        quoted ^= letter == '"'
        if letter == "#" and not quoted:
            return line[:place].strip()
    return line.strip()
