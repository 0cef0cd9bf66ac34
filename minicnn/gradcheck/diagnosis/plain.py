"""What needs no comparison of values: a gradient that is zero, not finite, or of another shape."""

from __future__ import annotations

from itertools import combinations, permutations, product

import numpy as np

from minicnn.gradcheck.causes import Hint
from minicnn.gradcheck.diagnosis.case import EXACT, Case
from minicnn_kernels.arrays import Array


def not_finite(case: Case) -> list[Hint]:
    """Find NaN and infinity where the measured derivative is finite."""
    bad = ~np.isfinite(case.found)
    if not bad.any():
        return []
    where = "everywhere" if bad.all() else f"at {np.count_nonzero(bad)} of {bad.size} elements"
    if case.found.shape == case.x.shape and not bad.all():
        for name, condition in _conditions(case):
            if np.array_equal(bad, condition):
                where = f"exactly where {name}"
                break
    kind = "NaN" if np.isnan(case.found).any() else "infinite"
    return [Hint("not-finite", f"the gradient is {kind} {where}", 0.0)]


def _conditions(case: Case) -> list[tuple[str, Array]]:
    pairs = [(case.name(), case.x)]
    if case.y[0].shape == case.x.shape:
        pairs.append(("the output", case.y[0]))
    return [
        (f"{name} {sign} 0", condition)
        for name, value in pairs
        for sign, condition in [("=", value == 0), ("<", value < 0), (">", value > 0)]
    ]


def zero(case: Case) -> list[Hint]:
    """Find a gradient without a single value."""
    if case.found.any() or not case.found.size:
        return []
    return [Hint("zero", "every element of the gradient is 0", 0.0)]


def should_be_zero(case: Case) -> list[Hint]:
    """Find a gradient where the result does not depend on the input."""
    right = case.right[~case.unknown]
    if not right.size or np.abs(right).max() > 1e-9 * np.abs(case.found).max():
        return []
    if case.jacobian is not None and np.nan_to_num(case.jacobian).any():
        return []
    text = f"the result does not depend on {case.name()} here, so its gradient should be 0"
    elementwise = case.y[0].shape == case.x.shape and not case.others
    return [Hint("local-derivative" if elementwise else "extra-term", text, 0.0)]


def shape(case: Case) -> list[Hint]:
    """Explain a gradient whose shape is not that of its input."""
    found, right, x = case.found, case.right, case.x
    if found.shape == x.shape:
        return []
    told = f"the gradient has the shape {found.shape}, {case.name()} has {x.shape}"
    fallback = Hint("shape", told, 0.0)
    if right.shape != x.shape or np.isnan(right).any():
        return [fallback]
    for explain in (
        _not_summed,
        _not_repeated,
        _swapped,
        _reshaped,
        _transposed,
        _uncut,
        _oversummed,
    ):
        hint = explain(case, told)
        if hint is not None:
            return [hint] if hint.cause == "shape" else [hint, fallback]
    return [fallback]


def _same(found: Array, right: Array | None) -> bool:
    if right is None or found.shape != right.shape or not found.size:
        return False
    scale = max(np.abs(found).max(), np.abs(right).max())
    return bool(np.abs(found - right).max() <= EXACT * scale) and scale > 0


def _not_summed(case: Case, told: str) -> Hint | None:
    """x was broadcast, so dx = sum of dy over the axes along which x grew."""
    found = case.found
    if found.size <= case.x.size or found.ndim > 6:
        return None
    for count in range(1, found.ndim + 1):
        for axes in combinations(range(found.ndim), count):
            total = found.sum(axes)
            if total.size == case.x.size and _same(total.ravel(), case.right.ravel()):
                text = f"{told}: {case.name()} was broadcast; the sum over {axes_text(axes)} is due"
                return Hint("broadcast", text, 0.0)
    return None


def _not_repeated(case: Case, told: str) -> Hint | None:
    """The result is a sum over x, so each dy goes to all the elements behind it."""
    if case.found.size >= case.x.size:
        return None
    try:
        whole = np.broadcast_to(case.found, case.x.shape)
    except ValueError:
        return None
    if not _same(whole, case.right):
        return None
    return Hint("shape", f"{told}: it is right once it is repeated to that shape", 0.0)


def axes_text(axes: tuple[int, ...]) -> str:
    """Write "axis 0" or "axes (0, 2)"."""
    return f"axis {axes[0]}" if len(axes) == 1 else f"axes {axes}"


def _swapped(case: Case, told: str) -> Hint | None:
    for j, numeric in enumerate(case.evidence.numeric):
        if j != case.position and _same(case.found, numeric):
            return Hint("swapped", f"{told}: it is the gradient of {case.name(j)}", 0.0)
    return None


def _reshaped(case: Case, told: str) -> Hint | None:
    if case.found.size != case.x.size or not _same(case.found.ravel(), case.right.ravel()):
        return None
    return Hint("shape", f"{told}: the values are right, so only a reshape is missing", 0.0)


def _transposed(case: Case, told: str) -> Hint | None:
    if case.found.size != case.x.size or case.found.ndim != case.x.ndim:
        return None
    for order in permutations(range(case.x.ndim)):
        if _same(case.found.transpose(order), case.right):
            return Hint(
                "transposed", f"{told}: it is right with its axes in the order {order}", 0.0
            )
    return None


def _uncut(case: Case, told: str) -> Hint | None:
    """The gradient of the padded input, or of one with its left-over rows cut off."""
    found, x = case.found, case.x
    if found.ndim != x.ndim or not found.size:
        return None
    surplus = [a - b for a, b in zip(found.shape, x.shape, strict=True)]
    if min(surplus) >= 0:
        for start in product(*(range(extra + 1) for extra in surplus)):
            window = tuple(slice(s, s + n) for s, n in zip(start, x.shape, strict=True))
            if _same(found[window], case.right):
                if not any(start):
                    text = f"{told}: it is right but for surplus rows at the end; cut them off"
                    return Hint("left-over", text, 0.0)
                text = f"{told}: it is right from {start} on, so the padding is not cut off"
                return Hint("shape", text, 0.0)
    elif max(surplus) <= 0:
        window = tuple(slice(n) for n in found.shape)
        rest = case.right.copy()
        rest[window] = 0
        if _same(found, case.right[window]) and not rest.any():
            text = f"{told}: it is right, but the left-over rows at the end, all 0, are not there"
            return Hint("left-over", text, 0.0)
    return None


def _oversummed(case: Case, told: str) -> Hint | None:
    """dx was summed over an axis that x has."""
    for k in range(case.x.ndim):
        for keep in (False, True):
            if _same(case.found, case.right.sum(k, keepdims=keep)):
                return Hint("shape", f"{told}: it is summed over axis {k} of {case.name()}", 0.0)
    return None
