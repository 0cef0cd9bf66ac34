"""Arrays that never change: what is made of them is kept, for as long as they live."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from minicnn_kernels import constants
from minicnn_kernels.constants import constant, is_constant, kept, readable


def test_a_constant_looks_at_the_memory_and_cannot_be_written_to():
    array = np.arange(6.0).reshape(2, 3)
    w = constant(array)
    assert np.shares_memory(w, array)
    assert readable(w).flags.writeable
    assert readable(array) is array
    with pytest.raises(ValueError, match="read-only"):
        w[0, 0] = 1
    turned = constant(array.T)
    assert turned.flags.c_contiguous
    np.testing.assert_array_equal(turned, array.T)


def test_only_the_array_itself_is_a_constant():
    w = constant(np.ones(4))
    read_only = np.ones(4)
    read_only.flags.writeable = False
    assert is_constant(w)
    assert not any(map(is_constant, (w[:2], w.view(), w.copy(), read_only, readable(w))))


def test_what_is_made_is_kept():
    w, other, calls = constant(np.ones(3)), constant(np.ones(3)), []

    def make():
        calls.append(1)
        return np.zeros(3)

    first = kept(w, "zeros", make)
    assert kept(w, "zeros", make) is first
    assert kept(w, "others", make) is not first
    assert kept(other, "zeros", make) is not first
    assert len(calls) == 3


def test_it_goes_with_the_constant():
    before = len(constants._constants)
    w, made = constant(np.ones(3)), np.zeros(3)
    gone = weakref.ref(made)
    kept(w, "zeros", lambda made=made: made)
    assert len(constants._constants) == before + 1
    del w, made
    gc.collect()
    assert len(constants._constants) == before
    assert gone() is None
