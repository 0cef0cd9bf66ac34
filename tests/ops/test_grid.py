from __future__ import annotations

from itertools import product
from math import floor

import numpy as np
import pytest
from geometries import integers

import minicnn
from minicnn.nn import functional as F
from minicnn.ops.grid import affine_grid, grid_sample, match_samples, sample, spread_samples
from minicnn.tensor import Tensor

PIXELS = np.random.default_rng(0).integers(0, 6, (3, 5))
IDENTITY = {
    2: np.eye(2, 3)[None],
    3: np.eye(3, 4)[None],
}


def test_the_three_operations_are_one_sum():
    x, w, dy = integers((6, 2)), integers((3, 5), seed=1), integers((5, 2), seed=2)
    total = sum(
        dy[p, c] * w[k, p] * x[PIXELS[k, p], c] for c, k, p in product(range(2), range(3), range(5))
    )
    assert (sample(x, w, PIXELS) * dy).sum() == total
    assert (spread_samples(dy, w, PIXELS, 6) * x).sum() == total
    assert (match_samples(x, dy, PIXELS) * w).sum() == total


def pixel(image, row, column):
    inside = 0 <= row < image.shape[0] and 0 <= column < image.shape[1]
    return image[row, column] if inside else 0.0


def bilinear(image, x, y):
    """Sample one image at one point of [-1, 1], whose ends are the edges of the outer pixels."""
    column, row = ((x + 1) * image.shape[1] - 1) / 2, ((y + 1) * image.shape[0] - 1) / 2
    i, j = floor(row), floor(column)
    return sum(
        pixel(image, i + a, j + b) * (1 - abs(row - i - a)) * (1 - abs(column - j - b))
        for a, b in product(range(2), range(2))
    )


def test_bilinear_samples_by_definition(rng):
    x, grid = rng.normal(size=(2, 3, 4, 5)), rng.uniform(-1.4, 1.4, (2, 3, 2, 2))
    y = grid_sample(x, grid, "bilinear", "zeros", False)
    for n, c, i, j in np.ndindex(y.shape):
        assert y[n, c, i, j] == pytest.approx(bilinear(x[n, c], *grid[n, i, j]), abs=1e-12)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize(
    ("mode", "sides"),
    [("bilinear", 2), ("bilinear", 3), ("nearest", 2), ("nearest", 3), ("bicubic", 2)],
)
def test_the_points_of_all_pixels_give_the_image(mode, padding_mode, align_corners, sides):
    x = integers((1, 2, 3, 4, 2)[: sides + 2])
    grid = affine_grid(IDENTITY[sides], x.shape[2:], align_corners)
    y = grid_sample(x, grid, mode, padding_mode, align_corners)
    np.testing.assert_allclose(y, x, atol=1e-12)


def test_an_affine_map_turns_an_image():
    x = integers((1, 1, 3, 3))
    quarter = np.array([[[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]])
    y = grid_sample(x, affine_grid(quarter, (3, 3), False), "bilinear", "zeros", False)
    np.testing.assert_allclose(y[0, 0], np.rot90(x[0, 0], -1), atol=1e-12)


def test_reflection_folds_as_often_as_needed():
    x = np.arange(3.0).reshape(1, 1, 1, 3)
    points = np.arange(-9, 10)
    grid = np.stack([(2 * points + 1) / 3 - 1, 0.0 * points], -1)[None, None]
    y = grid_sample(x, grid, "nearest", "reflection", False)
    assert y.ravel().tolist() == [[0, 1, 2, 2, 1, 0][i % 6] for i in points]
    grid[..., 0] = points - 1.0
    y = grid_sample(x, grid, "nearest", "reflection", True)
    assert y.ravel().tolist() == [[0, 1, 2, 1][i % 4] for i in points]


def test_half_way_between_two_pixels_the_even_one_is_the_nearest():
    x = np.arange(5.0).reshape(1, 1, 1, 5)
    grid = np.array([[[[-0.75, 0.0], [-0.25, 0.0], [0.25, 0.0], [0.75, 0.0]]]])
    assert grid_sample(x, grid, "nearest", "zeros", True).ravel().tolist() == [0, 2, 2, 4]


def gradients(mode, padding_mode, point, align_corners=False):
    x = Tensor(np.arange(1.0, 13).reshape(1, 1, 3, 4), requires_grad=True)
    grid = Tensor(np.array(point).reshape(1, 1, 1, 2), requires_grad=True)
    y = grid_sample(x, grid, mode, padding_mode, align_corners)
    return y.item(), *(g.array for g in minicnn.grad(y.sum(), [x, grid]))


def test_a_point_that_is_no_number_is_outside_or_at_the_border():
    for padding_mode in ("border", "reflection"):
        y, dx, _ = gradients("bilinear", padding_mode, [np.nan, 0.0])
        assert y == 5
        assert dx.sum() == 1
    y, dx, dgrid = gradients("bilinear", "zeros", [np.nan, 0.1])
    assert np.isnan(y)
    assert dx.sum() == 0
    assert dgrid[..., 0] == 0
    assert gradients("nearest", "zeros", [np.nan, 0.0])[0] == 0


@pytest.mark.parametrize("far", [1e30, -1e30, np.inf])
def test_points_far_away(far):
    assert gradients("nearest", "zeros", [far, 0.0])[0] == 0
    assert gradients("bilinear", "border", [far, 0.0])[0] == (5 if far < 0 else 8)


def test_beyond_the_border_and_for_the_nearest_pixel_nothing_depends_on_the_point():
    for point in ([1.5, 0.0], [1.0, 0.0], [-1.0, 0.0]):
        assert gradients("bilinear", "border", point)[2][..., 0] == 0
        assert gradients("bilinear", "border", point, align_corners=True)[2][..., 0] == 0
    assert (gradients("nearest", "zeros", [0.3, 0.2])[2] == 0).all()


def test_what_is_seen_in_the_mirror_moves_the_other_way():
    slopes = [
        gradients("bilinear", "reflection", [x, 0.0])[2][0, 0, 0, 0] for x in (0.1, 1.4, -1.4)
    ]
    assert slopes == [2, -2, -2]


def test_a_pixel_that_is_not_finite_matters_only_to_its_neighbours():
    x = np.full((1, 1, 2, 2), np.inf)
    outside = np.full((1, 1, 1, 2), -3.0)
    assert grid_sample(x, outside, "bilinear", "zeros", False).item() == 0
    x = np.array([[[[np.nan, 1.0, 2.0]]]])
    grid = np.array([[[[0.5, 0.0]]]])
    assert grid_sample(x, grid, "bilinear", "zeros", True).item() == 1.5


def test_a_side_of_one_pixel_lies_at_the_middle():
    assert affine_grid(IDENTITY[2], (1, 1), True).tolist() == [[[[0, 0]]]]
    x = np.full((1, 1, 1, 1), 7.0)
    for mode in ("bilinear", "bicubic"):
        y = grid_sample(x, np.full((1, 1, 1, 2), 0.4), mode, "reflection", True)
        assert y.item() == pytest.approx(7)


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
def test_points_that_are_nan_or_inf_give_no_warning(mode, padding_mode):
    x = minicnn.ones(1, 1, 3, 3, requires_grad=True)
    points = [[[[np.nan, 0.0], [np.inf, -np.inf]]]]
    grid = minicnn.tensor(points, dtype=minicnn.float32, requires_grad=True)
    y = F.grid_sample(x, grid, mode=mode, padding_mode=padding_mode, align_corners=False)
    y.sum().backward()
    assert y.shape == (1, 1, 1, 2)
