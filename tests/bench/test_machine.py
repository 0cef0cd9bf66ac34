"""Facts about the machine: those that are missing are left out, never guessed."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

import minicnn
from minicnn.bench import machine
from minicnn_kernels.precision import math_mode


def test_facts_name_what_the_figures_depend_on():
    facts = machine.facts()
    assert facts["numpy"] == np.__version__
    assert facts["minicnn"].startswith(minicnn.__version__)
    assert "core" in facts["BLAS"]
    assert all(isinstance(value, str) and value for value in facts.values())


def test_without_numba_it_says_so(monkeypatch):
    monkeypatch.setattr(machine, "can_compile", lambda: False)
    assert machine.facts()["numba"] == "not in use"


def test_the_compiler_behind_numba():
    pytest.importorskip("llvmlite")
    assert machine.llvm()[0].isdigit()


def test_huge_pages(tmp_path, monkeypatch):
    file = tmp_path / "enabled"
    file.write_text("always [madvise] never\n")
    monkeypatch.setattr(machine, "HUGE_PAGES", file)
    assert machine.huge_pages() == "madvise"
    file.unlink()
    assert machine.huge_pages() == ""


def test_no_git_no_commit(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", missing)
    assert machine.commit() == ""
    assert "  " not in machine.facts()["minicnn"]


def test_a_package_that_is_missing():
    assert machine.version("no-such-package-anywhere") == machine.MISSING


def test_the_facts_of_a_card(card):
    with math_mode("tf32"):
        facts = machine.card_facts()
    assert facts["card"] == "Stand-in, 16 GiB"
    assert facts["CUDA"] == "13.2, driver for 13.0"
    assert facts["math"] == "tf32"
