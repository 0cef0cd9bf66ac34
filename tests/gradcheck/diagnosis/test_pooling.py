"""Wrong windows, and wrong winners in the right ones."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from evidence_of_pair import causes_of
from right_pairs import normal


def windows(x, kernel, stride, count=None):
    sides = zip(x.shape[2:], kernel, stride, strict=True)
    count = count or [(n - k) // s + 1 for n, k, s in sides]
    for place in product(*map(range, count)):
        starts = [t * s for t, s in zip(place, stride, strict=True)]
        yield place, tuple(slice(b, b + k) for b, k in zip(starts, kernel, strict=True))


def largest(x, kernel, stride):
    sides = zip(x.shape[2:], kernel, stride, strict=True)
    y = np.zeros((*x.shape[:2], *[(n - k) // s + 1 for n, k, s in sides]))
    for t, span in windows(x, kernel, stride):
        y[:, :, *t] = x[:, :, *span].max(axis=(2, 3))
    return y


def mean(x, kernel, stride):
    sides = zip(x.shape[2:], kernel, stride, strict=True)
    y = np.zeros((*x.shape[:2], *[(n - k) // s + 1 for n, k, s in sides]))
    for t, span in windows(x, kernel, stride):
        y[:, :, *t] = x[:, :, *span].mean(axis=(2, 3))
    return y


def spread(dy, x, kernel, stride, share):
    """Give each window's dy to its cells by `share(part of x)`."""
    dx = np.zeros_like(x)
    for t, span in windows(x, kernel, stride, dy.shape[2:]):
        part = dx[:, :, *span]
        if part.size:
            rows, columns = part.shape[2:]
            part += dy[:, :, *t, None, None] * share(x[:, :, *span])[:, :, :rows, :columns]
    return dx


def won(part):
    return (part == part.max(axis=(2, 3), keepdims=True)) * 1.0


K, S = (2, 3), (3, 2)
(X,) = normal((2, 1, 8, 9))
LARGEST = {
    "stride exchanged": (S[::-1], won, "geometry"),
    "stride ignored": ((1, 1), won, "geometry"),
    "window for stride": (K, won, "geometry"),
    "every cell": (S, lambda part: np.ones_like(part), "local-derivative"),
    "as a mean": (S, lambda part: np.full_like(part, 1 / 6), "local-derivative"),
    "smallest": (S, lambda part: won(-part), "local-derivative"),
    "absolute": (S, lambda part: won(np.abs(part)), "local-derivative"),
    "first image": (S, lambda part: np.broadcast_to(won(part)[:1], part.shape), "partial"),
}


@pytest.mark.parametrize("name", LARGEST)
def test_max_pool(name):
    stride, share, cause = LARGEST[name]
    found = causes_of(
        lambda x: largest(x, K, S), lambda dy, x: (spread(dy, x, K, stride, share),), X
    )
    assert found[0] == cause


MEAN = {
    "stride exchanged": (K, S[::-1], 6, "geometry"),
    "stride ignored": (K, (1, 1), 6, "geometry"),
    "window exchanged": (K[::-1], S, 6, "geometry"),
    "not divided": (K, S, 1, "factor"),
    "divided by the width": (K, S, 3, "factor"),
}


@pytest.mark.parametrize("name", MEAN)
def test_mean_pool(name):
    kernel, stride, area, cause = MEAN[name]
    (x,) = normal((2, 2, 6, 7))

    def share(part):
        return np.full(part.shape[:2] + kernel, 1 / area)

    found = causes_of(
        lambda x: mean(x, K, S), lambda dy, x: (spread(dy, x, kernel, stride, share),), x
    )
    assert found[0] == cause
