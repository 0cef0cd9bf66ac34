"""Right but for a region: a few cells, a block, a row; or one element in each row.

These hypotheses need no Jacobian, so they also serve large inputs, of which maybe only a sample of
the elements was measured.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minicnn.gradcheck.diagnosis.case import EXACT, Candidate, Case, Predict, Trial
from minicnn.gradcheck.diagnosis.plain import axes_text
from minicnn_kernels.arrays import Array

MANY = 100  # measured elements that are evidence enough for a single dy


def wrong_elements(case: Case) -> Array:
    """Mark the elements that are wrong for some dy."""
    wrong = np.zeros(case.x.shape, bool)
    for trial in case.trials:
        right = np.nan_to_num(trial.right)
        scale = max(np.abs(trial.found).max(initial=0), np.abs(right).max(initial=0))
        wrong |= np.abs(trial.found - right) > 0.1 * EXACT * scale + EXACT * np.abs(right)
    return wrong & ~case.unknown


def any_along(array: Array, axis: int) -> Array:
    """Say for each index along `axis` whether any element there is not 0."""
    return np.asarray(array.any(axis=tuple(n for n in range(array.ndim) if n != axis)))


def indices_text(inside: Array) -> str:
    """Write "index 3", "indices 2 to 5" or "indices 0, 2, 4"."""
    found = np.flatnonzero(inside)
    if len(found) == 1:
        return f"index {found[0]}"
    if np.array_equal(found, np.arange(found[0], found[-1] + 1)):
        return f"indices {found[0]} to {found[-1]}"
    return f"indices {', '.join(map(str, found[:6]))}{', ...' if len(found) > 6 else ''}"


def few_elements(case: Case) -> Iterator[Candidate]:
    """dx is right but for one element in a hundred or less: not the formula, those cells."""
    wrong, known = wrong_elements(case), ~case.unknown
    count, total = int(np.count_nonzero(wrong)), int(np.count_nonzero(known))
    if total < 20 or not _enough(case, known) or not 0 < count <= max(1, total // 100):
        return
    place = np.argwhere(wrong)[0]
    first = f"{case.name()}[{', '.join(map(str, place))}]"
    only = f"only {first}" if count == 1 else f"only {count}, as {first},"
    text = f"{only} of {_how_many(case, known)} {'is' if count == 1 else 'are'} wrong"
    c = _ratio(case, wrong)
    if c is not None:
        text += f": {c:.6g} times the right value"
    sure = c is not None and count > 1
    yield Candidate("partial", text, _changed_where(wrong, c), 3.6 if sure else 8)


def region(case: Case) -> Iterator[Candidate]:
    """dx is right but for a block of indices, at most half of all."""
    x, wrong, known = case.x, wrong_elements(case), ~case.unknown
    if not wrong.any() or np.count_nonzero(known) < 12 or not _enough(case, known):
        return
    live = known & ((case.found != 0) | (np.nan_to_num(case.right) != 0))
    inside = [any_along(wrong, k) for k in range(x.ndim)]
    cut = [k for k in range(x.ndim) if (any_along(live, k) & ~inside[k]).any()]
    for k in list(cut):  # an axis that adds nothing: an index there was only never measured
        others = [n for n in cut if n != k]
        if others and not (live & _box(inside, others, x.shape) & ~wrong).any():
            cut.remove(k)
    box = _box(inside, cut, x.shape)
    within, outside = int((live & box).sum()), int((live & ~box).sum())
    if not cut or outside < max(6, within) or int(wrong.sum()) < 0.95 * within:
        return
    loose = [k for k in cut if not _contiguous(inside[k])]
    picks = int(np.prod([inside[k].sum() for k in loose]))
    if loose and within < 4 * picks:
        return  # any wrong elements stand at some indices
    if not loose and within < 3:
        return
    where = " and ".join(f"{indices_text(inside[k])} of axis {k}" for k in cut)
    text = f"it is right but for {where} of {case.name()}"
    if np.count_nonzero(known) < 0.9 * x.size:
        text += f", as far as {_how_many(case, known)} tell"
    c = _ratio(case, box & known)
    if c is not None:
        is_there = "0" if c == 0 else f"{c:.6g} times the right gradient"
        rank = 3.55 if c == 0 else 3.0
        yield Candidate("partial", f"{text}; there it is {is_there}", _changed_where(box, c), rank)
        return
    if len(cut) == 1 and inside[cut[0]].sum() == 1:
        yield from _copied(case, box, cut[0], int(np.argmax(inside[cut[0]])), text)
    yield Candidate("partial", f"{text}; there it is wrong", _changed_where(box, None), 8)


def _box(inside: list[Array], axes: list[int], shape: tuple[int, ...]) -> Array:
    box = np.ones(shape, bool)
    for k in axes:
        box &= inside[k].reshape([-1 if n == k else 1 for n in range(len(shape))])
    return box


def _copied(case: Case, box: Array, axis: int, index: int, text: str) -> Iterator[Candidate]:
    """The block has the gradient of another index along the axis."""
    for other in range(case.x.shape[axis]):
        rows = np.take(case.found, index, axis), np.take(case.right, other, axis)
        good = np.isfinite(rows[1])
        scale = np.abs(rows[0]).max(initial=0)
        if good.sum() < 3 or np.abs(rows[0] - rows[1])[good].max() > EXACT * scale:
            continue

        def predict(t: Trial, other: int = other) -> Array:
            row = np.take(t.right, [other], axis)
            return np.where(box, np.broadcast_to(row, t.right.shape), t.right)

        told = f"{text}; there it is the gradient of index {other}"
        yield Candidate("partial", told, predict, 3.0)


def _contiguous(inside: Array) -> bool:
    found = np.flatnonzero(inside)
    return bool(len(found) == found[-1] - found[0] + 1)


def _enough(case: Case, known: Array) -> bool:
    return len(case.trials) > 1 or int(np.count_nonzero(known)) >= MANY


def _how_many(case: Case, known: Array) -> str:
    count = int(np.count_nonzero(known))
    return f"the {count} measured" if count < 0.9 * case.x.size else f"{case.x.size} elements"


def _ratio(case: Case, where: Array) -> float | None:
    """Return the c of found = c * right at these elements, for each dy."""
    found = np.concatenate([t.found[where] for t in case.trials])
    right = np.concatenate([t.right[where] for t in case.trials])
    good = np.isfinite(right)
    found, right = found[good], right[good]
    power = float((right**2).sum())
    if power == 0 or len(right) < 1:
        return None
    c = float((found * right).sum()) / power
    if abs(c) < 1e-12:
        c = 0.0
    gap = np.abs(found - c * right).max()
    return c if gap <= 1e-6 * max(np.abs(right).max(), np.abs(found).max()) else None


def _changed_where(mask: Array, c: float | None) -> Predict:
    if c is None:
        return lambda t: np.where(mask, t.found, t.right)
    return lambda t: np.where(mask, c * t.right, t.right)


# --- one element in each row ---


def one_in_each_row(case: Case) -> Iterator[Candidate]:
    """dx is right but for one element in each row, in another column each time."""
    x, wrong, known = case.x, wrong_elements(case), ~case.unknown
    if x.ndim < 2 or x.shape[-1] < 3 or not known.all() or not _enough(case, known):
        return
    in_row = wrong.reshape(-1, x.shape[-1]).sum(axis=1)
    columns = np.unique(np.nonzero(wrong)[-1])
    if in_row.max() > 1 or in_row.sum() < max(4, 0.6 * len(in_row)) or len(columns) < 2:
        return
    right = np.abs(case.right) > 1e-9 * np.abs(case.right).max()
    if np.count_nonzero(right & ~wrong) < len(in_row):
        return
    text = "one element in each row is wrong, the rest is right: that of the row's label?"
    yield Candidate("missing-term", text, _changed_where(wrong, None), 7.5)


# --- where another input, or the right gradient itself, says so ---


def where_it_should_be_zero(case: Case) -> Iterator[Candidate]:
    """dx is right wherever the derivative is not 0: a mask is not applied."""
    known = ~case.unknown
    zero = known.copy()
    for trial in case.trials:
        zero &= np.abs(np.nan_to_num(trial.right)) < 1e-9 * np.abs(trial.found).max(initial=0)
    count, total = int(zero.sum()), int(known.sum())
    if count < 4 or total - count < 4 or not _enough(case, known) or not case.found[zero].all():
        return
    text = f"it is right where it is not 0, and not 0 at the {count} of {total} elements where "
    text += "it should be: a mask that is not applied?"
    yield Candidate("local-derivative", text, _changed_where(zero, None), 7)


def by_flag(case: Case) -> Iterator[Candidate]:
    """dx is right where another input has one of its two values, and c times that elsewhere."""
    known = ~case.unknown
    if not _enough(case, known):
        return
    for j, array in enumerate(case.evidence.inputs):
        flags = np.unique(array)
        if j == case.position or len(flags) != 2 or np.size(array) < 4:
            continue
        try:
            values = np.broadcast_to(array, case.x.shape)
        except ValueError:
            continue
        for flag in flags:
            where = (values == flag) & known
            c = _ratio(case, where)
            if c is None or abs(c - 1) < 1e-6 or where.sum() < 3:
                continue
            text = f"where {case.name(j)} is {flag:g}, it is {c:.6g} times the right gradient"
            yield Candidate("local-derivative", text, _changed_where(where, c), 3.3)


# --- the right gradient summed up ---


def summed(case: Case) -> Iterator[Candidate]:
    """Every element gets the sum of the right gradient along an axis."""
    if case.unknown.any() or not _enough(case, ~case.unknown):
        return
    for k, n in enumerate(case.x.shape):
        if n > 1 and case.x.size > n:

            def predict(t: Trial, k: int = k) -> Array:
                total = t.right.sum(k, keepdims=True)
                return np.asarray(np.broadcast_to(total, t.right.shape))

            text = f"each element gets the sum of the right gradient along {axes_text((k,))}"
            yield Candidate("extra-term", text, predict, 2.9)
