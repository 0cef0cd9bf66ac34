"""The wrong function as local derivative: y (1 + y) for y (1 - y), x for x^2, no mask at all.

Every pair (m, i) with dy[m] reaching dx[i] has a right derivative J and a claimed one A.  A, A / J
and A - J are looked up in a table of functions of x[i], of y[m] and of the other inputs there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import comb, erf, sqrt
from typing import NamedTuple

import numpy as np

from minicnn.gradcheck.diagnosis.case import Candidate, Case, Trial
from minicnn_kernels.arrays import Array

MOST_TABLE_PAIRS = 4000


def _normal_cdf(v: Array) -> Array:
    return np.asarray([(1 + erf(t / sqrt(2))) / 2 for t in v])


def _normal_density(v: Array) -> Array:
    return np.asarray(np.exp(-(v**2) / 2) / np.sqrt(2 * np.pi))


def _gelu_slope(v: Array) -> Array:
    a, b = np.sqrt(2 / np.pi), 0.044715  # Hendrycks and Gimpel 2016
    u = np.tanh(a * (v + b * v**3))
    return np.asarray((1 + u + v * (1 - u**2) * a * (1 + 3 * b * v**2)) / 2)


class Pairs(NamedTuple):
    """Derivatives at all pairs of an output and an element that it depends on."""

    rows: Array
    columns: Array
    right: Array
    claimed: Array
    variables: dict[str, Array]
    tolerance: float  # of a function in the table


def pairs(case: Case) -> Pairs | None:
    """Collect the pairs at which either derivative is not zero."""
    J, A = case.jacobian, case.claimed
    if J is None or A is None or np.isnan(J).any() or not J.size or len(case.y) > 1:
        return None
    scale = max(np.abs(J).max(), np.abs(A).max())
    if scale == 0:
        return None
    used = (np.abs(J) > 1e-9 * scale) | (np.abs(A) > 1e-9 * scale)
    if (
        case.y[0].shape == case.x.shape
        and np.count_nonzero(used & ~np.eye(len(J), dtype=bool)) == 0
    ):
        used = np.eye(len(J), dtype=bool)
    rows, columns = np.nonzero(used)
    if not 3 <= len(rows) <= MOST_TABLE_PAIRS:
        return None
    x, y = case.x.ravel(), case.y[0].ravel()
    variables = {"y": y[rows], "x": x[columns]}
    if x.size == y.size and np.any(rows != columns):
        variables["y at the place of dx"] = y[columns]
        variables["x at the place of dy"] = x[rows]
    for j, other in case.others:
        values = _beside(other, case.x.shape, columns)
        if values is None:
            values = _beside(other, case.y[0].shape, rows)
        if values is not None:
            variables[case.name(j)] = values
    right, claimed = J[rows, columns], A[rows, columns]
    tolerance = min(1e-6, 0.01 * float(np.abs(claimed - right).max()) / scale)
    return Pairs(rows, columns, right, claimed, variables, tolerance)


def _beside(other: Array, shape: tuple[int, ...], where: Array) -> Array | None:
    try:
        return np.asarray(np.broadcast_to(other, shape).ravel()[where], dtype=np.float64)
    except ValueError:
        return None


FUNCTIONS: list[tuple[str, Callable[[Array], Array]]] = [
    ("{}", lambda v: v),
    ("{}^2", lambda v: v**2),
    ("1 - {}", lambda v: 1 - v),
    ("1 + {}", lambda v: 1 + v),
    ("{0} (1 - {0})", lambda v: v * (1 - v)),
    ("{0} (1 + {0})", lambda v: v * (1 + v)),
    ("1 - {}^2", lambda v: 1 - v**2),
    ("1 + {}^2", lambda v: 1 + v**2),
    ("1 / {}", lambda v: 1 / v),
    ("1 / {}^2", lambda v: 1 / v**2),
    ("{}^3", lambda v: v**3),
    ("1 / {}^3", lambda v: 1 / v**3),
    ("(1 - {})^2", lambda v: (1 - v) ** 2),
    ("(1 - {}^2)^2", lambda v: (1 - v**2) ** 2),
    ("1 / (1 - {})", lambda v: 1 / (1 - v)),
    ("1 / (1 + {})", lambda v: 1 / (1 + v)),
    ("1 / (1 - {}^2)", lambda v: 1 / (1 - v**2)),
    ("1 / (1 + {}^2)", lambda v: 1 / (1 + v**2)),
    ("1 / ({0} (1 - {0}))", lambda v: 1 / (v * (1 - v))),
    ("root(1 - {}^2)", lambda v: np.sqrt(1 - v**2)),
    ("1 / root(1 - {}^2)", lambda v: 1 / np.sqrt(1 - v**2)),
    ("|{}|", np.abs),
    ("1 / |{}|", lambda v: 1 / np.abs(v)),
    ("root |{}|", lambda v: np.sqrt(np.abs(v))),
    ("1 / root |{}|", lambda v: 1 / np.sqrt(np.abs(v))),
    ("exp({})", np.exp),
    ("exp(-{})", lambda v: np.exp(-v)),
    ("exp(-{}^2)", lambda v: np.exp(-(v**2))),
    ("exp(-{}^2 / 2)", lambda v: np.exp(-(v**2) / 2)),
    ("log |{}|", lambda v: np.log(np.abs(v))),
    ("sin({})", np.sin),
    ("cos({})", np.cos),
    ("sinh({})", np.sinh),
    ("cosh({})", np.cosh),
    ("tan({})", np.tan),
    ("1 / cos({})^2", lambda v: 1 / np.cos(v) ** 2),
    ("tanh({})", np.tanh),
    ("1 - tanh({})^2", lambda v: 1 - np.tanh(v) ** 2),
    ("sigmoid({})", lambda v: 1 / (1 + np.exp(-v))),
    ("1 - sigmoid({})", lambda v: 1 / (1 + np.exp(v))),
    ("sigmoid'({})", lambda v: 1 / (2 + np.exp(v) + np.exp(-v))),
    ("{0} sigmoid({0})", lambda v: v / (1 + np.exp(-v))),
    ("{0} sigmoid'({0})", lambda v: v / (2 + np.exp(v) + np.exp(-v))),
    ("1 + log |{}|", lambda v: 1 + np.log(np.abs(v))),
    ("1 - exp(-{})", lambda v: 1 - np.exp(-v)),
    ("the normal distribution at {}", lambda v: _normal_cdf(v)),
    ("the normal density at {}", lambda v: _normal_density(v)),
    ("gelu'({})", lambda v: _normal_cdf(v) + v * _normal_density(v)),
    ("the derivative of gelu's tanh form at {}", lambda v: _gelu_slope(v)),
]
PAIRWISE: list[tuple[str, Callable[[Array, Array], Array]]] = [
    ("{} {}", lambda u, v: u * v),
    ("{} - {}", lambda u, v: u - v),
    ("{} + {}", lambda u, v: u + v),
    ("{} / {}", lambda u, v: u / v),
    ("{1} / {0}", lambda u, v: v / u),
    ("{} / {}^2", lambda u, v: u / v**2),
    ("{1} / {0}^2", lambda u, v: v / u**2),
    ("{}^2 {}", lambda u, v: u**2 * v),
    ("{} {}^2", lambda u, v: u * v**2),
    ("{} (1 - {})", lambda u, v: u * (1 - v)),
    ("{1} (1 - {0})", lambda u, v: v * (1 - u)),
    ("(1 - {}) / (1 - {})", lambda u, v: (1 - u) / (1 - v)),
    ("(1 - {1}) / (1 - {0})", lambda u, v: (1 - v) / (1 - u)),
    ("1 / ({} {})", lambda u, v: 1 / (u * v)),
]
CONSTANTS = [1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0]


def derivative(case: Case) -> Iterator[Candidate]:
    """A, A / J or A - J is a known function of x[i] and y[m]."""
    found = pairs(case)
    if found is None:
        return
    measured = _lookup(found.right, found._replace(tolerance=1e-6))
    right = f"; measured is {measured}" if measured else ""
    right = right if right else "; measured is something else"
    name = _constant(found.claimed)
    if name is not None and len(found.claimed) >= 4 and not _constant(found.right):
        text = f"each dy counts times {name}, whatever x is{right}"
        yield _candidate(case, "local-derivative", text, found, found.claimed, 3.2)
    claimed = _lookup(found.claimed, found)
    if claimed is not None and claimed != measured:
        text = f"the derivative is taken as {claimed}{right}"
        yield _candidate(case, "local-derivative", text, found, found.claimed, 3.2)
    if np.abs(found.right).min() > 1e-7 * np.abs(found.right).max():
        name = _lookup(found.claimed / found.right, found, J=found.right)
        if name is not None:
            text = f"the derivative is {name} times what it should be"
            yield _candidate(case, "local-derivative", text, found, found.claimed, 3.6)
    yield from _sum_of_two(case, found, measured, claimed)


def _sum_of_two(
    case: Case, found: Pairs, measured: str | None, claimed: str | None
) -> Iterator[Candidate]:
    """A and J differ by a function that has a name: a term is missing, or one too many."""
    extra = measured is not None and claimed is None
    difference = found.claimed - found.right if extra else found.right - found.claimed
    name = _lookup(difference, found)
    if name is None:
        return
    cause = "extra-term" if extra else "missing-term"
    text = f"the derivative {'has' if extra else 'lacks'} the term {name}"
    whole = measured is None and np.array_equal(found.claimed != 0, found.right != 0)
    yield _candidate(case, cause, text, found, found.claimed, 3.1 if whole else 4.2)
    yield _candidate(case, "local-derivative", text, found, found.claimed, 4.3)


def _candidate(
    case: Case, cause: str, text: str, found: Pairs, values: Array, rank: float
) -> Candidate:
    def predict(trial: Trial) -> Array:
        dx = np.zeros(case.x.size)
        np.add.at(dx, found.columns, trial.dy[0].ravel()[found.rows] * values)
        return dx.reshape(case.x.shape)

    return Candidate(cause, text, predict, rank)


def _constant(values: Array) -> str | None:
    if values[0] == 0 or np.abs(values - values[0]).max() > 1e-7 * np.abs(values[0]):
        return None
    return f"{values[0]:.6g}"


def _lookup(values: Array, found: Pairs, J: Array | None = None) -> str | None:
    """Name a function of the variables that has these values: a table, and a few constants."""
    if not _varied(values):
        return None
    variables = dict(found.variables)
    if J is not None:
        variables["its right value"] = J
    for name, v in variables.items():
        for form, function in FUNCTIONS:
            told = _match(values, function(v), form.format(name), found.tolerance)
            if told is not None:
                return told
    names = list(variables)
    for k, first in enumerate(names):
        for second in names[k + 1 :]:
            for form2, function2 in PAIRWISE:
                guess = function2(variables[first], variables[second])
                told = _match(values, guess, form2.format(first, second), found.tolerance)
                if told is not None:
                    return told
    return None


def _varied(values: Array) -> bool:
    """Can these values tell functions apart?  At least three different ones are needed."""
    scale = float(np.abs(values).max(initial=0))
    return scale > 0 and len(np.unique(np.round(values / scale, 6))) >= 3


def _match(values: Array, guess: Array, told: str, tolerance: float) -> str | None:
    if not np.isfinite(guess).all():
        return None
    scale = np.abs(values).max()
    for c in CONSTANTS:
        if np.abs(values - c * guess).max() <= tolerance * scale:
            return (
                told if c == 1 else f"-{_grouped(told)}" if c == -1 else f"{c:g} {_grouped(told)}"
            )
    return None


def _grouped(told: str) -> str:
    return f"({told})" if " + " in told or " - " in told else told


# --- conditions ---


def sides(case: Case) -> Iterator[Candidate]:
    """The derivative is right on one side of a threshold, or differs from it by a side's factor."""
    found = pairs(case)
    if found is None or len(found.rows) < 8:
        return
    for name, v in sorted(found.variables.items()):  # x before y
        if 2 * len(np.unique(v)) < len(v):
            continue
        told = _by_side(name, v, found)
        if told is not None:
            yield _candidate(case, "local-derivative", told, found, found.claimed, 3.4)
            return


