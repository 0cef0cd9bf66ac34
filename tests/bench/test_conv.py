"""Convolution as work: the right result against loops, counts of operations, algorithms by name."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.bench import conv
from minicnn.bench.kinds import work
from minicnn.bench.work import in_layout, relative_error
from minicnn.errors import AlgorithmError
from minicnn_kernels import kernels

PROBLEMS = [
    "mb2ic3ih5oc4kh3ph1",
    "g2mb2ic6ih7iw5oc4kh3kw2sh2dh1ph1",
    "g4mb1ic4ih6oc8kh2sh3",  # a stride above the kernel
    "mb3ic2iw9oc3kw3pw1sw2",
    "mb2ic2id3ih4iw5oc3kd2ph1",
    "mb9ic2ih9oc3kh5ph2",  # more places than are checked
]


@pytest.mark.parametrize("direction", conv.DIRECTIONS)
@pytest.mark.parametrize("text", PROBLEMS)
def test_what_is_right_is_what_the_loops_compute(text, direction):
    found = work("conv", text, direction)
    operands = found.operands()
    exact = {name: array.astype(np.float64) for name, array in operands.items()}
    built = conv.build("loops", found, exact)
    expected = found.expected(operands)
    for sample, right in zip(found.sampled(built.fetch(built.call())), expected, strict=True):
        np.testing.assert_allclose(sample, right, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("text", PROBLEMS)
def test_every_algorithm_is_right_within_its_tolerance(text):
    found = work("conv", text, "train")
    operands = found.operands()
    expected = found.expected(operands)
    for layout in ("nchw", "nhwc"):
        for name in (*conv.served_by(found, operands, "cpu"), "auto"):
            built = conv.build(name, found, in_layout(operands, layout))
            samples = found.sampled(built.fetch(built.call()))
            for part, algorithm, sample, right in zip(
                found.parts, built.algorithms, samples, expected, strict=True
            ):
                assert relative_error(sample, right) <= found.tolerance(part, algorithm)


def test_one_wrong_corner_is_seen():
    found = work("conv", "mb2ic3ih40oc4kh3ph1", "fwd")
    operands = found.operands()
    built = conv.build("im2col", found, operands)
    (y,) = built.call()
    y[-1, 2, -1, -1] += 1
    (sample,), (right,) = found.sampled([y]), found.expected(operands)
    assert relative_error(sample, right) > found.tolerance("fwd", "im2col")


def test_tolerances_are_those_of_the_algorithm():
    found = work("conv", "mb8ic64ih14oc64kh3ph1", "train")
    assert found.tolerance("fwd", "im2col") == pytest.approx(2e-6)
    assert found.tolerance("bwd_d", "winograd2") == pytest.approx(5e-6)
    assert found.tolerance("fwd", "winograd4") == pytest.approx(2e-5)
    assert found.tolerance("bwd_w", "winograd4") == pytest.approx(2e-5 * (8 * 14 * 14 / 8) ** 0.4)
    wide = work("conv", "mb8ic256ih14oc64kh3ph1", "fwd")
    assert wide.tolerance("fwd", "im2col") == pytest.approx(4e-6)


def test_executed_operations():
    found = work("conv", "mb1ic2ih8oc3kh3ph1", "train")
    direct = 2 * 3 * 2 * 9 * 64
    assert found.executed(["im2col"] * 3) == 3 * direct
    assert conv.executed(found.problem, "fwd", "winograd4") == 4 * 36 * 2 * 3 * 2  # 4 tiles of 6x6
    assert conv.executed(found.problem, "fwd", "winograd2") * 9 == direct * 4
    strided = work("conv", "mb1ic2ih8oc3kh3sh2ph1", "bwd_d")
    assert strided.executed(["flipped_filter"]) == 4 * strided.flops


def test_algorithms_by_name():
    forward = work("conv", "mb1ic2ih8oc3kh3", "fwd")
    served = conv.served_by(forward, forward.operands(), "cpu")
    assert "im2col" in served
    assert not {"loops", "depthwise"} & set(served)
    on_cards = conv.served_by(forward, forward.operands(), "cuda")
    assert {"numba_tiled", "im2col"} <= set(on_cards)
    assert "winograd4" not in on_cards
    assert "flipped_filter" not in conv.known(["fwd"])
    assert {"loops", "flipped_filter"} <= conv.known(["train"])
    with pytest.raises(AlgorithmError, match="does not serve"):
        conv.build("depthwise", forward, forward.operands())


def test_auto_tells_what_it_chose():
    depthwise = work("conv", "g4mb1ic4ih8oc4kh3", "fwd")
    (chosen,) = conv.build("auto", depthwise, depthwise.operands()).algorithms
    assert chosen in kernels["conv"].algorithms
