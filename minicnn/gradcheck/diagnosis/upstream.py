"""What is done to dy before it is used: nothing at all, or too much."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np

from minicnn.gradcheck.diagnosis.case import Candidate, Case, Predict, Trial
from minicnn.gradcheck.diagnosis.plain import axes_text
from minicnn_kernels.arrays import Array


def ignored(case: Case) -> Iterator[Candidate]:
    """dx does not depend on dy at all."""
    if len(case.trials) > 1 and not all(_same_dy(case, trial) for trial in case.trials):
        yield Candidate(
            "upstream-ignored", "it is the same for every dy", lambda t: case.found, 0.5
        )


def _same_dy(case: Case, trial: Trial) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(trial.dy, case.dy, strict=True))


def output_ignored(case: Case) -> Iterator[Candidate]:
    """dx = the part that comes through some of the outputs only."""
    if case.jacobian is None or len(case.y) < 2:
        return
    last = len(case.y) - 1
    for j in range(len(case.y)):
        unread = _changes_nothing(case, j)
        cause = "upstream-ignored" if unread else "missing-term"
        text = f"dy of output {j} is not used" if unread else f"what comes by output {j} is missing"
        yield Candidate(cause, text, _through_outputs(case, set(range(last + 1)) - {j}), 2)
    if last > 1:
        for j in range(last):
            text = f"only what comes by output {j} is there"
            yield Candidate("missing-term", text, _through_outputs(case, {j}), 2)
    text = "only what comes by the last output is there: = where += is due?"
    yield Candidate("assigned", text, _through_outputs(case, {last}), 1.9)


def _through_outputs(case: Case, kept: set[int]) -> Predict:
    def predict(trial: Trial) -> Array:
        return case.pull([dy if j in kept else 0 * dy for j, dy in enumerate(trial.dy)])

    return predict


def _changes_nothing(case: Case, j: int) -> bool:
    """Do all gradients, those of the other inputs too, stay the same for another dy_j?"""
    dy = [2.7 * part if k == j else part for k, part in enumerate(case.dy)]
    try:
        changed = case.evidence.gradients(dy)
    except Exception:
        return False
    return all(
        b is None or np.array_equal(a, b, equal_nan=True)
        for a, b in zip(changed, case.evidence.analytic, strict=False)
        if a is not None
    )


Change = Callable[[Array], Array]

ELEMENTWISE: list[tuple[str, Change]] = [
    ("squared: it is multiplied in twice", np.square),
    ("as its absolute value", np.abs),
    ("as its sign", np.sign),
    ("with its negative values cut off", lambda dy: np.maximum(dy, 0)),
    ("with its positive values cut off", lambda dy: np.minimum(dy, 0)),
    ("cubed", lambda dy: dy**3),
    ("as the root of its absolute value", lambda dy: np.sqrt(np.abs(dy))),
    ("clipped to [-1, 1]", lambda dy: np.clip(dy, -1, 1)),
]


def misused(case: Case) -> Iterator[Candidate]:
    """dx = J^T g(dy), for a g that is not the identity."""
    if case.jacobian is None:
        return
    for told, g in ELEMENTWISE:
        yield Candidate("upstream-misused", f"dy is used {told}", _through(case, g), 2)
    if len(case.y) > 1:
        return
    for axes in _axis_sets(case.y[0].ndim):
        over = "" if len(axes) == case.y[0].ndim else f" over {axes_text(axes)}"
        for told, g in _averages(axes):
            text = f"{told.format(over)} is used for dy"
            yield Candidate("upstream-misused", text, _through(case, g), 2.2)


def _averages(axes: tuple[int, ...]) -> list[tuple[str, Change]]:
    return [
        ("the sum of dy{}", lambda dy: dy.sum(axes, keepdims=True)),
        ("the mean of dy{}", lambda dy: dy.mean(axes, keepdims=True)),
        ("dy minus its mean{}", lambda dy: dy - dy.mean(axes, keepdims=True)),
    ]


def _through(case: Case, g: Change) -> Predict:
    return lambda trial: case.pull([np.broadcast_to(g(part), part.shape) for part in trial.dy])


def scaled(case: Case) -> Iterator[Candidate]:
    """dx = right * g(all of dy): another factor for each dy."""
    totals: list[tuple[str, Callable[[Array], float]]] = [
        ("the sum of dy", lambda dy: float(dy.sum())),
        ("the mean of dy", lambda dy: float(dy.mean())),
        ("the norm of dy", lambda dy: float(np.linalg.norm(dy))),
        ("1 / the norm of dy", lambda dy: 1 / float(np.linalg.norm(dy))),
        ("the largest dy", lambda dy: float(dy.max())),
    ]
    for told, g in totals:
        text = f"it is the right gradient times {told}"
        yield Candidate("upstream-misused", text, _right_times(g), 2.1)


def _right_times(g: Callable[[Array], float]) -> Predict:
    return lambda trial: trial.right * g(trial.dy[0])


def _axis_sets(ndim: int) -> Iterator[tuple[int, ...]]:
    for count in range(1, ndim + 1):
        yield from combinations(range(ndim), count)
