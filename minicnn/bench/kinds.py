"""The kinds of work, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from minicnn.bench import conv, gemm, model, pool
from minicnn.bench.model import ModelProblem, ModelWork
from minicnn.bench.problem import ConvProblem, GemmProblem, PoolProblem
from minicnn.bench.station import Built
from minicnn.bench.work import Operands, Work


@dataclass(frozen=True)
class Kind:
    """A kind of work.

    Attributes:
        read: makes a problem of a text.
        work: makes a work of a problem and a direction.
        known: returns all algorithms for some directions.
        served_by: returns those that can compute a work on a device.
        build: returns the call of one of them.
        suite, algorithms: those to take where none are named.
        reference: the algorithm to compare with where there is no rival.
        rivals: PyTorch's variants that differ.
        apart: whether each contestant has a process of its own.
    """

    read: Callable[[str], Any]
    work: Callable[[Any, str], Any]
    directions: tuple[str, ...]
    known: Callable[[Sequence[str]], set[str]]
    served_by: Callable[[Any, Operands, str], list[str]]
    build: Callable[[str, Any, Operands], Built]
    suite: str
    algorithms: str = "auto"
    reference: str = ""
    rivals: Sequence[str] = ("torch", "torch-cl")
    apart: bool = False


KINDS = {
    "conv": Kind(
        ConvProblem.read,
        conv.ConvWork,
        conv.DIRECTIONS,
        conv.known,
        conv.served_by,
        conv.build,
        "alexnet",
        reference="im2col",
    ),
    "gemm": Kind(
        GemmProblem.read,
        gemm.GemmWork,
        gemm.DIRECTIONS,
        gemm.known,
        gemm.served_by,
        gemm.build,
        "square",
        "all",
        reference="numpy",
        rivals=("torch",),
    ),
    "pool": Kind(
        PoolProblem.read,
        pool.PoolWork,
        pool.DIRECTIONS,
        pool.known,
        pool.served_by,
        pool.build,
        "networks",
        reference="taps",
    ),
    "model": Kind(
        ModelProblem.read,
        ModelWork,
        model.DIRECTIONS,
        model.known,
        model.served_by,
        model.build,
        "",
        "all",
        apart=True,
    ),
}


def work(kind: str, problem: str, direction: str) -> Work:
    """Return the work that three texts name."""
    found: Work = KINDS[kind].work(KINDS[kind].read(problem), direction)
    return found
