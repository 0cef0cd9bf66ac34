"""The right gradient times something: -1, 1 / N, a window's area, a factor for each channel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations, product
from typing import Any

import numpy as np

from minicnn.gradcheck.diagnosis.case import Candidate, Case, Predict
from minicnn.gradcheck.diagnosis.plain import axes_text
from minicnn_kernels.arrays import Array


def sign(case: Case) -> Iterator[Candidate]:
    """dx = -right."""
    yield Candidate("sign", "it is -1 times the right gradient", lambda t: -t.right, 0)


def factor(case: Case) -> Iterator[Candidate]:
    """dx = c * right, with one c for all elements and every dy."""
    c = _fit(case.found, case.right)
    if c is None or c == 0:
        return
    name = _name(case, c)
    values = np.unique(np.round(case.right[np.isfinite(case.right) & (case.right != 0)], 12))
    if name is None and len(values) < 4:
        return  # any few numbers have some quotient
    told = name or "the same for all elements and every dy"
    text = f"it is {c:.6g} times the right gradient: {told}"
    yield Candidate("factor", text, lambda t: c * t.right, 1 if name else 3)


def factor_by_index(case: Case) -> Iterator[Candidate]:
    """dx = c[k] * right, with one c for each index k along one or two axes of x."""
    found, right = case.found, np.nan_to_num(case.right)
    for kept in _axis_subsets(case.x.ndim, 2):
        rest = tuple(k for k in range(case.x.ndim) if k not in kept)
        cells = int(np.prod([case.x.shape[k] for k in kept]))
        if cells < 2 or case.x.size < 3 * cells:
            continue
        if np.count_nonzero(right, axis=rest).min() < 2:
            continue  # one number has any factor
        power = (right**2).sum(rest, keepdims=True)
        c = np.divide((found * right).sum(rest, keepdims=True), power, where=power > 0)
        c = np.where(power > 0, c, 1.0)
        along = c.reshape([case.x.shape[k] for k in kept])
        text = f"it is the right gradient times a factor for each index of {axes_text(kept)}"
        known, name = _name_by_index(case, along, rest)
        text += f": {name}" if name else f" ({_few(along)})"
        some_right = bool(np.any(np.abs(along - 1) < 1e-6))
        rank = 9.0 if some_right else 3.0 if known else 3.5 if name else 6.0
        yield Candidate("factor", text, _times(c), rank)


def _times(c: Array) -> Predict:
    return lambda trial: np.asarray(c * trial.right)


def factor_by_output(case: Case) -> Iterator[Candidate]:
    """dx = J^T (c * dy), with one c for each element of y, as a window's own divisor."""
    A, J = case.claimed, case.jacobian
    if A is None or J is None or np.isnan(J).any():
        return
    used = np.count_nonzero(np.abs(J) > 1e-8 * np.abs(J).max(), axis=1)
    if np.count_nonzero(used) < 2 or used.mean() < 2:
        return
    power = (J**2).sum(axis=1)
    c = np.where(power > 0, (A * J).sum(axis=1) / np.where(power > 0, power, 1), 1.0)
    if np.ptp(c) <= 1e-6 * np.abs(c).max():
        return  # that is one factor for all
    area = used / used.max()
    inverse = np.divide(1.0, area, where=area > 0, out=np.ones_like(area))
    for told, values in [("the part of a window inside x", area), ("1 / that part", inverse)]:
        ratio = _fit(c, values)
        if ratio is None or not np.allclose(c, ratio * values, rtol=1e-6):
            continue
        text = f"each dy counts times {told}: do border windows have the right divisor?"
        yield Candidate("factor", text, case.through((ratio * values)[:, None] * J), 4)


def _fit(found: Array, right: Array) -> float | None:
    good = np.isfinite(right) & np.isfinite(found)
    power = float((right[good] ** 2).sum())
    return float((found[good] * right[good]).sum()) / power if power > 0 else None


def _axis_subsets(ndim: int, most: int) -> Iterator[tuple[int, ...]]:
    for count in range(1, most + 1):
        yield from combinations(range(ndim), count)


def _few(values: Array) -> str:
    flat = np.ravel(values)
    return ", ".join(f"{v:.4g}" for v in flat[:4]) + (", ..." if flat.size > 4 else "")


# --- names ---


FORMS: list[tuple[str, Callable[[float], float]]] = [
    ("{told}", lambda q: q),
    ("1 / {q}, and {q} is {told}", lambda q: 1 / q),
    ("n / (n - 1), and n = {q} is {told}", lambda q: q / (q - 1) if q > 1 else 0.0),
    ("(n - 1) / n, and n = {q} is {told}", lambda q: (q - 1) / q if q > 1 else 0.0),
    ("{q}^2, and {q} is {told}", lambda q: q**2),
    ("1 / {q}^2, and {q} is {told}", lambda q: 1 / q**2),
    ("the root of {q}, {told}", lambda q: q**0.5),
    ("1 / the root of {q}, {told}", lambda q: 1 / q**0.5),
]


