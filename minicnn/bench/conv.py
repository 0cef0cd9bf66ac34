"""Convolution as work to measure: operands, the right result, operations, and our kernels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import ceil, prod, sqrt
from typing import Any, ClassVar

import numpy as np

from minicnn.bench.images import ImageWork, gathered
from minicnn.bench.problem import ConvProblem
from minicnn.bench.station import Built
from minicnn.bench.work import Operands, rounding
from minicnn_kernels import kernels
from minicnn_kernels.arrays import Array

KERNELS = {"fwd": "conv", "bwd_d": "conv_input", "bwd_w": "conv_weight"}
OPERANDS = {"fwd": ("x", "w"), "bwd_d": ("dy", "w"), "bwd_w": ("x", "dy")}
DIRECTIONS = (*KERNELS, "train")
ONLY_BY_NAME = ("loops",)  # Python's loops take hours for such layers

WINOGRAD = "winograd"  # followed by the side of a tile of the result


class ConvWork(ImageWork):
    """A convolution in one direction.

    Sums of CRS products are allowed the relative error 2e-6 sqrt(CRS/576), Winograd's algorithm
    5e-6 and 2e-5 for tiles of 2 and more; the gradient by the weights, which sums over all pixels
    of all images, (N OH OW / 8)^0.4 times as much.  The last two are those of oneDNN's benchdnn.
    """

    problem: ConvProblem
    directions: ClassVar[tuple[str, ...]] = ("fwd", "bwd_d", "bwd_w")

    def operands(self) -> Operands:
        """x as it comes from a ReLU, w as He et al. initialise it, dy of N(0, 1)."""
        wanted = {name for part in self.parts for name in OPERANDS[part]}
        problem, made = self.problem, {}
        if "x" in wanted:
            made["x"] = np.maximum(self.draw("x", problem.x_shape), 0)
        if "w" in wanted:
            scale = np.float32(sqrt(2 / prod(problem.w_shape[1:])))
            made["w"] = self.draw("w", problem.w_shape) * scale
        if "dy" in wanted:
            made["dy"] = self.draw("dy", problem.y_shape)
        return made

    def settings(self, part: str) -> dict[str, Any]:
        """Return the keyword arguments of the kernel."""
        problem = self.problem
        size = {"fwd": {}, "bwd_d": {"size": problem.image}, "bwd_w": {"size": problem.kernel}}
        return {
            **size[part],
            "stride": problem.stride,
            "padding": problem.padding,
            "dilation": problem.dilation,
            "groups": problem.groups,
        }

    # --- what is right ----------------------------------------------------------------------------

    def sampled(self, results: Sequence[Array]) -> list[Array]:
        """Return all channels at some pixels; of dw, some values."""
        found = []
        for part, result in zip(self.parts, results, strict=True):
            places = self._places(part)
            index = tuple(places) if part == "bwd_w" else (places[0], slice(None), *places[1:])
            found.append(result[index])
        return found

    def expected(self, operands: Operands) -> list[Array]:
        """Compute by definition."""
        compute = {"fwd": self._expected_y, "bwd_d": self._expected_dx, "bwd_w": self._expected_dw}
        return [compute[part](operands) for part in self.parts]

    def _expected_y(self, operands: Operands) -> Array:
        """y[n,o,i,j] = sum_cab x[n, c, i*s + a*d - p, j*s + b*d - p] * w[o,c,a,b]."""
        seen = [
            gathered(operands["x"][n], self.seen_by(window)) for n, *window in self._places("fwd").T
        ]
        x = np.stack(seen).reshape(len(seen), self.problem.groups, -1, self.problem.windows.cells)
        y: Array = np.einsum("goct,ngct->ngo", self._filters(operands), x, optimize=True)
        return y.reshape(len(y), -1)

    def _expected_dx(self, operands: Operands) -> Array:
        """dx[n,c,k,l] = sum_oab dy[n, o, (k + p - a*d) / s, ...] * w[o,c,a,b], where s divides."""
        seen = [
            gathered(operands["dy"][n], self.seeing(pixel)) for n, *pixel in self._places("bwd_d").T
        ]
        dy = np.stack(seen).reshape(len(seen), self.problem.groups, -1, self.problem.windows.cells)
        dx: Array = np.einsum("goct,ngot->ngc", self._filters(operands), dy, optimize=True)
        return dx.reshape(len(dx), -1)

    def _expected_dw(self, operands: Operands) -> Array:
        """dw[o,c,a,b] = sum_nij x[n, c, i*s + a*d - p, j*s + b*d - p] * dy[n,o,i,j]."""
        windows, values = self.problem.windows, []
        for o, c, *cell in self._places("bwd_w").T:
            group = o * self.problem.groups // self.problem.out_channels
            channel = group * self.problem.w_shape[1] + c
            pixels = [
                np.arange(count) * s + a * d - p
                for count, a, (_, s, d, p) in zip(windows.output, cell, self.sides, strict=True)
            ]
            seen = gathered(operands["x"][:, channel], pixels)
            values.append(np.vdot(seen, operands["dy"][:, o].astype(np.float64)))
        return np.array(values)

    def _places(self, part: str) -> Array:
        problem = self.problem
        sizes = {
            "fwd": (problem.batch, *problem.windows.output),
            "bwd_d": (problem.batch, *problem.image),
            "bwd_w": problem.w_shape,
        }
        return self.places(sizes[part])

    def _filters(self, operands: Operands) -> Array:
        """See w as (G, O/G, C/G, KH*KW), in float64."""
        problem = self.problem
        shape = (problem.groups, -1, problem.w_shape[1], problem.windows.cells)
        return operands["w"].astype(np.float64).reshape(shape)

    def tolerance(self, part: str, algorithm: str) -> float:
        """Return the largest relative error that is no mistake; the class says which."""
        if algorithm.startswith(WINOGRAD):
            allowed = 5e-6 if algorithm.startswith("winograd2") else 2e-5
        else:
            products = prod(self.problem.w_shape[1:])
            allowed = 2e-6 * (max(1.0, sqrt(products / 576)) if part != "bwd_w" else 1.0)
        if part == "bwd_w":
            pixels = self.problem.batch * prod(self.problem.windows.output)
            allowed *= max(1.0, (pixels / 8) ** 0.4)
        return allowed * rounding(algorithm)

    def executed(self, algorithms: Sequence[str]) -> int:
        """Count the operations of the algorithms themselves."""
        pairs = zip(self.parts, algorithms, strict=True)
        return sum(executed(self.problem, part, algorithm) for part, algorithm in pairs)


def executed(problem: ConvProblem, part: str, algorithm: str) -> int:
    """Count the operations of one algorithm, its transforms left out.

    winogradM: (M + 2)^2 products for each tile of M x M results.  flipped_filter: the zeros that
    it puts between the values of dy are multiplied too.  All others: the definition.
    """
    per_product = 2 * problem.out_channels * problem.w_shape[1]  # 2 O C/groups
    if algorithm.startswith(WINOGRAD):
        tile = int(algorithm.removeprefix(WINOGRAD).removesuffix("_numpy"))
        result = problem.image if part == "bwd_d" else problem.windows.output
        tiles = prod(ceil(n / tile) for n in result)
        products: int = (tile + 2) ** len(result)
        return problem.batch * tiles * products * per_product
    if algorithm == "flipped_filter":
        return problem.batch * prod(problem.image) * problem.windows.cells * per_product
    return problem.flops


# --- our kernels ----------------------------------------------------------------------------------


def arrays_of(work: ConvWork, part: str, operands: Operands) -> list[Array]:
    """Return the arrays that the kernel of a part takes."""
    return [operands[name] for name in OPERANDS[part]]


def known(directions: Sequence[str]) -> set[str]:
    """Return the algorithms that these directions have, whatever they serve."""
    parts = {part for d in directions for part in (KERNELS if d == "train" else (d,))}
    return {name for part in parts for name in kernels[KERNELS[part]].algorithms}


def served_by(work: ConvWork, operands: Operands, device: str) -> list[str]:
    """Return the algorithms that can compute the work, all of its parts."""
    able: list[set[str]] = []
    for part in work.parts:
        arrays, settings = arrays_of(work, part, operands), work.settings(part)
        able.append(
            {
                algorithm.name
                for algorithm in kernels[KERNELS[part]].algorithms.values()
                if device in algorithm.devices and algorithm.serves(*arrays, **settings)
            }
        )
    return sorted(set.intersection(*able) - {*ONLY_BY_NAME})


def build(algorithm: str, work: ConvWork, operands: Operands) -> Built:
    """Return the call of our kernels.

    Raises:
        AlgorithmError: there is no such algorithm, or it does not serve the work.
    """
    calls, chosen = [], []
    for part in work.parts:
        kernel, settings = kernels[KERNELS[part]], work.settings(part)
        arrays = arrays_of(work, part, operands)
        found = kernel.choose(*arrays, algorithm=algorithm, **settings)
        # What `auto` chooses is chosen again in every call: that is part of its time.
        compute = kernel if algorithm == "auto" else found.compute
        calls.append(partial(compute, *arrays, **settings))
        chosen.append(found.name)
    return Built(lambda: [call() for call in calls], chosen)
