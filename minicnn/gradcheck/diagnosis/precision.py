"""Right up to rounding, but rounding to float32 or float16 somewhere inside."""

from __future__ import annotations

import numpy as np

from minicnn.gradcheck.causes import Hint
from minicnn.gradcheck.diagnosis.case import Case
from minicnn_kernels.arrays import Array

LARGEST = 5e-7  # relative error that float32 would explain
TYPES = {"float16": 11, "float32": 24}  # and the bits of their numbers


def rounding(case: Case) -> list[Hint]:
    """Find errors of a narrow type's size, with a sign of rounding that nothing else leaves."""
    if case.error > 1e-2 or np.count_nonzero(case.found) < 3:
        return []
    for name, bits in TYPES.items():
        unit = 2.0**-bits
        if 0.005 * unit < case.error < 300 * unit:
            text = _sign_of_rounding(case, name)
            if text is not None:
                return [Hint("precision", text, case.error)]
    return []


def small_error(case: Case) -> list[Hint]:
    """Say how small an error is that nothing explains, where it is about that of float32."""
    if not 2e-9 < case.error < LARGEST:
        return []
    text = f"it agrees with the measured gradient to {case.error:.0e} of its largest value, "
    text += "as if float32 were used inside, or an approximation"
    return [Hint("precision", text, case.error)]


def _sign_of_rounding(case: Case, name: str) -> str | None:
    if _representable(case.found, name):
        return f"every element of the gradient is a {name} number"
    if any(_representable(y, name) for y in case.y):
        return f"the forward returns {name} numbers"
    if case.claimed is not None and _representable(case.claimed, name):
        return f"every derivative is a {name} number: it is computed or saved as such"
    if _saved_narrow(case, name):
        return f"it is the gradient for {name} numbers"
    if name == "float32" and (0.001 < _unevenness(case) / case.error < 100 or _noisy(case)):
        return f"its errors, up to {case.error:.0e}, are scattered like those of {name}"
    return None


def _representable(array: Array, name: str) -> bool:
    """Do all values fit into the bits of a type, and few of them into half as many?

    Small whole numbers and simple fractions fit into any type, and tell nothing.
    """
    values = np.frexp(array[np.isfinite(array) & (array != 0)])[0]
    full, half = (values * 2.0**bits for bits in (TYPES[name], TYPES[name] // 2))
    simple = np.count_nonzero(half == np.round(half))
    return values.size >= 3 and 2 * simple < values.size and bool((full == np.round(full)).all())


def _unevenness(case: Case) -> float:
    """Measure how far dx is from being affine in dy: in exact arithmetic it is."""
    at_zero, tripled = (case.gradient([part * c for part in case.dy]) for c in (0.0, 3.0))
    if at_zero is None or tripled is None:
        return 0.0
    gap = np.abs(tripled - 3.0 * case.found + 2.0 * at_zero).max() / 3.0
    return float(gap / np.abs(case.found).max())


def _noisy(case: Case) -> bool:
    """Do the relative errors change sign as often as chance would, however they are ordered?

    Errors that follow a formula keep their sign over whole stretches of x, y or dy.
    """
    good = ~case.unknown & (np.abs(case.right) > 1e-3 * np.abs(np.nan_to_num(case.right)).max())
    error = (case.found - case.right)[good]
    relative = error / case.right[good]
    if error.size < 10 or np.median(np.abs(relative)) > 2.0**-22:
        return False
    keys = [case.x, np.abs(case.x), case.right]
    keys += [part for part in (*case.y, *case.dy) if part.shape == case.x.shape]
    orders = [np.arange(error.size), *(np.argsort(key[good]) for key in keys)]
    changes = [
        np.mean(np.diff(np.sign(e[order])) != 0) for e in (error, relative) for order in orders
    ]
    return bool(min(changes) > 0.3)


def _saved_narrow(case: Case, name: str) -> bool:
    """Does the gradient at rounded inputs, or of a rounded dy, have the very error found?"""
    error = case.found - case.right
    inputs = [np.asarray(a) for a in case.evidence.inputs]
    for j in range(len(inputs)):
        if inputs[j].dtype.kind != "f":
            continue
        rounded = inputs[j].astype(name).astype(np.float64)
        J = case.jacobian_at([*inputs[:j], rounded, *inputs[j + 1 :]])
        if J is None or case.jacobian is None:
            continue
        expected = case.through(J)(case.trials[0]) - case.pull(case.dy)
        if _alike(expected, error):
            return True
    if case.jacobian is not None:
        narrow = [part.astype(name).astype(np.float64) for part in case.dy]
        return _alike(case.pull(narrow) - case.pull(case.dy), error)
    return False


def _alike(expected: Array, error: Array) -> bool:
    good = np.isfinite(expected) & np.isfinite(error)
    gap = np.abs(expected - error)[good].max(initial=0)
    return bool(gap < 0.1 * np.abs(error[good]).max(initial=0))
