"""The kernels for small groups run by the emulation, against the definition in float64."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from convolution_on_card import (
    assert_close,
    check_in_order,
    check_with_what_follows,
    double,
    operands,
)

from minicnn_kernels import kernels
from minicnn_kernels.cuda import depthwise
from minicnn_kernels.geometry import Windows
from minicnn_kernels.reference.convolution import (
    conv_im2col,
    conv_input_im2col,
    conv_weight_im2col,
)

# images, channels, filters, groups, image, kernel, stride, padding, dilation
CASES = {
    "3x3": (2, 8, 8, 8, (7, 9), (3, 3), (1, 1), (1, 1), (1, 1)),
    "3x3 stride 2": (2, 12, 12, 12, (8, 5), (3, 3), (2, 2), (1, 1), (1, 1)),
    "5x5": (1, 4, 4, 4, (6, 7), (5, 5), (1, 1), (2, 2), (1, 1)),
    "5x5 stride 2": (2, 4, 4, 4, (9, 8), (5, 5), (2, 2), (2, 2), (1, 1)),
    "7x7": (1, 4, 4, 4, (8, 6), (7, 7), (1, 1), (3, 3), (1, 1)),
    "groups of 4": (2, 8, 8, 2, (5, 6), (3, 3), (1, 1), (1, 1), (1, 1)),
    "groups of 4 stride 2": (1, 12, 12, 3, (7, 6), (3, 3), (2, 2), (0, 1), (1, 1)),
    "1x3": (2, 4, 4, 4, (4, 9), (1, 3), (1, 1), (0, 1), (1, 1)),
    "dilated": (1, 8, 8, 8, (9, 11), (3, 2), (1, 2), (2, 3), (3, 2)),
    "strides that differ": (2, 3, 3, 3, (9, 8), (2, 3), (3, 1), (1, 0), (1, 2)),
    "odd channels": (1, 37, 37, 37, (4, 4), (3, 3), (1, 1), (1, 1), (1, 1)),
    "more channels than a block": (1, 132, 132, 132, (3, 3), (3, 3), (1, 1), (1, 1), (1, 1)),
    "more channels, stride 2": (1, 132, 132, 132, (4, 3), (3, 3), (2, 2), (1, 1), (1, 1)),
    "multiplier": (2, 3, 6, 3, (5, 7), (3, 3), (2, 1), (1, 2), (1, 1)),
    "groups of 2 and 3": (1, 6, 9, 3, (6, 5), (2, 2), (2, 2), (1, 1), (1, 1)),
    "padding beyond the kernel": (1, 4, 4, 4, (3, 3), (2, 2), (1, 1), (3, 2), (1, 1)),
    "one side": (2, 5, 5, 5, (11,), (3,), (2,), (1,), (2,)),
    "lone pixel": (3, 4, 4, 4, (1, 1), (3, 3), (1, 1), (1, 1), (1, 1)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_forward_and_both_gradients(card, rng, case):
    x, w, dy, settings = operands(case, rng)
    xd, wd, dyd = double(x, w, dy)
    size, kernel = x.shape[2:], w.shape[2:]
    x, w, dy = map(card.array, (x, w, dy))
    with card.no_copies():
        y = depthwise.conv(x, w, **settings)
        dx = depthwise.conv_input(dy, w, size=size, **settings)
        dw = depthwise.conv_weight(x, dy, size=kernel, **settings)
    assert_close(y, conv_im2col(xd, wd, **settings))
    assert_close(dx, conv_input_im2col(dyd, wd, size=size, **settings))
    assert_close(dw, conv_weight_im2col(xd, dyd, size=kernel, **settings))
    assert np.moveaxis(y, 1, -1).flags.c_contiguous


def test_each_regular_geometry_has_a_kernel_of_its_own(card, rng):
    ways = [way for kind, *way in depthwise.ROWS if kind == "f32"]
    for (per_group, width, step), case in zip(ways, CASES.values(), strict=False):
        x, w, dy, settings = operands(case, rng)
        depthwise.conv(card.array(x), card.array(w), **settings)
        depthwise.conv_weight(card.array(x), card.array(dy), size=w.shape[2:], **settings)
        kernel = f"by_rows_f32_r{per_group}_k{width}_s{step}"
        assert {kernel, f"weight_{kernel}"} <= card.seen("launch").keys()


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", ["3x3", "groups of 4 stride 2", "multiplier", "5x5"])
def test_threads_in_any_order(card, rng, name, seed):
    check_in_order(card, rng, depthwise, CASES[name], seed)


@pytest.mark.parametrize("name", ["3x3", "multiplier", "dilated"])
def test_bias_sum_and_relu_follow_at_once(card, rng, name):
    check_with_what_follows(card, rng, depthwise.conv, CASES[name])


def test_relu_keeps_nan(card):
    x, w = np.full((1, 4, 2, 2), np.nan, np.float32), np.ones((4, 1, 1, 1), np.float32)
    settings = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 4}
    y = depthwise.conv(card.array(x), card.array(w), relu=True, **settings)
    assert np.isnan(y.get()).all()


@pytest.mark.parametrize("name", ["3x3", "3x3 stride 2", "5x5", "multiplier"])
def test_bfloat16(card, rng, name):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x, w, dy, settings = operands(CASES[name], rng)
    size, kernel = x.shape[2:], w.shape[2:]
    x, w, dy = (a.astype(bfloat16) for a in (x, w, dy))
    xd, wd, dyd = double(x, w, dy)
    x, w, dy = map(card.array, (x, w, dy))
    y = depthwise.conv(x, w, **settings)
    assert y.dtype == bfloat16
    assert_close(y, conv_im2col(xd, wd, **settings), 4e-3)
    dx = depthwise.conv_input(dy, w, size=size, **settings)
    assert_close(dx, conv_input_im2col(dyd, wd, size=size, **settings), 4e-3)
    dw = depthwise.conv_weight(x, dy, size=kernel, **settings)
    assert_close(dw, conv_weight_im2col(xd, dyd, size=kernel, **settings), 4e-3)


def test_arrays_that_begin_between_vectors(card, rng):
    x, w, dy, settings = operands(CASES["3x3"], rng)
    memory = card.cupy.zeros(x.size + 1, np.float32)
    n, c, *image = x.shape
    shifted = memory[1:].reshape(n, *image, c).transpose(0, 3, 1, 2)
    shifted[...] = card.array(x)
    assert_close(depthwise.conv(shifted, card.array(w), **settings),
                 conv_im2col(*double(x, w), **settings))  # fmt: skip
    dw = depthwise.conv_weight(shifted, card.array(dy), size=(3, 3), **settings)
    assert_close(dw, conv_weight_im2col(*double(x, dy), size=(3, 3), **settings))


@pytest.mark.parametrize("name", ["3x3 stride 2", "groups of 4", "multiplier"])
def test_parts_of_a_sum_add_up_to_the_same_bits(card, rng, name, monkeypatch):
    monkeypatch.setattr(depthwise, "BLOCKS", 20)
    x, w, _, settings = operands(CASES[name], rng)
    x = np.tile(x, (4, 1, 3, 3))
    windows = Windows(x.shape[2:], w.shape[2:], *[settings[k] for k in list(settings)[:3]])
    dy = rng.standard_normal((len(x), len(w), *windows.output)).astype(np.float32)
    found = [
        depthwise.conv_weight(card.array(x), card.array(dy), size=w.shape[2:], **settings)
        for _ in range(2)
    ]
    assert_close(found[0], conv_weight_im2col(*double(x, dy), size=w.shape[2:], **settings))
    assert found[0].get().tobytes() == found[1].get().tobytes()
    assert "add_parts_f32" in card.seen("launch")


def test_auto_takes_it_for_groups_on_a_card(card, rng):
    x, w, dy, settings = operands(CASES["3x3"], rng)
    x, w, dy = map(card.array, (x, w, dy))
    assert kernels["conv"].choose(x, w, **settings).name == "small_groups"
    assert kernels["conv_input"].choose(dy, w, size=(7, 9), **settings).name == "small_groups"
    assert kernels["conv_weight"].choose(x, dy, size=(3, 3), **settings).name == "small_groups"


def problems(count):
    """Draw problems of any size."""
    rng = np.random.default_rng(1)
    while count:
        groups, inputs, outputs = (int(2 ** rng.uniform(0, most)) for most in (10, 4, 4))
        image, kernel = rng.integers(1, 60, 2), rng.integers(1, 8, 2)
        stride, padding, dilation = (rng.integers(*ends, 2) for ends in ((1, 4), (0, 4), (1, 3)))
        sides = [tuple(map(int, side)) for side in (image, kernel, stride, padding, dilation)]
        windows = Windows(*sides)
        if min(windows.output) < 1:
            continue
        count -= 1
        x_shape = (int(rng.integers(1, 40)), groups * inputs, *windows.image)
        dtype = np.dtype(np.float32)
        found = depthwise._problem(dtype, x_shape, groups * outputs, windows, groups)
        yield found._replace(aligned=bool(rng.integers(2)))


def test_plans_cover_every_result_and_fit():
    for problem in problems(2000):
        for planned in (depthwise.plan, depthwise.plan_phases, depthwise.plan_weight):
            plan = planned(problem)
            lanes, width = (
                int(plan.shape["lanes"]),
                4 if "_r" in plan.kernel else int(plan.kernel[-1]),
            )
            assert 1 <= lanes <= 32
            assert plan.shared <= 48 * 1024
            assert plan.grid[1] * lanes * width >= problem.y[2] > (plan.grid[1] - 1) * lanes * width
            assert max(plan.grid[1:]) < 2**16
            if width == 4:
                assert problem.aligned
                assert problem.y[2] % 4 == 0
        strips = plan.grid[0] * (256 // lanes)
        assert 1 <= plan.grid[0] <= problem.images * prod(problem.y[:2])
        assert plan.grid[0] == 1 or strips <= 2 * problem.images * prod(problem.y[:2])
        columns = depthwise.plan(problem)
        rows_of_strip, width_of_strip, _ = depthwise._ways(problem) or (1, 4, 0)
        threads = columns.grid[0] * (256 // int(columns.shape["lanes"]))
        down, across = -(-problem.y[0] // rows_of_strip), -(-problem.y[1] // width_of_strip)
        assert threads >= problem.images * down * across
