from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn.errors import OutOfMemoryError
from minicnn_kernels.cuda import memory

BLOCK = 512  # bytes: the pool's unit


def test_arrays_and_what_the_pool_keeps(card):
    before = memory.held()
    x = card.array(np.zeros(1000, np.float32))
    now = memory.held()
    assert now.arrays - before.arrays == 8 * BLOCK
    assert now.free == now.total - now.reserved
    del x
    assert memory.held().arrays == before.arrays
    assert memory.held().reserved == now.reserved
    memory.give_back()
    assert memory.held().reserved == before.reserved


def test_memory_of_captured_steps_counts_as_held(card):
    pool = memory.Pool()
    with card.cupy.cuda.using_allocator(pool.pool.malloc):
        x = card.array(np.zeros(1000, np.float32))
    del x
    assert memory.held().arrays == 8 * BLOCK
    memory.give_back()
    assert memory.held().arrays == 8 * BLOCK  # its graph writes there in the next replay
    del pool
    assert memory.held().arrays == 0


def test_the_peak_is_counted_from_the_first_question_on(card):
    kept = card.array(np.zeros(1000, np.float32))
    assert memory.peak().most == 8 * BLOCK
    more = [card.array(np.zeros(1000, np.float32)) for _ in range(3)]
    del more
    assert (memory.peak().now, memory.peak().most) == (8 * BLOCK, 32 * BLOCK)
    del kept
    assert memory.peak().now == 0


def parameter(*shape):
    return minicnn.ones(*shape, device="cuda", requires_grad=True)


def test_an_operation_that_finds_no_memory_says_who_holds_it(card):
    x = minicnn.ones(100, 200, device="cuda")
    card.machine.pool.set_limit(100_000)
    with pytest.raises(
        OutOfMemoryError,
        match=r"^exp: Out of memory allocating 80,384 bytes .*, given float32 \(100, 200\); on the "
        r"card arrays hold 78.5 KiB, the pool keeps .* more, 16.0 GiB of 16.0 GiB are free; take a "
        r"smaller batch, .*checkpoint.*empty_cache\(\)",
    ) as caught:
        x.exp()
    assert isinstance(caught.value, MemoryError)
    card.machine.pool.set_limit(0)
    assert x.exp().shape == (100, 200)


def test_a_gradient_that_finds_no_memory_is_named(card):
    x = parameter(100, 200)
    y, dy = minicnn.sqrt(x), minicnn.ones(100, 200, device="cuda")
    card.machine.pool.set_limit(card.machine.pool.used_bytes() + 1000)
    with pytest.raises(
        OutOfMemoryError, match=r"^the gradient of sqrt: Out of memory.*on the card"
    ):
        y.backward(dy)


def test_a_move_to_a_card_that_finds_no_memory(card):
    card.machine.pool.set_limit(1000)
    with pytest.raises(
        OutOfMemoryError, match=r"^to: Out .*, given float32 \(100, 200\); on the card"
    ):
        minicnn.ones(100, 200).cuda()


def test_a_step_that_finds_no_memory_for_its_state(card):
    w = parameter(100, 200)
    w.grad = minicnn.ones(100, 200, device="cuda")
    card.machine.pool.set_limit(card.machine.pool.used_bytes() + 1000)
    with pytest.raises(OutOfMemoryError, match=r"^Adam.step: Out of memory .*; on the card arrays"):
        minicnn.optim.Adam([w]).step()


def test_memory_of_the_computer_may_be_used_up_too():
    huge = minicnn.ones(1).expand(2**56)
    with pytest.raises(
        OutOfMemoryError, match=r"^exp: Unable to allocate .*; take a smaller batch$"
    ):
        minicnn.exp(huge)
