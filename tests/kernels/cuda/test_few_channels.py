"""The kernels for first layers run by the emulation, against the definition in float64."""

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
from minicnn_kernels.cuda import few_channels
from minicnn_kernels.geometry import Windows
from minicnn_kernels.reference.convolution import conv_im2col, conv_weight_im2col

# images, channels, filters, groups, image, kernel, stride, padding, dilation
CASES = {
    "LeNet": (2, 1, 6, 1, (12, 12), (5, 5), (1, 1), (0, 0), (1, 1)),
    "VGG": (1, 3, 64, 1, (10, 9), (3, 3), (1, 1), (1, 1), (1, 1)),
    "ResNet": (1, 3, 64, 1, (17, 15), (7, 7), (2, 2), (3, 3), (1, 1)),
    "AlexNet": (1, 3, 96, 1, (27, 23), (11, 11), (4, 4), (2, 2), (1, 1)),
    "few images of many columns": (1, 2, 20, 1, (3, 140), (2, 3), (1, 2), (1, 0), (1, 1)),
    "odd": (2, 4, 37, 1, (9, 11), (4, 2), (3, 1), (1, 2), (2, 1)),
    "one filter": (3, 1, 1, 1, (5, 6), (3, 3), (1, 1), (1, 1), (1, 1)),
    "one window": (2, 3, 9, 1, (4, 5), (4, 5), (1, 1), (0, 0), (1, 1)),
    "one side": (2, 2, 12, 1, (21,), (5,), (2,), (2,), (1,)),
    "padding beyond the kernel": (1, 3, 16, 1, (3, 2), (2, 2), (2, 2), (3, 4), (1, 1)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_forward_and_gradient(card, rng, case):
    x, w, dy, settings = operands(case, rng)
    y = conv_im2col(*double(x, w), **settings)
    dw = conv_weight_im2col(*double(x, dy), size=w.shape[2:], **settings)
    size, (x, w, dy) = w.shape[2:], map(card.array, (x, w, dy))
    with card.no_copies():
        found = few_channels.conv(x, w, **settings)
        found_dw = few_channels.conv_weight(x, dy, size=size, **settings)
    assert_close(found, y)
    assert_close(found_dw, dw)
    assert np.moveaxis(found, 1, -1).flags.c_contiguous


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", ["LeNet", "VGG", "odd"])
def test_threads_in_any_order(card, rng, name, seed):
    check_in_order(card, rng, few_channels, CASES[name], seed)


@pytest.mark.parametrize("name", ["LeNet", "ResNet", "odd"])
def test_bias_sum_and_relu_follow_at_once(card, rng, name):
    check_with_what_follows(card, rng, few_channels.conv, CASES[name])


@pytest.mark.parametrize("name", ["LeNet", "VGG", "odd"])
def test_bfloat16(card, rng, name):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x, w, dy, settings = operands(CASES[name], rng)
    x, w, dy = (a.astype(bfloat16) for a in (x, w, dy))
    y = few_channels.conv(card.array(x), card.array(w), **settings)
    assert y.dtype == bfloat16
    assert_close(y, conv_im2col(*double(x, w), **settings), 4e-3)
    dw = few_channels.conv_weight(card.array(x), card.array(dy), size=w.shape[2:], **settings)
    assert_close(dw, conv_weight_im2col(*double(x, dy), size=w.shape[2:], **settings), 4e-3)


@pytest.mark.parametrize("type", ["float32", "bfloat16"])
@pytest.mark.parametrize("together", few_channels.FILTERS)
def test_so_many_filters_together(card, rng, monkeypatch, together, type):
    dtype = np.float32 if type == "float32" else pytest.importorskip("ml_dtypes").bfloat16
    bound = 2e-6 if type == "float32" else 4e-3
    monkeypatch.setattr(few_channels, "FILTERS", {together: few_channels.FILTERS[together]})
    for name in ("plan", "plan_weight"):
        monkeypatch.setattr(few_channels, name, getattr(few_channels, name).__wrapped__)
    x, w, dy, settings = operands(CASES["odd"], rng)
    x, w, dy = (a.astype(dtype) for a in (x, w, dy))
    y = few_channels.conv(card.array(x), card.array(w), **settings)
    assert_close(y, conv_im2col(*double(x, w), **settings), bound)
    dw = few_channels.conv_weight(card.array(x), card.array(dy), size=w.shape[2:], **settings)
    assert_close(dw, conv_weight_im2col(*double(x, dy), size=w.shape[2:], **settings), bound)


@pytest.mark.parametrize("name", ["LeNet", "VGG", "odd"])
def test_parts_of_a_sum_add_up_to_the_same_bits(card, rng, name, monkeypatch):
    monkeypatch.setattr(few_channels, "BLOCKS", 7)
    x, w, dy, settings = operands(CASES[name], rng)
    found = [
        few_channels.conv_weight(card.array(x), card.array(dy), size=w.shape[2:], **settings)
        for _ in range(2)
    ]
    assert_close(found[0], conv_weight_im2col(*double(x, dy), size=w.shape[2:], **settings))
    assert found[0].get().tobytes() == found[1].get().tobytes()
    assert card.seen("launch")["add_parts_f32"] == 2


def test_a_pixel_that_no_window_sees_does_not_matter(card, rng):
    x, _, dy, settings = operands((1, 3, 8, 1, (5, 6), (3, 3), (2, 2), (0, 0), (1, 1)), rng)
    x[..., -1] = np.nan
    dw = few_channels.conv_weight(card.array(x), card.array(dy), size=(3, 3), **settings)
    assert np.isfinite(dw.get()).all()


def test_auto_takes_it_for_few_channels_on_a_card(card, rng):
    x, w, dy, settings = operands(CASES["ResNet"], rng)
    x, w, dy = map(card.array, (x, w, dy))
    assert kernels["conv"].choose(x, w, **settings).name == "few_channels"
    assert kernels["conv_weight"].choose(x, dy, size=(7, 7), **settings).name == "few_channels"


def test_plans_cover_every_result_and_fit():
    rng = np.random.default_rng(1)
    for _ in range(2000):
        channels, filters = int(rng.integers(1, 5)), int(2 ** rng.uniform(0, 9))
        image, kernel = rng.integers(1, 300, 2), rng.integers(1, 64 // channels, 2)
        stride, padding = rng.integers(1, 24 // channels + 1, 2), rng.integers(0, 8, 2)
        sides = [tuple(map(int, side)) for side in (image, kernel, stride, padding)]
        windows = Windows(*sides)
        if min(windows.output) < 1:
            continue
        images = int(rng.integers(1, 9))
        shape = (images, channels, *windows.image)
        problem = few_channels._problem(np.dtype(np.float32), shape, filters, windows)
        plan, weight = few_channels.plan(problem), few_channels.plan_weight(problem)
        for chosen in (plan, weight):
            together = int(chosen.kernel.rpartition("_")[2])
            assert chosen.grid[1] * together >= filters > (chosen.grid[1] - 1) * together
            assert chosen.shared <= 48 * 1024
        columns = int(plan.shape["tile_width"])
        lanes = 256 // few_channels.FILTERS[int(plan.kernel.rpartition("_")[2])][0]
        assert lanes % columns == 0
        rows = 8 * lanes // columns
        tiles = -(-windows.output[0] // rows) * -(-windows.output[1] // columns)
        assert plan.grid[0] == images * tiles
        groups, _ = few_channels.FILTERS[int(weight.kernel.rpartition("_")[2])]
        lanes, columns = int(weight.shape["lanes"]), int(weight.shape["tile_width"])
        assert (256 // groups) % lanes == 0
        assert weight.grid[2] * 5 * lanes >= channels * prod(windows.kernel)
        assert 1 <= weight.grid[0] <= images * windows.output[0] * -(-windows.output[1] // columns)
