"""Writing a file whole or not at all."""

from __future__ import annotations

import json
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4
from zipfile import BadZipFile

from minicnn.errors import ArgumentError, FileFormatError

StrPath: TypeAlias = str | os.PathLike[str]


@contextmanager
def atomic_write(path: StrPath) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and rename it to `path` when the block succeeds.

    Whatever goes wrong (an error, Ctrl-C, a full disk, a lost machine), `path` holds all of
    its old content or all of the new one. The temporary path has the suffix of `path`, so that
    writers that choose a format by the suffix can be used. Missing parent folders are made, a
    link is followed, and an existing file keeps its permissions.

    Raises:
        ArgumentError: `path` is a folder, a pipe or a device.
        OSError: the file cannot be written (no permission, no space).

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with atomic_write(Path(folder, "runs", "note.txt")) as temporary:
    ...         _ = temporary.write_text("done")
    ...     Path(folder, "runs", "note.txt").read_text()
    'done'
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        kind = "a folder" if target.is_dir() else "a pipe or a device"
        raise ArgumentError(
            f"atomic_write: path {os.fspath(path)!r} is {kind}; name a file to write"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".partial-{uuid4().hex}{target.suffix}")
    try:
        temporary.touch(exist_ok=False)
        # Taken before the block runs: a writer may put a new file of its own in this place.
        permissions = stat.S_IMODE((target if target.exists() else temporary).stat().st_mode)
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        temporary.chmod(permissions)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: StrPath, text: str) -> None:
    """Write `text` to `path` as UTF-8 with Unix line ends, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: StrPath, value: Any) -> None:
    """Write `value` to `path` as indented JSON, whole or not at all.

    NaN and infinities are written as Python's `json` reads them back.

    Raises:
        TypeError: `value` holds something that JSON has no form for.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


DAMAGE = (
    *(ValueError, KeyError, IndexError, TypeError, OverflowError, MemoryError, EOFError),
    *(RecursionError, NotImplementedError, struct.error, BadZipFile),
)
"""What readers raise when bytes do not mean what they should."""


@contextmanager
def opened(function: str, path: StrPath, kind: str, advice: str) -> Iterator[BufferedReader]:
    """Open a file to read it, and turn all that can be wrong with it into a FileFormatError.

    Raises:
        FileFormatError: the file is missing, may not be read, or the block found it damaged.
    """
    name = repr(os.fspath(path))
    if not os.path.isfile(path):
        found = "a folder or a device" if os.path.exists(path) else "missing"
        raise FileFormatError(f"{function}: {name} is {found}; give the path of a weight file")
    try:
        with open(path, "rb") as file:
            yield file
    except OSError as error:
        raise FileFormatError(
            f"{function}: {name} cannot be read: {error}; check its permissions and its disk"
        ) from error
    except DAMAGE as error:
        raise FileFormatError(
            f"{function}: {name} ({os.path.getsize(path)} bytes) is no {kind} that can be read: "
            f"{error or type(error).__name__}; {advice}"
        ) from error
