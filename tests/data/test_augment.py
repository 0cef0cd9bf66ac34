"""Random moves of images: exact for moves with a known answer, and reproducible."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn.data.augment import RandomAffine, sample
from minicnn.errors import ArgumentError


def test_sampling_at_pixels_returns_them():
    images = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    rows, columns = np.mgrid[:4, :5]
    found = sample(images, np.stack([rows] * 2), np.stack([columns] * 2))
    np.testing.assert_array_equal(found, images)
    assert found.dtype == np.float32


def test_sampling_between_pixels_against_scipy():
    ndimage = pytest.importorskip("scipy.ndimage")
    rng = np.random.default_rng(0)
    images = rng.standard_normal((2, 1, 6, 7))
    rows, columns = rng.uniform(-2, 8, (2, 5, 4)), rng.uniform(-2, 9, (2, 5, 4))
    found = sample(images, rows, columns)
    for n in range(2):
        expected = ndimage.map_coordinates(
            images[n, 0], [rows[n], columns[n]], order=1, mode="nearest"
        )
        np.testing.assert_allclose(found[n, 0], expected, rtol=1e-12)


def test_no_change_without_settings():
    images = minicnn.randn(3, 1, 5, 6)
    np.testing.assert_allclose(RandomAffine()(images).numpy(), images.numpy(), atol=1e-6)


def test_a_quarter_turn_and_a_shift(monkeypatch):
    image = np.zeros((1, 1, 5, 5), np.float32)
    image[0, 0, 0, 2] = 1.0  # in the middle of the top row

    def fixed(angle, factor, shift):
        draws = iter([np.array([angle]), np.array([factor]), np.array(shift).reshape(2, 1)])
        monkeypatch.setattr(
            minicnn.random.default,
            "numpy_generator",
            lambda: type("Fixed", (), {"uniform": lambda *_: next(draws)}),
        )

    fixed(90.0, 0.0, [0.0, 0.0])
    turned = RandomAffine(degrees=90)(minicnn.tensor(image)).numpy()[0, 0]
    assert np.argwhere(turned > 0.99).tolist() in ([[2, 0]], [[2, 4]])
    fixed(0.0, 0.0, [-0.4, 0.2])  # the result looks 2 pixels up and 1 to the right
    moved = RandomAffine(translate=0.5)(minicnn.tensor(image)).numpy()[0, 0]
    assert np.argwhere(moved > 0.99).tolist() == [[0, 1], [1, 1], [2, 1]]  # the border is repeated


def test_each_image_moves_on_its_own_and_the_seed_fixes_it():
    images = minicnn.tensor(np.repeat(np.random.default_rng(0).random((1, 1, 8, 8)), 3, axis=0))
    move = RandomAffine(degrees=20, translate=0.2, scale=0.2)
    minicnn.manual_seed(5)
    first = move(images).numpy()
    minicnn.manual_seed(5)
    again = move(images).numpy()
    assert np.array_equal(first, again)
    assert not np.allclose(first[0], first[1])
    assert not np.allclose(move(images).numpy(), again)


def test_refusals():
    with pytest.raises(ArgumentError, match="degrees=-1"):
        RandomAffine(degrees=-1)
    with pytest.raises(ArgumentError, match="scale=1"):
        RandomAffine(scale=1)
