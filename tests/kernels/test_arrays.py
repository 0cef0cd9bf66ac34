from __future__ import annotations

import platform
import subprocess
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from minicnn_kernels.arrays import aligned_empty, device_of, is_floating, to_device
from minicnn_kernels.errors import DeviceError


class CardArray:
    """Stands in for a CuPy array."""

    def __init__(self, values, card=0):
        self.values, self.device = values, SimpleNamespace(id=card)

    def get(self):
        return self.values


@pytest.fixture
def cupy(monkeypatch):
    """A stand-in for CuPy on a machine with two cards."""
    chosen = []

    def device(number):
        chosen.append(number)
        if number > 1:
            raise RuntimeError("invalid device ordinal")
        return nullcontext()

    fake = SimpleNamespace(
        asarray=lambda array: CardArray(array, chosen[-1]),
        cuda=SimpleNamespace(Device=device, runtime=SimpleNamespace(CUDARuntimeError=RuntimeError)),
    )
    monkeypatch.setitem(sys.modules, "cupy", fake)


@pytest.mark.parametrize("array", [np.zeros(2), np.float32(1), np.zeros((0, 3))])
def test_numpy_arrays_are_on_the_cpu(array):
    assert device_of(array) == "cpu"


def test_a_card_has_a_number():
    assert device_of(CardArray(np.zeros(2), card=1)) == "cuda:1"


@pytest.mark.parametrize("name", ["float16", "float32", "float64", "longdouble"])
def test_floating(name):
    assert is_floating(np.dtype(name))


@pytest.mark.parametrize("name", ["int8", "int64", "uint8", "bool", "complex64"])
def test_not_floating(name):
    assert not is_floating(np.dtype(name))


def test_an_array_on_the_cpu_stays_itself():
    array = np.arange(3)
    assert to_device(array, "cpu") is array


@pytest.mark.parametrize(("device", "card"), [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1)])
def test_to_a_card_and_back(cupy, device, card):
    array = np.arange(3)
    moved = to_device(array, device)
    assert device_of(moved) == f"cuda:{card}"
    assert to_device(moved, "cpu") is array


def test_a_card_that_is_not_there(cupy):
    with pytest.raises(DeviceError, match="cuda:7 cannot be used: invalid device ordinal"):
        to_device(np.zeros(1), "cuda:7")


def test_without_cupy_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceError, match=r"cuda needs CuPy.*pip install"):
        to_device(np.zeros(1), "cuda:0")


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