def _name(case: Case, c: float) -> str | None:
    """Find what a factor is, among the sizes and the settings at hand."""
    for form, function in FORMS:
        for quantity, told in quantities(case):
            value = function(quantity)
            if value == 1 or abs(abs(c) - value) > 1e-7 * value:
                continue
            text = form.format(told=told, q=f"{quantity:.6g}")
            if quantity == int(quantity) > 3 and value in (quantity, 1 / quantity):
                done, due = ("sum", "mean") if value > 1 else ("mean", "sum")
                text += f": a {done} where a {due} is due?"
            return text + (", with the sign flipped" if c < 0 else "")
    return None


def quantities(case: Case) -> list[tuple[float, str]]:
    """List the numbers that a factor may be made of, the likely ones first."""
    numbers: list[tuple[float, str]] = []
    for key, setting in case.evidence.settings.items():
        for value in np.ravel(setting) if _is_number(setting) else []:
            numbers.append((float(value), f"{key}"))
            numbers.append((1 - float(value), f"1 - {key}"))
    x, y = case.x, case.y[0]
    arrays = [(case.name(j), np.asarray(a)) for j, a in enumerate(case.evidence.inputs)]
    arrays.append(("the output", y))
    first = np.asarray(case.evidence.inputs[0])
    if first.ndim >= 2:
        numbers.append((first.shape[0], f"the batch size (axis 0 of {case.name(0)})"))
    if y.size and x.size % y.size == 0:
        numbers.append((x.size / y.size, "the number of elements behind one output"))
    if case.jacobian is not None and case.jacobian.size:
        J = np.nan_to_num(case.jacobian)
        seen = np.abs(J) > 1e-8 * np.abs(J).max()
        numbers.append((int(seen.sum(axis=1).max()), "how many elements one output reads"))
        numbers.append((int(seen.sum(axis=0).max()), "how many outputs one element reaches"))
    numbers += [(2, "a 2 as from the derivative of a square"), (3, "the constant 3")]
    for name, array in arrays:
        for axes in _axis_subsets(array.ndim, array.ndim):
            size = int(np.prod([array.shape[k] for k in axes]))
            numbers.append((size, f"the size of {name} over {axes_text(axes)}"))
    lengths = sorted(
        {(n, f"axis {k} of {name}") for name, a in arrays for k, n in enumerate(a.shape)}
    )
    for (m, over), (n, under) in product(lengths, lengths):
        if m > n > 1:
            numbers.append((m / n, f"{m} / {n}, the lengths of {over} and {under}"))
    for name, array in arrays:
        if array.size == 1 and array.dtype.kind == "f":
            numbers.append((abs(float(array.ravel()[0])), f"the value of {name}"))
    numbers.append((float(np.sqrt(2 * np.pi)), "the root of 2 pi"))
    numbers.append((float(np.log(2)), "log 2: a logarithm of another base?"))
    numbers.append((float(np.log(10)), "log 10: a logarithm of another base?"))
    return [(value, told) for value, told in numbers if np.isfinite(value) and value > 0]


def _is_number(setting: Any) -> bool:
    try:
        return np.asarray(setting).dtype.kind in "iuf" and np.size(setting) <= 4
    except (ValueError, TypeError):
        return False


def _name_by_index(case: Case, c: Array, rest: tuple[int, ...]) -> tuple[bool, str]:
    """Find an input (then say True), or a statistic of x, that has the factor's values."""
    flat = c.ravel()
    for j, other in case.others:
        if other.size == c.size:
            for told, value in _powers(other.ravel(), case.name(j)):
                if np.allclose(flat, value, rtol=1e-6, atol=0):
                    return True, told
    statistics = [
        ("the standard deviation of x", case.x.std(rest)),
        ("the variance of x", case.x.var(rest)),
        ("the mean of x", case.x.mean(rest)),
        ("the norm of x", np.sqrt((case.x**2).sum(rest))),
    ]
    for told, value in statistics:
        for form, ratio in (("", flat / value.ravel()), ("1 / ", flat * value.ravel())):
            if np.ptp(ratio) <= 1e-3 * np.abs(ratio).max():  # there may be an epsilon inside
                return False, f"proportional to {form}{told}"
    return False, ""


def _powers(value: Array, name: str) -> list[tuple[str, Array]]:
    safe = np.where(value == 0, np.nan, value)
    return [
        (f"{name}, multiplied once too often", value),
        (f"1 / {name}: {name} is left out", 1 / safe),
        (f"{name}^2", value**2),
        (f"-{name}", -value),
    ]
