"""A session sets the threads, knows who competes, and puts everything back."""

from __future__ import annotations

import pytest

from minicnn.bench import peak
from minicnn.bench.kinds import KINDS, work
from minicnn.bench.peak import Roof
from minicnn.bench.session import Plan, Session
from minicnn.bench.timing import Limits
from minicnn_kernels.threads import get_num_threads

ONCE = Limits(0.0, 1, 0.0)


@pytest.fixture(autouse=True)
def known_roof(monkeypatch):
    monkeypatch.setattr(peak, "measure", lambda device: Roof(1e11, 1e10))


def test_threads_are_set_and_put_back():
    usual = get_num_threads()
    with Session(Plan(KINDS["conv"], ["auto"]), usual + 1) as found:
        assert get_num_threads() == usual + 1
        assert found.facts["numpy"]
    assert get_num_threads() == usual


def test_a_start_that_fails_puts_everything_back(monkeypatch):
    def failing(device):
        raise MemoryError

    usual = get_num_threads()
    monkeypatch.setattr(peak, "measure", failing)
    with pytest.raises(MemoryError), Session(Plan(KINDS["conv"], ["auto"]), usual + 1):
        pass
    assert get_num_threads() == usual


def test_all_stands_for_every_algorithm_once():
    plan = Plan(KINDS["conv"], ["all", "im2col"], layouts=("nchw", "nhwc"), limits=ONCE)
    with Session(plan, 1) as found:
        results = found.contest(work("conv", "mb1ic2ih6oc2kh3", "bwd_d"))
    labels = [result.contestant for result in results]
    assert len(set(labels)) == len(labels)
    assert {"im2col/nchw", "flipped_filter/nhwc", "auto/nhwc"} <= set(labels)
    assert {result.baseline for result in results} < {"im2col/nchw", "im2col/nhwc"}
    assert 1 in [result.speedup for result in results]
    assert all(result.limit == min(1e11, result.intensity * 1e10) for result in results)


def test_products_have_no_auto():
    with Session(Plan(KINDS["gemm"], ["all"], limits=ONCE, baseline="numpy"), 1) as found:
        results = found.contest(work("gemm", "5x3:3x4", "fwd"))
    assert "numpy" in [result.contestant for result in results]
    assert "auto" not in [result.contestant for result in results]
    assert {result.baseline for result in results} == {"numpy"}


def test_networks_have_a_process_each(torch):
    plan = Plan(KINDS["model"], ["all"], ["torch"], limits=ONCE)
    with Session(plan, 1) as found:
        results = found.contest(work("model", "lenet5mb2", "infer"))
        assert found.others == []
    assert [result.contestant for result in results] == ["minicnn", "torch"]
    assert all(result.status == "ok" and result.speedup for result in results)
    assert all(result.bandwidth is None for result in results)


def test_devices_are_named_where_there_are_several():
    found = Session(Plan(KINDS["conv"], ["auto"], devices=("cpu", "cuda")), 1)
    found.worker = object()
    found.plan = Plan(KINDS["conv"], ["auto"], ["torch"], ("cpu", "cuda"))
    forward = work("conv", "mb1ic2ih6oc2kh3", "fwd")
    own = found._own(forward, forward.operands())
    assert [entry.station.label for entry in own] == ["auto", "auto/cuda"]
    assert [entry.station.label for entry in found._rivals()] == ["torch", "torch/cuda"]
