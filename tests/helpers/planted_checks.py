"""What is broken in a planted pair, found by plain differences and by doing things twice.

The proof that a case is wrong where it says so: as soon as the lines that its comments mark are put
right, nothing is broken any more.
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn.gradcheck.planted import Pair, Planted, all_planted

Build = Callable[[], Pair]
STEP = 1e-6
TOLERANCE = 1e-6


def family(name: str) -> list[Planted]:
    return [case for case in all_planted() if case.family == name]


def prove(case: Planted) -> None:
    """Assert that the case is wrong, and right as soon as the marked lines are."""
    assert defects(case.build) & expected(case.causes)
    assert defects(repaired(case)) == set()


def expected(causes: tuple[str, ...]) -> set[str]:
    """Return the defects of which a mistake with these causes must show one."""
    own = {"raises", "count", "none", "shape", "dtype", "not-finite", "precision", "aliased"}
    own |= {"input-modified", "upstream-modified", "nonlinear", "layout", "stale", "unrepeatable"}
    others = {"broadcast": "shape", "random": "unrepeatable"}
    return {cause if cause in own else others.get(cause, "values") for cause in causes}


def repaired(case: Planted) -> Build:
    """Compile the case with what its comments say instead of the marked lines."""
    lines: list[str] = []
    marks = 0
    for line in textwrap.dedent(inspect.getsource(case.build)).splitlines():
        mark = re.fullmatch(r"(\s*)# (?:(wrong|missing): (.*)|superfluous)", line)
        if mark is None:
            lines += [] if line.startswith("@") else [line]
            continue
        marks += 1
        if mark[2] != "missing":
            lines.pop()
        if mark[2]:
            lines.append(mark[1] + mark[3])
    assert marks, "the case marks no line"
    scope = dict(vars(sys.modules[case.build.__module__]))
    text = "\n".join(["from __future__ import annotations", *lines])
    exec(compile(text, case.name, "exec"), scope)
    return scope[case.name]


def upstreams(run: Run) -> list[np.ndarray]:
    draw = np.random.default_rng(5)
    return [np.asarray(draw.standard_normal(y.shape)) for y in run.outputs]


def wrong_and_right(case: Planted) -> list[tuple[Any, Any]]:
    """Return what the case and its repaired version give for the inputs where they differ."""
    pairs = []
    for build in (case.build, repaired(case)):
        run = Run(build)
        pairs.append(copies(run.backward(upstreams(run))))
    return [
        (wrong, right)
        for wrong, right in zip(*pairs, strict=True)
        if right is not None
        and (wrong is None or wrong.shape != right.shape or not same([wrong], [right]))
    ]


# --- running a pair -------------------------------------------------------------------------------


class Run:
    """One forward, ready for backwards: of a fresh pair, with every randomness as at first."""

    def __init__(self, build: Build, inputs: list[Any] | None = None, pair: Pair | None = None):
        np.random.seed(0)
        pair = pair or build()
        self.inputs = [x.copy(order="K") for x in (pair.inputs if inputs is None else inputs)]
        result = pair.forward(*self.inputs)
        cached = isinstance(result, tuple) and isinstance(result[-1], (tuple, dict))
        out = result[0] if cached else result
        self.outputs = [np.asarray(y) for y in (out if isinstance(out, tuple) else (out,))]
        saved = (result[1],) if cached else self.inputs
        self.call = lambda dy: pair.backward(*dy, *saved)

    def backward(self, dy: list[np.ndarray]) -> list[Any]:
        found = self.call(dy)
        return list(found) if isinstance(found, tuple) else [found]


def copies(arrays: list[Any]) -> list[Any]:
    return [None if a is None else np.array(a) for a in arrays]


def slopes(
    build: Build, dy: list[np.ndarray], position: int, step: float
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Measure the slopes of sum(dy * y) to the left and right of every element of an input.

    Equal elements may be tied: they form a group that moves together.  Returns the groups, the two
    slopes of each, and the rounding error of these.
    """
    x = build().inputs[position]
    groups = [x == value for value in np.unique(x)]
    here = [d * y for d, y in zip(dy, Run(build).outputs, strict=True)]
    size = sum(float(np.abs(part).sum()) for part in here)
    ends, noise = np.zeros((len(groups), 2)), np.zeros(len(groups))
    for row, group in enumerate(groups):
        h = step * max(float(np.abs(x[group]).max()), 0.01 * float(np.abs(x).mean()))
        for side, shift in enumerate((-h, h)):
            inputs = copies(list(build().inputs))
            inputs[position][group] += shift
            moved = [d * y for d, y in zip(dy, Run(build, inputs).outputs, strict=True)]
            ends[row, side] = sum(np.sum(m - p) for m, p in zip(moved, here, strict=True)) / shift
        noise[row] = 1e-15 * size / h
    return groups, ends, noise


