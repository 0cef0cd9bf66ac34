"""Weighted sums of pixels, against loops."""

import numpy as np
import pytest

from minicnn_kernels import match_samples, sample, spread_samples

SIZES = [(6, 2, 3, 5), (1, 1, 1, 1), (4, 3, 0, 5), (4, 0, 2, 3), (5, 2, 4, 0)]
each_size = pytest.mark.parametrize(("size", "channels", "count", "points"), SIZES)


def inputs(rng, size, channels, count, points):
    """Return x, w, dy and pixels, of which some are left out."""
    x, w = rng.normal(size=(size, channels)), rng.normal(size=(count, points))
    return x, w, rng.normal(size=(points, channels)), rng.integers(-1, size, (count, points))


def terms(pixels):
    """Go over (k, p, pixel) for all that are not left out."""
    return [(k, p, pixels[k, p]) for k, p in np.ndindex(pixels.shape) if pixels[k, p] >= 0]


@each_size
def test_sample(rng, size, channels, count, points):
    x, w, dy, pixels = inputs(rng, size, channels, count, points)
    expected = np.zeros(dy.shape)
    for k, p, pixel in terms(pixels):
        expected[p] += w[k, p] * x[pixel]
    np.testing.assert_allclose(sample(x, w, pixels=pixels, algorithm="numpy"), expected)


@each_size
def test_spread_samples(rng, size, channels, count, points):
    x, w, dy, pixels = inputs(rng, size, channels, count, points)
    expected = np.zeros(x.shape)
    for k, p, pixel in terms(pixels):
        expected[pixel] += w[k, p] * dy[p]
    found = spread_samples(dy, w, pixels=pixels, size=size, algorithm="numpy")
    np.testing.assert_allclose(found, expected)


@each_size
def test_match_samples(rng, size, channels, count, points):
    x, w, dy, pixels = inputs(rng, size, channels, count, points)
    expected = np.zeros(w.shape)
    for k, p, pixel in terms(pixels):
        expected[k, p] = x[pixel] @ dy[p]
    np.testing.assert_allclose(match_samples(x, dy, pixels=pixels, algorithm="numpy"), expected)


def test_what_is_left_out_touches_no_value():
    x = np.array([[np.nan], [1.0]])
    y = sample(x, np.ones((1, 2)), pixels=np.array([[-1, 1]]))
    assert y.tolist() == [[0.0], [1.0]]


def test_small_images_are_left_to_numpy():
    x, pixels = np.zeros((4, 2)), np.zeros((1, 3), int)
    assert sample.choose(x, np.zeros((1, 3)), pixels=pixels).name == "numpy"
