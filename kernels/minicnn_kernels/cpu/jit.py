"""The one way to compile a kernel: Numba, without the interpreter's lock, kept on disk.

Compiled code is kept in `cache_folder()`, one folder for each state of the sources, of Numba and of
its settings: Numba itself notices another processor and a changed file, but not a change in a
function that the file calls.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
import numba.core.event
from numba import types

F = TypeVar("F", bound=Callable[..., Any])

EXACT = frozenset({"contract"})
"""What the compiler may do to arithmetic: a * b + c with one rounding.  Inf and NaN stay."""

SUMS = frozenset({"contract", "reassoc", "nsz"})
"""Also add up in any order, as many values at once as the processor can."""

ALIKE = frozenset[str]()
"""Nothing: every operation is rounded, so that a function has the same result wherever it is."""

KEPT_FOLDERS = 4


def jit(
    fastmath: frozenset[str] = EXACT, inline: bool = False, keep: bool = True
) -> Callable[[F], F]:
    """Compile the decorated function at its first call with arguments of each type.

    Args:
        fastmath: EXACT, SUMS or ALIKE.
        inline: for a small function that only other compiled ones call.
        keep: whether to keep compiled code on disk; needs a function that stands in a file.
    """

    def compiled(function: F) -> F:
        _make_name_unique(function)
        make = numba.njit(
            nogil=True,
            error_model="numpy",  # a division by 0 is Inf, not an exception
            fastmath=set(fastmath),
            inline="always" if inline else "never",
            no_cfunc_wrapper=True,  # nobody hands a kernel to C
        )
        dispatcher: Any = make(function)
        if numba.config.DISABLE_JIT:  # then it is the function itself
            return function
        _compile_once_for_literals(dispatcher)
        if keep and not inline and (folder := cache_folder()) is not None:
            keep_in(folder, dispatcher)
        return dispatcher  # type: ignore[no-any-return]

    return compiled


def _make_name_unique(function: Any) -> None:
    """Tell a generated or local function by its name from others that are called like it.

    Numba makes symbols of module, name, types and a counter that starts anew in each process: two
    forms from the disk could have one symbol, and asking for the address of one yield the other.
    """
    place = function.__code__
    module = sys.modules.get(function.__module__)
    if "<locals>" in function.__qualname__ or place.co_filename != getattr(module, "__file__", ""):
        own = hashlib.sha256(f"{place.co_filename}:{place.co_firstlineno}".encode()).hexdigest()
        function.__qualname__ += f"_{own[:16]}"


def _compile_once_for_literals(dispatcher: Any) -> None:
    """Let `f(x, 0)` in compiled code call the form of f for whole numbers, not one for zeros."""
    template_of = dispatcher.get_call_template

    def without_literals(args: Any, kws: Any) -> Any:
        kws = {name: types.unliteral(kind) for name, kind in kws.items()}
        return template_of(tuple(map(types.unliteral, args)), kws)

    dispatcher.get_call_template = without_literals


def keep_in(folder: Path, dispatcher: Any) -> None:
    """Let Numba keep the compiled forms of a function in a folder of ours."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder)  # read now, and not again
    try:
        dispatcher.enable_caching()
    finally:
        numba.config.CACHE_DIR = before


@cache
def cache_folder() -> Path | None:
    """Return the folder for compiled code; None where none can be had, then nothing is kept.

    MINICNN_CACHE_DIR, else minicnn below XDG_CACHE_HOME or ~/.cache.  Compiled code will be run,
    so the folder must belong to this user, and nobody else may write to it.
    """
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    top = Path(os.environ.get("MINICNN_CACHE_DIR") or Path(home) / "minicnn")
    folder = top / f"kernels-{_state()}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.utime(folder)  # in use: the oldest are deleted
        if not (_is_private(top) and _is_private(folder) and os.access(folder, os.W_OK)):
            return None
    except OSError:
        return None
    _delete_old(top)
    return folder


def _state() -> str:
    """Return a digest of everything that compiled code depends on, but for the processor."""
    digest = hashlib.sha256(f"{sys.version} {numba.__version__}".encode())
    for name in sorted(name for name in os.environ if name.startswith("NUMBA_")):
        digest.update(f"{name}={os.environ[name]}".encode())
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _is_private(folder: Path) -> bool:
    if not hasattr(os, "getuid"):
        return True
    status = folder.stat()
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _delete_old(top: Path) -> None:
    """Delete the folders of former states, but for the most recent ones."""
    import shutil

    folders = sorted(top.glob("kernels-*"), key=lambda folder: folder.stat().st_mtime)
    for folder in folders[:-KEPT_FOLDERS]:
        shutil.rmtree(folder, ignore_errors=True)


class _Watch(numba.core.event.Listener):  # type: ignore[misc]
    """Add up the seconds spent compiling, and say on a terminal why the first call takes longer."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.depth = 0
        self.said = False

    def on_start(self, event: Any) -> None:
        if self.depth == 0:
            self.start = time.perf_counter()
            if not self.said and sys.stderr.isatty():
                print("minicnn: compiling kernels for this processor, once", file=sys.stderr)
            self.said = True
        self.depth += 1

    def on_end(self, event: Any) -> None:
        self.depth -= 1
        if self.depth == 0:
            self.seconds += time.perf_counter() - self.start


_watch = _Watch()
numba.core.event.register("numba:compile", _watch)


def compile_seconds() -> float:
    """Return the seconds that compiling has taken in this process so far."""
    return _watch.seconds
