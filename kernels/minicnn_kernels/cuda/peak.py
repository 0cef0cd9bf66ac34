"""What a card can do at most: multiply-adds in registers, and a stream through memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minicnn_kernels.cards import card, cupy
from minicnn_kernels.cuda.launch import launch

CHAINS = 8  # as in peak.cu
THREADS = 256
WARPS = THREADS // 32
BLOCKS_OF_A_PROCESSOR = 8  # 2048 threads, as many as one holds at a time
OPERATIONS = {
    "multiply_add": 2 * CHAINS * THREADS,
    "products_tf32": 2 * 16 * 8 * 8 * CHAINS * WARPS,
    "products_bf16": 2 * 16 * 8 * 16 * CHAINS * WARPS,
}
"""Of a block in one step, by the name of the kernel."""

Call = Callable[[], None]


def arithmetic(name: str, blocks: int, steps: int) -> tuple[int, Call]:
    """Return the number of operations of a kernel of OPERATIONS, and the call that makes them."""
    sums = cupy().full(blocks * THREADS, 0.5, np.float32)

    def call() -> None:
        launch("peak.cu", name, (blocks,), (THREADS,), (sums, np.int32(steps)))

    return OPERATIONS[name] * blocks * steps, call


def stream(n_bytes: int, blocks: int) -> tuple[int, Call]:
    """Return the bytes that a = b + factor * c moves, and the call; the arrays have `n_bytes`."""
    count = n_bytes // 48
    a, b, c = (cupy().ones(4 * count, np.float32) for _ in range(3))

    def call() -> None:
        arguments = (a, b, c, np.float32(0.5), np.int64(count))
        launch("peak.cu", "triad", (blocks,), (THREADS,), arguments)

    return 48 * count, call


def blocks_that_fill_the_card() -> int:
    """Return how many blocks of THREADS the current card holds at a time."""
    return card().processors * BLOCKS_OF_A_PROCESSOR
