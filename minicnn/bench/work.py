"""A piece of work: a problem in one direction, with its operands and its right result.

Both processes, ours and PyTorch's, make the same operands from the same seed.  The right result is
computed in float64, of some places only: a layer of VGG-16 takes minutes that way.  The places
include all corners, where mistakes in padding and left-over tiles show.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.precision import math_mode

Operands = Mapping[str, Array]

PLACES = 48  # of a result that are checked
ROUNDING = {"fp32": 1.0, "tf32": 500.0, "bf16": 5000.0}  # of errors in float32, of 2e-6


@dataclass(frozen=True)
class Work:
    """What one contestant after the other computes.

    Attributes:
        direction: "fwd", "bwd_d" (the gradient by the data), "bwd_w" (by the weights), or "train":
            all of them, one after the other.
    """

    problem: Any
    direction: str

    directions: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Raise UsageError if this direction of the problem cannot be computed."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The directions that are computed one after the other."""
        return self.directions if self.direction == "train" else (self.direction,)

    @property
    def flops(self) -> int:
        """Operations by definition."""
        return len(self.parts) * int(self.problem.flops)

    @property
    def bytes(self) -> int:
        """Bytes that must be moved at least."""
        return len(self.parts) * int(self.problem.bytes)

    def executed(self, algorithms: Sequence[str]) -> int:
        """Operations that these algorithms execute, one for each part."""
        return self.flops

    def operands(self) -> Operands:
        """Make what is needed, in float32."""
        raise NotImplementedError

    def sampled(self, results: Sequence[Array]) -> list[Array]:
        """Return the values of the results at the places that are checked, part by part."""
        raise NotImplementedError

    def expected(self, operands: Operands) -> list[Array]:
        """Compute the right values at these places, in float64."""
        raise NotImplementedError

    def tolerance(self, part: str, algorithm: str) -> float:
        """Return the largest relative error that is no mistake."""
        raise NotImplementedError

    def draw(self, name: str, shape: tuple[int, ...]) -> Array:
        """Draw values of N(0, 1): the same ones in every process."""
        return self._generator(name).standard_normal(shape, dtype=np.float32)

    def places(self, sizes: tuple[int, ...]) -> Array:
        """Return the places to check in an array of these sizes, as (dimensions, places)."""
        total = int(np.prod(sizes))
        if total <= PLACES:
            return np.stack(np.unravel_index(np.arange(total), sizes))
        corners = np.array(list(product(*((0, n - 1) for n in sizes))))[:PLACES]
        others = self._generator("places").integers(0, total, PLACES - len(corners))
        return np.concatenate([corners.T, np.stack(np.unravel_index(others, sizes))], axis=1)

    def _generator(self, name: str) -> np.random.Generator:
        return np.random.default_rng(zlib.crc32(f"{name} {self.problem}".encode()))


def rounding(algorithm: str) -> float:
    """Return how much larger errors may be where an algorithm, or the math mode, rounds factors.

    TF32 keeps 11 bits of a factor, bfloat16 8, float32 24; sums are float32 in each.
    """
    return max(ROUNDING.get(algorithm, 1.0), ROUNDING[math_mode.get()])


def relative_error(found: Array, expected: Array) -> float:
    """||found - expected|| / ||expected||, in float64; infinite for NaN, Inf or another shape.

    >>> relative_error(np.array([3.0, 4.0]), np.array([3.0, 5.0])) < 0.2
    True
    """
    if found.shape != expected.shape or not np.isfinite(found).all():
        return float("inf")
    difference = np.linalg.norm(found.astype(np.float64).ravel() - expected.ravel())
    return float(difference / max(np.linalg.norm(expected), np.finfo(np.float64).tiny))


def in_layout(operands: Operands, layout: str) -> Operands:
    """Return the operands with images in memory order "nchw" or "nhwc"; weights stay as they are.

    >>> in_layout({"x": np.zeros((1, 2, 3, 4), np.float32)}, "nhwc")["x"].strides
    (96, 4, 32, 8)
    """

    def laid_out(array: Array) -> Array:
        if layout == "nchw" or array.ndim < 3:
            return array
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)

    return {name: array if name == "w" else laid_out(array) for name, array in operands.items()}
