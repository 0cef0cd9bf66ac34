"""Networks of convolution, ReLU and max-pooling whose inputs lie at and near their kinks.

At such inputs difference quotients go astray, and checkers that know no kinks raise false alarms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

import minicnn
import minicnn.nn.functional as F
from minicnn.gradcheck import Report, gradcheck
from minicnn.gradcheck.compare import INCONCLUSIVE
from minicnn.tensor import Tensor


class Tally(NamedTuple):
    """What came out for many networks: verdicts, and directions in all and undecided."""

    passed: int
    failed: list[int]  # seeds
    inconclusive: list[int]  # seeds
    directions: int
    undecided: int

    @property
    def share(self) -> float:
        """The share of directions about which nothing could be said."""
        return self.undecided / max(self.directions, 1)


def network(seed: int) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
    """Return a network, and inputs that lie at its kinks or 1e-12 to 1e-3 beside them.

    In every channel one value of the convolution lies that near to the kink of ReLU; in half of
    the networks two rows of the image tie, or nearly; in a fifth all pixels are rounded to 0.5.
    """
    rng = np.random.default_rng(seed)
    x, w, b = rng.normal(size=(1, 2, 5, 4)), rng.normal(size=(2, 2, 3, 3)), rng.normal(size=2)
    distance = 10.0 ** rng.uniform(-12, -3) if seed % 3 else 0.0
    before = F.conv2d(Tensor(x), Tensor(w), Tensor(b), padding=1).numpy()
    for channel in range(2):
        b[channel] -= rng.choice(before[:, channel].ravel()) + distance * rng.choice([-1, 1])
    if seed % 2:
        x[:, :, 1] = x[:, :, 0] + distance * rng.normal(size=x[:, :, 0].shape)
    if seed % 5 == 0:
        x = np.round(2 * x) / 2

    def function(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        if seed % 4 == 0:
            y = F.max_pool2d(F.relu(F.conv2d(x, w, b, padding=1)), 2)
        elif seed % 4 == 1:
            y = F.relu(F.max_pool2d(F.conv2d(x, w, b, padding=1), (3, 2), stride=(2, 2)))
        elif seed % 4 == 2:
            y = F.conv2d(F.max_pool2d(F.relu(x), 2, stride=1), w, b, padding=1)
        else:
            y = F.relu(F.conv2d(F.max_pool2d(x, 2, stride=1, padding=1), w, b))
        summed: Tensor = minicnn.sum(y, 3) if seed % 7 == 0 else y
        return summed

    return function, (Tensor(x), Tensor(w), Tensor(b))


def check_network(seed: int) -> Report:
    """Check the gradients of one network, in full mode or in fast mode as the seed has it."""
    mode = ("full", "fast")[seed // 4 % 2]
    return gradcheck(*network(seed), mode=mode, seed=seed, raise_exception=False, progress=False)


def check_networks(seeds: Iterable[int], tick: Callable[[], object] = lambda: None) -> Tally:
    """Check many networks; `tick` is called after each.

    >>> check_networks(range(2)).failed
    []
    """
    tally = Tally(0, [], [], 0, 0)
    for seed in seeds:
        report = check_network(seed)
        tally = Tally(
            tally.passed + (report.verdict == "pass"),
            tally.failed + [seed] * (report.verdict == "fail"),
            tally.inconclusive + [seed] * (report.verdict == "inconclusive"),
            tally.directions + report.compared,
            tally.undecided + sum(row.counts.get(INCONCLUSIVE, 0) for row in report.rows),
        )
        tick()
    return tally
