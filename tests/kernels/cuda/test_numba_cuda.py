"""Numba CUDA's kernels: right in the simulator, compiled to PTX, and refused where they must be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numba_simulator import CONVOLUTIONS, PLANTED, POOLINGS

from minicnn_kernels import kernels
from minicnn_kernels.cuda import numba_cuda
from minicnn_kernels.errors import DeviceError

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def simulated():
    """Run all cases in a process of its own: the simulator replaces the whole of numba.cuda."""
    paths = [ROOT, ROOT / "kernels", *filter(None, [os.environ.get("PYTHONPATH")])]
    result = subprocess.run(
        [sys.executable, ROOT / "tests" / "helpers" / "numba_simulator.py"],
        env={
            **os.environ,
            "NUMBA_ENABLE_CUDASIM": "1",
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return json.loads(result.stdout)


@pytest.mark.parametrize("case", [*CONVOLUTIONS, *POOLINGS])
def test_kernels_agree_with_float64_in_the_simulator(simulated, case):
    bound = 1e-14 if case == "float64" else 5e-7
    found = simulated["right"][case]
    assert {kernel: e for kernel, e in found.items() if not e <= bound} == {}
    assert len(found) >= 4


@pytest.mark.parametrize("mistake", PLANTED)
def test_a_planted_mistake_is_seen(simulated, mistake):
    assert simulated["planted"][mistake] > 1e-3


# --- compiled without a card, where numba-cuda brings the compiler --------------------------------

compiles = pytest.mark.slow_emulation

PATTERNS = {  # the arrays' dimensions; u: of uint8; t: a tuple of two numbers
    "direct": "444ttt",
    "input_direct": "444ttt",
    "weight_direct": "444ttt",
    "tiled": "444ttt",
    "columns_of": "44tttt",
    "matrix_product": "222",
    "largest": "44utttt",
    "route": "4u4tttt",
    "window_total": "44tttt",
    "spread": "44tttt",
}


@pytest.fixture
def ptx(monkeypatch):
    """Return a function that compiles a kernel for a card that is not there."""
    from numba import cuda, types
    from numba.cuda import dispatcher

    def compiled(function, pattern, capability, floats="float32"):
        device = SimpleNamespace(compute_capability=capability)
        monkeypatch.setattr(dispatcher, "get_current_device", lambda: device)
        kinds = {
            "2": types.Array(getattr(types, floats), 2, "C"),
            "4": types.Array(getattr(types, floats), 4, "C"),
            "u": types.Array(types.uint8, 4, "C"),
            "t": types.UniTuple(types.int64, 2),
        }
        try:
            return cuda.compile_ptx(function, tuple(kinds[k] for k in pattern), cc=capability)[0]
        except Exception as error:
            if any(word in str(error) for word in ("libnvvm", "NVVM", "libdevice", "nvrtc")):
                pytest.skip(f"no compiler for PTX: pip install 'numba-cuda[cu13]' ({error})")
            raise

    return compiled


@compiles
@pytest.mark.parametrize("kernel", PATTERNS)
def test_float32_is_computed_in_float32(ptx, kernel):
    text = ptx(getattr(numba_cuda, kernel).py_func, PATTERNS[kernel], (8, 0))
    assert ".target sm_80" in text
    assert "f64" not in text  # a plain 0 makes a sum a float64; see below
    products = kernel in ("direct", "input_direct", "weight_direct", "tiled", "matrix_product")
    assert ("fma.rn.f32" in text) == products
    tiles = kernel in ("tiled", "matrix_product")
    assert ("ld.shared.f32" in text) == tiles
    assert text.count("bar.sync") == (2 if tiles else 0)


@compiles
@pytest.mark.parametrize("capability", [(7, 5), (8, 0), (9, 0), (10, 0)], ids=str)
def test_every_generation_of_cards_is_compiled_for(ptx, capability):
    if capability > (9, 0):
        pytest.importorskip("numba_cuda", reason="Numba without numba-cuda knows no later card")
    text = ptx(numba_cuda.tiled.py_func, PATTERNS["tiled"], capability, "float64")
    assert f".target sm_{capability[0]}{capability[1]}" in text
    assert "fma.rn.f64" in text


@compiles
def test_a_plain_zero_would_be_found_in_the_code(ptx):
    from numba import cuda

    def careless(x, y):
        total = 0
        for k in range(x.shape[1]):
            total += x[0, k]
        y[0, cuda.threadIdx.x] = total

    assert "f64" in ptx(careless, "22", (8, 0))


# --- in the registry ------------------------------------------------------------------------------


def test_they_are_algorithms_by_name_only():
    names = {
        "conv": {"numba_direct", "numba_tiled", "numba_im2col"},
        "conv_input": {"numba_direct"},
        "conv_weight": {"numba_direct"},
        "max_winners": {"numba"},
        "route_to_winners": {"numba"},
        "window_sum": {"numba"},
        "window_spread": {"numba"},
    }
    for kernel, expected in names.items():
        found = {n: a for n, a in kernels[kernel].algorithms.items() if n.startswith("numba")}
        assert set(found) == expected
        for algorithm in found.values():
            assert (algorithm.devices, algorithm.cost) == (("cuda",), None)
            assert algorithm.formula


def test_they_serve_images_of_two_sides_and_floats():
    serves = kernels["conv"].algorithms["numba_tiled"].serves
    im2col = kernels["conv"].algorithms["numba_im2col"].serves
    x, w = np.zeros((1, 2, 3, 3), np.float32), np.zeros((2, 2, 3, 3), np.float32)
    assert serves(x, w, groups=2)
    assert im2col(x, w, groups=1)
    assert not im2col(x, w, groups=2)
    assert not serves(x[..., 0], w[..., 0], groups=1)
    assert not serves(x.astype(np.float16), w.astype(np.float16), groups=1)


# --- what is missing ------------------------------------------------------------------------------


@pytest.fixture
def launched(monkeypatch):
    """Launch a kernel that must not be reached, on something that is no NumPy array."""
    numba_cuda._check_version.cache_clear()
    yield lambda: numba_cuda._launch(None, (1,), (1,), object())
    numba_cuda._check_version.cache_clear()


def test_without_numba_cuda_the_error_says_what_to_install(monkeypatch, launched):
    def version(name):
        raise numba_cuda.PackageNotFoundError(name)

    monkeypatch.setattr(numba_cuda, "version", version)
    with pytest.raises(
        DeviceError,
        match=r"0\.30\.4 or later, which is not installed: pip install 'minicnn\[numba-cuda",
    ):
        launched()


def test_an_old_numba_cuda_is_refused(monkeypatch, launched):
    monkeypatch.setattr(numba_cuda, "version", lambda name: "0.30.0")
    with pytest.raises(DeviceError, match=r"need numba-cuda 0\.30\.4 or later, here is 0\.30\.0"):
        launched()


def test_a_later_numba_cuda_is_taken(monkeypatch):
    numba_cuda._check_version.cache_clear()
    monkeypatch.setattr(numba_cuda, "version", lambda name: "0.31.0.post1")
    numba_cuda._check_version()
    numba_cuda._check_version.cache_clear()


def test_launches_go_to_cupys_current_stream(monkeypatch):
    seen = {}

    class Kernel:
        def __getitem__(self, configuration):
            seen["configuration"] = configuration
            return lambda *arguments: seen.update(arguments=arguments)

    stream = SimpleNamespace(ptr=17)
    monkeypatch.setattr(numba_cuda, "_check_version", lambda: None)
    monkeypatch.setattr(
        numba_cuda, "cupy", lambda: SimpleNamespace(
            cuda=SimpleNamespace(get_current_stream=lambda: stream)
        )
    )  # fmt: skip
    monkeypatch.setattr(numba_cuda, "cuda", SimpleNamespace(
        external_stream=lambda pointer: ("stream", pointer),
        as_cuda_array=lambda array, sync: ("seen", array, sync),
    ))  # fmt: skip
    numba_cuda._launch(Kernel(), (2,), (32,), "an array", (1, 1))
    assert seen["configuration"] == ((2,), (32,), ("stream", 17))
    assert seen["arguments"] == (("seen", "an array", False), (1, 1))