def _by_side(name: str, v: Array, found: Pairs) -> str | None:
    order = np.argsort(v, kind="stable")
    labels = [_label(found.right[k], found.claimed[k], found) for k in order]
    runs: list[tuple[str, list[float]]] = []
    for k, label in zip(order, labels, strict=True):
        if not runs or runs[-1][0] != label:
            runs.append((label, []))
        runs[-1][1].append(float(v[k]))
    if not 2 <= len(runs) <= 4 or (len(runs) > 2 and min(len(vs) for _, vs in runs) < 3):
        return None
    # how likely is it that labels at random would stand in so few runs?
    ways = comb(len(v), len(runs[0][1])) * (comb(len(v), len(runs[1][1])) if len(runs) > 2 else 1)
    if ways < 400 * len(runs) or max(len(values) for _, values in runs) < 4:
        return None
    pieces = [f"{label} for {name} from {min(vs):.3g} to {max(vs):.3g}" for label, vs in runs]
    return "the derivative is " + ", ".join(pieces)


def _label(right: float, claimed: float, found: Pairs) -> str:
    scale = max(np.abs(found.right).max(), np.abs(found.claimed).max())
    if abs(claimed - right) <= 1e-6 * scale:
        return "right"
    same = np.abs(found.claimed - claimed) <= 1e-7 * scale
    live = abs(right) > 1e-7 * scale
    if live and claimed != 0 and np.ptp(found.right[same]) > 1e-6 * scale:
        return f"taken as {claimed:.5g}"
    if live:
        return "left out" if claimed == 0 else f"{claimed / right:.5g} times what it should be"
    return f"{claimed:.5g} where it should be 0"


def largest_only(case: Case) -> Iterator[Candidate]:
    """Of all elements behind an output, only the largest (smallest, first, last) gets dy."""
    found = pairs(case)
    if found is None:
        return
    count = len(np.unique(found.rows))
    used = np.flatnonzero(found.claimed)
    if len(used) < 3 or len(np.unique(found.rows[used])) < len(used) or len(used) < count:
        return
    if len(found.rows) < 3 * count:
        return
    x = found.variables["x"]
    places = found.columns.astype(float)
    for told, key in [("largest", x), ("smallest", -x), ("first", -places), ("last", places)]:
        best = [max(np.flatnonzero(found.rows == m), key=key.__getitem__) for m in found.rows[used]]
        if np.array_equal(best, used):
            text = f"only the {told} of the elements behind an output gets a gradient"
            yield _candidate(case, "local-derivative", text, found, found.claimed, 3.3)
            return
