from __future__ import annotations

import sys

import pytest

from minicnn_kernels.cards import cupy
from minicnn_kernels.errors import DeviceError


def test_without_cupy_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceError, match=r"cuda needs CuPy.*pip install 'minicnn\[cuda12\]'"):
        cupy()
