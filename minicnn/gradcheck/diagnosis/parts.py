"""Contributions that are lost: assigned over, from one part only, or beyond the last window.

dx[i] = sum over m of dy[m] J[m, i].  Each hypothesis keeps some of these products and drops the
others.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product

import numpy as np

from minicnn.gradcheck.diagnosis.case import Candidate, Case, Predict, Trial
from minicnn.gradcheck.diagnosis.plain import axes_text
from minicnn.gradcheck.diagnosis.regions import any_along, indices_text, wrong_elements
from minicnn_kernels.arrays import Array


def assigned(case: Case) -> Iterator[Candidate]:
    """A loop over some axes of y keeps the last contribution to each element, not their sum."""
    J = case.jacobian
    if J is None or len(case.y) > 1 or np.isnan(J).any():
        return
    shape = case.y[0].shape
    used = np.abs(J) > 1e-8 * np.abs(J).max(initial=0)
    for axes in _axis_sets([k for k, n in enumerate(shape) if n > 1]):
        step = _step_of_loop(shape, axes)
        for told, best in (("last", np.max), ("first", np.min)):
            outside = -1 if told == "last" else len(step)
            kept = best(np.where(used, step[:, None], outside), axis=0)
            mask = used & (step[:, None] == kept)
            if np.array_equal(mask, used):
                continue
            text = f"of the contributions along {axes_text(axes)} of y only the {told} counts: "
            text += "= where += is due?"
            rank = 3 if told == "last" else 3.4
            yield Candidate("assigned", text, _masked(case, mask), rank)


def _step_of_loop(shape: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    """Say for each output at which step of a loop over `axes` it is visited."""
    places = np.indices(shape).reshape(len(shape), -1)
    step = np.zeros(places.shape[1], dtype=np.int64)
    for k in axes:
        step = step * shape[k] + places[k]
    return step


def _masked(case: Case, mask: Array) -> Predict:
    assert case.jacobian is not None
    return case.through(np.where(mask, case.jacobian, 0.0))


def partial_output(case: Case) -> Iterator[Candidate]:
    """dx = J^T (dy where it is in some part of y, 0 elsewhere)."""
    if case.jacobian is None or len(case.y) > 1 or not case.y[0].ndim:
        return
    shape = case.y[0].shape
    for part in product(*(_sections(n) for n in shape)):
        chosen = [(k, told) for k, (told, _) in enumerate(part) if told]
        if not 0 < len(chosen) <= 4:
            continue
        window = tuple(indices for _, indices in part)

        def predict(t: Trial, window: tuple[slice, ...] = window) -> Array:
            dy = np.zeros(shape)
            dy[window] = t.dy[0][window]
            return case.pull([dy])

        where = ", ".join(f"{told} of axis {k}" for k, told in chosen)
        if all(told == "the last" for _, told in chosen) and _reaches_all(
            case, [k for k, _ in chosen]
        ):
            axes = axes_text(tuple(k for k, _ in chosen))
            text = f"only the last dy along {axes} of y counts: = where += is due?"
            yield Candidate("assigned", text, predict, 2.8 + 0.1 * len(chosen))
        text = f"only a part of dy counts: {where} of y"
        yield Candidate("partial", text, predict, 3 + 0.1 * len(chosen))


def _reaches_all(case: Case, axes: list[int]) -> bool:
    """Do most elements of x get contributions from several places along these axes?"""
    J = case.jacobian
    assert J is not None
    used = (np.abs(np.nan_to_num(J)) > 0).reshape(*case.y[0].shape, -1)
    for k in axes:
        used_along = used.any(axis=tuple(n for n in range(used.ndim - 1) if n != k))
        if 2 * np.count_nonzero(used_along.sum(axis=0) > 1) < case.x.size:
            return False
    return True


def _sections(size: int) -> list[tuple[str, slice]]:
    sections = [("", slice(None))]
    if size > 1:
        sections += [("the first", slice(1)), ("the last", slice(size - 1, None))]
    if size > 2:
        sections += [("all but the last", slice(size - 1)), ("all but the first", slice(1, None))]
    if size > 3 and size % 2 == 0:
        sections += [("the first half", slice(size // 2))]
    return sections


def partial_input(case: Case) -> Iterator[Candidate]:
    """dx is right for some indices along the axes of x, and 0 for the others."""
    x = case.x
    inside = [any_along(case.found, k) for k in range(x.ndim)]
    full = [any_along(case.right, k) for k in range(x.ndim)]
    cut = [k for k in range(x.ndim) if (full[k] & ~inside[k]).any()]
    if not cut or not case.found.any():
        return
    box = np.ones(x.shape, bool)
    for k in cut:
        box &= inside[k].reshape([-1 if n == k else 1 for n in range(x.ndim)])
    where = " and ".join(f"{indices_text(inside[k])} of axis {k}" for k in cut)
    cause = "partial"
    if x.ndim >= 3 and all(_only_the_end_is_lost(inside[k], k, x.ndim) for k in cut):
        cause = "left-over"
    text = f"it is right for {where} of {case.name()}, and 0 elsewhere"
    yield Candidate(cause, text, lambda t: np.where(box, t.right, 0.0), 3.5)


def _only_the_end_is_lost(inside: Array, axis: int, ndim: int) -> bool:
    kept = int(np.count_nonzero(inside))
    return axis >= 2 and bool(inside[:kept].all()) and len(inside) - kept <= 2 and kept > 1


def partial_garbage(case: Case) -> Iterator[Candidate]:
    """dx is right for one block of indices along an axis of x, and wrong everywhere else."""
    x = case.x
    if len(case.trials) < 2 or case.unknown.any():
        return
    wrong = wrong_elements(case)
    for k in range(x.ndim):
        right_rows = ~any_along(wrong, k)
        wrong_rows = ~any_along(~wrong, k)
        count = int(np.count_nonzero(right_rows))
        ends = right_rows[:count].all() or right_rows[len(right_rows) - count :].all()
        if not 0 < count < x.shape[k] or not ends or not (right_rows | wrong_rows).all():
            continue
        if x.size < 2 * x.shape[k] or not case.right.compress(right_rows, k).all():
            continue
        open_rows = right_rows.reshape([-1 if n == k else 1 for n in range(x.ndim)])
        text = f"it is right for {indices_text(right_rows)} of axis {k} of {case.name()} only"
        yield Candidate("partial", text, _right_where(open_rows), 8)


def _right_where(mask: Array) -> Predict:
    return lambda trial: np.where(mask, trial.right, trial.found)


def left_over(case: Case) -> Iterator[Candidate]:
    """dx is not 0 where no window looks: the last rows that a stride leaves over."""
    J, x = case.jacobian, case.x
    if J is None or np.isnan(J).any() or not x.ndim:
        return
    unused = ~np.asarray(J.any(axis=0)).reshape(x.shape)
    behind = np.zeros(x.shape, bool)
    ends = []
    for k in range(x.ndim):
        rows = ~any_along(~unused, k)
        count = int(np.argmin(rows[::-1])) if not rows.all() else 0
        if count:
            behind |= _rows(x.shape, k, x.shape[k] - count)
            ends.append(f"from index {x.shape[k] - count} of axis {k} on")
    if ends and not (wrong_elements(case) & ~behind).any() and case.y[0].shape != x.shape:
        text = f"it should be 0 {' and '.join(ends)}: no window is there"
        yield Candidate("left-over", text, _right_where(~behind), 3)


def _rows(shape: tuple[int, ...], axis: int, start: int) -> Array:
    return np.asarray(np.indices(shape)[axis] >= start)


def dropped(case: Case) -> Iterator[Candidate]:
    """Each product dy[m] J[m, i] is either there or not, in no order that has a name."""
    J, A = case.jacobian, case.claimed
    if J is None or A is None or np.isnan(J).any() or len(case.y) > 1:
        return
    largest = np.abs(J).max(initial=0)
    used = np.abs(J) > 1e-8 * largest
    kept = used & (np.abs(A) > 1e-8 * largest)
    several = used.sum(axis=0) > 1
    lost = int((used & ~kept).sum())
    if min(int(kept[:, several].sum()), int((used & ~kept)[:, several].sum())) < 4:
        return
    yield from _last_or_nothing(case, used, kept)
    text = f"{lost} of {int(used.sum())} products of dy with a derivative are left out"
    yield Candidate("partial", text, _masked(case, kept), 7)


def one_use(case: Case) -> Iterator[Candidate]:
    """x is used twice: of each product one use counts; where both coincide, half of it is there."""
    J, A = case.jacobian, case.claimed
    if J is None or A is None or np.isnan(J).any() or len(case.y) > 1:
        return
    largest = np.abs(J).max(initial=0)
    used = np.abs(J) > 1e-8 * largest
    kept, lost, half = (used & (np.abs(A - c * J) <= 1e-7 * largest) for c in (1.0, 0.0, 0.5))
    if (used & ~(kept | lost | half)).any() or min(kept.sum(), lost.sum()) < 4 or half.sum() < 2:
        return
    text = f"{case.name()} enters twice, and only one of its uses counts"
    yield Candidate("missing-term", text, case.through(A), 4)


def one_gets_all(case: Case) -> Iterator[Candidate]:
    """Each dy goes whole to one of the elements that should share it."""
    J, A = case.jacobian, case.claimed
    if J is None or A is None or np.isnan(J).any() or len(J) < 3:
        return
    shares = np.count_nonzero(np.abs(J) > 1e-8 * np.abs(J).max(), axis=1)
    single = np.count_nonzero(A, axis=1) == 1
    if not single.all() or shares.min() < 2 or (A[np.abs(J) <= 1e-8 * np.abs(J).max()]).any():
        return
    if np.allclose(A.sum(axis=1), J.sum(axis=1), rtol=1e-6):
        text = "each dy goes whole to one of the elements that should share it"
        yield Candidate("partial", text, case.through(A), 4)


def _last_or_nothing(case: Case, used: Array, kept: Array) -> Iterator[Candidate]:
    """A later step of the loop wrote over each contribution, maybe with a zero."""
    shape = case.y[0].shape
    for axes in _axis_sets([k for k, n in enumerate(shape) if n > 1]):
        step = _step_of_loop(shape, axes)
        last = np.max(np.where(used, step[:, None], -1), axis=0)
        first = np.min(np.where(used, step[:, None], len(step)), axis=0)
        at_last = used & (step[:, None] == last)
        shared = (first < last) & used.any(axis=0)
        if (kept & ~at_last).any() or not kept[:, shared].any():
            continue
        whole = kept.any(axis=0)  # what is kept of an element is kept whole
        if not np.array_equal(kept, at_last & whole):
            continue
        text = f"a loop over {axes_text(axes)} of y writes over what is there: = where += is due?"
        yield Candidate("assigned", text, _masked(case, kept), 3.8)
        return


def _axis_sets(axes: list[int]) -> Iterator[tuple[int, ...]]:
    for count in range(1, len(axes) + 1):
        yield from combinations(axes, count)
