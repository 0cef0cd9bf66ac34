"""Promises that every backward keeps, whatever its values; each that is broken is a Finding.

count      one gradient per input               none       None only where nothing depends
shape      that of the input                    dtype      that of the input
modified   inputs and dy stay as they are       aliased    every gradient has its own memory
nonlinear  backward(a v + b w) = a backward(v) + b backward(w)
layout     the memory order of an array does not matter
repeatable the same call gives the same result; randomness belongs to forward
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from minicnn.gradcheck.causes import CAUSES
from minicnn.gradcheck.compare import joined
from minicnn.gradcheck.subject import Gradients, Subject, signs
from minicnn_kernels.arrays import Array, is_floating

TOLERANCE = {8: 1e-9, 4: 1e-3}  # by bytes a number; another order of summation is no mistake
MANY = 3  # outputs that fit into float32 and not by chance
VERY_SMALL = {8: 1e-5, 4: 1e-2}  # a gradient this small beside the largest is measured by that


ROUNDING = 100  # two results may differ so many times as much as the last bits of dy do


class Finding(NamedTuple):
    """A promise that is broken: its key in CAUSES, and the particulars."""

    cause: str
    text: str

    def __str__(self) -> str:
        return f"{CAUSES[self.cause]}: {self.text}"


def check_form(subject: Subject, gradients: Gradients) -> list[Finding]:
    """Check number, presence, shape and element type of the gradients."""
    expected = len(subject.inputs)
    if len(gradients) != expected:
        return [Finding("count", f"{len(gradients)} gradients for {expected} inputs")]
    found = []
    for position in subject.checked:
        x, dx, name = subject.inputs[position], gradients[position], subject.names[position]
        if dx is None:
            continue  # legal if nothing depends on this input; the comparison will see
        if dx.shape != x.shape:
            found.append(Finding("shape", f"d{name} has {dx.shape}, {name} has {x.shape}"))
        if dx.dtype != x.dtype:  # complex ones are not compared any further
            found.append(Finding("dtype", f"d{name} is {dx.dtype}, {name} is {x.dtype}"))
    return found


def check_repeatable(
    subject: Subject, outputs: Sequence[Array], nondet_tol: float
) -> list[Finding]:
    """Check that forward returns the same again, with its randomness replayed."""
    again = subject.values(subject.inputs)
    for i, (y, other) in enumerate(zip(outputs, again, strict=True)):
        if y.shape != other.shape:
            return [Finding("unrepeatable", f"output {i} had {y.shape}, then {other.shape}")]
        gap = _largest_gap(y, other)
        if gap > nondet_tol:
            text = f"forward returned another output {i} for the same inputs, off by {gap:.3g}"
            return [Finding("unrepeatable", text)]
    return []


def check_precision(subject: Subject, outputs: Sequence[Array]) -> list[Finding]:
    """Check that forward computes in the precision of its inputs.

    Numbers that all fit into float32, from inputs that do not, went through float32.
    """
    given = joined([subject.inputs[position] for position in subject.checked])
    y = joined(outputs)
    y = y[np.isfinite(y) & (y != np.round(y))]
    with np.errstate(all="ignore"):
        long = np.count_nonzero(y != y.astype(np.float16))  # short ones may be constants
        rounded = np.array_equal(y, y.astype(np.float32))
        plain = np.array_equal(given, given.astype(np.float32))
    if subject.dtype == np.float64 and rounded and not plain and long >= MANY:
        text = "forward gives float32 numbers for float64 inputs"
        return [Finding("precision", text)]
    return []


def check_promises(
    subject: Subject, upstream: Sequence[Array], expected: Gradients, nondet_tol: float
) -> Iterator[Finding]:
    """Check all promises that need several calls; `expected` is what a clean call returned."""
    for check in (_check_unchanged, _check_second_call, _check_linear, _check_layouts):
        yield from check(subject, upstream, expected, nondet_tol)


def _check_unchanged(
    subject: Subject, upstream: Sequence[Array], expected: Gradients, nondet_tol: float
) -> Iterator[Finding]:
    """Inputs and dy are the same after the call; gradients look at nobody else's memory."""
    inputs = [np.array(x) for x in subject.inputs]
    dy = [np.array(v) for v in upstream]
    backward = subject.record(inputs)
    for name, x, before in zip(subject.names, inputs, subject.inputs, strict=True):
        if not _same(x, before):
            yield Finding("input-modified", f"after forward {name} holds other values")
            np.copyto(x, before)
    gradients = backward(dy)
    for name, x, before in zip(subject.names, inputs, subject.inputs, strict=True):
        if not _same(x, before):
            yield Finding("input-modified", f"after backward {name} holds other values")
    for i, (v, before) in enumerate(zip(dy, upstream, strict=True)):
        if not _same(v, before):
            yield Finding("upstream-modified", f"after backward dy{_index(i, dy)} has other values")
    yield from _check_aliases(subject, inputs, dy, gradients)
    kept = [None if dx is None else dx.copy() for dx in gradients]
    subject.record([np.array(x) for x in subject.inputs])([2 * np.array(v) for v in upstream])
    for name, dx, first in zip(subject.names, gradients, kept, strict=False):
        if dx is not None and first is not None and not _same(dx, first):
            yield Finding("aliased", f"the next call overwrites the d{name} returned before")


