"""A contest: what is wrong gets no time, what is right takes turns."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.bench import conv
from minicnn.bench.contest import Entry, compete
from minicnn.bench.kinds import work
from minicnn.bench.results import FAILED, OK, SKIPPED, WRONG
from minicnn.bench.station import Built, Own
from minicnn.bench.timing import Limits
from minicnn.errors import AlgorithmError, DeviceError


def right(work, operands):
    return conv.build("im2col", work, operands)


def wrong(work, operands):
    """Forget the last pixel of the last image."""
    built = right(work, operands)

    def call():
        (y,) = built.call()
        y[-1, :, -1, -1] = 0
        return [y]

    return Built(call, ["im2col"])


def infinite(work, operands):
    return Built(lambda: [np.full(work.problem.y_shape, np.inf)], ["im2col"])


def refusing(work, operands):
    raise AlgorithmError("not for this")


def lacking(work, operands):
    raise DeviceError("pip install something")


def raising(work, operands):
    raise MemoryError("too large")


class Turns:
    """Notes who takes turns, and gives each one second."""

    def __init__(self):
        self.labels = []

    def __call__(self, stations, limits):
        self.labels = [station.label for station in stations]
        return [[1.0] for _ in stations]


def contest(*builders, turns, text='mb2ic3ih5oc4kh3n"first*2"'):
    forward = work("conv", text, "fwd")
    entries = [Entry(Own(build.__name__, build)) for build in builders]
    operands = forward.operands()
    return compete(forward, operands, forward.expected(operands), entries, 2, Limits(), turns)


def test_only_those_that_are_right_take_turns():
    turns = Turns()
    results = contest(wrong, right, infinite, refusing, lacking, raising, turns=turns)
    assert turns.labels == ["right"]
    assert [result.status for result in results] == [*(WRONG, OK, WRONG, SKIPPED, SKIPPED, FAILED)]
    assert [result.times for result in results] == [[], [1.0], [], [], [], []]
    assert "relative error" in results[0].note
    assert results[2].error == np.inf
    assert results[4].note == "pip install something"
    assert results[5].note == "MemoryError: too large"


def test_a_result_says_what_was_measured():
    (result,) = contest(right, turns=Turns())
    assert (result.layer, result.problem, result.count) == ("first", "mb2ic3ih5oc4kh3", 2)
    assert (result.direction, result.threads, result.layout) == ("fwd", 2, "nhwc")
    assert result.algorithms == ["im2col"]
    assert result.error < result.tolerance == 2e-6
    assert result.scratch_bytes > 0


def test_ctrl_c_in_a_turn_lets_go_of_the_arrays():
    forward = work("conv", "mb2ic3ih5oc4kh3", "fwd")
    operands = forward.operands()
    right_values = forward.expected(operands)
    station = Own("right", right)

    def interrupted(stations, limits):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compete(forward, operands, right_values, [Entry(station)], 1, Limits(), interrupted)
    assert not hasattr(station, "built")
