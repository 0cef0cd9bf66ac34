from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from minicnn_kernels.cards import compute_capability, cupy
from minicnn_kernels.errors import DeviceError


def test_without_cupy_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceError, match=r"cuda needs CuPy.*pip install 'minicnn\[cuda12\]'"):
        cupy()


@pytest.mark.parametrize(("text", "expected"), [("75", (7, 5)), ("90", (9, 0)), ("120", (12, 0))])
def test_the_last_digit_of_a_capability_is_the_minor_one(monkeypatch, text, expected):
    device = SimpleNamespace(compute_capability=text)
    fake = SimpleNamespace(cuda=SimpleNamespace(Device=lambda: device))
    monkeypatch.setitem(sys.modules, "cupy", fake)
    assert compute_capability() == expected
