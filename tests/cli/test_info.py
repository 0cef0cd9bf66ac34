"""`minicnn info` shows what a bug report needs."""

from __future__ import annotations

import platform

import numpy as np

import minicnn
from minicnn import cli
from minicnn.cli import info


def test_info(capsys):
    assert cli.main(("info",)) == 0
    out = capsys.readouterr().out
    for fact in (minicnn.__version__, platform.python_version(), np.__version__, "threads", "cuda"):
        assert fact in out


def test_a_package_that_is_missing(capsys, monkeypatch):
    monkeypatch.setattr(info, "PACKAGES", ("no-such-package-anywhere",))
    assert cli.main(("info",)) == 0
    assert "not installed (not needed)" in capsys.readouterr().out
