"""The right numbers in the wrong place: transposed, turned, shifted, permuted, swapped.

The same few rearrangements are tried on four arrays: on the gradient itself, on dy before the
right gradient is computed from it, on each of the other inputs, and on x as it was saved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations, permutations

import numpy as np

from minicnn.gradcheck.diagnosis.case import Candidate, Case, Predict, Trial
from minicnn.gradcheck.diagnosis.plain import axes_text
from minicnn_kernels.arrays import Array

Rearrangement = tuple[str, str, Callable[[Array], Array]]


def rearrangements(shape: tuple[int, ...]) -> Iterator[Rearrangement]:
    """List (cause, what was done, function) for all rearrangements that keep the shape."""
    long = [k for k, n in enumerate(shape) if n > 1]
    for count in range(1, len(long) + 1):
        for axes in combinations(long, count):
            yield "turned", f"reversed along {axes_text(axes)}", _flip(axes)
    orders = list(permutations(range(len(shape))))[1:] if len(shape) <= 5 else []
    for order in orders:
        turned = tuple(shape[k] for k in order)
        if turned == shape:
            moved = tuple(k for k, new in enumerate(order) if k != new)
            yield "transposed", f"with its {axes_text(moved)} exchanged", _transpose(order)
            continue
        yield "permuted", f"transposed to {order}, then reshaped", _flatten_after(order, shape)
        yield "permuted", f"reshaped to {turned}, then transposed", _flatten_before(order, turned)
    for k in long:
        for groups in range(2, shape[k]):
            if shape[k] % groups == 0:
                yield (
                    "permuted",
                    f"with axis {k} read as {groups} x {shape[k] // groups} in the other order",
                    _shuffle(k, groups, shape),
                )
        for step in range(1, min(shape[k] // 2 + 1, 13)):
            yield "shifted", f"rolled by {step:+d} along axis {k}", _roll(step, (k,))
            if 2 * step < shape[k]:
                yield "shifted", f"rolled by {-step:+d} along axis {k}", _roll(-step, (k,))
    if len(long) > 1:
        for step in (1, -1):
            for axes in {tuple(long[-2:]), tuple(long[-3:])}:
                yield "shifted", f"rolled by {step:+d} along {axes_text(axes)}", _roll(step, axes)


def _flip(axes: tuple[int, ...]) -> Callable[[Array], Array]:
    return lambda a: np.flip(a, axes)


def _transpose(order: tuple[int, ...]) -> Callable[[Array], Array]:
    return lambda a: a.transpose(order)


def _flatten_after(order: tuple[int, ...], shape: tuple[int, ...]) -> Callable[[Array], Array]:
    return lambda a: a.transpose(order).reshape(shape)


def _flatten_before(order: tuple[int, ...], turned: tuple[int, ...]) -> Callable[[Array], Array]:
    back = tuple(int(k) for k in np.argsort(order))
    return lambda a: a.reshape(turned).transpose(back)


def _shuffle(axis: int, groups: int, shape: tuple[int, ...]) -> Callable[[Array], Array]:
    split = (*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])
    return lambda a: a.reshape(split).swapaxes(axis, axis + 1).reshape(shape)


def _roll(step: int, axes: tuple[int, ...]) -> Callable[[Array], Array]:
    return lambda a: np.roll(a, (step,) * len(axes), axes)


# --- on the gradient ---


def gradient_rearranged(case: Case) -> Iterator[Candidate]:
    """dx = R(right), for a rearrangement R."""
    filter_like = _is_filter(case)
    for cause, told, change in rearrangements(case.x.shape):
        if cause == "turned" and not filter_like:
            cause = "permuted"
        text = f"it is the right gradient {told}"
        rank = 2.5 if cause == "shifted" else 2.0
        yield Candidate(cause, text, _of_right(change), rank)


def _of_right(change: Callable[[Array], Array]) -> Predict:
    return lambda trial: change(trial.right)


def _is_filter(case: Case) -> bool:
    """A filter meets another input with as many axes that is longer along the last one."""
    return case.x.ndim >= 3 or any(
        other.ndim == case.x.ndim and other.shape[-1:] > case.x.shape[-1:]
        for _, other in case.others
        if other.ndim
    )


def gradient_shifted(case: Case) -> Iterator[Candidate]:
    """dx[i] = right[i - s]; what enters at the border is open."""
    long = [k for k, n in enumerate(case.x.shape) if n > 2]
    pairs = [(k,) for k in long] + list(combinations(long, 2)) + list(combinations(long, 3))
    for axes in pairs:
        most = 8 if len(axes) == 1 else 2
        for step in (sign * n for n in range(1, most + 1) for sign in (1, -1)):
            if abs(step) * 2 > min(case.x.shape[k] for k in axes):
                continue
            text = f"it is the right gradient moved by {step:+d} along {axes_text(axes)}"
            yield Candidate("shifted", text, _shift(step, axes), 2.5)


def _shift(step: int, axes: tuple[int, ...]) -> Predict:
    def predict(trial: Trial) -> Array:
        guess = np.roll(trial.right, (step,) * len(axes), axes)
        for k in axes:
            entered = range(step) if step > 0 else range(step, 0)
            np.moveaxis(guess, k, 0)[list(entered)] = np.nan
        return guess

    return predict


def gradient_permuted(case: Case) -> Iterator[Candidate]:
    """dx = right[p] for some permutation p, the same for every dy."""
    if len(case.trials) < 2 or case.unknown.any() or not 4 <= case.x.size <= 1500:
        return
    found = np.stack([trial.found.ravel() for trial in case.trials], axis=1)
    right = np.stack([trial.right.ravel() for trial in case.trials], axis=1)
    order = _matching(found, right)
    if order is not None:
        text = "it has the right elements in another order, the same for every dy"
        yield Candidate("permuted", text, lambda t: t.right.ravel()[order].reshape(case.x.shape), 4)


def _matching(found: Array, right: Array) -> Array | None:
    """Pair each row of `found` with a row of `right` of its own; None if some row has none."""
    scale = max(np.abs(found).max(initial=0), np.abs(right).max(initial=0))
    if len(np.unique(np.round(right[:, 0] / (scale or 1), 6))) < 4:
        return None
    gap = np.abs(found[:, None] - right[None]).max(axis=2)
    order = gap.argmin(axis=1)
    if gap.min(axis=1).max() > 1e-6 * scale or len(set(order.tolist())) < len(order):
        return None
    return np.asarray(order)


def dy_rearranged(case: Case) -> Iterator[Candidate]:
    """dx = J^T R(dy), for a rearrangement R."""
    if case.jacobian is None:
        return
    for j, y in enumerate(case.y):
        for cause, told, change in rearrangements(y.shape):
            if cause == "turned":
                cause = "permuted"
            yield Candidate(cause, f"dy is used {told}", _dy_changed(case, j, change), 2.6)


def _dy_changed(case: Case, j: int, change: Callable[[Array], Array]) -> Predict:
    return lambda trial: case.pull(
        [change(part) if k == j else part for k, part in enumerate(trial.dy)]
    )


def dy_moved(case: Case) -> Iterator[Candidate]:
    """dx = dy with its axes in another order, or its elements in another shape."""
    shape = case.x.shape
    if len(case.y) > 1 or case.y[0].size != case.x.size or case.x.size < 2:
        return
    if case.x.ndim <= 5:
        for order in permutations(range(case.y[0].ndim)):
            if order != tuple(sorted(order)) and case.y[0].transpose(order).shape == shape:
                text = f"it is dy with its axes in the order {order}"
                yield Candidate("transposed", text, _dy_transposed(order), 2.3)
    if case.y[0].shape != shape:
        text = f"it is dy reshaped to {shape}, with no axis moved"
        yield Candidate("permuted", text, lambda t: t.dy[0].reshape(shape), 2.4)


def dy_unmoved(case: Case) -> Iterator[Candidate]:
    """dx = dy, though the forward moves the elements to other places."""
    J = case.jacobian
    if J is None or J.shape[0] != J.shape[1] or case.y[0].shape != case.x.shape:
        return
    ones = np.abs(J - 1) < 1e-6
    if (np.abs(J[~ones]) < 1e-6).all() and (ones.sum(axis=1) == 1).all():
        text = "it is dy as it is, but the forward moves the elements to other places"
        yield Candidate("permuted", text, lambda t: t.dy[0].copy(), 2.4)


def _dy_transposed(order: tuple[int, ...]) -> Predict:
    return lambda trial: trial.dy[0].transpose(order)


def forward_instead_of_backward(case: Case) -> Iterator[Candidate]:
    """dx = J dy where J^T dy is right: the map itself, not its transpose."""
    J = case.jacobian
    if J is None or J.shape[0] != J.shape[1] or np.isnan(J).any() or J.shape[0] < 3:
        return
    moves = bool(((np.abs(J) > 1e-8).sum(axis=1) <= 1).all() and np.allclose(J[J > 0.5], 1))
    text = "dy goes through the map of the forward itself, not through its transpose"
    yield Candidate("permuted" if moves else "transposed", text, case.through(J.T), 2.7)


# --- another input ---


def swapped(case: Case) -> Iterator[Candidate]:
    """dx is the gradient of another input, or dy is that of another output."""
    for j, other in case.others:
        if other.shape == case.x.shape:
            J = case.jacobian_of(j)
            if J is not None:
                text = f"it is the gradient of {case.name(j)}"
                yield Candidate("swapped", text, case.through(J), 2)
    if case.jacobian is None:
        return
    for j, k in combinations(range(len(case.y)), 2):
        if case.y[j].shape == case.y[k].shape:
            order = list(range(len(case.y)))
            order[j], order[k] = k, j
            text = f"the upstream gradients of outputs {j} and {k} are exchanged"
            yield Candidate("swapped", text, _outputs_in_order(case, order), 2)


def _outputs_in_order(case: Case, order: list[int]) -> Predict:
    return lambda trial: case.pull([trial.dy[n] for n in order])


def at_other_inputs(case: Case) -> Iterator[Candidate]:
    """dx is the gradient at inputs of which one is rearranged, replaced or left out."""
    if case.jacobian is None or not case.affords(400):
        return
    direction = np.random.default_rng(0).choice([-1.0, 1.0], case.x.shape)
    direction[case.unknown] = 0
    aim = float((case.found * direction).sum())
    inputs = [np.asarray(array) for array in case.evidence.inputs]
    for cause, text, rank, changed in _changed_inputs(case, inputs):
        slope = case.slope_at(changed, direction)
        if not abs(slope - aim) <= 1e-5 * max(float(np.abs(case.found).sum()), abs(aim)):
            continue
        J = case.jacobian_at(changed)
        if J is not None and np.isfinite(J).all():
            yield Candidate(cause, text, case.through(J), rank)


def _changed_inputs(
    case: Case, inputs: list[Array]
) -> Iterator[tuple[str, str, float, list[Array]]]:
    floats = [case.position] + [j for j, _ in case.others]
    for j in floats:
        array, name = inputs[j], case.name(j)
        mine = j == case.position
        for cause, told, new in _replacements(case, j):
            yield cause, told, 3.0 + mine, [*inputs[:j], new, *inputs[j + 1 :]]
        for cause, told, change in rearrangements(array.shape):
            new = np.ascontiguousarray(change(array))
            if not np.array_equal(new, array):
                if cause == "turned" and array.ndim < 3 and mine:
                    cause = "permuted"
                text = f"{name} enters {told}"
                yield cause, text, 2.8 + mine, [*inputs[:j], new, *inputs[j + 1 :]]
    for j, k in combinations(floats, 2):
        if inputs[j].shape == inputs[k].shape:
            changed = list(inputs)
            changed[j], changed[k] = inputs[k], inputs[j]
            yield "swapped", f"{case.name(j)} and {case.name(k)} are exchanged", 2.9, changed


def _replacements(case: Case, j: int) -> Iterator[tuple[str, str, Array]]:
    array, name = np.asarray(case.evidence.inputs[j], dtype=np.float64), case.name(j)
    mine = j == case.position
    for k, y in enumerate(case.y):
        if y.shape == array.shape and mine:
            which = "the output" if len(case.y) == 1 else f"output {k}"
            yield "local-derivative", f"the derivative is taken at {which}, not at {name}", y
    for k, other in case.others:
        if other.shape == array.shape and mine:
            yield "swapped", f"the derivative is taken at {case.name(k)}, not at {name}", other
    elementwise = array.shape == case.y[0].shape
    left_out = "local-derivative" if elementwise or array.ndim > 1 else "factor"
    if not mine:
        yield left_out, f"{name} is left out, as if it were 1", np.ones_like(array)
        yield left_out, f"{name} enters as its square", array**2
        yield left_out, f"1 / {name} stands for {name}", 1 / np.where(array == 0, np.nan, array)
        yield "missing-term", f"{name} is left out, as if it were 0", np.zeros_like(array)
    yield "sign", f"{name} enters with its sign flipped", -array
    yield "local-derivative", f"{name} enters as its absolute value", np.abs(array)
