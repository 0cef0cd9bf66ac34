"""`minicnn info` shows what a bug report needs."""

from __future__ import annotations

import platform

import numpy as np
import pytest

import minicnn
from minicnn import cli
from minicnn.cli import info
from minicnn_kernels import tuning
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
