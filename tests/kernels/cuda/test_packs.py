from __future__ import annotations

import numpy as np

from minicnn_kernels.cuda.packs import pack_of


def test_packs_need_whole_runs_that_begin_at_a_multiple_of_their_size(card):
    x, numbers = card.array(np.zeros(65, np.float32)), card.array(np.zeros(65, np.uint8))
    start = -x.data.ptr % 16 // 4
    x = x[start:]
    assert pack_of(8, x) == 4
    assert pack_of(6, x) == 1
    assert pack_of(8, x[1:]) == pack_of(8, x[2:]) == 1
    assert pack_of(8, x[4:]) == 4
    start = -numbers.data.ptr % 4
    assert pack_of(8, x, numbers[start:]) == 4
    assert pack_of(8, x, numbers[start + 1 :]) == 1
