"""A contestant in this process: checked once, then timed; its compile time and memory apart."""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace

import numpy as np

from minicnn.bench import station as station_module
from minicnn.bench.kinds import work
from minicnn.bench.station import Built, Own, compile_seconds, on_device, scratch_bytes


def ticking(step):
    """Return a clock that moves by `step` whenever it is read."""
    now = [0.0]

    def clock():
        now[0] += step
        return now[0]

    return clock


def zeros(work, operands):
    return Built(lambda: [np.zeros(work.problem.y_shape, np.float32)], ["zeros"])


def test_a_station_is_started_takes_turns_and_stops():
    forward = work("conv", "mb1ic1ih4oc2kh3", "fwd")
    station = Own("mine", zeros, ticking(0.25))
    started = station.start(forward, forward.operands())
    assert started.algorithms == ["zeros"]
    assert [sample.shape for sample in started.samples] == [(4, 2)]
    assert station.turn(1.0) == [0.25] * 2  # the clock ticks before and after each
    station.stop()
    assert not hasattr(station, "built")


def test_a_cold_station_empties_the_caches_before_each_run(monkeypatch):
    emptied = []
    monkeypatch.setattr(station_module, "empty_caches", lambda: emptied.append(1))
    forward = work("conv", "mb1ic1ih4oc2kh3", "fwd")
    for cold in (False, True):
        station = Own("mine", zeros, ticking(0.25), cold=cold)
        station.start(forward, forward.operands())
        assert len(station.turn(1.0)) == 2
        assert len(emptied) == (2 if cold else 0)


def test_scratch_memory_is_what_is_used_beside_the_result():
    thread = threading.local()

    def call():
        if not hasattr(thread, "workspace"):  # kept for the next call of the same thread
            thread.workspace = np.empty(500_000, np.uint8)
        temporary = np.ones(1_000_000, np.uint8)
        return temporary[:10].copy()

    call()
    for _ in range(2):
        assert 1_500_000 <= scratch_bytes(call, 10) < 1_600_000


def test_a_slow_call_is_not_repeated_for_its_memory():
    forward = work("conv", "mb1ic1ih4oc2kh3", "fwd")
    calls = []

    def build(work, operands):
        return Built(lambda: [calls.append(1) or np.zeros(work.problem.y_shape)], ["slow"])

    started = Own("slow", build, ticking(10.0)).start(forward, forward.operands())
    assert started.scratch_bytes is None
    assert len(calls) == 1


def test_compile_time_is_asked_for_without_importing_the_compiler(monkeypatch):
    monkeypatch.delitem(sys.modules, "minicnn_kernels.cpu.jit", raising=False)
    assert compile_seconds() == 0
    compiler = SimpleNamespace(compile_seconds=lambda: 1.5)
    monkeypatch.setitem(sys.modules, "minicnn_kernels.cpu.jit", compiler)
    assert compile_seconds() == 1.5


class OnCard:
    """An array of a card that does not exist."""

    def __init__(self, array, log):
        self.array, self.log = array, log
        self.device = SimpleNamespace(id=0, synchronize=lambda: log.append("wait"))

    def get(self):
        return self.array


def test_calls_on_a_card_wait_until_it_has_finished(monkeypatch):
    log = []
    monkeypatch.setattr(
        "minicnn.bench.station.to_device",
        lambda array, device: array.get() if device == "cpu" else OnCard(array, log),
    )

    def build(work, operands):
        return Built(lambda: log.append("call") or [operands["x"]], ["own"])

    built = on_device(build, "cuda")(None, {"x": np.ones(2)})
    (found,) = built.fetch(built.call())
    assert log == ["call", "wait"]
    np.testing.assert_array_equal(found, np.ones(2))
    assert on_device(build, "cpu") is build
