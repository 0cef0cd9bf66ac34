from __future__ import annotations

import gzip
import struct
import tracemalloc

import numpy as np
import pytest

from minicnn.data.idx import MNIST, FashionMNIST, read_idx
from minicnn.errors import ArgumentError, DataError

CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def _idx(array, shape=None):
    """Write an IDX file by hand, with the shape that its header shall claim."""
    shape = array.shape if shape is None else shape
    code = CODES[array.dtype.str[1:]]
    header = struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def _images(count=5):
    return np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)


def _labels(count=5):
    return (np.arange(count) * 3 % 10).astype(np.uint8)


def _write(folder, images=None, labels=None, prefix="train", ending=""):
    pack = gzip.compress if ending == ".gz" else bytes
    folder.mkdir(parents=True, exist_ok=True)
    images = _idx(_images()) if images is None else images
    labels = _idx(_labels()) if labels is None else labels
    (folder / f"{prefix}-images-idx3-ubyte{ending}").write_bytes(pack(images))
    (folder / f"{prefix}-labels-idx1-ubyte{ending}").write_bytes(pack(labels))
    return folder


def _peak_memory(function):
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# --- IDX files ------------------------------------------------------------------------------


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("shape", [(6,), (2, 3), (1, 2, 1, 3)], ids=str)
def test_every_type_and_rank_is_read(tmp_path, code, shape):
    array = (np.arange(6) - (0 if code == "u1" else 3)).astype(code).reshape(shape)
    path = tmp_path / "file"
    path.write_bytes(_idx(array))
    result = read_idx(path)
    np.testing.assert_array_equal(result, array, strict=True)
    assert result.dtype.isnative
    assert result.flags.writeable


def test_a_file_of_several_pieces_is_read(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (3, 1000, 1001), dtype=np.uint8)
    (tmp_path / "file").write_bytes(gzip.compress(_idx(array), 1))
    np.testing.assert_array_equal(read_idx(tmp_path / "file"), array)


def test_compression_is_recognised_by_content(tmp_path):
    (tmp_path / "plain.gz").write_bytes(_idx(_labels()))
    (tmp_path / "packed").write_bytes(gzip.compress(_idx(_labels())))
    np.testing.assert_array_equal(read_idx(tmp_path / "plain.gz"), _labels())
    np.testing.assert_array_equal(read_idx(str(tmp_path / "packed")), _labels())


@pytest.mark.parametrize(
    "content",
    [b"", b"\0\0", b"<!DOCTYPE html>", b"\0\1\x08\1", b"\0\0\x0a\1\0\0\0\1a", b"PK\3\4 zip"],
    ids=["empty", "two bytes", "web page", "magic", "type code", "zip"],
)
@pytest.mark.parametrize("packed", [False, True])
def test_another_file_is_refused(tmp_path, content, packed):
    (tmp_path / "file").write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(DataError, match="file is no IDX file"):
        read_idx(tmp_path / "file")


@pytest.mark.parametrize("packed", [False, True])
def test_every_truncation_is_noticed(tmp_path, packed):
    whole = _idx(_labels(7).reshape(7, 1))
    path = tmp_path / "file"
    for length in range(len(whole)):
        path.write_bytes(gzip.compress(whole[:length]) if packed else whole[:length])
        with pytest.raises(DataError, match=r"file (is no IDX|ends within|should have 7 bytes)"):
            read_idx(path)


def test_every_truncation_of_a_gzip_file_is_noticed(tmp_path):
    whole = gzip.compress(_idx(_labels(7)))
    path = tmp_path / "file"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="file"):
            read_idx(path)


def test_a_damaged_gzip_file_is_noticed(tmp_path):
    content = bytearray(gzip.compress(_idx(_labels(200))))
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DataError, match="file"):
        read_idx(tmp_path / "file")


def test_bytes_after_the_end_are_refused(tmp_path):
    (tmp_path / "file").write_bytes(_idx(_labels()) + b"\0")
    with pytest.raises(DataError, match=r"should have 5 bytes .* it has more"):
        read_idx(tmp_path / "file")


@pytest.mark.parametrize("shape", [(), (0,), (0, 2**32 - 1), (2**32 - 1,) * 3, (1,) * 33], ids=len)
def test_an_impossible_shape_is_refused(tmp_path, shape):
    (tmp_path / "file").write_bytes(_idx(_labels(1), shape))
    with pytest.raises(DataError, match="claims the impossible shape"):
        read_idx(tmp_path / "file")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shape", [(2**31,), (2**31 + 1,), (255,) * 255], ids=["2G", "3G", "long"])
def test_a_header_that_lies_costs_no_memory(tmp_path, packed, shape):
    content = _idx(_labels(9), shape)
    (tmp_path / "file").write_bytes(gzip.compress(content) if packed else content)

    def read():
        with pytest.raises(DataError, match=r"file (claims|should have 2147483648 bytes)"):
            read_idx(tmp_path / "file")

    assert _peak_memory(read) < 10e6


