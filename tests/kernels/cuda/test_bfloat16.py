"""Kernels for bfloat16 compute in float32: their results are those of float32, rounded."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn_kernels import kernels, no_moments
from minicnn_kernels.geometry import Bins, Windows

bfloat16 = pytest.importorskip("ml_dtypes").bfloat16

BATCH, LAYER = (0, 2, 3), (1, 2, 3)


def both(card, name, *arrays, **settings):
    """Return what a card computes in bfloat16 and in float32, of the same values."""
    found = []
    for dtype in (bfloat16, np.float32):
        given = [
            card.array(v.astype(dtype) if v.dtype == bfloat16 else v) if v is not None else None
            for v in arrays
        ]
        results = kernels[name](*given, algorithm="cuda", **settings)
        found.append(results if isinstance(results, tuple) else (results,))
    return zip(*found, strict=True)


def compare(card, name, *arrays, **settings):
    """Compare results in bfloat16 with those in float32."""
    for narrow, wide in both(card, name, *arrays, **settings):
        if wide is not None:
            assert narrow.dtype in (bfloat16, wide.dtype)
            a, b = (v.get().astype(np.float64) for v in (narrow, wide))
            assert np.linalg.norm(a - b) <= 4e-3 * np.linalg.norm(b)


def drawn(rng, *shapes):
    """Return images in bfloat16 with their channels last in memory."""
    for shape in shapes:
        x = rng.normal(1, 1, shape).astype(bfloat16)
        yield np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1) if x.ndim > 2 else x


@pytest.mark.parametrize("channels", [3, 8])
@pytest.mark.parametrize("found", [
    Windows((9, 7), (3, 3), (2, 2), (1, 1)), Windows((18, 19), (18, 17)), Bins((9, 7), (2, 3)),
], ids=["windows", "many cells", "bins"])  # fmt: skip
def test_pooling(card, rng, channels, found):
    x, dy = drawn(rng, (2, channels, *found.image), (2, channels, *found.output))
    (y, _), (winner, _) = both(card, "max_winners", x, windows=found)
    assert y.dtype == bfloat16
    compare(card, "take_winners", x, winner.get(), windows=found)
    compare(card, "route_to_winners", dy, winner.get(), windows=found)
    if isinstance(found, Windows):
        compare(card, "window_sum", x, windows=found)
        compare(card, "window_spread", dy, windows=found)


@pytest.mark.parametrize("of_weights", [bfloat16, np.float32])
@pytest.mark.parametrize(("shape", "axes", "weighted"), [
    ((4, 8, 5, 6), BATCH, [1]), ((4, 3, 5, 6), BATCH, [1]), ((4, 8, 5, 6), BATCH, []),
    ((4, 8, 5, 6), LAYER, LAYER), ((4, 3, 5, 6), LAYER, LAYER), ((2, 8, 12, 12), LAYER, LAYER),
    ((2, 3, 19, 19), LAYER, LAYER),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("relu", [False, True])
def test_normalisation(card, rng, of_weights, shape, axes, weighted, relu):
    relu = relu and axes == BATCH
    x, dy, add = drawn(rng, *[shape] * 3)
    weights = [n if i in weighted else 1 for i, n in enumerate(shape)]
    gamma, beta = rng.normal(size=(2, *weights)).astype(of_weights)
    moments = [v.get() for v in no_moments(card.array(x), axes)]
    for more in (None, add) if relu else (None,):
        on_card = [card.array(v) for v in moments]
        given = [None if v is None else card.array(v) for v in (x, gamma, beta, more)]
        y = kernels["normalize"](
            *given, *on_card, axes=axes, eps=1e-3, relu=relu, algorithm="cuda"
        ).get()
        moments = [v.get() for v in on_card]
        result, again = (y, None if more is not None else beta) if relu else (None, None)
        compare(card, "normalize", x, gamma, beta, more, *moments, axes=axes, eps=1e-3, relu=relu)
        arrays = dy, x, gamma, again, result, *moments
        compare(card, "normalize_gradients", *arrays, axes=axes, eps=1e-3)
    if axes == BATCH and weighted:
        mean, var = (v.astype(x.dtype) for v in moments)
        compare(card, "rescale", x, gamma, beta, add, mean, var, eps=1e-3, relu=True)


@pytest.mark.parametrize(("shape", "dim"), [((4, 10), 1), ((2, 1100), 1), ((2, 5, 7), 1)], ids=str)
def test_softmax(card, rng, shape, dim):
    x, dy = rng.normal(0, 2, (2, *shape)).astype(bfloat16)
    labels = rng.integers(0, shape[dim], shape[:dim] + shape[dim + 1 :])
    slopes = rng.normal(size=labels.shape).astype(bfloat16)
    compare(card, "softmax", x, dim=dim)
    compare(card, "softmax_gradient", dy, x, dim=dim)
    compare(card, "log_softmax", x, dim=dim)
    compare(card, "log_softmax_gradient", dy, x, dim=dim)
    compare(card, "log_total", x, dim=dim)
    compare(card, "cross_entropy", x, labels, dim=dim)
    compare(card, "cross_entropy_gradient", slopes, x, labels, dim=dim)
    count = np.empty((), np.float32)
    compare(card, "mean_cross_entropy", x, labels, count, dim=dim, ignore=0)


@pytest.mark.parametrize("channels", [3, 8])
def test_sums(card, rng, channels):
    (x,) = drawn(rng, (4, channels, 5, 6))
    compare(card, "total", x, axes=BATCH)
