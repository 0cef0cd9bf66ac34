"""Scratch memory: aligned, kept, and of one thread."""

import threading

import numpy as np

from minicnn_kernels.arrays import CACHE_LINE
from minicnn_kernels.constants import constant
from minicnn_kernels.cpu.workspace import prepared, workspace


def test_memory_is_aligned_and_has_the_shape_and_type():
    for dtype in (np.float32, np.float64, np.uint8):
        scratch = workspace("test shape", (3, 5), dtype)
        assert (scratch.shape, scratch.dtype) == ((3, 5), dtype)
        assert scratch.ctypes.data % CACHE_LINE == 0
        assert scratch.flags.c_contiguous
        assert scratch.flags.writeable


def test_the_same_name_returns_the_same_memory():
    first = workspace("test name", 100, np.float32)
    assert np.shares_memory(first, workspace("test name", 10, np.float64))
    assert not np.shares_memory(first, workspace("test other name", 10, np.float32))


def test_memory_grows():
    workspace("test growth", 1, np.float32)
    assert workspace("test growth", 1000, np.float32).size == 1000


def test_nothing_is_a_size():
    assert workspace("test nothing", (0, 3), np.float32).shape == (0, 3)


def test_each_thread_has_its_own():
    mine, found = workspace("test thread", 10, np.float32), []
    thread = threading.Thread(target=lambda: found.append(workspace("test thread", 10, np.float32)))
    thread.start()
    thread.join()
    assert not np.shares_memory(mine, found[0])


def test_what_is_prepared_is_scratch_memory_or_kept_of_a_constant():
    filled = []

    def fill(memory):
        filled.append(memory)
        memory[...] = 7

    plain, fixed = np.ones(3, np.float32), constant(np.ones(3, np.float32))
    for w, times in ((plain, 2), (fixed, 1)):
        filled.clear()
        for _ in range(2):
            found = prepared(w, "test prepared", 0, (2, 5), fill)
            assert (found.shape, found.dtype) == ((2, 5), np.float32)
            assert (found == 7).all()
        assert len(filled) == times
        scratch = workspace("test prepared", (2, 5), np.float32)
        assert np.shares_memory(found, scratch) == (w is plain)
        assert found.ctypes.data % CACHE_LINE == 0
    prepared(fixed, "test prepared", 1, (2, 5), fill)
    assert len(filled) == 2