def test_a_small_file_that_unpacks_into_a_huge_one_is_not_unpacked(tmp_path):
    content = _idx(_labels(9)) + bytes(100_000_000)
    (tmp_path / "file").write_bytes(gzip.compress(content, 1))

    def read():
        with pytest.raises(DataError, match="it has more"):
            read_idx(tmp_path / "file")

    assert _peak_memory(read) < 10e6


def test_a_file_that_cannot_be_opened(tmp_path):
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(DataError, match="cannot be read"):
            read_idx(path)


# --- MNIST ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("layout", [".", "MNIST/raw"])
def test_both_layouts_and_compressions_are_found(tmp_path, layout, ending):
    _write(tmp_path / layout, ending=ending)
    _write(tmp_path / layout, _idx(_images(3)), _idx(_labels(3)), "t10k", ending)
    for split, count in (("train", 5), ("test", 3)):
        dataset = MNIST(str(tmp_path), split)
        assert len(dataset) == count
        np.testing.assert_array_equal(dataset.images[:, 0], _images(count))
        np.testing.assert_array_equal(dataset.labels, _labels(count))


def test_values_are_normalised(tmp_path):
    images, labels = MNIST(_write(tmp_path))[:]
    expected = (_images()[:, np.newaxis] / 255 - 0.1307) / 0.3081
    np.testing.assert_allclose(images, expected, rtol=0, atol=1e-6)
    assert images.dtype == np.float32
    assert labels.dtype == np.int64
    plain, _ = MNIST(tmp_path, normalize=False)[:]
    np.testing.assert_allclose(plain[:, 0], _images() / 255, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("size", "before"), [(28, 0), (29, 0), (31, 1), (32, 2), (40, 6)])
def test_larger_images_have_a_border_of_background(tmp_path, size, before):
    dataset = MNIST(_write(tmp_path), size=size, normalize=False)
    assert dataset.input_shape == (1, size, size)
    image = dataset[2][0][0]
    inside = slice(before, before + 28)
    np.testing.assert_allclose(image[inside, inside] * 255, _images()[2], atol=1e-4)
    image[inside, inside] = 0
    assert not image.any()


def test_datasets_describe_themselves(tmp_path):
    mnist, fashion = MNIST(_write(tmp_path)), FashionMNIST(tmp_path)
    assert mnist.classes == tuple("0123456789")
    assert mnist.input_shape == (1, 28, 28)
    assert mnist.num_classes == fashion.num_classes == 10
    assert fashion.classes[0] == "T-shirt/top"
    assert fashion.classes[9] == "Ankle boot"
    assert (fashion.mean, fashion.std) == ((0.2860,), (0.3530,))


def test_mnist_and_fashion_mnist_may_share_a_root(tmp_path):
    _write(tmp_path / "MNIST/raw")
    _write(tmp_path / "FashionMNIST/raw", _idx(_images(7)), _idx(_labels(7)))
    _write(tmp_path, _idx(_images(3)), _idx(_labels(3)))  # whose these are, no name tells
    assert (len(MNIST(tmp_path)), len(FashionMNIST(tmp_path))) == (5, 7)


def test_a_missing_file_is_named_with_the_places_looked_at(tmp_path):
    with pytest.raises(DataError) as caught:
        FashionMNIST(tmp_path / "data")
    folder, file = tmp_path / "data", "train-images-idx3-ubyte"
    for path in (folder / file, folder / "FashionMNIST" / "raw" / f"{file}.gz"):
        assert str(path) in str(caught.value)
    assert f"put them, compressed or not, into {folder}" in str(caught.value)
    _write(folder)
    (folder / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="no file train-labels-idx1-ubyte"):
        FashionMNIST(folder)


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    _write(tmp_path / "data")
    assert len(MNIST("~/data")) == 5


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (_images(5), _labels(4), "should hold 5 uint8 labels.* of shape \\(4,\\)"),
        (_images(5)[:, :27], _labels(5), "28x28 pixels, it holds uint8 of shape \\(5, 27, 28\\)"),
        (_images(5).astype("i4"), _labels(5), "it holds int32"),
        (_images(5), _labels(5).astype("f4"), "it holds float32"),
        (_images(5), _images(5), "should hold 5 uint8 labels"),
        (_labels(5), _labels(5), "28x28 pixels, it holds uint8 of shape \\(5,\\)"),
        (_images(2), np.array([3, 10], np.uint8), "label of image 1 is 10, outside 0..9"),
    ],
    ids=["count", "size", "image type", "label type", "no labels", "no images", "label"],
)
def test_files_that_do_not_fit_are_refused(tmp_path, images, labels, message):
    _write(tmp_path, _idx(images), _idx(labels))
    with pytest.raises(DataError, match=f"MNIST: .*{message}"):
        MNIST(tmp_path)


def test_bad_arguments_are_refused(tmp_path):
    _write(tmp_path)
    with pytest.raises(ArgumentError, match="split"):
        MNIST(tmp_path, "validation")
    with pytest.raises(ArgumentError, match="at least 28 pixels, got 27"):
        MNIST(tmp_path, size=27)
