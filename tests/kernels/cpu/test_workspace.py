"""Scratch memory: aligned, kept, and of one thread."""

import threading

import numpy as np

from minicnn_kernels.arrays import CACHE_LINE
from minicnn_kernels.cpu.workspace import workspace


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
