"""The mask of the reference, from words computed by the definition of Philox 4x64-10."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn_kernels import keep_mask

BITS = 2**64 - 1


def philox(counter, key):
    """Return four words, with Python's integers."""
    x, (k0, k1) = [counter >> 64 * i & BITS for i in range(4)], key
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * x[0], 0xCA5A826395121157 * x[2]
        x = [second >> 64 ^ x[1] ^ k0, second & BITS, first >> 64 ^ x[3] ^ k1, first & BITS]
        k0, k1 = k0 + 0x9E3779B97F4A7C15 & BITS, k1 + 0xBB67AE8584CAA73B & BITS
    return x


@pytest.mark.parametrize("key", [(0, 0), (7, 2**64 - 1)])
def test_the_mask_by_definition(key):
    words = [
        word >> half & 0xFFFFFFFF
        for block in (1, 2)
        for word in philox(block, key)
        for half in (0, 32)
    ]
    for p in (0.0, 0.25, 0.6, 1.0):
        found = keep_mask(np.empty(0), np.array(key, np.uint64), shape=(3, 5), p=p)
        assert found.ravel().tolist() == [word >= p * 2**32 for word in words[:15]]


def test_the_definition_gives_the_known_answer():
    expected = [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    assert philox(0, (0, 0)) == expected
