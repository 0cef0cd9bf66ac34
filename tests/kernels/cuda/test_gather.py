"""Sums by position on a card have the bits of a loop's; weighted sums are right."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn_kernels import kernels
from minicnn_kernels.cuda import gather


@pytest.fixture(params=[2**14, 4], ids=["found", "sorted"])
def way(request, monkeypatch):
    """Equal positions are looked for, or sorted."""
    monkeypatch.setattr(gather, "SCANNED", request.param)


CASES = [
    ((5, 7), (30, 7), 0),
    ((6, 5), (6, 40), 1),
    ((3, 4, 5), (3, 9, 5), 1),
    ((300,), (7,), 0),
    ((2,), (500,), 0),
    ((4, 6, 3), (2, 8, 3), 1),
    ((4, 6), (0, 6), 0),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("shape", "sizes", "dim"), CASES, ids=str)
def test_values_are_added_in_order(card, rng, way, shape, sizes, dim, dtype):
    y = rng.standard_normal(shape).astype(dtype)
    values = rng.standard_normal(sizes).astype(dtype)
    chosen = rng.integers(0, shape[dim], sizes)
    on_card = card.array(y)
    kernels["add_along"](on_card, card.array(values), card.array(chosen), dim=dim, algorithm="cuda")
    for place in np.ndindex(*sizes):
        y[*place[:dim], chosen[place], *place[dim + 1 :]] += values[place]
    np.testing.assert_array_equal(on_card.get(), y)


@pytest.mark.parametrize("shape", [(9, 3), (4, 9, 5), (2, 9)], ids=str)
def test_lines_are_added_in_order(card, rng, way, shape):
    dim = shape.index(9)
    chosen = rng.integers(0, 9, 50)
    y = rng.standard_normal(shape).astype(np.float32)
    values = rng.standard_normal((*shape[:dim], 50, *shape[dim + 1 :])).astype(np.float32)
    on_card = card.array(y)
    kernels["add_lines"](on_card, card.array(values), card.array(chosen), dim=dim)
    lines = np.moveaxis(y, dim, 0)
    for line, add in zip(chosen, np.moveaxis(values, dim, 0), strict=True):
        lines[line] += add
    np.testing.assert_array_equal(on_card.get(), y)
    assert "add_linked_f32" in card.seen("launch")


def test_nothing_is_added(card):
    y = card.array(np.ones((3, 2)))
    nothing = card.array(np.zeros((0, 2))), card.array(np.zeros(0, int))
    kernels["add_lines"](y, *nothing, dim=0)
    kernels["add_along"](y, nothing[0], card.array(np.zeros((0, 2), int)), dim=0)
    np.testing.assert_array_equal(y.get(), 1)


def test_small_sums_wait_for_nothing(card, rng):
    y, values = card.array(np.zeros((4, 3))), card.array(rng.standard_normal((6, 3)))
    chosen = card.array(rng.integers(0, 4, 6))
    with card.no_copies():
        kernels["add_lines"](y, values, chosen, dim=0)
    assert not card.seen("thrust")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [1, 5, 40])
def test_samples_of_images(card, rng, way, channels, dtype):
    pixels = rng.integers(-1, 12, (4, 31))
    x, dy, w = (
        rng.standard_normal(shape).astype(dtype)
        for shape in ((12, channels), (31, channels), (4, 31))
    )
    xc, dyc, wc, pc = map(card.array, (x, dy, w, pixels))
    rows = np.concatenate([x.astype(float), np.zeros((1, channels))])
    close = {"rtol": 1e-5 if dtype == "float32" else 1e-12, "atol": 1e-5}
    y = kernels["sample"](xc, wc, pixels=pc, algorithm="cuda")
    np.testing.assert_allclose(y.get(), np.einsum("kpc,kp->pc", rows[pixels], w), **close)
    dw = kernels["match_samples"](xc, dyc, pixels=pc, algorithm="cuda")
    np.testing.assert_allclose(dw.get(), np.einsum("kpc,pc->kp", rows[pixels], dy), **close)
    dx = kernels["spread_samples"](dyc, wc, pixels=pc, size=12, algorithm="cuda")
    expected = np.zeros_like(x)
    for k, p in np.ndindex(4, 31):
        if pixels[k, p] >= 0:
            expected[pixels[k, p]] += w[k, p] * dy[p]
    np.testing.assert_array_equal(dx.get(), expected)


@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 7, 4), (2, 3, 4, 7), (7, 2)], ids=str)
def test_weighted_sums_along_a_dimension(card, rng, shape):
    dim = shape.index(7)
    places, weights = rng.integers(0, 7, (3, 5)), rng.standard_normal((3, 5)).astype(np.float32)
    x = rng.standard_normal(shape).astype(np.float32)
    y = kernels["weighted_sums"](*map(card.array, (x, places, weights)), dim=dim, algorithm="cuda")
    expected = sum(
        np.moveaxis(np.moveaxis(x, dim, -1)[..., p] * w.astype(float), -1, dim)
        for p, w in zip(places, weights, strict=True)
    )
    np.testing.assert_allclose(y.get(), expected, rtol=1e-5, atol=1e-6)
