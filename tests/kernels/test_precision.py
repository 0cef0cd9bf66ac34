"""The math mode: who says it, and what is refused."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import minicnn
from minicnn_kernels import precision
from minicnn_kernels.errors import ArgumentError
from minicnn_kernels.precision import math_mode
from minicnn_kernels.registry import kernels


@pytest.fixture(autouse=True)
def _usual(monkeypatch):
    monkeypatch.setattr(math_mode, "_of_program", None)
    monkeypatch.delenv("MINICNN_MATH", raising=False)
    precision._of_environment.cache_clear()
    yield
    precision._of_environment.cache_clear()


def test_products_are_exact_unless_asked_otherwise():
    assert math_mode.get() == "fp32"


def test_a_block_wins_over_the_program_and_the_program_over_the_environment(monkeypatch):
    monkeypatch.setenv("MINICNN_MATH", "bf16")
    precision._of_environment.cache_clear()
    assert math_mode.get() == "bf16"
    minicnn.set_math_mode("tf32")
    assert math_mode.get() == "tf32"
    with minicnn.math_mode("fp32"):
        with minicnn.math_mode("bf16"):
            assert math_mode.get() == "bf16"
        assert math_mode.get() == "fp32"
    assert math_mode.get() == "tf32"


def test_a_block_that_fails_gives_the_mode_back():
    with pytest.raises(KeyError), math_mode("tf32"):
        raise KeyError
    assert math_mode.get() == "fp32"


def test_a_function_can_be_decorated():
    @math_mode("tf32")
    def inside():
        return math_mode.get()

    assert (inside(), math_mode.get()) == ("tf32", "fp32")


def test_the_programs_mode_holds_on_other_threads():
    minicnn.set_math_mode("tf32")
    found = []
    thread = threading.Thread(target=lambda: found.append(math_mode.get()))
    thread.start()
    thread.join()
    assert found == ["tf32"]


def test_an_unknown_mode_is_refused_and_changes_nothing(monkeypatch):
    for ask in (minicnn.set_math_mode, lambda mode: minicnn.math_mode(mode).__enter__()):
        with pytest.raises(ArgumentError, match=r"math_mode: unknown math mode 'fp8'; there are"):
            ask("fp8")
    assert math_mode.get() == "fp32"
    monkeypatch.setenv("MINICNN_MATH", "TF32")
    precision._of_environment.cache_clear()
    with pytest.raises(ArgumentError, match=r"MINICNN_MATH: unknown math mode 'TF32'"):
        math_mode.get()


def test_the_names_of_pytorch():
    for name, mode in precision.TORCH_NAMES.items():
        minicnn.set_float32_matmul_precision(name)
        assert (math_mode.get(), minicnn.get_float32_matmul_precision()) == (mode, name)
    with pytest.raises(ArgumentError, match=r"unknown precision 'low'; there are highest, high"):
        minicnn.set_float32_matmul_precision("low")
    assert math_mode.get() == "bf16"


def test_pytorch_knows_these_names():
    torch = pytest.importorskip("torch")
    usual = torch.get_float32_matmul_precision()
    for name in precision.TORCH_NAMES:
        torch.set_float32_matmul_precision(name)
    torch.set_float32_matmul_precision(usual)


def test_another_mode_is_another_choice_of_algorithm():
    kernel = kernels["conv"]
    before = kernel._choices
    try:
        kernel._choices = {}
        x, w = np.ones((1, 1, 3, 3), np.float32), np.ones((1, 1, 3, 3), np.float32)
        settings = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
        for mode in ("fp32", "tf32", "fp32"):
            with math_mode(mode):
                kernel.choose(x, w, **settings)
        assert len(kernel._choices) == 2
    finally:
        kernel._choices = before
