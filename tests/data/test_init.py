from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from minicnn import data
from minicnn.errors import ArgumentError, DataError


def test_every_exported_name_is_there():
    for name in data.__all__:
        assert hasattr(data, name)


def test_digits_need_no_folder():
    digits = data.load("digits", "test", size=28)
    assert isinstance(digits, data.Digits)
    assert digits.input_shape == (1, 28, 28)
    assert len(data.load("digits", root="ignored")) == 1197


def test_shapes_need_no_folder():
    shapes = data.load("shapes", "validation", root="ignored", size=20, length=3)
    assert isinstance(shapes, data.Shapes)
    assert shapes.input_shape == (3, 20, 20)
    assert len(shapes) == 3


@pytest.mark.parametrize("name", data.SEQUENCES)
def test_sequences_need_no_folder(name):
    sequences = data.load(name, "validation", root="ignored", length=3)
    assert type(sequences) is data.SEQUENCES[name]
    assert len(sequences) == 3


@pytest.mark.parametrize(
    ("name", "kind"), [("mnist", data.MNIST), ("fashion-mnist", data.FashionMNIST)]
)
def test_idx_data_sets_are_loaded_by_name(tmp_path, name, kind):
    images = struct.pack(">4B3I", 0, 0, 8, 3, 2, 28, 28) + bytes(2 * 28 * 28)
    labels = struct.pack(">4BI2B", 0, 0, 8, 1, 2, 6, 7)
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    dataset = data.load(name, "test", tmp_path, size=32)
    assert type(dataset) is kind
    assert dataset.input_shape == (1, 32, 32)
    assert dataset.labels.tolist() == [6, 7]


def test_cifar_data_sets_are_loaded_by_name(tmp_path):
    (tmp_path / "test_batch.bin").write_bytes(bytes([3]) + bytes(3072))
    (tmp_path / "test.bin").write_bytes(bytes([3, 42]) + bytes(3072))
    assert data.load("cifar10", "test", tmp_path).labels.tolist() == [3]
    assert data.load("cifar100", "test", str(tmp_path)).labels.tolist() == [42]
    assert data.load("cifar100", "test", tmp_path, labels="coarse").labels.tolist() == [3]


@pytest.mark.parametrize("name", data.FROM_FILES)
def test_data_sets_in_files_need_a_folder(name):
    with pytest.raises(DataError, match=f"'{name}' .* root"):
        data.load(name)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("minst", "mnist"),
        ("MNIST", "mnist"),
        ("fashion_mnist", "fashion-mnist"),
        ("digit", "digits"),
    ],
)
def test_a_misspelt_name_gets_a_suggestion(name, meant):
    with pytest.raises(DataError, match=f"unknown data set '{name}'; did you mean '{meant}'"):
        data.load(name)


def test_an_unknown_name_gets_the_list():
    with pytest.raises(
        DataError, match=r"'imagenet'.*digits, shapes, mnist, fashion-mnist, cifar10, cifar100"
    ):
        data.load("imagenet")


def test_the_split_is_checked_by_the_data_set(tmp_path):
    with pytest.raises(ArgumentError, match="split"):
        data.load("mnist", "validation", tmp_path)


def test_a_small_run_from_data_set_to_batches():
    loader = data.DataLoader(data.load("digits", "train", size=8), 64, shuffle=True)
    seen = [labels.array for images, labels in loader if images.shape[1:] == (1, 8, 8)]
    assert len(seen) == 19
    assert np.bincount(np.concatenate(seen)).sum() == 1197