def _check_aliases(
    subject: Subject, inputs: Sequence[Array], dy: Sequence[Array], gradients: Gradients
) -> Iterator[Finding]:
    named = [(n, g) for n, g in zip(subject.names, gradients, strict=False) if g is not None]
    for k, (name, dx) in enumerate(named):
        for other, x in zip(subject.names, inputs, strict=True):
            if dx.flags.writeable and np.may_share_memory(dx, x):
                yield Finding("aliased", f"d{name} shares its memory with the input {other}")
        if any(np.may_share_memory(dx, v) for v in dy):
            continue  # handing dy on is what every framework does
        for other, dz in named[k + 1 :]:
            if dx.size and np.may_share_memory(dx, dz):
                yield Finding("aliased", f"d{name} and d{other} share their memory")


def _check_second_call(
    subject: Subject, upstream: Sequence[Array], expected: Gradients, nondet_tol: float
) -> Iterator[Finding]:
    """The backward of one forward gives the same when it runs again."""
    backward = subject.record([np.array(x) for x in subject.inputs])
    before = subject.replay.fingerprint()
    first = _copies(backward([np.array(v) for v in upstream]))
    drew = before != subject.replay.fingerprint()
    again = _copies(backward([np.array(v) for v in upstream]))
    gap, name = largest_difference(subject, first, again)
    if gap > allowed(subject, nondet_tol):
        cause = "random" if drew else "unrepeatable"
        yield Finding(
            cause, f"a second backward gives another d{name}, off by {gap:.3g} of its largest value"
        )


def _check_linear(
    subject: Subject, upstream: Sequence[Array], expected: Gradients, nondet_tol: float
) -> Iterator[Finding]:
    """backward(2 v - 3 w) = 2 backward(v) - 3 backward(w)."""
    rng = np.random.default_rng(7)
    other = [signs(rng, v.shape) * (v != 0) for v in upstream]  # 0 where outputs are left out
    mixed = [2 * v - 3 * w for v, w in zip(upstream, other, strict=True)]
    of_other = subject.gradients(other, subject.inputs)
    of_mixed = subject.gradients(mixed, subject.inputs)
    combined: Gradients = [
        None if v is None or w is None else 2 * v - 3 * w
        for v, w in zip(expected, of_other, strict=True)
    ]
    gap, name = largest_difference(subject, combined, of_mixed)
    if _too_far(gap, subject, mixed, of_mixed, nondet_tol):
        text = f"d{name} of 2 v - 3 w is not 2 d{name}(v) - 3 d{name}(w), off by {gap:.3g}"
        yield Finding("nonlinear", f"{text} of its largest value")


