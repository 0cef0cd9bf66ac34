"""Operands that are the same everywhere, places to check, and the error in the norm."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.bench.kinds import work
from minicnn.bench.work import PLACES, in_layout, relative_error, rounding
from minicnn_kernels.precision import math_mode


@pytest.fixture
def forward():
    return work("conv", "mb2ic3ih5oc4kh3", "fwd")


def test_operands_are_drawn_from_the_problem(forward):
    again, other = (
        work("conv", text, "fwd").operands() for text in ("mb2ic3ih5oc4kh3", "mb2ic3ih5oc4kh2")
    )
    operands = forward.operands()
    np.testing.assert_array_equal(operands["x"], again["x"])
    assert not np.array_equal(operands["x"], other["x"])
    assert {array.dtype for array in operands.values()} == {np.dtype(np.float32)}


def test_all_places_of_a_small_result_are_checked(forward):
    places = forward.places((3, 4))
    assert {tuple(place) for place in places.T} == {(i, j) for i in range(3) for j in range(4)}


def test_of_a_large_result_all_corners_are_checked(forward):
    places = forward.places((20, 30, 40))
    assert places.shape == (3, PLACES)
    found = {tuple(place) for place in places.T}
    assert {(i, j, k) for i in (0, 19) for j in (0, 29) for k in (0, 39)} <= found
    assert len(found) > 8 + 30
    assert (places < np.array([[20], [30], [40]])).all()


def test_training_is_all_directions():
    training = work("conv", "mb2ic3ih5oc4kh3", "train")
    assert training.parts == ("fwd", "bwd_d", "bwd_w")
    assert training.flops == 3 * training.problem.flops
    assert training.bytes == 3 * training.problem.bytes


def test_relative_error():
    right = np.array([3.0, 4.0])
    assert relative_error(np.array([3.0, 4.5]), right) == pytest.approx(0.1)
    assert relative_error(np.array([3.0, np.nan]), right) == np.inf
    assert relative_error(np.array([np.inf, 4.0]), right) == np.inf
    assert relative_error(np.zeros(2), np.zeros(2)) == 0
    assert relative_error(np.ones((2, 1)), right) == np.inf


def test_layouts_change_strides_and_nothing_else():
    operands = {
        "x": np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4),
        "w": np.ones((2, 2, 1, 1)),
    }
    last = in_layout(operands, "nhwc")
    np.testing.assert_array_equal(last["x"], operands["x"])
    assert np.moveaxis(last["x"], 1, -1).flags.c_contiguous
    assert last["w"] is operands["w"]
    assert in_layout(operands, "nchw")["x"] is operands["x"]


def test_more_may_be_wrong_where_factors_are_rounded():
    assert rounding("simt") == 1
    assert rounding("bf16") > rounding("tf32") > 1
    with math_mode("tf32"):
        assert rounding("auto") == rounding("torch") > 1
        assert rounding("bf16") == 5000
