"""Compare the gradients a backward returns with slopes the oracle measures.

For a direction u and an upstream dy two numbers must agree: sum(dx * u), from the backward, and
the slope of t -> sum(dy * f(x + t u)), from the oracle.  Three answers are possible:

    right         they agree to the tolerance, and the oracle was sharp enough to tell
    wrong         they differ by more than the tolerance and five times the oracle's bound
    inconclusive  the oracle cannot tell, or only an absolute tolerance excuses the difference

Nothing is wrong on the word of one ladder of steps: two must agree, and a second look, at steps
without a pattern, must find the curve smooth.

At a kink a slope is any number between the one-sided derivatives.  Where several values tie for
the maximum, the direction that moves them together sees no kink, and pins the sum they share.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from minicnn.gradcheck.oracle import FIRST, KINK, LOWER, SMOOTH, Slope, ladder, measure
from minicnn.gradcheck.subject import Subject, signs
from minicnn_kernels.arrays import Array

STATES = UNMEASURED, RIGHT, AT_KINK, VANISHING, EXCUSED, INCONCLUSIVE, WRONG = range(7)
SCATTERED = np.array([-1, -0.83, -0.71, -0.52, -0.33, -0.14, 0.11, 0.29, 0.47, 0.64, 0.87, 1])
POWERS = SCATTERED[:, None] ** np.arange(6)
FIT = np.linalg.pinv(POWERS)  # values at SCATTERED -> coefficients of the polynomial of degree 5
WILD = 0.05  # a curve of which so much is left over is not smooth at all
ROUGH = 40  # an error counts if it is so many times what a smooth curve leaves over
FAR_STEPS = (2.0**5, 2.0**10, 2.0**20)
VISIBLE = 1e-4  # a claim below this share of the slopes far off can hide in rounding
QUICK_STEPS = 2.0 ** np.array([-17, -22, -27])  # relative to the scale of the input
RESOLVED = 1e4  # the bound may be this many tolerances for a "right"
LOST = 1e-9  # a gradient this small beside the largest one may be lost in rounding
GROSS = 1e-4  # relative error of a claim that is not worth a second look
COMPLEX_STEP = 2.0**-70
SHAKES = 4  # how often the rounding noise of the outputs is sampled
JUMP = 1e8  # an output that the last bits of x move by so many roundings is not continuous
NEIGHBOURS = np.repeat(2.0 ** np.array([-14, -18, -22, -26]), 6)  # how far beside kinks to look
NOWHERE = np.zeros(0, dtype=int)


class Tolerances(NamedTuple):
    """When two numbers count as equal; the oracle's own bound comes on top."""

    rtol: float = 1e-8
    atol: float = 0.0
    floor: float = 1e-10  # relative to the largest gradient of the same input


class Judgement(NamedTuple):
    """What came out along one direction: the worst state, and the numbers of the first dy."""

    state: int
    claimed: float
    measured: float
    bound: float
    kinked: Array  # the outputs with a kink, as positions
    step: float = FIRST  # the largest step of the ladder that measured
    smooth: bool = True  # whether the curve looked smooth

    @property
    def error(self) -> float:
        """The relative difference of the two numbers."""
        size = max(abs(self.claimed), abs(self.measured))
        return abs(self.claimed - self.measured) / size if size else 0.0

    @property
    def is_gross(self) -> bool:
        """Whether the claim is so wrong that no small kink, unseen yet, could explain it."""
        return self.state == WRONG and self.error > max(GROSS, 1e3 * self.bound)


@dataclass
class Place:
    """Where the gradient of one input lies in the joined vector of all checked inputs."""

    position: int
    start: int
    shape: tuple[int, ...]
    scale: float  # a power of two near the typical size of the values

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self.shape))

    @property
    def part(self) -> slice:
        """The slice of the joined vector."""
        return slice(self.start, self.start + self.size)


