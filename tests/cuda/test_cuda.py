from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import cuda
from minicnn.errors import DeviceError


def test_what_there_is(card):
    card.machine.cards = 2
    assert cuda.is_available()
    assert cuda.device_count() == 2
    assert cuda.current_device() == 0
    assert cuda.get_device_name() == cuda.get_device_name("cuda:1") == "Stand-in"
    assert cuda.get_device_capability(1) == (9, 0)
    assert cuda.get_device_properties().memory == 2**34
    cuda.synchronize(1)
    assert card.seen("wait") == {"Device.synchronize": 1}


@pytest.mark.parametrize("which", [1, "cuda:1"])
def test_cuda_means_another_card_inside_a_block(card, which):
    card.machine.cards = 2
    with cuda.device(which):
        assert cuda.current_device() == 1
        assert minicnn.ones(2, device="cuda").device == "cuda:1"
        assert minicnn.ones(2, device="cuda:0").device == "cuda:0"
        with cuda.device("cuda:0"):
            assert minicnn.ones(2).cuda().device == "cuda:0"
        assert cuda.current_device() == 1
    assert cuda.current_device() == 0


def test_cuda_means_another_card_from_now_on(card):
    card.machine.cards = 3
    cuda.set_device("cuda:2")
    assert (cuda.current_device(), minicnn.ones(2).cuda().device) == (2, "cuda:2")
    cuda.set_device("cuda")
    assert cuda.current_device() == 2
    with pytest.raises(DeviceError, match="cuda:3 is not there"):
        cuda.set_device(3)


@pytest.mark.parametrize("which", ["cpu", "gpu", "cuda:x", ""])
def test_what_is_no_card(card, which):
    with pytest.raises(DeviceError, match=f"'{which}' is no card"):
        cuda.get_device_name(which)


def test_memory(card):
    free, total = cuda.mem_get_info()
    x = minicnn.ones(2**10, device="cuda")
    assert cuda.memory_allocated() == cuda.memory_reserved() == 2**12
    assert cuda.mem_get_info() == (free - 2**12, total)
    del x
    assert (cuda.memory_allocated(), cuda.memory_reserved("cuda:0")) == (0, 2**12)
    table = cuda.memory_summary()
    assert "kept for the next ones               4.0 KiB" in table
    assert table.endswith("16.0 GiB")
    cuda.empty_cache()
    assert cuda.memory_reserved() == 0


def test_the_most_memory(card):
    cuda.reset_peak_memory_stats()
    x = minicnn.ones(2**10, device="cuda")
    y = x.array + x.array
    del y
    assert cuda.max_memory_allocated() == 2**13
    cuda.reset_peak_memory_stats()
    assert cuda.max_memory_allocated() == 2**12


def test_no_value_is_copied_by_asking(card):
    x = minicnn.tensor(np.ones((2, 3), np.float32), device="cuda")
    with card.no_copies():
        cuda.memory_summary()
        assert (x.shape, x.dtype, x.device, x.requires_grad) == (
            (2, 3),
            np.float32,
            "cuda:0",
            False,
        )
