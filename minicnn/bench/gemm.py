"""Matrix products as work to measure: c = a b, and the gradients by a and by b."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import sqrt
from typing import Any, ClassVar

import numpy as np

from minicnn.bench.problem import GemmProblem
from minicnn.bench.station import Built
from minicnn.bench.work import Operands, Work, rounding
from minicnn_kernels.arrays import Array
from minicnn_kernels.errors import AlgorithmError
from minicnn_kernels.registry import can_compile

PARTS = ("fwd", "bwd_a", "bwd_b")
DIRECTIONS = (*PARTS, "train")
BLOCKS, NUMPY = "blocks", "numpy"


class GemmWork(Work):
    """A product of matrices: sums of K products are allowed the relative error 2e-6 sqrt(K/576)."""

    problem: GemmProblem
    directions: ClassVar[tuple[str, ...]] = PARTS

    def operands(self) -> Operands:
        """All of N(0, 1)."""
        m, k, n = self.problem.m, self.problem.k, self.problem.n
        return {
            "a": self.draw("a", (m, k)),
            "b": self.draw("b", (k, n)),
            "dc": self.draw("c", (m, n)),
        }

    def factors(self, part: str, operands: Operands) -> tuple[Array, Array]:
        """Return the two matrices to multiply: a b, dc b^T, or a^T dc; transposed by strides."""
        a, b, dc = operands["a"], operands["b"], operands["dc"]
        return {"fwd": (a, b), "bwd_a": (dc, b.T), "bwd_b": (a.T, dc)}[part]

    def sampled(self, results: Sequence[Array]) -> list[Array]:
        """Return some values of each product."""
        return [result[tuple(self.places(result.shape))] for result in results]

    def expected(self, operands: Operands) -> list[Array]:
        """c[i,j] = sum_k a[i,k] * b[k,j], in float64."""
        values = []
        for part in self.parts:
            left, right = self.factors(part, operands)
            i, j = self.places((len(left), right.shape[1]))
            rows, columns = left[i].astype(np.float64), right[:, j].T.astype(np.float64)
            values.append(np.vecdot(rows, columns))
        return values

    def tolerance(self, part: str, algorithm: str) -> float:
        """Return the largest relative error that is no mistake."""
        products = {"fwd": self.problem.k, "bwd_a": self.problem.n, "bwd_b": self.problem.m}[part]
        return 2e-6 * max(1.0, sqrt(products / 576)) * rounding(algorithm)


def known(directions: Sequence[str]) -> set[str]:
    """Return NumPy's product, and ours in compiled blocks; "auto" is no third one."""
    return {BLOCKS, NUMPY}


def served_by(work: GemmWork, operands: Operands, device: str) -> list[str]:
    """Return those that run here."""
    if device != "cpu":
        return []
    return [BLOCKS, NUMPY] if can_compile() else [NUMPY]


def build(algorithm: str, work: GemmWork, operands: Operands) -> Built:
    """Return the call of one of them.

    Raises:
        AlgorithmError: it cannot run.
    """
    compute: Callable[[Any, Any], Any] = np.matmul
    if algorithm == BLOCKS:
        if not can_compile():
            raise AlgorithmError("gemm: compiled blocks need Numba")
        from minicnn_kernels.cpu.gemm import matmul

        compute = matmul
    calls = [partial(compute, *work.factors(part, operands)) for part in work.parts]
    return Built(lambda: [call() for call in calls], [algorithm] * len(calls))
