"""The right gradient times something: -1, 1 / N, a window's area, a factor for each channel."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np

from minicnn.gradcheck.diagnosis.case import Candidate, Case, Predict
from minicnn.gradcheck.diagnosis.plain import axes_text
from minicnn.gradcheck.diagnosis.regions import indices_text
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
    text = f"it is {c:.6g} times the right gradient"
    if name is None:
        text += ", the same for all elements and every dy"
    elif name:
        text += f": {name}"
    yield Candidate("factor", text, lambda t: c * t.right, 3 if name is None else 1)


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
        is_right = np.abs(along - 1) < 1e-6
        if is_right.any():
            if len(kept) == 1:
                text = f"it is right for {indices_text(is_right)} of axis {kept[0]}; at the others "
                text += f"it is the right gradient times {_few(along[~is_right])}"
                yield Candidate("partial", text, _times(c), 5.0)
            continue
        text = f"it is the right gradient times a factor for each index of {axes_text(kept)}"
        known, name = _name_by_index(case, along, rest)
        text += f": {name}" if name else f" ({_few(along)})"
        yield Candidate("factor", text, _times(c), 3.0 if known else 3.5 if name else 6.0)


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


def _name(case: Case, c: float) -> str | None:
    """Find what a factor is, among the sizes and the settings at hand; "" where it is a plain 2."""
    flipped = ", with the sign flipped" if c < 0 else ""
    for quantity, told in quantities(case):
        for value, form in ((quantity, "{told}"), (1 / quantity, "1 / {q}, and {q} is {told}")):
            if value == 1 or abs(abs(c) - value) > 1e-7 * value:
                continue
            text = form.format(told=told, q=f"{quantity:.6g}")
            if quantity == int(quantity) > 3:
                done, due = ("sum", "mean") if value > 1 else ("mean", "sum")
                text += f": a {done} where a {due} is due?"
            return text + flipped
    if min(abs(abs(c) - 2), abs(abs(c) - 0.5)) < 1e-6:
        return "perhaps the 2 of a square's derivative" + flipped if _is_square(case) else ""
    return _name_of_variance(case, c)


def _name_of_variance(case: Case, c: float) -> str | None:
    """A constant added along these axes changes nothing, and c is (n - 1) / n of their length."""
    for axes in _axis_subsets(case.x.ndim, case.x.ndim):
        n = int(np.prod([case.x.shape[k] for k in axes]))
        if n < 3 or min(abs(c * n / (n - 1) - 1), abs(c * (n - 1) / n - 1)) > 1e-7:
            continue
        total = np.abs(case.right.sum(axes)).max(initial=0)
        if total <= 1e-8 * np.abs(case.right).sum():
            return "perhaps n - 1 for n, or the reverse, in a variance over " + axes_text(axes)
    return None


def _is_square(case: Case) -> bool:
    """Is the forward quadratic in x?"""
    inputs = [np.asarray(array, dtype=np.float64) for array in case.evidence.inputs]
    direction = np.random.default_rng(0).choice([-1.0, 1.0], case.x.shape)
    slopes = []
    for c in (0.0, 1.0, 2.0):
        moved = list(case.evidence.inputs)
        moved[case.position] = c * inputs[case.position]
        slopes.append(case.slope_at(moved, direction))
    bend = abs(slopes[2] - 2 * slopes[1] + slopes[0])
    size = max(map(abs, slopes))
    return bool(bend <= 1e-6 * size and abs(slopes[2] - slopes[0]) > 1e-3 * size)


def quantities(case: Case) -> list[tuple[float, str]]:
    """List the numbers that a factor may be made of, the likely ones first."""
    numbers: list[tuple[float, str]] = []
    for key, setting in case.evidence.settings.items():
        for value in np.ravel(setting) if _is_number(setting) else []:
            numbers.append((float(value), f"{key}"))
            numbers.append((1 - float(value), f"1 - {key}"))
    x, y = case.x, case.y[0]
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
    for name, array in ((case.name(), x), ("the output", y)):
        for axes in _axis_subsets(array.ndim, array.ndim):
            size = int(np.prod([array.shape[k] for k in axes]))
            numbers.append((size, f"the size of {name} over {axes_text(axes)}"))
    for j, other in enumerate(map(np.asarray, case.evidence.inputs)):
        if other.size == 1 and other.dtype.kind == "f":
            numbers.append((abs(float(other.ravel()[0])), f"the value of {case.name(j)}"))
    zeros = float(np.mean(y == 0))
    if 0.02 < zeros < 0.98 and y.size >= 10:
        numbers.append((1 - zeros, "the share of outputs that are not 0"))
    numbers.append((float(np.pi / 180), "pi / 180: degrees for radians?"))
    numbers.append((float(np.log(2)), "log 2: a logarithm of another base?"))
    numbers.append((float(np.log(10)), "log 10: a logarithm of another base?"))
    small = {2.0} - {float(first.shape[0]) if first.ndim >= 2 else 0.0}
    return [(v, told) for v, told in numbers if np.isfinite(v) and v > 0 and v not in small]


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
    name = case.name()
    statistics = [
        (f"the standard deviation of {name}", case.x.std(rest)),
        (f"the variance of {name}", case.x.var(rest)),
        (f"the mean of {name}", case.x.mean(rest)),
        (f"the norm of {name}", np.sqrt((case.x**2).sum(rest))),
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