# --- what is broken -------------------------------------------------------------------------------


def defects(build: Build, step: float = STEP) -> set[str]:
    """Return what is broken in the pair: promises, and "values" where they are wrong."""
    run = Run(build)
    inputs = copies(list(build().inputs))
    dy = upstreams(run)
    given = copies(dy)
    try:
        found = run.backward(given)
    except (ValueError, IndexError):
        return {"raises"}
    if len(found) != len(inputs):
        return {"count"}
    broken = set()
    if not same(run.inputs, inputs):
        broken.add("input-modified")
    if not same(given, dy):
        broken.add("upstream-modified")
    if aliased(found, run.inputs, given):
        broken.add("aliased")
    first = copies(found)
    for position, (x, dx) in enumerate(zip(inputs, found, strict=True)):
        if x.dtype.kind == "f":
            broken |= faults(build, dy, position, dx, step)
    if broken & {"none", "shape", "not-finite"}:
        return broken
    return broken | unkept(build, run, dy, first)


def faults(build: Build, dy: list[np.ndarray], position: int, dx: Any, step: float) -> set[str]:
    """Compare one gradient with the measured one."""
    x = build().inputs[position]
    if dx is None:
        return {"none"}
    if np.shape(dx) != x.shape:
        return {"shape"}
    if not np.isfinite(dx).all():
        return {"not-finite"}
    broken = set() if np.asarray(dx).dtype == x.dtype else {"dtype"}
    groups, ends, noise = slopes(build, dy, position, step)
    claimed = np.array([np.sum(np.real(np.asarray(dx)[group])) for group in groups])
    low, high, scale = ends.min(axis=1), ends.max(axis=1), np.abs(ends).max(initial=1e-300)
    slack = TOLERANCE * scale + noise
    if np.any((claimed < low - slack) | (claimed > high + slack)):
        return {*broken, "values"}
    smooth, rounding = high - low < slack, 1e-8 * scale + noise
    if np.any(smooth & (np.abs(claimed - (low + high) / 2) > rounding)):
        broken.add("precision")
    return broken


def aliased(found: list[Any], inputs: list[Any], dy: list[Any]) -> bool:
    """Say whether gradients share memory with an input or with each other; dy itself may be one."""
    arrays = [dx for dx in found if isinstance(dx, np.ndarray)]
    if any(np.shares_memory(dx, x) for dx in arrays for x in inputs):
        return True
    own = [dx for dx in arrays if not any(np.shares_memory(dx, d) for d in dy)]
    return any(np.shares_memory(a, b) for i, a in enumerate(own) for b in own[:i])


def unkept(build: Build, run: Run, dy: list[np.ndarray], first: list[Any]) -> set[str]:
    """Return which promises about further calls are broken."""
    broken = set()
    second, third = (run.backward(copies(dy)) for _ in range(2))
    if not (same(second, first) and same(third, first)):
        broken.add("unrepeatable")
    before = copies(third)
    run.backward([-2 * d for d in dy])
    if not same(third, before):
        broken.add("aliased")
    if not same(Run(build).backward([2 * d for d in dy]), first, factor=2):
        broken.add("nonlinear")
    for order in ("C", "F"):
        columns = Run(build, [np.array(x, order="F") for x in build().inputs])
        if not same(columns.backward([np.array(d, order=order) for d in dy]), first):
            broken.add("layout")
    if not same(after_a_call(build, dy, other=True), after_a_call(build, dy, other=False)):
        broken.add("stale")
    return broken


def after_a_call(build: Build, dy: list[np.ndarray], other: bool) -> list[Any]:
    """Run the pair after an earlier forward, at other inputs or at the same ones."""
    pair = build()
    earlier = [np.roll(x, 1) if other and x.dtype.kind == "f" else x for x in pair.inputs]
    Run(build, earlier, pair)
    return Run(build, None, pair).backward(copies(dy))


def same(found: list[Any], right: list[Any], factor: float = 1) -> bool:
    return all(
        (a is None and b is None)
        or np.allclose(a, factor * b, rtol=1e-9, atol=1e-12 * np.abs(b).max(initial=0) + 1e-300)
        for a, b in zip(found, right, strict=True)
    )
