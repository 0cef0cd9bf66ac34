"""Algorithms chosen by measuring them, for those who ask for it.

The costs by which `auto` chooses are estimates.  Inside `with autotune():`, or everywhere with
MINICNN_AUTOTUNE=1, the first convolution of a kind (shapes, element types, layouts, settings,
threads) is computed by every algorithm that `auto` could take and that does not seem hopeless, in
turns, and the fastest of them computes all others of its kind.  What was found is kept with the
compiled code: so it is measured once for each processor and each version of the kernels.

Algorithms round differently, Winograd's F(4x4, 3x3) most.  So results may differ in their last
digits between two runs that measured anew; which algorithms may be taken at all does not change.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib import import_module
from itertools import count
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from minicnn_kernels.constants import is_constant
from minicnn_kernels.threads import get_num_threads

ROUNDS, SECONDS = 5, 1.0
"""How many turns each algorithm has, and after how long no further round begins."""

WORTH = 4
"""How many times as dear as the cheapest an algorithm may seem, and still be tried."""

CLEARLY = 0.95
"""The share of the time of the one expected to be fastest in which another must be done."""

DIFFERENT = 1e-2
"""The relative difference of two results that is no rounding any more."""

_wanted: ContextVar[bool | None] = ContextVar("autotune", default=None)
_lock = threading.RLock()  # while one call is measured, another would disturb it
_generations = count()
_generation = next(_generations)


@contextmanager
def autotune(on: bool = True) -> Iterator[None]:
    """Choose algorithms by measuring them inside a `with` block, or `on=False` by their cost."""
    token = _wanted.set(on)
    try:
        yield
    finally:
        _wanted.reset(token)


def is_on() -> bool:
    """Say whether algorithms are chosen by measuring them here and now."""
    wanted = _wanted.get()
    return _by_environment() if wanted is None else wanted


@cache
def _by_environment() -> bool:
    return os.environ.get("MINICNN_AUTOTUNE", "") not in ("", "0")


def state() -> Any:
    """Return what a choice depends on beside the call itself."""
    return is_on() and (get_num_threads(), _generation)


def fastest(
    kernel: str,
    algorithms: dict[str, Callable[..., Any]],
    expected: str,
    arrays: tuple[Any, ...],
    settings: dict[str, Any],
) -> str:
    """Return the name of the fastest algorithm for a call, measured now or before.

    Args:
        algorithms: those to choose from; none of them may change its arguments.
        expected: the one to take unless another is clearly faster.
    """
    if len(algorithms) == 1:
        return expected
    call = _described(kernel, arrays, settings)
    with _lock:
        known = _known()
        if known.get(call) not in algorithms:
            known[call] = _measured(call, algorithms, expected, arrays, settings)
            _keep(known)
        return known[call]


def _described(kernel: str, arrays: tuple[Any, ...], settings: dict[str, Any]) -> str:
    """Return all of a call on which its time depends, as text."""
    named = (f"{name}={_text(value)}" for name, value in settings.items())
    return " ".join([kernel, *map(_text, arrays), *named, f"threads={get_num_threads()}"])


def _text(value: Any) -> str:
    """Describe an array by its type, shape and the order of its dimensions in memory."""
    if not isinstance(value, np.ndarray):
        return repr(value).replace(" ", "")
    order = sorted(range(value.ndim), key=lambda i: -abs(value.strides[i]))
    gaps = "" if value.transpose(order).flags.c_contiguous else "gaps"
    constant = "constant" if is_constant(value) else ""
    sizes, places = ("x".join(map(str, numbers)) for numbers in (value.shape, order))
    return f"{value.dtype}({sizes}/{places}{gaps}{constant})"


# --- measuring ------------------------------------------------------------------------------------


def _measured(
    call: str,
    algorithms: dict[str, Callable[..., Any]],
    expected: str,
    arrays: tuple[Any, ...],
    settings: dict[str, Any],
) -> str:
    """Return the name of the algorithm with the shortest run, all of them running in turns."""
    result = algorithms[expected](*arrays, **settings)  # the first runs compile, and are compared
    best = {expected: inf}
    for name, compute in algorithms.items():
        if name == expected or _is_alike(compute(*arrays, **settings), result):
            best[name] = inf
        else:
            warnings.warn(f"autotune: {name} computes something else: {call}", stacklevel=2)
    start = time.perf_counter()
    for _ in range(ROUNDS):
        for name in best:
            if best[name] == inf or best[name] < 2 * min(best.values()):
                begin = time.perf_counter()
                algorithms[name](*arrays, **settings)
                best[name] = min(best[name], time.perf_counter() - begin)
        if time.perf_counter() - start > SECONDS:
            break
    winner = min(best, key=best.__getitem__)
    return winner if best[winner] < CLEARLY * best[expected] else expected


def _is_alike(y: Any, expected: Any) -> bool:
    """Say whether two results differ by no more than rounding; of Inf and NaN nothing is known."""
    with np.errstate(all="ignore"):
        error, size = np.linalg.norm(np.ravel(y - expected)), np.linalg.norm(np.ravel(expected))
    return not error > DIFFERENT * size


# --- what was found -------------------------------------------------------------------------------


@cache
def file() -> Path | None:
    """Return where choices are kept; None where compiled code is kept nowhere, or none runs."""
    if os.environ.get("MINICNN_KERNELS") == "numpy":
        return None
    try:
        folder: Path | None = import_module("minicnn_kernels.cpu.jit").cache_folder()
        llvm = import_module("llvmlite.binding")
    except ImportError:
        return None
    processor = f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    digest = hashlib.sha256(f"{processor} {np.__version__}".encode()).hexdigest()
    return folder and folder / f"fastest-{digest[:16]}.json"


@cache
def _known() -> dict[str, str]:
    """Return the choices made so far, those of earlier processes included."""
    return kept()


def kept() -> dict[str, str]:
    """Read the choices from the disk; a file that cannot be read is ignored with a warning."""
    path = file()
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path else {}
        if not all(isinstance(name, str) for name in {**found}.values()):
            raise ValueError("not names of algorithms")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        warnings.warn(f"autotune: {path} is ignored: {error}", stacklevel=2)
        return {}
    return dict(found)


def _keep(known: dict[str, str]) -> None:
    """Write the choices to the disk, beside those that other processes have made meanwhile."""
    path = file()
    if path is None:
        return
    known |= {call: name for call, name in kept().items() if call not in known}
    draft = path.with_suffix(f".{os.getpid()}")
    try:
        draft.write_text(json.dumps(known, indent=1, sort_keys=True), encoding="utf-8")
        os.replace(draft, path)
    except OSError as error:
        warnings.warn(f"autotune: choices are not kept: {error}", stacklevel=2)


def forget() -> None:
    """Delete all choices that were made by measuring."""
    global _generation
    with _lock:
        _known().clear()
        _generation = next(_generations)
        if path := file():
            path.unlink(missing_ok=True)
