"""The roof of a machine, with a clock of ours: rates are counts over seconds."""

from __future__ import annotations

import pytest

from minicnn.bench import peak
from minicnn.bench.peak import Roof
from minicnn_kernels.cuda import peak as of_cards
from minicnn_kernels.precision import math_mode
from minicnn_kernels.registry import can_compile


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(peak, "STREAM_BYTES", 12 * 1024)
    monkeypatch.setattr(peak, "SECONDS", 0.0)
    monkeypatch.setattr(peak, "REST", 0.0)


def ticking(step):
    now = [0.0]

    def clock():
        now[0] += step
        return now[0]

    return clock


def test_the_roof_is_counts_over_seconds_of_compiled_code():
    if not can_compile():
        pytest.skip("nothing is compiled here")
    flops, _ = peak.multiply_adds()
    assert peak.measure(clock=ticking(0.5)) == Roof(flops / 0.5, 12 * 1024 / 0.5)


def test_without_numba_numpy_gives_the_roof(monkeypatch):
    monkeypatch.setattr(peak, "can_compile", lambda: False)
    assert peak.measure(clock=ticking(2.0)) == Roof(2 * 1024**3 / 2.0, 12 * 1024 / 2.0)


def test_the_limit_is_memory_first_and_then_the_processor():
    roof = Roof(flops=100.0, bandwidth=10.0)
    assert [roof.limit(intensity) for intensity in (1, 10, 50)] == [10, 100, 100]


@pytest.mark.parametrize(
    ("mode", "capability", "kernel"),
    [
        ("fp32", (9, 0), "multiply_add"),
        ("tf32", (8, 0), "products_tf32"),
        ("bf16", (12, 0), "products_bf16"),
        ("tf32", (7, 5), "multiply_add"),
    ],
)
def test_the_roof_of_a_card_is_that_of_its_math_mode(card, monkeypatch, mode, capability, kernel):
    monkeypatch.setattr(peak, "CARD_STEPS", 1)
    monkeypatch.setattr(peak, "CARD_STREAM_BYTES", 48)
    card.machine.compute_capability = capability
    with math_mode(mode):
        roof = peak.measure("cuda", ticking(0.5))
    operations = of_cards.OPERATIONS[kernel] * of_cards.blocks_that_fill_the_card()
    assert roof == Roof(operations / 0.5, 48 / 0.5)
    assert {*card.seen("launch")} == {kernel, "triad"}