class Ground:
    """The function at x: its values, and how much rounding moves them.

    Attributes:
        values: all outputs as one vector.
        noise: how the outputs answer to changes of the inputs in their last bits.
        defined: where an output is finite and does not jump at x itself, as round(x) does at 0.5.
    """

    def __init__(self, subject: Subject, positions: Sequence[int]) -> None:
        outputs = subject.values(subject.inputs)
        self.shapes = [y.shape for y in outputs]
        self.values = joined(outputs)
        rng = np.random.default_rng(0)
        spacing = joined([np.full(y.size, _spacing(y.dtype, subject.rounding)) for y in outputs])
        noise = 2 * spacing * np.abs(self.values)
        for _ in range(SHAKES):
            inputs = list(subject.inputs)
            for position in positions:
                x = inputs[position]
                inputs[position] = x + subject.rounding * x * rng.integers(-8, 9, x.shape)
            with np.errstate(all="ignore"):
                noise = np.fmax(noise, np.abs(joined(subject.forward(inputs)) - self.values))
        finite = np.isfinite(self.values)
        with np.errstate(all="ignore"):
            typical = np.sqrt(np.mean(self.values[finite] ** 2)) if finite.any() else 0.0
            sizes = np.maximum(np.abs(self.values), typical)
            jumps = (noise > JUMP * spacing * sizes) & (
                noise > self._input_rounding(subject, positions)
            )
        self.defined = finite & ~jumps
        self.noise = np.where(self.defined, np.nan_to_num(noise), 0.0)

    def _input_rounding(self, subject: Subject, positions: Sequence[int]) -> float:
        """Return the last bits of the inputs: outputs below them are rounding, and do not jump."""
        sizes = [np.abs(subject.inputs[position]).max(initial=0.0) for position in positions]
        return 16 * subject.rounding * float(max(sizes, default=0.0))

    def parted(self, vector: Array) -> list[Array]:
        """Split a vector over all outputs into one array per output."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])[:-1]
        parts = np.split(vector, ends)
        return [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def usable(self, upstream: Sequence[Array]) -> list[Array]:
        """Return dy with zeros at the outputs that have no derivative here."""
        return self.parted(np.where(self.defined, joined(upstream), 0.0))


class Comparison:
    """The function under test at one place, ready to be measured along any direction.

    Attributes:
        places: one per checked input, in order.
        upstreams: random signed dy, each a list with one array per output.
        claimed: what the backward returned, joined; one row per upstream.
        scale: the size of a step in each element of the joined vector.
    """

    def __init__(
        self,
        subject: Subject,
        positions: Sequence[int],
        ground: Ground,
        upstreams: Sequence[Sequence[Array]],
        gradients: Sequence[Sequence[Array | None]],
        tolerances: Tolerances,
        eps: float | None = None,
    ) -> None:
        self.subject, self.tolerances, self.eps = subject, tolerances, eps
        self.ground, self.upstreams = ground, upstreams
        self.places: list[Place] = []
        start = 0
        for position in positions:
            x = subject.inputs[position]
            scale = typical_size(x) if eps is None else eps / FIRST
            self.places.append(Place(position, start, x.shape, scale))
            start += x.size
        self.size = start
        self.scale = joined([np.full(p.size, p.scale) for p in self.places])
        self.claimed = np.array([self._joined(found) for found in gradients])
        self.floors = self._floors()
        self.dy = np.array([joined(dy) for dy in upstreams])
        self.center = self._with_sums(ground.values)
        most = float(ground.noise.max(initial=0.0)) or 1.0  # its square could be too large
        of_sums = most * np.sqrt(self.dy**2 @ (ground.noise / most) ** 2)
        self.noise = np.concatenate([ground.noise, of_sums])

    def _joined(self, gradients: Sequence[Array | None]) -> Array:
        parts = [gradients[p.position] for p in self.places]
        pairs = zip(self.places, parts, strict=True)
        return joined([np.zeros(p.size) if g is None else g for p, g in pairs])

    def _floors(self) -> Array:
        """Return, per element, the largest claimed change of a step in the same input."""
        known = np.where(np.isfinite(self.claimed), self.claimed, 0.0)
        steps = np.abs(known) * self.scale
        self.largest = float(steps.max(initial=0.0))
        floors = np.zeros(self.size)
        for place in self.places:
            floors[place.part] = steps[:, place.part].max(initial=0.0)
        return floors

    def for_one_output(self, output: int) -> Comparison:
        """Return the same comparison with one dy: 1 at this output, 0 at all others."""
        unit = np.zeros(self.ground.values.size)
        unit[output] = 1.0
        dy = self.ground.parted(unit)
        found = self.subject.gradients(dy, self.subject.inputs)
        positions = [place.position for place in self.places]
        return Comparison(
            self.subject, positions, self.ground, [dy], [found], self.tolerances, self.eps
        )

    def beside(self, seed: int) -> Comparison:
        """Return the same comparison a little beside x, where a random point has no kinks."""
        rng = np.random.default_rng(seed)
        other = copy.copy(self.subject)
        positions = [place.position for place in self.places]
        for size in 2.0 ** -np.arange(12, 33, 4):
            other.inputs = self.moved(self.scale * rng.uniform(-1, 1, self.size) * size)
            ground = Ground(other, positions)
            if np.all(ground.defined | ~self.ground.defined):
                break  # a larger move may leave the domain, as that of log near 0
        else:
            return self
        upstreams = [ground.usable(dy) for dy in self.upstreams]
        found = [other.gradients(dy, other.inputs) for dy in upstreams]
        return Comparison(other, positions, ground, upstreams, found, self.tolerances, self.eps)

    # --- the function ------------------------------------------------------------------------

    def moved(self, step: Array) -> list[Array]:
        """Return the inputs with `step`, a joined vector, added."""
        inputs = list(self.subject.inputs)
        for place in self.places:
            inputs[place.position] = inputs[place.position] + step[place.part].reshape(place.shape)
        return inputs

    def _with_sums(self, y: Array) -> Array:
        """Append sum(dy * y) for every upstream."""
        known = np.where(self.ground.defined, y, 0.0)
        return np.concatenate([known, self.dy @ known])

    def curve(self, direction: Array, offset: Array | float = 0.0) -> Callable[[float], Array]:
        """Return t -> the outputs, and the sums with each dy, at x + offset + t scale direction."""
        step = self.scale * direction

        def at(t: float) -> Array:
            return self._with_sums(joined(self.subject.forward(self.moved(offset + t * step))))

        return at

    # --- one direction -----------------------------------------------------------------------

    def judge(self, direction: Array) -> Judgement:
        """Compare along one direction, with as few calls of the function as will do."""
        step = self.scale * direction
        touched = direction != 0
        with np.errstate(all="ignore"):  # an infinite claim elsewhere times 0 would be NaN
            claimed = self.claimed[:, touched] @ step[touched]
        if not np.isfinite(claimed).all() and self._reaches_undefined(step):
            return Judgement(INCONCLUSIVE, float(claimed[0]), np.nan, np.inf, NOWHERE)
        largest = float(self.floors[touched].max(initial=0.0))
        floor = largest * float(np.sqrt(np.count_nonzero(touched)))
        excused = self.tolerances.atol * float(np.abs(step).sum())
        curve = self.curve(direction)
        quick = self._quick(curve, claimed, floor)
        if quick is not None:
            return quick
        if not claimed.any() and floor == 0:  # no gradient tells how small is small: slopes nearby
            floor = float(np.abs(curve(FIRST) - self.center).max() / FIRST)
        small = largest <= 8 * float(self.noise[self.ground.values.size :].max(initial=0.0))
        lost = self.largest > 0 and (
            largest <= LOST * self.largest or (small and largest <= self._shaken(touched))
        )
        judged = self._measured(curve, claimed, floor, lost)
        state = max(one.state for one in judged)
        if state == WRONG and not (
            self._is_smooth(curve, judged) and self._resolves(curve, judged)
        ):
            state = INCONCLUSIVE
        if state == INCONCLUSIVE and self._complex_step_agrees(step, claimed, judged, floor):
            state = RIGHT
        unclear = [k for k, one in enumerate(judged) if one.state == WRONG and not one.smooth]
        if state == WRONG and unclear:
            state = max(self._beside(direction, k, judged[k]) for k in unclear)
        wrong = [abs(one.claimed - one.measured) for one in judged if one.state == WRONG]
        if lost and state == INCONCLUSIVE:
            state = VANISHING
        if wrong and max(wrong) <= excused:
            state = EXCUSED
        return judged[0]._replace(state=state)

    def _complex_step_agrees(
        self, step: Array, claimed: Array, judged: Sequence[Judgement], floor: float
    ) -> bool:
        """Say whether Im f(x + i h u) / h confirms the claims that differences cannot resolve.

        No difference is taken, so nothing cancels, and h can be tiny; but the function must take
        complex numbers and be analytic.  As abs and conj are not, the result counts only where
        the measured slopes allow it too: it may confirm a claim, never refute one.

        Reference: Squire and Trapp 1998, "Using complex variables to estimate derivatives".
        """
        inputs = [np.asarray(x) for x in self.subject.inputs]
        for place in self.places:
            turned = 1j * COMPLEX_STEP * step[place.part].reshape(place.shape)
            inputs[place.position] = inputs[place.position] + turned
        outputs = self.subject.complex_forward(inputs)
        if outputs is None or [y.shape for y in outputs] != self.ground.shapes:
            return False
        y = np.concatenate([y.ravel() for y in outputs])
        slopes = self.dy @ np.where(self.ground.defined, y.imag / COMPLEX_STEP, 0.0)
        measured = np.array([one.measured for one in judged])
        room = 5 * np.array([one.bound for one in judged]) + self._tolerance(
            slopes, measured, floor
        )
        near = np.abs(slopes - claimed) <= self._tolerance(slopes, claimed, floor)
        return bool(np.all(near & (np.abs(slopes - measured) <= room)))

    def _is_smooth(self, curve: Callable[[float], Array], judged: Sequence[Judgement]) -> bool:
        """Say whether the curve is as smooth as its slope was taken to be, in a second look.

        The steps of a ladder are powers of two: rounding to a grid, as inside 1e6 + x - 1e6, can
        be invisible to them, and kinks nearby can look like a bend.  Steps without a pattern see
        both: a polynomial of degree 5 does not fit.
        """
        for k, one in enumerate(judged):
            if one.state != WRONG or len(one.kinked) or not np.isfinite(one.claimed):
                continue
            h = min(one.step, FIRST / LOWER)
            output = self.ground.values.size + k
            values = np.array([curve(h * t)[output] - self.center[output] for t in SCATTERED])
            rest = np.abs(values - POWERS @ (FIT @ values)).max()
            span = np.ptp(values)
            wild = rest > WILD * span and span > 16 * self.noise[output]
            if wild or not abs(one.claimed - one.measured) * h > ROUGH * rest:
                return False
        return True

    def _resolves(self, curve: Callable[[float], Array], judged: Sequence[Judgement]) -> bool:
        """Say whether a slope of 0 is more than the steps being too small to move the outputs.

        sqrt(1 + x^2) - 1 does not move near 1e-8, though it does a little farther off; a claim
        that is nothing beside the slopes there cannot be refuted.
        """
        if any(one.measured != 0 or not np.isfinite(one.claimed) for one in judged):
            return True
        outputs = self.ground.values.size
        with np.errstate(all="ignore"):
            far = max(
                float(np.nanmax(np.abs(curve(h) - self.center)[outputs:], initial=0.0)) / h
                for h in FAR_STEPS
            )
        return max(abs(one.claimed) for one in judged) >= VISIBLE * far

    def bends(self, direction: Array) -> bool:
        """Say whether the first dy sees anything but a smooth curve along a direction."""
        slope = ladder(self.curve(direction), self.center, self.noise, FIRST)
        return bool(slope.kind[self.ground.values.size] != SMOOTH)

    def _measured(
        self,
        curve: Callable[[float], Array],
        claimed: Array,
        floor: float,
        lost: bool,
    ) -> list[Judgement]:
        """Measure on ladder after ladder until every upstream can be judged."""
        for depth, slope in enumerate(measure(curve, self.center, self.noise)):
            judged = [self._judged(slope, k, claimed[k], floor) for k in range(len(claimed))]
            state = max(one.state for one in judged)
            plain = np.all(slope.kind == SMOOTH)
            enough = 1 if any(one.is_gross for one in judged) else 2
            settled = state == WRONG or lost
            if state in (RIGHT, AT_KINK) or (settled and plain and depth >= enough):
                break
        return judged

    def _shaken(self, touched: Array) -> float:
        """Return how large claims may be that are rounding: what last bits change, with room."""
        return 100 * float(self._shakiness[touched].max(initial=0.0))

    @cached_property
    def _shakiness(self) -> Array:
        """How far the last bits of dy and of the inputs move the claims: per element, the most."""
        rng = np.random.default_rng(6)
        bits = 2 * self.subject.rounding

        def shaken(arrays: Sequence[Array]) -> list[Array]:
            moved = [a * (1 + bits * rng.choice([-1, 1], a.shape)) for a in arrays]
            return [m.astype(a.dtype) for m, a in zip(moved, arrays, strict=True)]

        most = np.zeros(self.size)
        for _ in range(SHAKES):
            found = self.subject.gradients(shaken(self.upstreams[0]), shaken(self.subject.inputs))
            moved = np.abs(self._joined(found) - self.claimed[0]) * self.scale
            for place in self.places:
                most[place.part] = np.fmax(most[place.part], moved[place.part].max(initial=0.0))
        return most

    def _reaches_undefined(self, step: Array) -> bool:
        """Say whether a step moves an output that is left out, as log(0): its dy = 0 gives NaN."""
        left_out = ~self.ground.defined
        moved = joined(self.subject.forward(self.moved(FIRST * step)))
        return not np.array_equal(moved[left_out], self.ground.values[left_out], equal_nan=True)

    def _quick(
        self, curve: Callable[[float], Array], claimed: Array, floor: float
    ) -> Judgement | None:
        """Accept two numbers that agree at one step; only a disagreement needs the ladder."""
        outputs = self.ground.values.size
        with np.errstate(all="ignore"):
            if not claimed.any() and floor == 0:
                still = Judgement(RIGHT, 0.0, 0.0, 0.0, NOWHERE)
                return still if self._stands_still(curve) else None
            for h in QUICK_STEPS:
                ahead, behind = curve(h), curve(-h)
                slope = (ahead - behind) / (2 * h)
                gap = np.abs(ahead - 2 * self.center + behind)[:outputs] / h
                size = np.abs(slope[:outputs]).max(initial=0.0)
                found = slope[outputs:]
                error = np.abs(claimed - found)
                unbent = np.all(gap <= 1e-3 * size + 8 * self.noise[:outputs] / h)
                if unbent and np.any(error > GROSS * np.maximum(np.abs(claimed), np.abs(found))):
                    return None
                if unbent and np.all(error <= self._tolerance(claimed, found, floor) / 2):
                    bound = 3 * float(self.noise[outputs]) / h
                    return Judgement(RIGHT, float(claimed[0]), float(found[0]), bound, NOWHERE)
        return None

    def _stands_still(self, curve: Callable[[float], Array]) -> bool:
        """Say whether small steps move no output by one bit, and large ones show no slope.

        Large ones may show a jump, as those of round(x): a slope that made it would have been
        visible at the small steps too.
        """
        small = [curve(FIRST), curve(-FIRST), curve(QUICK_STEPS[0])]
        large = np.abs(np.stack([curve(1.0), curve(-1.0)]) - self.center).max(axis=0)
        unmoved = all(np.array_equal(y, self.center) for y in small)
        return unmoved and bool(np.all((large == 0) | (large * FIRST > 8 * self.noise)))

    def _beside(self, direction: Array, k: int, one: Judgement) -> int:
        """Compare a claim that the slopes at x refute with slopes measured a little beside x.

        Where several kinks meet in one output (overlapping windows with ties, summed up), the
        one-sided slopes along u are not all that the chain rule may give.  Those of the smooth
        pieces around x are: Clarke's generalised gradient is their convex hull.  Of one kink the
        neighbours show the two sides; if they show more slopes, some piece may have been missed.
        """
        rng = np.random.default_rng(3)
        output, error = self.ground.values.size + k, abs(one.claimed - one.measured)
        slopes, blur = [one.measured], 0.0
        for distance in NEIGHBOURS:
            h = distance / 64
            if 16 * self.noise[output] / h < error:  # else rounding hides what is looked for
                offset = self.scale * signs(rng, (self.size,)) * distance
                curve = self.curve(direction, offset)
                slopes.append(float(curve(h)[output] - curve(-h)[output]) / (2 * h))
                blur = max(blur, 4 * float(self.noise[output]) / h)
        around = np.array(slopes)
        low, high = np.nanmin(around), np.nanmax(around)
        room = 1e-4 * max(abs(low), abs(high)) + blur
        if low - room <= one.claimed <= high + room:
            return AT_KINK
        two_sides = np.all(np.minimum(around - low, high - around)[1:] <= 2 * room)
        return WRONG if two_sides else INCONCLUSIVE

    def _tolerance(self, claimed: Array, measured: Array, floor: float) -> Array:
        size = np.maximum(np.abs(claimed), np.abs(measured))
        return np.asarray(self.tolerances.rtol * size + self.tolerances.floor * floor)

    def _judged(self, slope: Slope, k: int, claimed: float, floor: float) -> Judgement:
        """Decide for upstream k, from the slopes of the outputs and of their sum."""
        outputs = self.ground.values.size
        kinked = np.flatnonzero(slope.kind[:outputs] == KINK)
        if len(kinked):
            dy = self.dy[k]
            read = dy != 0
            ends = dy[read] * np.stack([slope.low[:outputs][read], slope.high[:outputs][read]])
            low, high = float(ends.min(axis=0).sum()), float(ends.max(axis=0).sum())
            bounds = np.abs(dy[read]) * slope.bound[:outputs][read]
            sure = bool(np.all(slope.sure[:outputs][read]))
            bound = float(min(bounds.sum(), 3 * np.sqrt(np.square(bounds).sum())))
        else:
            low = high = float(slope.value[outputs + k])
            bound = float(slope.bound[outputs + k])
            sure = bool(slope.sure[outputs + k])
        measured = float(np.clip(claimed, low, high)) if np.isfinite(claimed) else (low + high) / 2
        tolerance = float(self._tolerance(np.asarray(claimed), np.asarray(measured), floor))
        error = abs(claimed - measured)
        blurred = not len(kinked) and slope.kind[outputs + k] == KINK
        if blurred or not np.isfinite(bound + measured):
            state = INCONCLUSIVE  # blurred: a kink too close to tell from one at x
        elif not error <= tolerance + 5 * bound:  # NaN is wrong
            state = WRONG if sure or not np.isfinite(claimed) else INCONCLUSIVE
        elif error <= tolerance + bound and bound <= RESOLVED * tolerance:
            state = AT_KINK if len(kinked) else RIGHT
        else:
            state = INCONCLUSIVE
        step = float(slope.step[outputs + k])
        smooth = slope.kind[outputs + k] == SMOOTH and not len(kinked)
        return Judgement(state, float(claimed), measured, bound, kinked, step, bool(smooth))


def _spacing(dtype: np.dtype[Any], least: float) -> float:
    """Return the relative spacing of an output's type: a forward may compute in float32."""
    return max(least, float(np.finfo(dtype).eps)) if dtype.kind == "f" else least


def joined(arrays: Sequence[Array]) -> Array:
    """Return all elements of all arrays as one float64 vector."""
    return np.concatenate([np.ravel(a) for a in arrays] or [np.zeros(0)]).astype(np.float64)


def typical_size(x: Array) -> float:
    """Return a power of two near the root of the mean square of x; 1 for zeros."""
    with np.errstate(all="ignore"):
        size = float(np.sqrt(np.mean(np.square(x)))) if x.size else 0.0
    return float(2.0 ** np.round(np.log2(size))) if 0 < size < np.inf else 1.0
