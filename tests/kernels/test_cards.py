from __future__ import annotations

import sys
from importlib import metadata
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import minicnn
from minicnn_kernels import cards
from minicnn_kernels.errors import DeviceError

USES = {
    "tensor": lambda: minicnn.tensor([1.0]).cuda(),
    "zeros": lambda: minicnn.zeros(2, device="cuda:0"),
    "module": lambda: minicnn.nn.Linear(2, 2).to("cuda"),
    "name": lambda: minicnn.cuda.get_device_name(),
    "synchronize": lambda: minicnn.cuda.synchronize(),
    "memory": lambda: minicnn.cuda.memory_allocated(),
}
uses = pytest.mark.parametrize("use", USES.values(), ids=USES)


@pytest.fixture
def packages(monkeypatch):
    """Let the packages of CuPy be those of a dict."""
    found = {}

    def version(name):
        if name not in found:
            raise metadata.PackageNotFoundError(name)
        return found[name]

    monkeypatch.setattr(metadata, "version", version)
    cards.installed.cache_clear()
    yield found
    cards.installed.cache_clear()


def broken(error):
    """Return a module CuPy that cannot be imported."""

    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "cupy":
                raise error

    return Finder()


@uses
def test_without_cupy_the_error_says_what_to_install(monkeypatch, packages, use):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(
        DeviceError,
        match=r"^cuda needs CuPy, which is not installed: pip install 'minicnn\[cuda13\]'",
    ):
        use()
    assert not minicnn.cuda.is_available()
    assert minicnn.cuda.device_count() == 0
    minicnn.cuda.empty_cache()


@pytest.mark.parametrize(
    "error", [ImportError("libcudart.so.13: cannot open"), RuntimeError("no toolkit"), OSError("x")]
)
def test_cupy_that_cannot_be_imported_is_told_from_none(monkeypatch, packages, error):
    packages["cupy-cuda13x"] = "14.2.0"
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "meta_path", [broken(error), *sys.meta_path])
    message = (
        rf"installed but cannot be imported \({type(error).__name__}: {error}\); install it anew"
    )
    with pytest.raises(DeviceError, match=message):
        minicnn.tensor([1.0]).to("cuda")


def test_two_packages_of_cupy_are_named_with_the_way_out(monkeypatch, packages):
    packages |= {"cupy-cuda12x": "14.2.0", "cupy-cuda13x": "14.2.0"}
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "meta_path", [broken(ImportError("cannot")), *sys.meta_path])
    with pytest.raises(
        DeviceError,
        match="cupy-cuda13x and cupy-cuda12x overwrite each other; "
        "pip uninstall cupy-cuda13x cupy-cuda12x, then install one: pip install",
    ):
        cards.cupy()


@uses
def test_without_a_driver(card, use):
    card.machine.driver = False
    with pytest.raises(DeviceError, match=r"^cuda: no NVIDIA driver is installed; install it"):
        use()
    assert not minicnn.cuda.is_available()


def test_a_driver_that_is_too_old_for_cupy(card, monkeypatch, packages):
    packages["cupy-cuda13x"] = "14.2.0"
    card.machine.driver = False
    monkeypatch.setattr(card.cupy.cuda.runtime, "driverGetVersion", lambda: 12040)
    with pytest.raises(
        DeviceError,
        match=r"the driver is for CUDA 12.4, CuPy for CUDA 13.2; install a newer driver .*"
        r"pip uninstall cupy-cuda13x, then pip install 'minicnn\[cuda12\]'",
    ):
        cards.count()


@uses
@pytest.mark.parametrize("hidden", [None, "", "7"])
def test_without_a_card(card, monkeypatch, use, hidden):
    card.machine.cards = 0
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    with pytest.raises(DeviceError, match="the driver sees no card; `nvidia-smi -L`") as caught:
        use()
    told = f"(CUDA_VISIBLE_DEVICES is {hidden!r}: unset it to see all)" in str(caught.value)
    assert told == (hidden is not None)


def test_a_driver_that_counts_no_card(card, monkeypatch):
    monkeypatch.setattr(card.cupy.cuda.runtime, "getDeviceCount", lambda: 0)
    with pytest.raises(DeviceError, match="the driver sees no card"):
        cards.count()


def test_any_other_failure_is_quoted(card, monkeypatch, packages):
    def fails():
        raise card.cupy.cuda.runtime.CUDARuntimeError("cudaErrorUnknown: unknown error")

    packages |= {"cupy-cuda12x": "14.2.0", "cupy": "14.2.0"}
    monkeypatch.setattr(card.cupy.cuda.runtime, "getDeviceCount", fails)
    with pytest.raises(
        DeviceError, match=r"cannot be used: cudaErrorUnknown.*overwrite each other"
    ):
        cards.count()


@pytest.mark.parametrize(("number", "there"), [(1, 1), (2, 2), (7, 3)])
def test_a_number_without_a_card(card, monkeypatch, number, there):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    card.machine.cards = there
    which = "cuda:0" if there == 1 else f"cuda:0 to cuda:{there - 1}"
    with pytest.raises(
        DeviceError, match=f"^cuda:{number} is not there: this machine has {which}$"
    ):
        minicnn.tensor([1.0]).to(f"cuda:{number}")
    with pytest.raises(DeviceError, match=f"cuda:{number} is not there"):
        minicnn.cuda.get_device_name(number)


def test_what_a_card_is(card):
    card.machine.compute_capability = (12, 0)
    found = cards.card()
    assert found == ("Stand-in", (12, 0), 2**34, 4)
    assert (cards.driver_version(), cards.runtime_version()) == ("13.0", "13.2")
    assert cards.nvrtc_version() == "13.0"


def test_a_compiler_that_cannot_be_loaded_has_no_version(card, monkeypatch):
    monkeypatch.setattr(card.cupy.cuda, "nvrtc", ModuleType("nvrtc"))
    assert cards.nvrtc_version() is None


@pytest.mark.parametrize(("text", "expected"), [("75", (7, 5)), ("90", (9, 0)), ("120", (12, 0))])
def test_the_last_digit_of_a_capability_is_the_minor_one(monkeypatch, text, expected):
    device = SimpleNamespace(compute_capability=text)
    fake = SimpleNamespace(cuda=SimpleNamespace(Device=lambda: device))
    monkeypatch.setitem(sys.modules, "cupy", fake)
    assert cards.compute_capability() == expected


def test_arrays_of_the_cpu_need_no_card():
    assert minicnn.tensor(np.ones(2)).cpu().device == "cpu"


def test_with_cupy_itself_where_it_is_installed():
    pytest.importorskip("cupy", exc_type=ImportError)
    if minicnn.cuda.is_available():
        assert cards.card().memory > 2**30
    else:
        with pytest.raises(DeviceError, match=r"no NVIDIA driver|the driver"):
            cards.count()
