"""`minicnn info` shows what a bug report needs."""

from __future__ import annotations

import platform

import numpy as np

import minicnn
from minicnn import cli
from minicnn.cli.info import version


def test_info(capsys):
    assert cli.main(("info",)) == 0
    out = capsys.readouterr().out
    for fact in (minicnn.__version__, platform.python_version(), np.__version__, "threads", "cuda"):
        assert fact in out


def test_a_package_that_is_missing():
    assert version("no-such-package-anywhere") == "not installed (not needed)"
