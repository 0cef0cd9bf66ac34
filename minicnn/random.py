"""Random numbers from a counter: call number k of seed s always gives the same stream.

The state is two integers, so a checkpoint can hold it and any device can compute the same
numbers.  Generator: Philox 4x64-10 keyed by (seed, k).

Paper: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""

from __future__ import annotations

import operator

import numpy as np
import numpy.typing as npt

from minicnn.errors import ArgumentError


class Generator:
    """Count the calls made for random numbers; each call draws from a stream of its own.

    >>> first, second = Generator(7), Generator(7)
    >>> bool(first.numpy_generator().random() == second.numpy_generator().random())
    True
    """

    def __init__(self, seed: int = 0) -> None:
        self.manual_seed(seed)

    def manual_seed(self, seed: int) -> Generator:
        """Start again from `seed`, an integer in [0, 2**64)."""
        seed = operator.index(seed)
        if not 0 <= seed < 2**64:
            raise ArgumentError(f"manual_seed: seed must lie in [0, 2**64), got {seed}")
        self.seed, self.calls = seed, 0
        return self

    def next_key(self) -> npt.NDArray[np.uint64]:
        """Return the key of the next call's stream."""
        key = np.array([self.seed, self.calls], dtype=np.uint64)
        self.calls += 1
        return key

    def numpy_generator(self) -> np.random.Generator:
        """Return NumPy's generator on the stream of the next call."""
        return np.random.Generator(np.random.Philox(key=self.next_key()))

    def get_state(self) -> tuple[int, int]:
        """Return (seed, number of calls so far)."""
        return self.seed, self.calls

    def set_state(self, state: tuple[int, int]) -> None:
        """Continue from a state that `get_state` returned."""
        seed, calls = state[0], operator.index(state[1])
        if not 0 <= calls < 2**64:
            raise ArgumentError(f"set_state: calls must lie in [0, 2**64), got {calls}")
        self.manual_seed(seed)
        self.calls = calls


default = Generator(0)


def manual_seed(seed: int) -> Generator:
    """Seed the global generator: parameters, dropout masks and `rand` all draw from it."""
    return default.manual_seed(seed)
