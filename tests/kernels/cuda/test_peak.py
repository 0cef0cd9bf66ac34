"""The kernels of the roof compute what they should, so the compiler has left nothing out."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn_kernels.cuda import launch, peak


def sums_after(steps, chain):
    """Compute the sums of one thread: `chain(sum)` is a step."""
    sums = np.arange(peak.CHAINS, dtype=np.float32)
    for _ in range(steps):
        sums = chain(sums)
    return sums.sum(dtype=np.float32)


def run(card, name, steps):
    sums = card.array(np.full(2 * peak.THREADS, 0.5, np.float32))
    launch.launch("peak.cu", name, (2,), (peak.THREADS,), (sums, np.int32(steps)))
    return sums.get()


def test_multiply_adds(card):
    expected = sums_after(5, lambda sums: sums * np.float32(0.5) + np.float32(0.5))
    np.testing.assert_array_equal(run(card, "multiply_add", 5), expected)


@pytest.mark.parametrize("name", ["products_tf32", "products_bf16"])
def test_products_of_small_matrices(card, name):
    # As bfloat16 the bits of 0.5 are the pair (0.5, 0): eight such pairs, or eight numbers.
    expected = 3 * 4 * peak.CHAINS * 8 * 0.25
    np.testing.assert_array_equal(run(card, name, 3), expected)


@pytest.mark.parametrize("name", peak.OPERATIONS)
def test_the_calls_run_so_many_blocks(card, name):
    operations, call = peak.arithmetic(name, blocks=1, steps=2)
    assert operations == 2 * peak.OPERATIONS[name]
    call()
    assert card.seen("launch") == {name: 1}


def test_the_stream_has_an_odd_length(card):
    n_bytes, call = peak.stream(n_bytes=48 * 301 + 5, blocks=1)
    assert n_bytes == 48 * 301
    call()


def test_blocks_fill_the_card(card):
    assert peak.blocks_that_fill_the_card() == 8 * 4
