"""Find the first operation that makes a NaN or an Inf, and arrays changed behind our back.

With `detect_anomaly()` every recorded call remembers the line and the module that made it and
the fingerprint of what it saved.  It costs time; use it to look for a fault.
"""

from __future__ import annotations

import sys
import zlib
from contextvars import ContextVar
from itertools import pairwise
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from minicnn.errors import AnomalyError, GradientError
from minicnn_kernels.arrays import Array, is_floating

active: ContextVar[bool] = ContextVar("detect_anomaly", default=False)
running_modules: ContextVar[tuple[Any, ...]] = ContextVar("running_modules", default=())


class detect_anomaly:
    """Raise AnomalyError at the first NaN or Inf of a forward or backward pass.

    >>> import minicnn
    >>> x = minicnn.tensor([0.0], requires_grad=True)
    >>> with detect_anomaly():
    ...     y = minicnn.log(x)
    Traceback (most recent call last):
    minicnn.errors.AnomalyError: log made -inf in forward, shape (1,), first at [0]; ...
    """

    def __enter__(self) -> detect_anomaly:
        self._token = active.set(True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        active.reset(self._token)


class Trace(NamedTuple):
    """Where a call was recorded, and the fingerprints of the arrays it saved."""

    place: str
    fingerprints: tuple[int | None, ...]


def trace(saved: tuple[Any, ...]) -> Trace:
    """Remember the present place and what was saved there."""
    return Trace(present_place(), tuple(map(fingerprint, saved)))


def present_place() -> str:
    """Name the running module's path and the caller's line outside minicnn."""
    frame = sys._getframe(1)
    while frame.f_back is not None and is_ours(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    line = f"{frame.f_code.co_filename}:{frame.f_lineno}"
    modules = running_modules.get()
    return f"in module {module_path(modules)}, {line}" if modules else line


def is_ours(module_name: str) -> bool:
    """Say whether a frame belongs to the machinery rather than to a model or a user."""
    machinery = ("minicnn.ops", "minicnn.nn", "minicnn.differentiable", "minicnn.anomaly")
    return module_name.startswith((*machinery, "minicnn.tensor", "minicnn.backprop"))


def module_path(modules: tuple[Any, ...]) -> str:
    """Spell the running modules as in `state_dict`: `features.0 (Conv2d)` below the outermost."""
    path = []
    for parent, child in pairwise(modules):
        names = [name for name, module in parent.named_modules() if module is child]
        path.append(names[0] if names else type(child).__name__)
    inner = type(modules[-1]).__name__
    return f"{'.'.join(path)} ({inner})" if path else inner


def check_finite(array: Array, op: str, phase: str, place: str | None = None) -> None:
    """Raise AnomalyError when the result of `op` holds a NaN or an Inf."""
    if not is_floating(array.dtype):
        return
    wrong = ~np.isfinite(array)
    if wrong.any():
        first = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise AnomalyError(
            f"{op} made {array[first]} in {phase}, shape {array.shape}, first at {list(first)}; "
            f"recorded {place or present_place()}"
        )


def fingerprint(value: Any) -> int | None:
    """Return a checksum of an array's values; None for anything else."""
    return zlib.crc32(value.tobytes()) if hasattr(value, "tobytes") else None


def check_unchanged(op: str, names: list[str], saved: tuple[Any, ...], trace: Trace) -> None:
    """Raise GradientError when a saved array has other values than in the forward pass."""
    for name, value, before in zip(names, saved, trace.fingerprints, strict=True):
        if before is not None and fingerprint(value) != before:
            raise GradientError(
                f"{op}: the array of {name}, shape {value.shape}, was changed between forward "
                f"and backward; recorded {trace.place}"
            )
