from __future__ import annotations

import platform
import subprocess
import sys

import numpy as np
import pytest

from minicnn_kernels.arrays import (
    aligned_empty,
    as_channels_last,
    device_of,
    is_floating,
    to_device,
)
from minicnn_kernels.cuda import replay
from minicnn_kernels.errors import DeviceError


@pytest.mark.parametrize("array", [np.zeros(2), np.float32(1), np.zeros((0, 3))])
def test_numpy_arrays_are_on_the_cpu(array):
    assert device_of(array) == "cpu"


def test_a_card_has_a_number(card):
    card.machine.cards = 2
    with card.cupy.cuda.Device(1):
        assert device_of(card.array(np.zeros(2))) == "cuda:1"


@pytest.mark.parametrize("name", ["float16", "float32", "float64", "longdouble"])
def test_floating(name):
    assert is_floating(np.dtype(name))


@pytest.mark.parametrize("name", ["int8", "int64", "uint8", "bool", "complex64"])
def test_not_floating(name):
    assert not is_floating(np.dtype(name))


def test_an_array_on_the_cpu_stays_itself():
    array = np.arange(3)
    assert to_device(array, "cpu") is array


@pytest.mark.parametrize(("device", "number"), [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1)])
def test_to_a_card_and_back(card, device, number):
    card.machine.cards = 2
    array = np.arange(3)
    moved = to_device(array, device)
    assert device_of(moved) == f"cuda:{number}"
    assert to_device(moved, f"cuda:{number}") is moved
    back = to_device(moved, "cpu")
    assert back.tolist() == [0, 1, 2]
    assert back is not array


def test_from_card_to_card(card):
    card.machine.cards = 2
    first = to_device(np.arange(3), "cuda:0")
    with card.cupy.cuda.Device(1):
        assert to_device(np.arange(3), "cuda").device.id == 1
        second = to_device(first, "cuda")
    assert device_of(second) == "cuda:1"
    assert second.data.ptr != first.data.ptr


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 5, 4), (2, 3, 1, 5, 4), (0, 3, 5, 4)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_images_on_a_card_have_their_channels_last_in_memory(card, shape, order):
    images = np.asarray(np.random.default_rng(0).random(shape), order=order)
    moved = to_device(images, "cuda")
    assert moved.shape == shape
    assert as_channels_last(moved).flags.c_contiguous
    np.testing.assert_array_equal(to_device(moved, "cpu"), images)


@pytest.mark.parametrize("shape", [(), (4,), (4, 3), (2, 3, 1, 5, 4, 2)])
def test_other_arrays_keep_their_order(card, shape):
    assert to_device(np.zeros(shape), "cuda").flags.c_contiguous


def test_a_captured_step_may_not_move_arrays(card):
    x = to_device(np.zeros(3), "cuda")
    with replay.recorded():
        assert to_device(x, "cuda:0") is x
        with pytest.raises(replay.NotCapturable, match=r"shape \(3,\) are read on the CPU"):
            to_device(x, "cpu")
        with pytest.raises(replay.NotCapturable, match=r"shape \(2,\) is copied to a card"):
            to_device(np.zeros(2), "cuda")


@pytest.mark.parametrize("device", ["gpu", "", "cuda:x", "cuda:-1", "CPU", "cpu:a"])
def test_unknown_devices_are_named(device):
    with pytest.raises(DeviceError, match=f"unknown device '{device}'"):
        to_device(np.zeros(1), device)


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="other C libraries keep memory by themselves"
)
def test_arrays_come_back_without_page_faults():
    program = """
import resource
import platform
import subprocess
import sys

import numpy as np
import minicnn_kernels

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        [np.ones(300_000, np.float32) for _ in range(10)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert int(result.stdout) < 600, result.stderr  # 20 * 10 * 293 pages when all is new memory


@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (3, 7, 2)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_aligned_arrays_begin_with_a_cache_line_and_own_their_values(shape, dtype):
    array = aligned_empty(shape, np.dtype(dtype))
    assert (array.shape, array.dtype) == (shape, dtype)
    assert array.size == 0 or array.ctypes.data % 64 == 0
    assert array.flags.c_contiguous
    assert array.flags.writeable
