"""`minicnn info` shows what a bug report needs."""

from __future__ import annotations

import platform
import sys

import numpy as np
import pytest

import minicnn
from minicnn import cli
from minicnn.cli import info
from minicnn_kernels import cards, tuning
from minicnn_kernels.registry import can_compile

needs_numba = pytest.mark.skipif(not can_compile(), reason="Numba is not installed")


def test_info(capsys):
    assert cli.main(("info",)) == 0
    out = capsys.readouterr().out
    for fact in (minicnn.__version__, platform.python_version(), np.__version__, "threads", "cuda"):
        assert fact in out


def test_a_package_that_is_missing(capsys, monkeypatch):
    monkeypatch.setattr(info, "PACKAGES", ("no-such-package-anywhere",))
    assert cli.main(("info",)) == 0
    assert "not installed (not needed)" in capsys.readouterr().out


@needs_numba
def test_compiled_kernels(monkeypatch, tmp_path):
    from minicnn_kernels.cpu import jit

    (tmp_path / "kernel.nbc").write_bytes(bytes(3 * 2**20))
    monkeypatch.setattr(jit, "cache_folder", lambda: tmp_path)
    assert f"1 files of 3.0 MiB in {tmp_path}" in info.kernels()
    assert "vectors of" in info.kernels()
    monkeypatch.setattr(jit, "cache_folder", lambda: None)
    assert "kept nowhere" in info.kernels()


def test_without_numba_kernels_are_numpys(monkeypatch):
    monkeypatch.setattr(info, "can_compile", lambda: False)
    assert "NumPy only" in info.kernels()


def test_what_decides_about_algorithms(capsys, monkeypatch, tmp_path):
    path = tmp_path / "fastest.json"
    monkeypatch.setattr(tuning, "file", lambda: path)
    assert info.algorithms() == "the cheapest estimated"
    path.write_text('{"conv a": "loops", "conv b": "loops"}')
    monkeypatch.setattr(info, "preferred", lambda: {"conv": "fft"})
    with minicnn.autotune():
        assert info.algorithms() == (
            f"conv=fft, else the fastest measured; 2 choices by measuring in {path}"
        )
    assert cli.main(("info", "--forget")) == 0
    assert not path.exists()
    assert "choices" not in capsys.readouterr().out


def facts_of(out):
    return {line[:14].strip(): line[14:] for line in out.splitlines()}


def test_without_cupy_it_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(cards, "installed", dict)
    assert cli.main(("info",)) == 0
    facts = facts_of(capsys.readouterr().out)
    assert facts["CuPy"] == "not installed (not needed without a card)"
    assert (
        facts["cuda"] == f"not available: cuda needs CuPy, which is not installed: {cards.INSTALL}"
    )
    assert "NVRTC" not in facts


def test_cupy_without_driver_and_compiler(capsys, monkeypatch, card):
    card.machine.driver = False
    monkeypatch.setattr(cards, "installed", lambda: {"cupy-cuda12x": "14.2.0"})
    monkeypatch.setattr(card.cupy.cuda, "nvrtc", None)
    assert cli.main(("info",)) == 0
    facts = facts_of(capsys.readouterr().out)
    assert facts["CuPy"] == "cupy-cuda12x 14.2.0"
    assert facts["NVRTC"] == f"not installed; {cards.INSTALL}"
    assert facts["driver"] == "not installed"
    assert facts["cuda"].startswith(
        "not available: cuda: no NVIDIA driver is installed; install it"
    )


def test_cards(capsys, card):
    card.machine.cards, card.machine.memory = 2, 80 * 2**30
    kept = card.array(np.zeros(2**18, np.float32))
    assert cli.main(("info",)) == 0
    facts = facts_of(capsys.readouterr().out)
    assert (facts["NVRTC"], facts["driver"]) == ("13.0", "for CUDA 13.0")
    shown = "Stand-in, compute capability 9.0, 4 processors, 80.0 GiB (80.0 GiB free)"
    assert facts["cuda:0"] == facts["cuda:1"] == shown
    assert "cuda" not in facts
    del kept


def test_two_packages_of_cupy_are_seen(monkeypatch, card):
    monkeypatch.setattr(cards, "installed", lambda: {"cupy-cuda12x": "14.2.0", "cupy": "13.6"})
    assert info.cuda()["CuPy"].startswith(
        "cupy-cuda12x 14.2.0, cupy 13.6; cupy-cuda12x and cupy overwrite each other; pip uninstall"
    )
