from __future__ import annotations

import hashlib
from importlib import resources

import numpy as np
import pytest

from minicnn.data.digits import Digits, enlarge, read_digits, split_indices
from minicnn.errors import ArgumentError

SPLITS = {"train": 1197, "validation": 300, "test": 300}


def _sha256(array, dtype):
    return hashlib.sha256(array.astype(dtype).tobytes()).hexdigest()


# --- the stored data ------------------------------------------------------------------------


def test_the_images_are_those_of_the_original():
    images, labels = read_digits()
    assert (images.shape, images.dtype) == ((1797, 8, 8), np.uint8)
    assert (labels.shape, labels.dtype) == ((1797,), np.int64)
    assert (images.min(), images.max()) == (0, 16)
    # how many of each digit the test part has, according to the UCI repository
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_the_images_are_those_of_scikit_learn():
    original = pytest.importorskip("sklearn.datasets").load_digits()
    images, labels = read_digits()
    np.testing.assert_array_equal(images, original.images)
    np.testing.assert_array_equal(labels, original.target)


def test_the_file_is_small_and_holds_no_pickle():
    file = resources.files("minicnn.data").joinpath("digits.npz")
    assert len(file.read_bytes()) < 100_000
    with file.open("rb") as stream:
        stored = np.load(stream, allow_pickle=False)
        assert {name: stored[name].dtype for name in stored} == {
            "images": np.uint8,
            "labels": np.uint8,
        }


def test_the_licence_lies_beside_the_data():
    text = resources.files("minicnn.data").joinpath("DIGITS-LICENSE.txt").read_text("utf-8")
    for needed in ("CC BY 4.0", "10.24432/C50P49", "Alpaydin", "Kaynak", "Changes"):
        assert needed in text


# --- the split ------------------------------------------------------------------------------

CHECKSUMS = {
    "train": "66953e66ae656962935ef3f1686528ada54e9d414d35d77261ca9a914348d884",
    "validation": "ba199548317c5f8d63a2c7cf4b53e122e16003d9da93742f029e5bc030eb82c2",
    "test": "4a2a7d40eefb6e7ba4e8c79556bdb3bd32297dcb6322dc6e2ba7dbca1e18a2d7",
}


@pytest.mark.parametrize("split", SPLITS)
def test_the_split_never_changes(split):
    """Results of years apart are compared; a new checksum here makes all of them worthless."""
    indices = split_indices(read_digits()[1], split)
    assert len(indices) == len(Digits(split, 8)) == SPLITS[split]
    assert _sha256(indices, "<i8") == CHECKSUMS[split]


def test_every_image_is_in_exactly_one_split():
    labels = read_digits()[1]
    together = np.concatenate([split_indices(labels, split) for split in SPLITS])
    assert sorted(together) == list(range(1797))


@pytest.mark.parametrize("split", ["validation", "test"])
def test_held_out_images_are_balanced(split):
    assert np.bincount(Digits(split, 8)[:][1]).tolist() == [30] * 10


def test_labels_belong_to_their_images():
    images, labels = read_digits()
    for split in SPLITS:
        got_images, got_labels = Digits(split, 8, normalize=False)[:]
        indices = split_indices(labels, split)
        np.testing.assert_array_equal(got_images[:, 0] * 16, images[indices])
        np.testing.assert_array_equal(got_labels, labels[indices])


# --- what a model gets ----------------------------------------------------------------------


@pytest.mark.parametrize("size", [8, 9, 28, 32])
def test_shapes_and_types(size):
    dataset = Digits("test", size)
    images, labels = dataset[:]
    assert images.shape == (300, *dataset.input_shape) == (300, 1, size, size)
    assert images.dtype == np.float32
    assert labels.dtype == np.int64
    assert Digits.input_shape == (1, 32, 32)


def test_class_attributes():
    assert Digits.classes == tuple("0123456789")
    assert Digits.num_classes == 10


def test_training_images_have_mean_0_and_variance_1():
    images, _ = Digits("train")[:]
    assert abs(images.mean(dtype=np.float64)) < 1e-3
    assert abs(images.std(dtype=np.float64) - 1) < 1e-3
    assert images.min() == pytest.approx(-0.3053 / 0.3232)
    assert images.max() <= (1 - 0.3053) / 0.3232


def test_without_normalisation_values_lie_between_0_and_1():
    plain, normal = Digits("test", normalize=False), Digits("test")
    assert plain[:][0].min() == 0
    assert 0.9 < plain[:][0].max() <= 1
    assert (plain.mean, plain.std) == ((0.0,), (1.0,))
    undone = normal[:][0] * normal.std[0] + normal.mean[0]
    np.testing.assert_allclose(undone, plain[:][0], rtol=0, atol=1e-6)


# --- enlarging ------------------------------------------------------------------------------


def _by_definition(image, size):
    """Interpolate pixel by pixel between the four nearest centres; the border repeats."""
    old = len(image)
    result = np.empty((size, size))
    for i in range(size):
        for j in range(size):
            y = min(max((i + 0.5) * old / size - 0.5, 0), old - 1)
            x = min(max((j + 0.5) * old / size - 0.5, 0), old - 1)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, old - 1), min(left + 1, old - 1)
            upper = image[top, left] + (image[top, right] - image[top, left]) * (x - left)
            lower = image[bottom, left] + (image[bottom, right] - image[bottom, left]) * (x - left)
            result[i, j] = upper + (lower - upper) * (y - top)
    return result


@pytest.mark.parametrize(("old", "new"), [(8, 8), (8, 11), (8, 32), (3, 7), (1, 4)])
def test_enlarge_against_its_definition(old, new):
    images = np.random.default_rng(0).random((2, old, old))
    for image, result in zip(images, enlarge(images, new), strict=True):
        np.testing.assert_allclose(result, _by_definition(image, new), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [8, 13, 28, 32])
def test_enlarge_against_torch(size):
    torch = pytest.importorskip("torch")
    images = np.random.default_rng(1).random((3, 8, 8))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(images)[:, None], size=(size, size), mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(enlarge(images, size), expected[:, 0].numpy(), rtol=0, atol=1e-12)


# --- mistakes -------------------------------------------------------------------------------


def test_an_unknown_split_is_refused():
    with pytest.raises(ArgumentError, match=r"validation.*'valid'"):
        Digits("valid")


@pytest.mark.parametrize("size", [7, 0, -32])
def test_a_size_below_the_original_is_refused(size):
    with pytest.raises(ArgumentError, match=f"at least 8 pixels, got {size}"):
        Digits("test", size)
