"""One wrong gradient, prepared for the hypotheses: trials, Jacobians, and names for the axes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np

from minicnn.gradcheck.evidence import STEP, Evidence
from minicnn_kernels.arrays import Array, is_floating

EXACT = 1e-6  # an explanation reproduces the gradient to this relative error
MOST_PAIRS = 1_000_000  # outputs * elements of a Jacobian
MOST_ELEMENTS = 1500  # of an input whose Jacobian is measured: two forwards each
MOST_CALLS = 300  # of the backward, for the Jacobian it claims
MOST_SECONDS = 3.0  # for one Jacobian, or one round of forwards at other inputs
MORE_TRIALS = 2


class Trial(NamedTuple):
    """One upstream gradient, what the backward made of it, and what was measured."""

    dy: list[Array]
    found: Array
    right: Array  # NaN at elements that were not measured


Predict: TypeAlias = Callable[[Trial], Array]


class Candidate(NamedTuple):
    """A mistake that would give the gradient `predict(trial)`.

    `rank` is the order of simplicity: of two explanations that fit, the lower rank is told first.
    Elements of the prediction that are NaN are left open.
    """

    cause: str
    text: str
    predict: Predict
    rank: float


Hypothesis: TypeAlias = "Callable[[Case], Iterator[Candidate]]"


class Case:
    """The evidence with everything that hypotheses share.

    Attributes:
        x: the input whose gradient is wrong.
        y: the outputs; most hypotheses read the first only.
        others: (position, array) of the other floating inputs.
        found: the gradient that the backward returned.
        right: the gradient that was measured; NaN where it was not.
        bounds: how far `right` may be from the truth.
    """

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.position = evidence.position
        self.x = np.asarray(evidence.inputs[self.position], dtype=np.float64)
        self.y = [np.asarray(output, dtype=np.float64) for output in evidence.outputs]
        self.dy = [np.asarray(part, dtype=np.float64) for part in evidence.upstream]
        self.others = [
            (j, np.asarray(array))
            for j, array in enumerate(evidence.inputs)
            if j != self.position and is_floating(np.asarray(array).dtype)
        ]
        self.found = _array(evidence.analytic[self.position])
        self.right = _array(evidence.numeric[self.position])
        if self.right.size == self.x.size:
            self.right = self.right.reshape(self.x.shape)
        bounds = np.nan_to_num(_array(evidence.bounds[self.position]), nan=np.inf, posinf=np.inf)
        self.bounds = bounds.reshape(self.x.shape) if bounds.size == self.x.size else 0 * self.x

    def name(self, position: int | None = None) -> str:
        """Name an input as its author did, the wrong one by default."""
        position = self.position if position is None else position
        names = self.evidence.names
        return names[position] if position < len(names) else f"input {position}"

    @property
    def outputs(self) -> int:
        """Count the elements of all outputs."""
        return sum(output.size for output in self.y)

    @cached_property
    def _seconds(self) -> float:
        start = time.perf_counter()
        self.evidence.values(self.evidence.inputs)
        return time.perf_counter() - start

    def affords(self, calls: int) -> bool:
        """Can so many forwards be run in a reasonable time?"""
        return calls * self._seconds <= MOST_SECONDS

    # --- what the forward says ---

    @cached_property
    def jacobian(self) -> Array | None:
        """J[m, i] = d y[m] / d x[i], or None where it is too large or cannot be trusted.

        Columns at a kink are NaN: there is no one derivative.
        """
        measured = self._slopes(self.evidence.inputs, self.position)
        if measured is None:
            return None
        J, kinked = measured
        J[~np.isfinite(_flat(self.y))] = 0.0
        flat = np.ravel(self.right)
        slope = _flat(self.dy) @ J
        scale = max(_largest(flat), _largest(slope))
        if self.right.shape == self.x.shape:
            off = np.abs(slope - flat)
            kinked |= off > 1e-5 * scale
            if np.count_nonzero(off > 1e-7 * scale) > 0.5 * flat.size:
                return None  # rounding has eaten the differences
        if 2 * np.count_nonzero(kinked) > flat.size:
            return None
        J[:, kinked | ~np.isfinite(slope)] = np.nan
        return J

    @cached_property
    def diagonal(self) -> Array | None:
        """d y[i] / d x[i] where each y depends on the x in its place only; NaN at a kink.

        Five forwards do for an input of any size.
        """
        x, y = self.x, self.y[0]
        if len(self.y) != 1 or y.shape != x.shape or x.size < 4 or not self.affords(5):
            return None
        h = STEP * np.maximum(np.abs(x), float(np.sqrt(np.mean(x**2))) or 1.0)
        half = np.random.default_rng(0).random(x.shape) < 0.5
        try:
            above, below = self._outputs_at(x + h), self._outputs_at(x - h)
            first = self._outputs_at(np.where(half, x + 99 * h, x))
            second = self._outputs_at(np.where(half, x, x + 99 * h))
        except Exception:  # the code under test may fail in any way at inputs of our making
            return None
        apart = np.where(half, second, first)
        if apart.shape != y.shape or not np.array_equal(apart, y, equal_nan=True):
            return None
        slope = (above - below) / ((x + h) - (x - h))
        gap = np.abs(above - 2 * y + below) / h
        kinked = (gap > 1e-2 * np.abs(slope)) & (gap > 1e-4 * _largest(slope))
        slope = np.where(kinked, np.nan, slope)
        return slope if self._agrees(self.dy[0] * slope) else None

    def _agrees(self, gradient: Array) -> bool:
        """Is this the measured gradient, wherever both are known?"""
        if self.right.shape != self.x.shape:
            return False
        both = np.isfinite(self.right) & np.isfinite(gradient)
        off = np.abs(gradient - self.right)[both] > 1e-7 * _largest(gradient)
        return bool(both.any()) and float(np.mean(off)) <= 0.02

    def _outputs_at(self, x: Array) -> Array:
        inputs = [np.array(array, order="C") for array in self.evidence.inputs]
        inputs[self.position] = x
        return np.asarray(self.evidence.values(inputs)[0], dtype=np.float64)

    @cached_property
    def own(self) -> tuple[Array, Array] | None:
        """Return (right, claimed) derivatives where each y depends on the x in its place only."""
        if self.diagonal is None:
            return None
        with np.errstate(all="ignore"):
            claimed = self.found / self.dy[0]
        if len(self.trials) < 2 or not np.isfinite(claimed).all():
            return None
        for trial in self.trials:
            gap = np.abs(trial.found - claimed * trial.dy[0]).max()
            if gap > 1e-9 * max(_largest(trial.found), 1e-300):
                return None
        return self.diagonal, claimed

    def complete(self) -> None:
        """Measure what was not measured of a large input, where that is cheap."""
        missing = np.isnan(self.right)
        if self.right.shape != self.x.shape or self.x.size < 100 or not missing.any():
            return
        if missing.all() or not all(np.isfinite(y).all() for y in self.y):
            return
        seen = np.flatnonzero(~missing)
        if self.diagonal is not None:
            slopes = (self.dy[0] * self.diagonal).ravel()
            asked = np.arange(self.x.size)
        else:
            checks = seen[:: max(1, len(seen) // 10)]
            asked = np.concatenate([checks, np.flatnonzero(missing)])
            if not self.affords(2 * len(asked)):
                return
            slopes = np.full(self.x.size, np.nan)
            try:
                slopes[asked] = self._slopes_of_loss(asked)
            except Exception:
                return
        measured = slopes.reshape(self.x.shape)
        if not self._agrees(measured):
            return
        fill = missing & np.isfinite(measured)
        self.right = np.where(fill, measured, self.right)
        self.bounds = np.where(fill, 1e-9 * _largest(measured), self.bounds)

    def _slopes_of_loss(self, asked: Array) -> Array:
        """Measure d sum(dy * y) / d x[i] at some elements; NaN at a kink."""
        points = [np.array(array, order="C") for array in self.evidence.inputs]
        x = points[self.position].reshape(-1)
        typical = float(np.sqrt(np.mean(x**2))) or 1.0
        dy, y = _flat(self.dy), _flat(self.y)
        slopes, gaps = [], []
        for i in asked:
            center = x[i]
            h = STEP * max(abs(center), typical)
            ends = []
            for step in (h, -h):
                x[i] = center + step
                ends.append(_flat(self.evidence.values(points)) - y)
            x[i] = center
            slopes.append(dy @ (ends[0] - ends[1]) / (2 * h))
            gaps.append(float(dy @ (ends[0] + ends[1])) / h)
        slope, gap = np.array(slopes), np.abs(gaps)
        kinked = (gap > 1e-2 * np.abs(slope)) & (gap > 1e-4 * _largest(slope))
        return np.where(kinked, np.nan, slope)

    @cached_property
    def unknown(self) -> Array:
        """Elements whose derivative is not known, as at a kink."""
        unknown = np.isnan(self.right) | (self.bounds > 1e-4 * _largest(self.right))
        if self.jacobian is not None:
            unknown = unknown | np.isnan(self.jacobian).any(axis=0).reshape(self.x.shape)
        return np.asarray(unknown)

    def pull(self, dy: Sequence[Array]) -> Array:
        """Compute the right gradient J^T dy for another dy."""
        if self.jacobian is None:
            assert self.diagonal is not None
            return np.asarray(dy[0] * self.diagonal)
        return np.asarray(_flat(dy) @ self.jacobian).reshape(self.x.shape)

    def through(self, J: Array) -> Predict:
        """Return the prediction J^T dy for a Jacobian of one's own."""
        return lambda trial: np.asarray(_flat(trial.dy) @ J).reshape(self.x.shape)

    def jacobian_of(self, position: int) -> Array | None:
        """Measure the Jacobian of another input."""
        return self._jacobian(self.evidence.inputs, position)

    def jacobian_at(self, inputs: Sequence[Array]) -> Array | None:
        """Measure the Jacobian of x at other inputs."""
        return self._jacobian(inputs, self.position)

    def _jacobian(self, inputs: Sequence[Array], position: int) -> Array | None:
        measured = self._slopes(inputs, position)
        return None if measured is None else measured[0]

    def _slopes(self, inputs: Sequence[Array], position: int) -> tuple[Array, Array] | None:
        """Measure a Jacobian by central differences, and mark the columns that have a kink."""
        size = np.asarray(inputs[position]).size
        if not 0 < size <= MOST_ELEMENTS or not 0 < size * self.outputs <= MOST_PAIRS:
            return None
        if not self.affords(2 * size):
            return None
        points = [np.array(array, order="C") for array in inputs]
        x = points[position].reshape(-1)
        typical = float(np.sqrt(np.mean(x**2))) or 1.0
        try:
            y = _flat(self.evidence.values(points))
            columns, gaps = [], []
            for i, center in enumerate(x.copy()):
                h = STEP * max(abs(center), typical)
                ends = []
                for step in (h, -h):
                    x[i] = center + step
                    ends.append(_flat(self.evidence.values(points)))
                x[i] = center
                columns.append((ends[0] - ends[1]) / (2 * h))
                gaps.append(np.abs(ends[0] - 2 * y + ends[1]) / h)  # right minus left slope
        except Exception:  # the code under test may fail in any way at inputs of our making
            return None
        J, gap = np.stack(columns, axis=1), np.stack(gaps, axis=1)
        largest = np.abs(np.nan_to_num(J)).max(axis=0)
        kinked = (gap > 1e-2 * largest).any(axis=0) & (gap > 1e-4 * largest.max()).any(axis=0)
        return J, kinked

    def slope_at(self, inputs: Sequence[Array], direction: Array) -> float:
        """Measure d sum(dy * y) along one direction of x, at other inputs: two forwards."""
        scale = float(np.sqrt(np.mean(np.square(inputs[self.position])))) or 1.0
        step = STEP * scale
        ends = []
        for sign in (1, -1):
            moved = list(inputs)
            moved[self.position] = inputs[self.position] + sign * step * direction
            try:
                ends.append(float(_flat(self.dy) @ _flat(self.evidence.values(moved))))
            except Exception:
                return np.nan
        return (ends[0] - ends[1]) / (2 * step)

    # --- what the backward says ---

    def gradient(self, dy: list[Array]) -> Array | None:
        """Run the backward under test for another dy; None if it fails."""
        try:
            dx = self.evidence.gradients([part.copy() for part in dy])[self.position]
        except Exception:
            return None
        if dx is None or np.shape(dx) != self.x.shape:
            return None
        return np.array(dx, dtype=np.float64)

    @cached_property
    def repeats(self) -> bool:
        """Does a second call return the very gradient that was found wrong?"""
        again = self.gradient(self.dy)
        return again is not None and np.array_equal(again, self.found, equal_nan=True)

    @cached_property
    def trials(self) -> list[Trial]:
        """The gradient that was found wrong, and two more with a dy of their own."""
        right = np.where(self.unknown, np.nan, self.right)
        trials = [Trial(self.dy, self.found, right)]
        if self.jacobian is None and self.diagonal is None:
            return trials
        for seed in range(1, MORE_TRIALS + 1):
            dy = self.random_upstream(seed)
            found = self.gradient(dy)
            if found is not None:
                trials.append(Trial(dy, found, self.pull(dy)))
        return trials

    def random_upstream(self, seed: int) -> list[Array]:
        """Draw a signed dy, no element of which is near zero."""
        random = np.random.default_rng(seed)
        scale = float(np.sqrt(np.mean(_flat(self.dy) ** 2))) or 1.0
        return [
            np.isfinite(y)
            * scale
            * random.choice([-1.0, 1.0], y.shape)
            * random.uniform(0.3, 1.7, y.shape)
            for y in self.y
        ]

    @cached_property
    def claimed(self) -> Array | None:
        """A[m, i], what the backward claims J to be; None if it is not linear in dy."""
        if self.outputs > MOST_CALLS or self.jacobian is None or not self.affords(3 * self.outputs):
            return None
        try:
            A = np.asarray(self.evidence.claimed_jacobian, dtype=np.float64)
        except Exception:
            return None
        if A.shape != self.jacobian.shape or not np.isfinite(A).all():
            return None
        for trial in self.trials:
            gap = _flat(trial.dy) @ A - trial.found.ravel()
            if np.abs(gap).max(initial=0) > 1e-9 * max(_largest(trial.found), 1e-300):
                return None
        return A

    # --- the judge ---

    def misfit(self, predict: Predict, limit: float = np.inf) -> float:
        """Compute the largest relative difference between prediction and gradient.

        It is infinite where they cannot be compared.  Beyond `limit` no more trials are made.
        """
        worst = 0.0
        for trial in self.trials:
            guess = predict(trial)
            if guess.shape != trial.found.shape:
                return np.inf
            compare = ~self.unknown & ~np.isnan(guess)
            known = np.count_nonzero(~self.unknown)
            if np.count_nonzero(compare) < (known / 2 if known < 100 else 30):
                return np.inf
            guess, found = guess[compare], trial.found[compare]
            scale = max(_largest(guess), _largest(found))
            if not np.isfinite(guess).all() or scale == 0:
                return np.inf
            worst = max(worst, float(np.abs(guess - found).max()) / scale)
            if worst > limit:
                break
        return worst

    @cached_property
    def error(self) -> float:
        """The relative error of the gradient itself: what an explanation has to beat."""
        return self.misfit(lambda trial: trial.right)

    @property
    def is_wrong(self) -> bool:
        """Is the gradient farther from the measured one than measuring can explain?"""
        known = ~self.unknown & ~np.isnan(self.right)
        gap = np.abs(self.found - self.right)[known].max(initial=0)
        least = 1e-9 * max(_largest(self.found), _largest(self.right))
        return bool(np.isfinite(self.error) and gap > least + 5 * _largest(self.bounds[known]))

    @cached_property
    def tolerance(self) -> float:
        """The misfit up to which an explanation is taken as exact."""
        scale = _largest(self.found) or 1.0
        blurred = min(50 * _largest(self.bounds[~self.unknown]) / scale, 1e-4)
        return min(max(EXACT, blurred), 0.01 * self.error)

    def accepts(self, candidate: Candidate) -> float | None:
        """Return the misfit of a candidate that explains the gradient, None for the rest."""
        misfit = self.misfit(candidate.predict, self.tolerance)
        return misfit if misfit <= self.tolerance else None


def _array(value: Array | None) -> Array:
    return np.array([] if value is None else value, dtype=np.float64)


def _flat(parts: Sequence[Array]) -> Array:
    return np.concatenate([np.ravel(part) for part in parts])


def _largest(array: Array) -> float:
    return float(np.abs(array[np.isfinite(array)]).max(initial=0))
