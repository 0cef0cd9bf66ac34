"""The budgets of CUDA kernels, kept in manifest.toml beside them, which explains the fields."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache

from minicnn_kernels.cuda import launch


@dataclass(frozen=True)
class Row:
    """The budget of the kernels whose names fit a pattern."""

    file: str
    pattern: str
    registers: int
    static: int = 0
    dynamic: int = 0
    since: int = 75
    uses: tuple[str, ...] = ()
    doubles: bool = False


@cache
def rows() -> tuple[Row, ...]:
    """Return all rows."""
    table = tomllib.loads((launch.FOLDER / "manifest.toml").read_text(encoding="utf-8"))
    return tuple(
        Row(file, pattern, **{**budget, "uses": tuple(budget.get("uses", ()))})
        for file, patterns in table.items()
        for pattern, budget in patterns.items()
    )


def rows_of(name: str) -> list[Row]:
    """Return the rows that speak of a kernel; there should be one."""
    return [row for row in rows() if fnmatchcase(name, row.pattern)]
