"""A sum that lacks one of its terms, or has one too many.

The difference e = dx - right then is a combination of a few arrays that do not depend on the
element: a constant over the axes of a mean, a multiple of x - mean(x) over the axes of a variance,
a multiple of y in softmax.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np

from minicnn.gradcheck.diagnosis.case import Candidate, Case, Predict, Trial
from minicnn.gradcheck.diagnosis.plain import axes_text
from minicnn_kernels.arrays import Array

Change = Callable[[Array], Array]


def without_upstream(case: Case) -> Iterator[Candidate]:
    """dx = right + e with the same e for every dy, also for dy = 0."""
    rest = case.gradient([np.zeros_like(part) for part in case.dy])
    if rest is None or not rest.any() or not np.isfinite(rest).all():
        return
    told = "something is added that does not depend on dy"
    for name, array in _same_shape(case):
        c = _share(rest, array)
        if c is not None:
            told = f"{_times(c, name)} is added, whatever dy is"
            told += ": a weight decay?" if name == case.name() else ""
            break
    yield Candidate("extra-term", told, lambda t: t.right + rest, 2)


def multiple(case: Case) -> Iterator[Candidate]:
    """dx = right + c * (dy, x, another input, y or a constant), with one c for all elements."""
    if np.count_nonzero(~case.unknown) < 4:
        return
    if len(case.y) == 1 and case.y[0].shape == case.x.shape:
        c = _share(case.found - case.right, case.dy[0])
        if c is not None:
            cause, told = ("missing-term", "lacks") if c < 0 else ("extra-term", "has")
            text = f"it {told} the direct path, {_times(c, 'dy')}"
            yield Candidate(cause, text, _right_and(c, None), 2.9)
    dy = float(case.dy[0].ravel()[0]) if case.outputs == 1 else None
    if dy:
        for name, array in _same_shape(case):
            share = _share(case.found - case.right, array)
            if share is None:
                continue
            c = share / dy
            cause, told = ("missing-term", "lacks") if c < 0 else ("extra-term", "has")
            text = f"the derivative {told} {_times(c, name)}"
            yield Candidate(cause, text, _right_and(c, array), 3.1)


def _times(c: float, name: str) -> str:
    if name == "1":
        return f"a constant, {abs(c):.6g}"
    return name if abs(abs(c) - 1) < 1e-6 else f"{abs(c):.6g} times {name}"


def _right_and(c: float, array: Array | None) -> Predict:
    """Return right + c dy, or right + c dy array for a single output."""

    def predict(trial: Trial) -> Array:
        dy = trial.dy[0] if array is None else trial.dy[0].ravel()[0] * array
        return np.asarray(trial.right + c * dy)

    return predict


def at_labels(case: Case) -> Iterator[Candidate]:
    """dx is right but for one element in each row: that of the label."""
    chosen = _one_hot(case)
    if chosen is None or case.unknown.any():
        return
    text = "it is wrong at the labels only: what is subtracted there, once per row, is missing"

    def predict(t: Trial) -> Array:
        return np.where(chosen, t.found, t.right)

    yield Candidate("missing-term", text, predict, 3.7)


def _same_shape(case: Case) -> list[tuple[str, Array]]:
    arrays: list[tuple[str, Array]] = [(case.name(), case.x)]
    arrays += [(case.name(j), other) for j, other in case.others if other.shape == case.x.shape]
    arrays += [("the sign of " + case.name(), np.sign(case.x))]
    if case.y[0].shape == case.x.shape:
        arrays.append(("the output", case.y[0]))
    arrays.append(("1", np.ones(case.x.shape)))
    return arrays


def _share(e: Array, array: Array) -> float | None:
    """Return c where e = c * array, None elsewhere."""
    good = np.isfinite(e)
    power = float((array[good] ** 2).sum())
    if power == 0 or np.count_nonzero(good & (array != 0)) < 4:
        return None
    c = float((e[good] * array[good]).sum()) / power
    gap = np.abs(e[good] - c * array[good]).max()
    return c if c and gap <= 1e-5 * np.abs(e[good]).max() else None


def _one_hot(case: Case) -> Array | None:
    """Mark the elements of x that whole-number labels, one for each row, point at."""
    for array in map(np.asarray, case.evidence.inputs):
        if array.dtype.kind not in "iu" or array.ndim != 1 or case.x.ndim < 2:
            continue
        n = case.x.shape[-1]
        if array.size * n == case.x.size and array.max(initial=0) < n:
            chosen: Array = np.arange(n) == array[:, None]
            return chosen.reshape(case.x.shape)
    return None


# --- terms through a mean, a variance, a sum of exponentials ---


def through_statistics(case: Case) -> Iterator[Candidate]:
    """e lies in the span of a few arrays for each index outside some axes.

    A function that does not change when x moves along a direction has a gradient without any part
    along it: so it is with the mean, the scale, and softmax.  Where the right gradient is such and
    dx is not, a term is missing; the other way round, there is one too many.
    """
    if case.unknown.any() or case.x.ndim == 0:
        return
    e = case.found - case.right
    for view, axes, where in _views(case):
        for told, basis in _bases(case, view):
            free = [k for k in range(len(view)) if k not in axes]
            cells = int(np.prod([view[k] for k in free]))
            if case.x.size < 3 * len(basis) * cells or case.x.size < 4:
                continue
            project = _projection(basis, view, axes)
            if np.abs(project(e) - e).max() > 1e-5 * np.abs(e).max():
                continue
            if _free_of(case.right, case.found, case, view, axes):
                cause, text = "missing-term", f"the term {told} {where} is missing or wrong"
            elif _free_of(case.found, case.right, case, view, axes):
                cause, text = "extra-term", f"the term {told} {where} should not be there"
            else:
                continue

            def predict(t: Trial, project: Change = project) -> Array:
                return np.asarray(t.right + project(t.found - t.right))

            yield Candidate(cause, text, predict, 3.5 + 0.5 * len(basis) + 0.1 * len(free))


def own_outputs_only(case: Case) -> Iterator[Candidate]:
    """dx[t] = what comes by y[t] alone, for an index t that x and y share."""
    J = case.jacobian
    if J is None or len(case.y) > 1 or np.isnan(J).any() or case.x.size < 3:
        return
    shape = case.y[0].shape
    rows = np.indices(shape).reshape(len(shape), case.y[0].size)
    columns = np.indices(case.x.shape).reshape(case.x.ndim, case.x.size)
    shared = [k for k, (m, n) in enumerate(zip(shape, case.x.shape, strict=False)) if m == n > 1]
    for count in range(1, len(shared) + 1):
        for axes in combinations(shared, count):
            own = np.all([rows[k][:, None] == columns[k] for k in axes], axis=0)
            kept = np.where(own, J, 0.0)
            text = f"each x counts only for the y with the same index along {axes_text(axes)}, "
            text += "though others depend on it too"
            yield Candidate("missing-term", text, case.through(kept), 3)


def other_axis(case: Case) -> Iterator[Candidate]:
    """A sum is taken along another axis: e is one part along each of two axes, of x, y or 1."""
    if case.unknown.any() or not 1 < case.x.ndim <= 3 or case.x.size > 400:
        return
    e = (case.found - case.right).ravel()
    for told, basis in _bases(case, case.x.shape):
        for axes in combinations(range(case.x.ndim), 2):
            free = [_free_of(case.right, case.found, case, case.x.shape, (k,)) for k in axes]
            if free[0] == free[1]:
                continue
            spans = [_span(basis, k) for k in axes]
            span = np.concatenate(spans, axis=1)
            if np.linalg.matrix_rank(span) + 4 > case.x.size or len(case.trials) < 2:
                continue
            if any(np.abs(_rest(part, e)).max() < 1e-3 * np.abs(e).max() for part in spans):
                continue  # one of the axes explains it alone
            text = f"the term {told} is taken along axis {axes[0]} for {axes[1]}, or the reverse"

            def predict(t: Trial, span: Array = span) -> Array:
                e = (t.found - t.right).ravel()
                return np.asarray(t.found - _rest(span, e).reshape(case.x.shape))

            yield Candidate("transposed", text, predict, 5)


def _span(basis: list[Array], axis: int) -> Array:
    """Return as columns: each array of the basis on one line along `axis`, 0 elsewhere."""
    columns = []
    for array in basis:
        lines = np.moveaxis(array, axis, -1)
        for place in np.ndindex(lines.shape[:-1]):
            column = np.zeros(array.shape)
            np.moveaxis(column, axis, -1)[place] = lines[place]
            columns.append(column.ravel())
    return np.stack(columns, axis=1)


def _rest(span: Array, e: Array) -> Array:
    """Return what of e lies outside the span of the columns."""
    return np.asarray(e - span @ np.linalg.lstsq(span, e, rcond=1e-10)[0])


def _views(case: Case) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], str]]:
    """List (shape, axes, words): the ways to take statistics of x, also by groups of channels."""
    shape = case.x.shape
    long = [k for k, n in enumerate(shape) if n > 1]
    for count in range(1, len(long) + 1):
        for axes in combinations(long, count):
            yield shape, axes, f"over {axes_text(axes)}"
    if len(shape) >= 2:
        for groups in range(2, shape[1]):
            if shape[1] % groups == 0:
                split = (shape[0], groups, shape[1] // groups, *shape[2:])
                yield split, tuple(range(2, len(split))), f"over each of {groups} groups of axis 1"


def _bases(case: Case, view: tuple[int, ...]) -> Iterator[tuple[str, list[Array]]]:
    one, x = np.ones(view), case.x.reshape(view)
    yield "through the mean (a constant)", [one]
    yield f"through the scale (a multiple of {case.name()})", [x]
    if case.y[0].size == case.x.size:
        y = case.y[0].reshape(view)
        yield "y * sum(dy * ...)", [y]
        if np.abs(y).max() < 30:
            yield "exp(y) * sum(dy)", [np.exp(y)]
    told = f"through the variance (a multiple of {case.name()} - mean({case.name()}))"
    yield told, [one, x]


def _projection(basis: list[Array], view: tuple[int, ...], axes: tuple[int, ...]) -> Change:
    """Return the function that projects onto the span of `basis`, for each cell of its own."""
    ready: list[Array] = []
    for array in basis:
        rest = array
        for other in ready:
            rest = rest - other * (rest * other).sum(axes, keepdims=True)
        norm = np.sqrt((rest**2).sum(axes, keepdims=True))
        ready.append(np.divide(rest, norm, where=norm > 1e-12, out=np.zeros(view)))

    def project(e: Array) -> Array:
        cells = e.reshape(view)
        parts = [array * (cells * array).sum(axes, keepdims=True) for array in ready]
        return np.asarray(sum(parts[1:], parts[0])).reshape(e.shape)

    return project


def _free_of(
    gradient: Array, other: Array, case: Case, view: tuple[int, ...], axes: tuple[int, ...]
) -> bool:
    """Is this gradient orthogonal to a constant, x or y over these axes, and the other one not?"""
    x = case.x.reshape(view)
    probes = [np.ones(view), x, x - x.mean(axes, keepdims=True)]
    if case.y[0].size == case.x.size:
        probes.append(case.y[0].reshape(view))
    for probe in probes:
        small, large = (_part_along(probe, g.reshape(view), axes) for g in (gradient, other))
        if small < 1e-2 and large > 1e-2 and large > 20 * small:
            return True
    return False


def _part_along(probe: Array, gradient: Array, axes: tuple[int, ...]) -> float:
    along = np.abs((gradient * probe).sum(axes))
    norms = np.sqrt((gradient**2).sum(axes) * (probe**2).sum(axes))
    return float(along.max() / max(norms.max(), 1e-300))
