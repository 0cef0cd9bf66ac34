"""Normalisation on a card against the NumPy reference in float64: all kinds of groups."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn_kernels import kernels, no_moments
from minicnn_kernels.cuda import columns
from minicnn_kernels.reference import normalization as reference

LAYOUTS = {"images first": (0, 1, 2, 3), "channels last": (0, 2, 3, 1)}
GROUPS = {  # axes, shape of gamma
    "batch": ((0, 2, 3), lambda n, c, h, w: (1, c, 1, 1)),
    "instance": ((2, 3), lambda n, c, h, w: (1, c, 1, 1)),
    "image": ((1, 2, 3), lambda n, c, h, w: (1, c, 1, 1)),
    "layer": ((1, 2, 3), lambda n, c, h, w: (1, c, h, w)),
    "last": ((3,), lambda n, c, h, w: (1, 1, 1, w)),
    "channels": ((1,), lambda n, c, h, w: (1, c, 1, 1)),
    "unweighted": ((1, 2, 3), lambda n, c, h, w: (1, 1, 1, 1)),
    "batch, unweighted": ((0, 2, 3), lambda n, c, h, w: (1, 1, 1, 1)),
}
SHAPES = [(4, 3, 5, 2), (1, 1, 1, 7), (1, 3, 2, 2), (5, 1, 3, 3), (3, 2, 1, 1), (2, 8, 9, 13)]
RTOL = 2e-6  # of norms, for sums in float32


def laid_out(x, order):
    """Return the same values with another order of the axes in memory."""
    return np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))


def drawn(rng, shape, weights, order):
    """Return x, dy, gamma, beta, add as they lie in memory."""
    x, dy, add = (laid_out(rng.normal(m, 1, shape).astype(np.float32), order) for m in (2, 0, 0))
    gamma, beta = (rng.normal(size=weights).astype(np.float32) for _ in range(2))
    return x, dy, gamma, beta, add


def close(found, expected):
    """Compare an array on a card with another, by norms."""
    found = found.get()
    assert found.shape == expected.shape
    assert np.linalg.norm(found - expected) <= RTOL * max(1, np.linalg.norm(expected))


def both_ways(algorithm, x, dy, gamma, beta, add, relu, **settings):
    """Return y, mean, var, dx, dgamma, dbeta, dadd."""
    moments = no_moments(x, settings["axes"])
    forward, backward = kernels["normalize"], kernels["normalize_gradients"]
    given = {"algorithm": algorithm, **settings}
    y = forward(x, gamma, beta, add, *moments, relu=relu, **given)
    again, result = beta if relu and add is None else None, y if relu else None
    return y, *moments, *backward(dy, x, gamma, again, result, *moments, **given)


def compare(card, x, dy, gamma, beta, add=None, relu=False, **settings):
    """Compare with the reference in float64."""
    given = x, dy, gamma, beta, add
    exact = [None if v is None else v.astype(np.float64) for v in given]
    expected = both_ways("blocks", *exact, relu, **settings)
    given = [None if v is None else card.array(v) for v in given]
    with card.no_copies():
        found = both_ways("cuda", *given, relu, **settings)
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if b is not None:
            close(a, b)
    return found


@pytest.mark.parametrize("order", LAYOUTS.values(), ids=list(LAYOUTS))
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_as_the_reference(card, rng, order, group, shape):
    axes, weights = GROUPS[group]
    x, dy, gamma, beta, _ = drawn(rng, shape, weights(*shape), order)
    for centered in (True, False):
        y, *_, dx, _, _, _ = compare(
            card, x, dy, gamma, beta, axes=axes, eps=1e-2, centered=centered
        )
        assert {v.dtype.name for v in (y, dx)} == {"float32"}
    if group == "batch":
        assert all(np.moveaxis(v.values, 1, -1).flags.c_contiguous for v in (y, dx))


@pytest.mark.parametrize("order", LAYOUTS.values(), ids=list(LAYOUTS))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("group", ["batch", "instance", "batch, unweighted"])
def test_rectified_as_the_reference(card, rng, order, shape, group):
    axes, weights = GROUPS[group]
    x, dy, gamma, beta, add = drawn(rng, shape, weights(*shape), order)
    for added in (None, add):
        compare(card, x, dy, gamma, beta, added, relu=True, axes=axes, eps=1e-2)


def test_groups_of_channels(card, rng):
    for order in LAYOUTS.values():
        x, dy = (laid_out(v, order) for v in rng.normal(size=(2, 3, 24, 5, 6)).astype(np.float32))
        gamma, beta = rng.normal(size=(2, 1, 2, 12, 1, 1)).astype(np.float32)
        x, dy = (v.reshape(3, 2, 12, 5, 6) for v in (x, dy))
        compare(card, x, dy, gamma, beta, axes=(2, 3, 4), eps=1e-5)


@pytest.mark.parametrize("shape", [(500, 12), (6, 200, 5), (300, 33, 1, 1)], ids=str)
def test_many_chunks_and_other_numbers_of_sides(card, rng, monkeypatch, shape):
    monkeypatch.setattr(columns, "LEAST", 1)
    x, dy = rng.normal(size=(2, *shape)).astype(np.float32)
    weights = (1, shape[1], *[1] * (len(shape) - 2))
    gamma, beta = rng.normal(size=(2, *weights)).astype(np.float32)
    compare(card, x, dy, gamma, beta, axes=(0, *range(2, len(shape))), eps=1e-5, relu=True)


@pytest.mark.parametrize("shape", [(3, 5, 20, 14), (2, 3, 19, 19)], ids=str)
def test_long_rows_have_a_block(card, rng, shape):
    axes, weights = GROUPS["layer"]
    x, dy, gamma, beta, _ = drawn(rng, shape, weights(*shape), LAYOUTS["channels last"])
    compare(card, x + 1000, dy, gamma, beta, axes=axes, eps=1e-5)
    compare(card, x, dy, gamma, beta, axes=axes, eps=1e-5, centered=False)


def test_rows_are_not_rectified(card, rng):
    x, gamma = card.array(np.ones((3, 4, 5), np.float32)), card.array(np.ones((1, 4, 5), "f4"))
    arrays = x, gamma, gamma, None, *no_moments(x, (1, 2))
    for relu, name in ((False, "cuda"), (True, "blocks")):
        chosen = kernels["normalize"].choose(*arrays, axes=(1, 2), eps=1e-5, relu=relu)
        assert chosen.name == name


@pytest.mark.parametrize("spread", [1e-2, 1.0])
def test_a_large_mean_does_not_swallow_the_variance(card, rng, spread):
    x = laid_out(rng.normal(1e4, spread, (8, 4, 12, 12)).astype(np.float32), (0, 2, 3, 1))
    x[3, 2, 5, 5] = 1.0  # not even where a value is far away
    axes, one = (0, 2, 3), np.ones((1, 1, 1, 1), np.float32)
    moments = no_moments(card.array(x), axes)
    arrays = map(card.array, (x, one, 0 * one))
    y = kernels["normalize"](*arrays, None, *moments, axes=axes, eps=1e-12, algorithm="cuda")
    exact = x.astype(np.float64)
    mean, var = exact.mean(axes, keepdims=True), exact.var(axes, keepdims=True)
    np.testing.assert_allclose(moments[0].get(), mean, rtol=1e-8)
    np.testing.assert_allclose(moments[1].get(), var, rtol=1e-5)
    np.testing.assert_allclose(y.get(), (exact - mean) / np.sqrt(var), atol=1e-4)


def test_a_large_mean_costs_gradients_no_digits(card, rng):
    """The mean lies between two floats, half a standard deviation apart."""
    x, dy, gamma, beta, _ = drawn(rng, (4, 8, 9, 7), (1, 8, 1, 1), LAYOUTS["channels last"])
    x = (1e4 + 1e-3 * x).astype(np.float32)
    compare(card, x, dy + 1, gamma, beta, axes=(0, 2, 3), eps=1e-7)
    gamma, beta = rng.normal(size=(2, 1, 8, 9, 7)).astype(np.float32)
    compare(card, x, dy + 1, gamma, beta, axes=(1, 2, 3), eps=1e-7)


def test_the_gradient_knows_to_the_last_bit_where_the_result_is_0(card, rng):
    """Results that all but cancel: rounded otherwise, many would have another sign."""
    x = laid_out(rng.normal(3, 1e-3, (4, 16, 5, 7)).astype(np.float32), (0, 2, 3, 1))
    gamma, beta = np.ones((2, 1, 16, 1, 1), np.float32)
    settings = {"axes": (0, 2, 3), "eps": 1e-5, "algorithm": "cuda"}
    values = kernels["normalize"](
        *map(card.array, (x, gamma, 0 * beta)), None, *no_moments(card.array(x), (0, 2, 3)),
        **settings,
    ).get()  # fmt: skip
    beta[...] = -np.median(values, (0, 2, 3), keepdims=True)
    x = laid_out(np.where(np.abs(values + beta) < 0.05, x.mean(), x), (0, 2, 3, 1))
    x, gamma, beta, ones = map(card.array, (x, gamma, beta, np.ones_like(x)))
    moments = no_moments(x, (0, 2, 3))
    y = kernels["normalize"](x, gamma, beta, None, *moments, relu=True, **settings)
    found = kernels["normalize_gradients"](ones, x, gamma, beta, y, *moments, **settings)
    np.testing.assert_array_equal(found[2].get(), (y.get() != 0).sum((0, 2, 3), keepdims=True))


def test_a_nan_spoils_its_own_group_only(card, rng):
    x, dy, gamma, beta, add = drawn(rng, (2, 4, 4, 5), (1, 4, 1, 1), (0, 2, 3, 1))
    x[1, 1, 2, 3], dy[0, 2, 1, 1], add[1, 3, 0, 0] = np.nan, np.nan, np.nan
    settings = {"axes": (0, 2, 3), "eps": 1e-5}
    exact = [v.astype(np.float64) for v in (x, dy, gamma, beta, add)]
    on_card = [card.array(v) for v in (x, dy, gamma, beta, add)]
    for k in (4, 5):
        given = (v[:k] + [None] * (5 - k) for v in (exact, on_card))
        expected, found = (
            both_ways(name, *v, True, **settings)
            for name, v in zip(("blocks", "cuda"), given, strict=True)
        )
        for a, b in zip(found, expected, strict=True):
            if b is not None:
                np.testing.assert_array_equal(np.isnan(a.get()), np.isnan(b))


@pytest.mark.parametrize("channels", [1, 5, 300])
def test_moved_averages_as_the_reference(card, rng, channels):
    running = rng.uniform(1, 2, (2, channels)).astype(np.float32)
    moments = rng.uniform(1, 2, (2, 1, channels, 1, 1))
    settings = {"momentum": 0.1, "unbiased": 1.25}
    on_card = [card.array(v) for v in (*running, *moments)]
    with card.no_copies():
        kernels["move_averages"](*on_card, algorithm="cuda", **settings)
    reference.move_averages_by_numpy(*running, *moments, **settings)
    for found, expected in zip(on_card, running, strict=False):
        np.testing.assert_allclose(found.get(), expected, rtol=2e-7)


@pytest.mark.parametrize("weights", [(1, 1, 1, 1), None], ids=["one weight", "of channels"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rescale_as_the_reference(card, rng, shape, weights):
    x, _, _, _, add = drawn(rng, shape, (1,), (0, 2, 3, 1))
    of_channels = (1, shape[1], 1, 1)
    mean, var = (rng.uniform(1, 2, of_channels).astype(np.float32) for _ in range(2))
    gamma, beta = (rng.normal(size=weights or of_channels).astype(np.float32) for _ in range(2))
    for given, relu in ((None, False), (add, True)):
        arrays = [x, gamma, beta, given, mean, var]
        exact = [None if v is None else v.astype(np.float64) for v in arrays]
        expected = reference.rescale_by_broadcasting(*exact, eps=1e-3, relu=relu)
        on_card = [None if v is None else card.array(v) for v in arrays]
        close(kernels["rescale"](*on_card, eps=1e-3, relu=relu, algorithm="cuda"), expected)
