"""Which directions to look along, and how to find the element that is to blame.

Full mode looks along each element.  Fast mode looks along a few random directions, which see every
element at once, and along directions with structure (one batch item, one channel, the border
rows), which see alone what backwards most often get wrong.  Where a direction fails, halving its
support again and again leads to one wrong element.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from minicnn.gradcheck.compare import (
    INCONCLUSIVE,
    UNMEASURED,
    WRONG,
    Comparison,
    Judgement,
    Place,
)
from minicnn.gradcheck.subject import signs
from minicnn_kernels.arrays import Array

RANDOM_DIRECTIONS = 3  # over one input
SLICES = 4  # at most so many single batch items, channels, rows ... per axis, ends first
SINGLES = 4  # elements looked at alone in fast mode
SAMPLE = 400  # elements measured around a failure in fast mode, for the diagnosis and the map
TIES = 8  # outputs whose ties are looked at

Tick = Callable[[int], None]


@dataclass
class Row:
    """What was found out about the gradient of one input.

    Attributes:
        place: which input, and where it lies in the joined vector.
        claimed: what the backward returned for the first dy, raveled.
        state: per element: UNMEASURED, RIGHT, AT_KINK, EXCUSED, INCONCLUSIVE or WRONG.
        measured: per element, for the first dy; NaN where not measured alone.
        bound: how far `measured` may be from the truth.
        directions: the states of directions over several elements.
    """

    place: Place
    claimed: Array
    state: Array
    measured: Array
    bound: Array
    directions: list[int] = field(default_factory=list)

    @property
    def counts(self) -> dict[int, int]:
        """How many elements and directions came out in each state."""
        found = [*self.state.tolist(), *self.directions]
        return {state: found.count(state) for state in set(found) - {UNMEASURED}}

    @property
    def error(self) -> Array:
        """|claimed - measured| per element, infinite where the claim is not a number."""
        error = np.abs(self.claimed - self.measured)
        return np.where(np.isfinite(self.measured) & ~np.isfinite(self.claimed), np.inf, error)

    @property
    def worst(self) -> int | None:
        """The measured element of the worst state that is furthest off."""
        measured = np.flatnonzero(self.state != UNMEASURED)
        if not len(measured):
            return None
        error = np.nan_to_num(self.error[measured], posinf=np.finfo(float).max)
        return int(measured[np.lexsort((error, self.state[measured]))[-1]])


class Tie(NamedTuple):
    """Elements that tie in one output, moved together: what their gradients sum to, and should."""

    output: int
    elements: list[int]  # positions in the joined vector
    claimed: float
    measured: float


class Search:
    """Look along directions and remember what came out, one Row per input.

    Args:
        comparison: the function and its claimed gradients.
        seed: of the random directions.
        tick: called with the number of directions looked along, for a progress bar.
        patience: seconds that measuring a wrong gradient element by element may take in fast mode;
            if that is too short, only some are measured.
    """

    def __init__(
        self,
        comparison: Comparison,
        seed: int,
        tick: Tick = lambda directions: None,
        patience: float = 6.0,
    ) -> None:
        self.comparison, self.tick, self.patience = comparison, tick, patience
        self.rng = np.random.default_rng(seed)
        self.rows = [
            Row(
                p,
                comparison.claimed[0, p.part],
                np.full(p.size, UNMEASURED),
                np.full(p.size, np.nan),
                np.full(p.size, np.nan),
            )
            for p in comparison.places
        ]
        self.kinked: dict[int, set[int]] = {}  # output -> elements at whose value it has a kink
        self.wrong_ties: list[Tie] = []

    def full(self) -> None:
        """Look along every element of every input, and along ties."""
        for row in self.rows:
            for i in range(row.place.size):
                self.element(row, i)
        self.ties()

    def fast(self) -> None:
        """Look along random and structured directions; follow a failure to its element."""
        for row in self.rows:
            failed, start = None, time.perf_counter()
            for direction in self._directions(row.place):
                judgement = self.along(direction)
                kinked = judgement.state >= INCONCLUSIVE and len(judgement.kinked)
                if kinked and self._blamed(row, direction):
                    judgement = judgement._replace(state=WRONG)  # one element alone, at its kink
                elif kinked or judgement.state == INCONCLUSIVE:
                    judgement = self.beside.judge(direction)  # too many kinks meet at x itself
                row.directions.append(judgement.state)
                if judgement.state == WRONG and failed is None:
                    failed = direction
            singles = self.rng.permutation(row.place.size)[:SINGLES].tolist()
            for i in {0, row.place.size - 1, *singles} if row.place.size else ():
                self.element(row, i)
            if failed is not None:
                seconds = (time.perf_counter() - start) / (len(row.directions) + SINGLES)
                everything = row.place.size * seconds <= self.patience
                self._follow(row, failed, row.place.size if everything else SAMPLE)
        self.ties()

    @cached_property
    def beside(self) -> Comparison:
        """The comparison at a random point beside x."""
        return self.comparison.beside(seed=4)

    # --- looking -----------------------------------------------------------------------------

    def element(self, row: Row, i: int) -> None:
        """Look along one element of one input, once."""
        if row.state[i] != UNMEASURED:
            return
        direction = np.zeros(self.comparison.size)
        direction[row.place.start + i] = 1.0
        judgement = self.along(direction)
        row.state[i] = judgement.state
        row.measured[i] = judgement.measured / row.place.scale
        row.bound[i] = judgement.bound / row.place.scale
        for output in judgement.kinked:
            self.kinked.setdefault(int(output), set()).add(row.place.start + i)

    def along(self, direction: Array) -> Judgement:
        """Look along a direction of the joined vector."""
        self.tick(1)
        return self.comparison.judge(direction)

    def ties(self) -> None:
        """Where several elements tie for a maximum, the gradients they get must sum to one dy.

        Each alone may get anything from none to all of it.  Moved together the kink is gone, and
        with dy = 1 for this output alone the sum is pinned.
        """
        tied = sorted((m, sorted(found)) for m, found in self.kinked.items() if len(found) > 1)
        for output, elements in _spread(tied, TIES):
            direction = np.zeros(self.comparison.size)
            direction[elements] = 1.0 / self.comparison.scale[elements]
            direction *= self.comparison.scale[elements].max()
            alone = self.comparison.for_one_output(output)
            self.tick(1)
            if alone.bends(direction):
                continue  # they do not tie: moved together they still leave the kink
            judgement = alone.judge(direction)
            if judgement.state == WRONG:
                size = self.comparison.scale[elements].max()
                claimed, measured = judgement.claimed / size, judgement.measured / size
                self.wrong_ties.append(Tie(output, elements, claimed, measured))
                for row in self.rows:
                    inside = [e - row.place.start for e in elements]
                    inside = [i for i in inside if 0 <= i < row.place.size]
                    row.state[inside] = WRONG

    # --- directions --------------------------------------------------------------------------

    def _directions(self, place: Place) -> Iterator[Array]:
        """Go over random and structured directions within one input."""
        for _ in range(RANDOM_DIRECTIONS if place.size else 0):
            yield self._within(place, np.ones(place.shape))
        if place.size:
            yield self._within(place, np.ones(place.shape), signed=False)
        for axis, length in enumerate(place.shape):
            if 1 < length < place.size:
                ends = [0, length - 1, 1, length - 2, length // 2][:SLICES]
                for i in sorted({i for i in ends if 0 <= i < length}):
                    mask = np.zeros(place.shape)
                    mask[(slice(None),) * axis + (i,)] = 1.0
                    yield self._within(place, mask)

    def _within(self, place: Place, mask: Array, signed: bool = True) -> Array:
        direction = np.zeros(self.comparison.size)
        values = signs(self.rng, place.shape) if signed else np.ones(place.shape)
        direction[place.part] = (mask * self._rounded(values)).ravel()
        return direction

    def _rounded(self, direction: Array) -> Array:
        """Keep few digits, so that adding a small multiple to x is exact."""
        return np.round(direction * 64) / 64

    def _follow(self, row: Row, direction: Array, most: int) -> None:
        """Find the element to blame for a failing direction; measure at most so many around it."""
        for i in self._around(row.place, self._culprit(row, direction))[:most]:
            self.element(row, i)

    def _blamed(self, row: Row, direction: Array) -> bool:
        """Say whether the element to blame for a failing direction is wrong alone, too."""
        culprit = self._culprit(row, direction)
        self.element(row, culprit)
        return bool(row.state[culprit] == WRONG)

    def _culprit(self, row: Row, direction: Array) -> int:
        """Halve the support of a failing direction down to one element."""
        support = np.flatnonzero(direction)
        while len(support) > 1:
            halves = np.array_split(support, 2)
            errors = []
            for half in halves:
                part = np.zeros_like(direction)
                part[half] = direction[half]
                judgement = self.along(part)
                gap = abs(judgement.claimed - judgement.measured)
                errors.append((judgement.state == WRONG, np.nan_to_num(gap, nan=np.inf)))
            support = halves[int(errors[1] > errors[0])]
        return int(support[0]) - row.place.start

    def _around(self, place: Place, i: int) -> list[int]:
        """Return the element, the lines through it along each axis, and others at random."""
        grid = np.arange(place.size).reshape(place.shape)
        at: tuple[Any, ...] = np.unravel_index(i, place.shape)
        lines = [grid[(*at[:axis], slice(None), *at[axis + 1 :])] for axis in range(grid.ndim)]
        others = self.rng.permutation(place.size)
        order = [i, *(int(e) for line in lines for e in np.ravel(line)[:40]), *others.tolist()]
        return list(dict.fromkeys(order))


def _spread(items: list[Any], most: int) -> list[Any]:
    """Return at most so many items, evenly spread over all."""
    chosen = np.linspace(0, len(items) - 1, min(most, len(items))).round()
    return [items[int(i)] for i in chosen]
