"""The roof: how fast this machine computes and moves data at most, measured on the spot.

Nominal clock rates say little: they fall under load, and shared machines give less.  Compiled code
measures multiply-adds in registers and the triad a = b + s*c of the STREAM benchmark.  Without
Numba there is NumPy's matrix product and addition.  On a card the multiply-adds are those of the
math mode: of tensor cores for "tf32" and "bf16".
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minicnn.bench.timing import Clock, settle, turn
from minicnn_kernels.cards import compute_capability, cupy
from minicnn_kernels.precision import math_mode
from minicnn_kernels.registry import can_compile
from minicnn_kernels.threads import get_num_threads, parallel

STREAM_BYTES = 384 * 2**20  # of three arrays
CARD_STREAM_BYTES = 2**30  # more than the caches of any card, 20 times
CARD_STEPS = 2**14  # milliseconds: to start and to wait costs a hundredth of a millisecond
TURNS, SECONDS, REST = 4, 0.05, 0.2  # spread over a second, past a busy moment of the machine


@dataclass(frozen=True)
class Roof:
    """The limits of a machine, and what they mean for a work.

    >>> roof = Roof(flops=400e9, bandwidth=50e9)
    >>> roof.limit(intensity=2) / 1e9, roof.limit(intensity=100) / 1e9
    (100.0, 400.0)

    Attributes:
        flops: operations a second.
        bandwidth: bytes a second.
    """

    flops: float
    bandwidth: float

    def limit(self, intensity: float) -> float:
        """Return the operations a second that are possible with so many operations for a byte.

        Paper: Williams, Waterman, Patterson 2009, "Roofline".
        """
        return min(self.flops, intensity * self.bandwidth)


def measure(device: str = "cpu", clock: Clock = time.perf_counter) -> Roof:
    """Measure the roof of a device; of the processor for the present number of threads."""
    if device == "cpu":
        flops, compute = multiply_adds() if can_compile() else product()
        moved, stream = triad() if can_compile() else addition()
    else:
        (flops, compute), (moved, stream) = card_multiply_adds(), card_triad()
    compute(), stream()  # compiled now, if they have not been
    computing: list[float] = []
    streaming: list[float] = []
    for _ in range(TURNS):
        computing += turn(compute, SECONDS, clock)
        streaming += turn(stream, SECONDS, clock)
        time.sleep(REST)
    settle()
    return Roof(flops / min(computing), moved / min(streaming))


def multiply_adds() -> tuple[int, Callable[[], object]]:
    """Return a number of operations, and the call that makes them."""
    from minicnn_kernels.cpu import peak

    threads, steps = get_num_threads(), 10**6
    sums = np.full(threads, 0.5, np.float32)
    flops = threads * steps * peak.FLOPS
    return flops, lambda: parallel(peak.multiply_add, threads, steps, sums)


def triad() -> tuple[int, Callable[[], object]]:
    """Return a number of bytes, and the call that moves them."""
    from minicnn_kernels.cpu import peak

    a, b, c = (np.ones(STREAM_BYTES // 12, np.float32) for _ in range(3))
    factor = np.float32(0.5)
    return STREAM_BYTES, lambda: parallel(peak.triad, len(a), a, b, c, factor)


def product() -> tuple[int, Callable[[], object]]:
    """Return the operations of a matrix product, and the product."""
    a = np.ones((1024, 1024), np.float32)
    out = np.empty_like(a)
    return 2 * 1024**3, lambda: np.matmul(a, a, out=out)


def addition() -> tuple[int, Callable[[], object]]:
    """Return the bytes that a sum of arrays moves, and the sum."""
    a, b, c = (np.ones(STREAM_BYTES // 12, np.float32) for _ in range(3))
    return STREAM_BYTES, lambda: np.add(b, c, out=a)


def card_multiply_adds() -> tuple[int, Callable[[], object]]:
    """Return a number of operations of the current card in its math mode, and the call."""
    from minicnn_kernels.cuda import peak

    mode = math_mode.get()
    tensor_cores = mode != "fp32" and compute_capability() >= (8, 0)
    name = f"products_{mode}" if tensor_cores else "multiply_add"
    flops, compute = peak.arithmetic(name, peak.blocks_that_fill_the_card(), CARD_STEPS)
    return flops, finished(compute)


def card_triad() -> tuple[int, Callable[[], object]]:
    """Return a number of bytes of the current card's memory, and the call that moves them."""
    from minicnn_kernels.cuda import peak

    moved, stream = peak.stream(CARD_STREAM_BYTES, peak.blocks_that_fill_the_card())
    return moved, finished(stream)


def finished(call: Callable[[], object]) -> Callable[[], object]:
    """Return the call and a wait for the card."""

    def whole() -> None:
        call()
        cupy().cuda.Device().synchronize()

    return whole
