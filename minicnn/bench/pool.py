"""Pooling as work to measure: maximum and mean, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Any, ClassVar

import numpy as np

from minicnn.bench.images import ImageWork, gathered
from minicnn.bench.problem import PoolProblem
from minicnn.bench.station import Built
from minicnn.bench.work import Operands
from minicnn.errors import UsageError
from minicnn_kernels import kernels
from minicnn_kernels.arrays import Array

KERNELS = {
    "max": "max_winners",
    "max_d": "route_to_winners",
    "avg": "window_sum",
    "avg_d": "window_spread",
}
DIRECTIONS = tuple(KERNELS)
OPERANDS = {"max": ("x",), "max_d": ("dy", "winner"), "avg": ("x",), "avg_d": ("dy",)}


class PoolWork(ImageWork):
    """Pooling by the maximum or the mean, or the gradient of one; padding counts in the mean."""

    problem: PoolProblem
    directions: ClassVar[tuple[str, ...]] = DIRECTIONS

    def check(self) -> None:
        """Refuse a mean with dilation, which PyTorch does not have."""
        if self.direction.startswith("avg") and max(self.problem.dilation) > 1:
            raise UsageError(f"{self.problem}: mean pooling has no dilation")

    def operands(self) -> Operands:
        """x and dy of N(0, 1), and who won in x."""
        problem, windows = self.problem, self.problem.windows
        channels = (problem.batch, problem.in_channels)
        x = self.draw("x", (*channels, *problem.image))
        if self.direction in ("max", "avg"):
            return {"x": x}
        dy = self.draw("dy", (*channels, *windows.output))
        if self.direction == "avg_d":
            return {"dy": dy}
        _, winner = kernels["max_winners"](x, windows=windows)
        return {"x": x, "dy": dy, "winner": winner}

    def sampled(self, results: Sequence[Array]) -> list[Array]:
        """Return all channels at some pixels."""
        n, *pixel = self._places()
        return [result[(n, slice(None), *pixel)] for result in results]

    def _places(self) -> Array:
        of_image = self.direction.endswith("_d")
        sizes = self.problem.image if of_image else self.problem.windows.output
        return self.places((self.problem.batch, *sizes))

    def expected(self, operands: Operands) -> list[Array]:
        """Compute by definition, in float64."""
        compute = {
            "max": self._maximum, "max_d": self._to_winner, "avg": self._mean, "avg_d": self._spread
        }[self.direction]  # fmt: skip
        return [np.stack([compute(operands, n, place) for n, *place in self._places().T])]

    def _maximum(self, operands: Operands, n: int, window: Sequence[int]) -> Array:
        """y[n,c,i,j] = max_ab x[n, c, i*s + a*d - p, j*s + b*d - p]."""
        return self._cells(operands["x"][n], window, -np.inf).max(axis=1)  # type: ignore[no-any-return]

    def _mean(self, operands: Operands, n: int, window: Sequence[int]) -> Array:
        """y[n,c,i,j] = mean_ab x[n, c, i*s + a - p, j*s + b - p]."""
        return self._cells(operands["x"][n], window).mean(axis=1)  # type: ignore[no-any-return]

    def _cells(self, image: Array, window: Sequence[int], outside: float = 0.0) -> Array:
        return gathered(image, self.seen_by(window), outside).reshape(len(image), -1)

    def _spread(self, operands: Operands, n: int, pixel: Sequence[int]) -> Array:
        """dx[n,c,k,l] = sum of dy[n,c,i,j] over the windows that see the pixel, by their cells."""
        dy = gathered(operands["dy"][n], self.seeing(pixel)).reshape(self.problem.in_channels, -1)
        return dy.sum(axis=1) / self.problem.windows.cells  # type: ignore[no-any-return]

    def _to_winner(self, operands: Operands, n: int, pixel: Sequence[int]) -> Array:
        """dx[n,c,k,l] = sum of dy[n,c,i,j] over the windows whose first maximum is this pixel."""
        dx = np.zeros(self.problem.in_channels)
        output = self.problem.windows.output
        cells = product(*map(range, self.problem.kernel))
        for cell, window in zip(cells, product(*self.seeing(pixel)), strict=True):
            if all(0 <= i < count for i, count in zip(window, output, strict=True)):
                seen = self._cells(operands["x"][n], window, -np.inf)
                won = seen.argmax(axis=1) == np.ravel_multi_index(cell, self.problem.kernel)
                dx += won * operands["dy"][(n, slice(None), *window)]
        return dx

    def tolerance(self, part: str, algorithm: str) -> float:
        """Return the largest relative error that is no mistake; a maximum has none."""
        return 1e-12 if part == "max" else 2e-6


def known(directions: Sequence[str]) -> set[str]:
    """Return all algorithms for these directions."""
    return {name for direction in directions for name in kernels[KERNELS[direction]].algorithms}


def served_by(work: PoolWork, operands: Operands, device: str) -> list[str]:
    """Return the algorithms that can compute the work."""
    arrays = [operands[name] for name in OPERANDS[work.direction]]
    return sorted(
        algorithm.name
        for algorithm in kernels[KERNELS[work.direction]].algorithms.values()
        if device in algorithm.devices and algorithm.serves(*arrays, windows=work.problem.windows)
    )


def build(algorithm: str, work: PoolWork, operands: Operands) -> Built:
    """Return the call of our kernels; the mean is their sum times 1 / cells.

    Raises:
        AlgorithmError: there is no such algorithm, or it does not serve the work.
    """
    kernel, windows = kernels[KERNELS[work.direction]], work.problem.windows
    arrays = [operands[name] for name in OPERANDS[work.direction]]
    found = kernel.choose(*arrays, algorithm=algorithm, windows=windows)
    compute = partial(kernel if algorithm == "auto" else found.compute, windows=windows)
    share = np.float32(1 / windows.cells)
    calls: dict[str, Any] = {
        "max": lambda: compute(*arrays)[0],
        "max_d": lambda: compute(*arrays),
        "avg": lambda: np.multiply(y := compute(*arrays), share, out=y),
        "avg_d": lambda: compute(arrays[0] * share),
    }
    call = calls[work.direction]
    return Built(lambda: [call()], [found.name])
