"""Wrong backwards, and right ones that look wrong: the checker proves itself on them.

The set doubles as a catalogue of mistakes.  In every planted case the comments say where it is:

    wrong:        the line above is wrong; what follows the colon should stand there
    missing:      what follows the colon is missing
    superfluous   the line above should not be there
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from minicnn.gradcheck.causes import CAUSES
from minicnn_kernels.arrays import Array

Gradients = tuple[Array | None, ...]
FAMILIES = (
    "elementwise",
    "shapes",
    "losses",
    "convolution",
    "pooling",
    "normalization",
    "dropout",
    "promises",
    "accumulation",
    "second_order",
)


class Pair(NamedTuple):
    """A forward, its backward, and inputs to check them at.

    Either `y = forward(*inputs)` and `dx1, dx2, ... = backward(dy, *inputs)`, with one dy for each
    y; or `y, cache = forward(*inputs)` and `dx1, dx2, ... = backward(dy, cache)`, where the cache
    is a tuple or a dictionary.
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    inputs: tuple[Array, ...]


@dataclass(frozen=True)
class Planted:
    """A backward whose fault, or faultlessness, is known.

    Attributes:
        name: what is wrong, in a few words.
        family: the kind of function, and the module the case stands in.
        description: the mistake in a sentence.
        causes: the keys of CAUSES that name the mistake rightly; none if the backward is right.
        build: makes the pair anew, with nothing left of earlier calls.
    """

    name: str
    family: str
    description: str
    causes: tuple[str, ...]
    build: Callable[[], Pair]


_planted: list[Planted] = []
_tricky: list[Planted] = []


def planted(*causes: str) -> Callable[[Callable[[], Pair]], Callable[[], Pair]]:
    """Register a wrong pair; any of `causes` is a right name for its mistake."""
    unknown = [cause for cause in causes if cause not in CAUSES]
    if unknown or not causes:
        raise ValueError(f"planted: causes are keys of CAUSES, one at least, not {causes}")
    return lambda build: _register(build, causes, _planted)


def tricky(build: Callable[[], Pair]) -> Callable[[], Pair]:
    """Register a right pair that a checker may take for a wrong one."""
    return _register(build, (), _tricky)


def _register(
    build: Callable[[], Pair], causes: tuple[str, ...], cases: list[Planted]
) -> Callable[[], Pair]:
    family = build.__module__.rpartition(".")[2]
    description = (build.__doc__ or "").partition("\n")[0]
    cases.append(Planted(build.__name__, family, description, causes, build))
    return build


def all_planted() -> tuple[Planted, ...]:
    """Return every wrong pair, family by family."""
    for family in FAMILIES:
        import_module(f"{__name__}.{family}")
    return tuple(sorted(_planted, key=lambda case: FAMILIES.index(case.family)))


def all_tricky() -> tuple[Planted, ...]:
    """Return every right pair that looks wrong."""
    import_module(f"{__name__}.tricky")
    return tuple(_tricky)


def normal(*shapes: tuple[int, ...], seed: int = 0) -> tuple[Array, ...]:
    """Draw one array of each shape from the standard normal distribution.

    >>> [array.shape for array in normal((3, 4), (4,))]
    [(3, 4), (4,)]
    """
    draw = np.random.default_rng(seed)
    return tuple(draw.standard_normal(shape) for shape in shapes)


def positive(*shapes: tuple[int, ...], seed: int = 0) -> tuple[Array, ...]:
    """Draw one array of each shape, with values between 0.5 and 2."""
    draw = np.random.default_rng(seed)
    return tuple(draw.uniform(0.5, 2.0, shape) for shape in shapes)