def _check_layouts(
    subject: Subject, upstream: Sequence[Array], expected: Gradients, nondet_tol: float
) -> Iterator[Finding]:
    """Other memory orders of the same values, of the inputs and of dy, change nothing."""
    for layout, arrange in LAYOUTS.items():
        for what in ("the inputs", "dy"):
            inputs = [np.array(x) for x in subject.inputs]
            dy = [np.array(v) for v in upstream]
            if what == "dy":
                dy = [arrange(v) for v in dy]
            else:
                inputs = [arrange(x) for x in inputs]
            try:
                found = _copies(subject.record(inputs)(dy))
            except Exception as error:
                yield Finding("layout", f"{what} {layout}: {type(error).__name__}: {error}")
                return
            gap, name = largest_difference(subject, expected, found)
            if _too_far(gap, subject, upstream, expected, nondet_tol):
                text = f"with {what} {layout}, d{name} is off by {gap:.3g} of its largest value"
                yield Finding("layout", text)
                return
    ones: list[Array] = [np.ones(v.shape) for v in upstream]
    flat = [np.broadcast_to(np.float64(1.0), v.shape) for v in upstream]
    plain = subject.gradients(ones, subject.inputs)
    try:
        found = _copies(subject.record([np.array(x) for x in subject.inputs])(flat))
    except ValueError as error:
        cause = "upstream-modified" if "read-only" in str(error) else "layout"
        yield Finding(cause, f"dy expanded from one value, as sum() hands it out: {error}")
        return
    gap, name = largest_difference(subject, plain, found)
    if _too_far(gap, subject, ones, plain, nondet_tol):
        yield Finding("layout", f"with dy expanded from one value, d{name} is off by {gap:.3g}")


def _backwards(array: Array) -> Array:
    """Return the same values lying in memory from the last to the first."""
    turned = (slice(None, None, -1),) * array.ndim
    return np.asarray(array[turned].copy()[turned])


def _spread(array: Array) -> Array:
    """Return the same values lying in every second place of a larger memory."""
    if array.ndim == 0:
        return array
    wide = np.ones((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "in Fortran order": lambda array: np.array(array, order="F"),
    "with negative strides": _backwards,
    "with gaps between the values": _spread,
}


def _copies(gradients: Gradients) -> Gradients:
    return [None if dx is None else np.array(dx) for dx in gradients]


def largest_difference(
    subject: Subject, expected: Gradients, found: Gradients
) -> tuple[float, str]:
    """Return the largest difference relative to the largest value, and the input's name.

    A gradient that is only rounding beside the others is measured by theirs.
    """
    worst, where = 0.0, ""
    sizes = [_size(expected[i]) for i in subject.checked]
    least = VERY_SMALL[subject.dtype.itemsize] * max(sizes, default=0.0)
    for position in subject.checked:
        a, b = expected[position], found[position]
        if a is None:  # nothing to expect, or nothing but rounding
            continue
        if b is None or a.shape != b.shape:
            gap = np.inf
        else:
            size = max(_size(a), least)
            gap = _largest_gap(a, b)
            gap = gap / size if size else gap
        if gap > worst:
            worst, where = gap, subject.names[position]
    return worst, where


def allowed(subject: Subject, nondet_tol: float) -> float:
    """Return how far apart two results may be that should be the same, relative."""
    return max(nondet_tol, TOLERANCE[subject.dtype.itemsize])


def _too_far(
    gap: float,
    subject: Subject,
    upstream: Sequence[Array],
    expected: Gradients,
    nondet_tol: float,
) -> bool:
    """Say whether two results differ by more than rounding explains, that of this backward too.

    Where large terms cancel, the last bits of dy show in the gradients.
    """
    least = allowed(subject, nondet_tol)
    if gap <= least:
        return False
    rng = np.random.default_rng(8)
    floats = [dx.dtype for dx in expected if dx is not None and is_floating(dx.dtype)]
    bits = 2 * max([subject.rounding, *(float(np.finfo(dtype).eps) for dtype in floats)])
    shaken = [v * (1 + bits * rng.choice([-1, 1], v.shape)) for v in upstream]
    moved = subject.gradients(shaken, subject.inputs)
    return gap > least + ROUNDING * largest_difference(subject, expected, moved)[0]


def _size(a: Array | None) -> float:
    return 0.0 if a is None else float(np.abs(np.nan_to_num(a)).max(initial=0.0))


def _largest_gap(a: Array, b: Array) -> float:
    """Return max |a - b|; infinite where only one of them is a number."""
    with np.errstate(all="ignore"):
        gap = np.abs(a.astype(np.float64) - b)
    same = (a == b) | (np.isnan(a) & np.isnan(b)) if is_floating(a.dtype) else a == b
    return float(np.where(same, 0.0, np.where(np.isfinite(gap), gap, np.inf)).max(initial=0.0))


def _same(a: Array, b: Array) -> bool:
    return np.array_equal(a, b, equal_nan=is_floating(a.dtype))


def _index(i: int, items: Sequence[object]) -> str:
    return str(i) if len(items) > 1 else ""
