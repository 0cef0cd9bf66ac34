from __future__ import annotations

import numpy as np
import pytest

from minicnn.data.cifar import CIFAR10, CIFAR100
from minicnn.errors import ArgumentError, DataError


def _records(labels, seed):
    """Return (bytes of a file, images) for rows of labels."""
    images = np.random.default_rng(seed).integers(0, 256, (len(labels), 3, 32, 32), dtype=np.uint8)
    # pixel by pixel as the format is described: red plane, green plane, blue plane, row by row
    content = b"".join(
        bytes(row) + b"".join(image[channel].tobytes() for channel in range(3))
        for row, image in zip(labels, images, strict=True)
    )
    return content, images


def _write_cifar10(folder):
    """Write five batches of two images, and three test images; return the images."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {"train": [], "test": []}
    for number in range(1, 6):
        content, images = _records([[number], [number + 4]], seed=number)
        (folder / f"data_batch_{number}.bin").write_bytes(content)
        written["train"].extend(images)
    content, images = _records([[0], [9], [4]], seed=0)
    (folder / "test_batch.bin").write_bytes(content)
    written["test"].extend(images)
    return written


def _write_cifar100(folder):
    folder.mkdir(parents=True, exist_ok=True)
    content, images = _records([[19, 99], [0, 50], [7, 0]], seed=1)
    (folder / "train.bin").write_bytes(content)
    (folder / "test.bin").write_bytes(_records([[3, 4]], seed=2)[0])
    return images


# --- CIFAR-10 -------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [".", "cifar-10-batches-bin"])
def test_cifar10_is_read_from_either_folder(tmp_path, layout):
    written = _write_cifar10(tmp_path / layout)
    train, test = CIFAR10(str(tmp_path)), CIFAR10(tmp_path, "test")
    np.testing.assert_array_equal(train.images, written["train"])
    np.testing.assert_array_equal(train.labels, [1, 5, 2, 6, 3, 7, 4, 8, 5, 9])
    np.testing.assert_array_equal(test.images, written["test"])
    np.testing.assert_array_equal(test.labels, [0, 9, 4])


def test_cifar10_values_are_normalised(tmp_path):
    written = np.array(_write_cifar10(tmp_path)["train"])
    images, labels = CIFAR10(tmp_path)[np.array([7, 2])]
    for channel, (mean, std) in enumerate([(0.4914, 0.2470), (0.4822, 0.2435), (0.4465, 0.2616)]):
        expected = (written[[7, 2], channel] / 255 - mean) / std
        np.testing.assert_allclose(images[:, channel], expected, rtol=0, atol=2e-6)
    assert (images.dtype, labels.dtype) == (np.float32, np.int64)
    plain, _ = CIFAR10(tmp_path, normalize=False)[:]
    np.testing.assert_allclose(plain, written / 255, rtol=0, atol=1e-7)


def test_cifar10_images_stay_bytes(tmp_path):
    _write_cifar10(tmp_path)
    assert CIFAR10(tmp_path).images.dtype == np.uint8


def test_a_batch_is_contiguous(tmp_path):
    _write_cifar10(tmp_path)
    assert CIFAR10(tmp_path).batch(np.array([3, 1]))[0].flags.c_contiguous


def test_cifar10_class_names(tmp_path):
    _write_cifar10(tmp_path)
    known = CIFAR10(tmp_path)
    assert known.classes[:2] == ("airplane", "automobile")
    assert known.classes[9] == "truck"
    assert (known.num_classes, known.input_shape) == (10, (3, 32, 32))
    (tmp_path / "batches.meta.txt").write_text("a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n")
    assert CIFAR10(tmp_path).classes == tuple("abcdefghij")
    (tmp_path / "batches.meta.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match=r"batches.meta.txt should have 10 class names, it has 2"):
        CIFAR10(tmp_path)


# --- CIFAR-100 ------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [".", "cifar-100-binary"])
def test_cifar100_is_read_from_either_folder(tmp_path, layout):
    images = _write_cifar100(tmp_path / layout)
    fine, coarse = CIFAR100(tmp_path), CIFAR100(tmp_path, labels="coarse")
    np.testing.assert_array_equal(fine.images, images)
    np.testing.assert_array_equal(coarse.images, images)
    np.testing.assert_array_equal(fine.labels, [99, 50, 0])
    np.testing.assert_array_equal(coarse.labels, [19, 0, 7])
    assert (fine.num_classes, coarse.num_classes) == (100, 20)
    np.testing.assert_array_equal(CIFAR100(tmp_path, "test").labels, [4])


def test_cifar100_values_are_normalised(tmp_path):
    written = _write_cifar100(tmp_path)
    images, _ = CIFAR100(tmp_path)[:]
    for channel, (mean, std) in enumerate([(0.5071, 0.2673), (0.4865, 0.2564), (0.4409, 0.2762)]):
        expected = (written[:, channel] / 255 - mean) / std
        np.testing.assert_allclose(images[:, channel], expected, rtol=0, atol=2e-6)


def test_cifar100_class_names(tmp_path):
    _write_cifar100(tmp_path)
    assert CIFAR100(tmp_path).classes[::99] == ("0", "99")
    (tmp_path / "fine_label_names.txt").write_text("\n".join(f"fine{n}" for n in range(100)))
    (tmp_path / "coarse_label_names.txt").write_text("\n".join(f"coarse{n}" for n in range(20)))
    assert CIFAR100(tmp_path).classes[99] == "fine99"
    assert CIFAR100(tmp_path, labels="coarse").classes[19] == "coarse19"


# --- damaged and missing files --------------------------------------------------------------


@pytest.mark.parametrize("change", [-1, 1, -3073 * 2], ids=["short", "long", "empty"])
def test_a_file_of_broken_records_is_refused(tmp_path, change):
    _write_cifar10(tmp_path)
    path = tmp_path / "data_batch_3.bin"
    content = path.read_bytes() + b"\0"
    path.write_bytes(content[: 3073 * 2 + change])
    with pytest.raises(DataError, match=rf"data_batch_3.bin has {3073 * 2 + change} bytes"):
        CIFAR10(tmp_path)


def test_a_file_of_the_other_data_set_is_refused(tmp_path):
    _write_cifar100(tmp_path)
    (tmp_path / "train.bin").rename(tmp_path / "test_batch.bin")
    with pytest.raises(DataError, match="belongs to another data set"):
        CIFAR10(tmp_path, "test")


def test_a_missing_batch_is_named(tmp_path):
    _write_cifar10(tmp_path)
    (tmp_path / "data_batch_4.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_4.bin cannot be read \(No such file"):
        CIFAR10(tmp_path)
    assert len(CIFAR10(tmp_path, "test")) == 3


def test_a_label_out_of_range_is_named(tmp_path):
    _write_cifar10(tmp_path)
    (tmp_path / "test_batch.bin").write_bytes(_records([[9], [10]], seed=0)[0])
    with pytest.raises(DataError, match=r"CIFAR10: the label of image 1 is 10, outside 0\.\.9"):
        CIFAR10(tmp_path, "test")
    _write_cifar100(tmp_path)
    (tmp_path / "train.bin").write_bytes(_records([[20, 99]], seed=0)[0])
    assert len(CIFAR100(tmp_path)) == 1
    with pytest.raises(DataError, match=r"CIFAR100: the label of image 0 is 20, outside 0\.\.19"):
        CIFAR100(tmp_path, labels="coarse")


@pytest.mark.parametrize(
    ("dataset", "folder", "archive"),
    [
        (CIFAR10, "cifar-10-batches-bin", "cifar-10-binary.tar.gz"),
        (CIFAR100, "cifar-100-binary", "cifar-100-binary.tar.gz"),
    ],
)
def test_an_empty_folder_says_what_to_get(tmp_path, dataset, folder, archive):
    with pytest.raises(DataError) as caught:
        dataset(tmp_path)
    for part in (str(tmp_path / folder), f"{archive}, and extract it in {tmp_path}"):
        assert part in str(caught.value)
    assert "pickle" not in str(caught.value)


@pytest.mark.parametrize(
    ("dataset", "pickled", "archive"),
    [
        (CIFAR10, "cifar-10-batches-py/data_batch_1", "cifar-10-binary.tar.gz"),
        (CIFAR10, "data_batch_1", "cifar-10-binary.tar.gz"),
        (CIFAR100, "cifar-100-python/train", "cifar-100-binary.tar.gz"),
        (CIFAR100, "train", "cifar-100-binary.tar.gz"),
    ],
)
def test_the_python_version_is_refused(tmp_path, dataset, pickled, archive):
    path = tmp_path / pickled
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\x80\x04.")
    with pytest.raises(DataError, match="loading a pickle can run any code") as caught:
        dataset(tmp_path)
    assert f"{path.parent} is the Python version" in str(caught.value)
    assert f"binary version, {archive}" in str(caught.value)


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    _write_cifar10(tmp_path / "data")
    assert len(CIFAR10("~/data")) == 10


def test_bad_arguments_are_refused(tmp_path):
    _write_cifar100(tmp_path)
    with pytest.raises(ArgumentError, match="CIFAR100: split"):
        CIFAR100(tmp_path, "validation")
    with pytest.raises(ArgumentError, match=r"CIFAR100: labels must be one of .*'rough'"):
        CIFAR100(tmp_path, labels="rough")
    with pytest.raises(ArgumentError, match="CIFAR10: split"):
        CIFAR10(tmp_path, "val")
