"""The oracle: a derivative along a direction, measured with an error bound.

A difference quotient at one fixed step says little: too large a step sees curvature and kinks,
too small a step drowns in rounding.  Here the function is sampled on a ladder of steps
h, h/2, h/4, h/8, and how the quotients change from rung to rung shows what is there:

    D = (f(x+hu) - f(x-hu)) / 2h       central quotient
    R = (f(x+hu) - f(x)) / h           from the right
    L = (f(x) - f(x-hu)) / h           from the left

    smooth      D changes 4 times less with each halving; R - L halves
    low order   D changes 2 times less (x|x| at 0, the joints of Huber's loss)
    kink        R - L stays: the one-sided derivatives differ at x itself
    unresolved  none of these: rounding, a kink nearby, or infinite slope; a lower ladder may tell

Steps are powers of two, so that x + h is exact wherever it can be.  Everything is done for all
outputs at once, each output with a kind of its own.

References: Richardson 1911; Ridders 1982, "Accurate computation of F'(x) and F'(x)F''(x)".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from minicnn_kernels.arrays import Array

RUNGS = 4
FIRST = 2.0**-10  # largest step of the first ladder, relative to the scale of the input
LOWER = 2.0**-5  # from one ladder to the next
LADDERS = 7
VAGUE = 64.0  # a bound so many times another one cannot support it
KINDS = UNRESOLVED, LOW_ORDER, SMOOTH, KINK = range(4)

Curve = Callable[[float], Array]  # t -> all outputs at x + t u, raveled


class Slope(NamedTuple):
    """The derivative of every output along a direction.

    Attributes:
        value: the derivative; between the one-sided ones at a kink.
        bound: how far `value` may be from the truth (at a kink: `low` and `high`).
        low: the smaller one-sided derivative at a kink; `value` elsewhere.
        high: the larger one.
        kind: UNRESOLVED, LOW_ORDER, SMOOTH or KINK.
        step: the largest step of the ladder that measured.
        sure: whether a second ladder says the same.  One alone may be fooled: by oscillations
            between its steps, or by rounding that is larger than `noise` tells.
    """

    value: Array
    bound: Array
    low: Array
    high: Array
    kind: Array
    step: Array
    sure: Array

    def merged(self, other: Slope, take: Array) -> Slope:
        """Return this slope with the outputs marked in `take` from the other."""
        return Slope(*(np.where(take, b, a) for a, b in zip(self, other, strict=True)))


def measure(curve: Curve, center: Array, noise: Array) -> Iterator[Slope]:
    """Measure d curve(t) / dt at 0 for every output; yield better and better slopes.

    The first comes from the ladder that starts at FIRST, the next from wider ones, if
    rounding is all there is, the others from lower and lower ones, which get away from kinks
    nearby.  Take as many as are needed.

    Args:
        curve: t -> the outputs; scaled so that they change a lot when t changes by about 1.
        center: the outputs at t = 0.
        noise: the size of the rounding errors of each output.
    """
    best = ladder(curve, center, noise, FIRST)
    yield best
    for wide in (FIRST / LOWER, FIRST / LOWER**2):
        rounding = 100 * noise / (wide * LOWER)
        if not np.all((best.kind == SMOOTH) | (best.bound <= 8 * rounding)):
            break
        wider = ladder(curve, center, noise, wide)
        best = _joined(best, wider, _better(wider, best))
        yield best
    rival = best._replace(bound=np.full_like(best.bound, np.inf))
    jumpy = (best.kind == UNRESOLVED) & (best.value != 0)
    for depth in range(1, LADDERS):
        top = FIRST * LOWER**depth
        if np.all(noise > top * (np.abs(best.value) + best.high - best.low)):
            break  # rounding alone is as large as the slope; NaN compares False and goes on
        lower = ladder(curve, center, noise, top)
        # A kink that only a higher ladder saw lies beside x; what the lower one sees lies closer.
        kink_was_beside = (best.kind == KINK) & (lower.kind != KINK) & _one_side(lower, best)
        kink_is_here = (best.kind != KINK) & (lower.kind == KINK) & _stands_out(lower)
        same = (best.kind == KINK) == (lower.kind == KINK)
        better = same & _better(lower, best)
        outvoted = ~best.sure & _support(rival, lower)
        rival = rival.merged(lower, _contradicts(lower, best))
        best = _joined(best, lower, kink_was_beside | kink_is_here | better | outvoted)
        stairs = jumpy & (best.value == 0)  # flat between jumps: what is meant, nobody can tell
        best = best._replace(sure=(best.sure | outvoted) & ~stairs)
        yield best


def ladder(curve: Curve, center: Array, noise: Array, top: float) -> Slope:
    """Measure on the four steps top, top/2, top/4, top/8 and classify each output."""
    steps = top * 0.5 ** np.arange(RUNGS)
    with np.errstate(all="ignore"):
        ahead = np.stack([curve(h) for h in steps])
        behind = np.stack([curve(-h) for h in steps])
        h = steps[:, None]
        slope = _classified(
            (ahead - behind) / (2 * h), (ahead - center) / h, (center - behind) / h, noise / h
        )
    return slope._replace(step=np.full(center.shape, top))


def _classified(d: Array, r: Array, left: Array, noise: Array) -> Slope:
    """Turn the quotients of the rungs (first axis, largest step first) into a slope."""
    change = np.abs(np.diff(d, axis=0))  # between neighbouring rungs
    gap = np.abs(r - left)
    ratio = change[:-1] / change[1:]
    gap_ratio = gap[1:] / gap[:-1]
    finest = noise[-1]

    flat = np.all(change <= 4 * noise[1:], axis=0)
    gap_flat = np.all(gap <= 8 * noise, axis=0)
    gap_closing = gap_flat | np.all((gap_ratio < 0.75) | (gap[1:] <= 8 * noise[1:]), axis=0)
    second = (ratio[0] > 2.8) & (ratio[0] < 5.7)
    second &= ((ratio[1] > 2.8) & (ratio[1] < 5.7)) | (change[2] <= 8 * finest)
    first = np.all((ratio > 1.6) & (ratio < 2.6), axis=0)
    gap_stays = np.all((gap_ratio > 0.8) & (gap_ratio < 1.25), axis=0) & (gap[-1] > 16 * finest)

    # kink: R and L approach their limits linearly in h
    right, right_error = 2 * r[3] - r[2], np.abs(r[3] - r[2])
    leftward, left_error = 2 * left[3] - left[2], np.abs(left[3] - left[2])
    low, high = np.minimum(right, leftward), np.maximum(right, leftward)
    kink_bound = 2 * np.maximum(right_error, left_error) + 12 * finest

    # smooth: one step of Richardson's extrapolation on neighbouring rungs; the sharper pair counts
    better = d[1:] + np.diff(d, axis=0) / 3
    steps = np.abs(np.diff(better, axis=0))  # truncation makes them fall 16-fold; luck less evenly
    bounds = 4 * np.maximum(steps, steps[::-1] / 16) + 7 * noise[2:]
    sharper = np.argmin(bounds, axis=0)
    outputs = np.arange(d.shape[1])

    conditions = [flat & gap_closing, second & gap_closing, gap_stays, first & gap_closing]
    value = np.select(
        conditions,
        [d[0], better[1 + sharper, outputs], (low + high) / 2, 2 * d[3] - d[2]],
        d[3],
    )
    bound = np.select(
        conditions,
        [
            2 * change[0] + 4 * noise[0],
            bounds[sharper, outputs],
            kink_bound,
            4 * change[2] + 4 * finest,
        ],
        4 * np.abs(d - d[3]).max(axis=0) + gap[3] + 4 * finest,
    )
    kind = np.select(conditions, [SMOOTH, SMOOTH, KINK, LOW_ORDER], UNRESOLVED)
    broken = ~np.isfinite(d).all(axis=0) | ~np.isfinite(r).all(axis=0)
    value = np.where(broken, np.nan, value)
    bound = np.where(broken, np.inf, bound)
    kind = np.where(broken, UNRESOLVED, kind)
    at_kink = kind == KINK
    low, high = np.where(at_kink, low, value), np.where(at_kink, high, value)
    return Slope(value, bound, low, high, kind, np.zeros(kind.shape), np.zeros(kind.shape, bool))


def _joined(old: Slope, new: Slope, take: Array) -> Slope:
    """Return the old slope with the outputs in `take` from the new one; both may support it."""
    support = _support(old, new)
    sure = np.where(take, support, old.sure | support)
    return old.merged(new, take)._replace(sure=sure)


def _support(old: Slope, new: Slope) -> Array:
    """Say where two ladders tell the same, neither much more vaguely than the other."""
    room = old.bound + new.bound
    same = (np.abs(old.low - new.low) <= room) & (np.abs(old.high - new.high) <= room)
    vague = np.maximum(old.bound, new.bound) > VAGUE * np.minimum(old.bound, new.bound)
    resolved = (old.kind != UNRESOLVED) & (new.kind != UNRESOLVED)
    kinked = (old.kind == KINK) == (new.kind == KINK)
    return np.asarray(same & kinked & _sharp(old) & _sharp(new) & (resolved | ~vague))


def _contradicts(new: Slope, old: Slope) -> Array:
    """Say where a ladder tells clearly another slope; outputs that do not move tell nothing."""
    moved = (new.value != 0) | (new.high > new.low)
    near = np.abs(new.value - old.value) <= new.bound + old.bound
    return np.asarray(_sharp(new) & moved & ~near)


def _sharp(slope: Slope) -> Array:
    """Say where a ladder knows the slope: to a tenth at least, if it found no order in it."""
    known = (slope.kind != UNRESOLVED) | (slope.bound <= 0.1 * np.abs(slope.value))
    return np.asarray(known & np.isfinite(slope.bound))


def _better(new: Slope, old: Slope) -> Array:
    """Say where a ladder is sharper; what contradicts the other ladder's bound is not.

    Steps so small that the outputs no longer move look perfectly smooth, with slope 0.
    """
    known = np.isfinite(old.bound)
    distance = np.abs(new.value - np.where(known, old.value, new.value))
    doubt = np.where(known, distance - old.bound, 0.0)
    sharper: Array = np.maximum(new.bound, doubt) < old.bound
    return sharper


def _one_side(new: Slope, old: Slope) -> Array:
    """Say where the lower ladder is sharp enough to deny the gap, and sees a slope beside it."""
    room = new.bound + old.bound
    between = (old.low - room <= new.value) & (new.value <= old.high + room)
    return np.asarray(between & (new.bound < 0.25 * (old.high - old.low)))


def _stands_out(new: Slope) -> Array:
    """Say where a gap is more than its own bound can explain."""
    return np.asarray(new.high - new.low > 4 * new.bound)
