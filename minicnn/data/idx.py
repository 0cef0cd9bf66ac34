"""MNIST and FashionMNIST, read from the IDX files that they are published in.

An IDX file: two zero bytes, a byte for the type, a byte for the number of dimensions, the
dimensions as 4-byte big-endian integers, then the values, big-endian too.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from minicnn.data.dataset import ImageDataset, check_choice
from minicnn.errors import ArgumentError, DataError
from minicnn_kernels.arrays import Array

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MOST_BYTES = 2**31  # EMNIST, the largest set in this format, needs a third of it
PIECE = 2**20  # bytes read at a time


class MNIST(ImageDataset):
    """Serve MNIST: 60,000 training and 10,000 test images of handwritten digits, 28x28 pixels.

    Nothing is downloaded. `root` holds the four IDX files, plain or gzip-compressed, or
    torchvision's folder MNIST/raw with them.

    Args:
        root: the folder.
        split: "train" or "test".
        size: height and width in pixels, at least 28; larger images get a border of background
            (32 is LeNet-5's input).
        normalize: whether to subtract the training images' mean 0.1307 and divide by their
            standard deviation 0.3081; otherwise values lie between 0 and 1.

    Raises:
        DataError: a file is missing or damaged.

    Paper: LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document
        recognition".
    """

    names = tuple("0123456789")
    training_mean = 0.1307
    training_std = 0.3081

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "train",
        *,
        size: int = 28,
        normalize: bool = True,
    ) -> None:
        name = type(self).__name__
        check_choice(name, "split", split, ["train", "test"])
        if size < 28:
            raise ArgumentError(f"{name}: size must be at least 28 pixels, got {size}")
        prefix = {"train": "train", "test": "t10k"}[split]
        folder = Path(root).expanduser()
        images_path = _find(name, folder, f"{prefix}-images-idx3-ubyte")
        labels_path = _find(name, folder, f"{prefix}-labels-idx1-ubyte")
        images, labels = read_idx(images_path), read_idx(labels_path)
        if images.shape[1:] != (28, 28) or images.dtype != np.uint8:
            raise DataError(
                f"{name}: {images_path} should hold uint8 images of 28x28 pixels, it holds "
                f"{images.dtype} of shape {images.shape}"
            )
        if labels.shape != images.shape[:1] or labels.dtype != np.uint8:
            raise DataError(
                f"{name}: {labels_path} should hold {len(images)} uint8 labels, one for each image "
                f"of {images_path}, it holds {labels.dtype} of shape {labels.shape}"
            )
        before = (size - 28) // 2
        border = (before, size - 28 - before)
        super().__init__(
            np.pad(images, ((0, 0), border, border))[:, np.newaxis],  # (N, 1, size, size)
            labels,
            classes=self.names,
            mean=[self.training_mean],
            std=[self.training_std],
            normalize=normalize,
        )


class FashionMNIST(MNIST):
    """Serve Fashion-MNIST: pictures of clothes in MNIST's format, sizes and file names.

    The arguments are MNIST's; the training images' mean is 0.2860, their standard deviation
    0.3530; torchvision's folder is FashionMNIST/raw.

    Paper: Xiao, Rasul, Vollgraf 2017, "Fashion-MNIST: a novel image dataset for benchmarking
        machine learning algorithms", arXiv 1708.07747.
    """

    names = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    training_mean = 0.2860
    training_std = 0.3530


def _find(name: str, root: Path, file: str) -> Path:
    # torchvision's folder first: MNIST and FashionMNIST can share such a root
    folders = [root / name / "raw", root]
    paths = [folder / (file + ending) for folder in folders for ending in ("", ".gz")]
    for path in paths:
        if path.is_file():
            return path
    raise DataError(
        f"{name}: no file {file}; looked for\n  "
        + "\n  ".join(str(path) for path in paths)
        + f"\nDownload the four {name} files (train-... and t10k-..., -images-idx3-ubyte and "
        f"-labels-idx1-ubyte) and put them, compressed or not, into {root}"
    )


def read_idx(path: str | os.PathLike[str]) -> Array:
    """Return the array that an IDX file holds; the file may be gzip-compressed.

    Raises:
        DataError: the file cannot be read, is no IDX file, is shorter or longer than its header
            says, or larger than 2 GiB.
    """
    try:
        with open(path, "rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"  # by content: names get lost on the way
        with gzip.open(path, "rb") if compressed else open(path, "rb") as file:
            return _parse(file)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"read_idx: {os.fspath(path)} cannot be read: {error}") from error
    except DataError as error:
        raise DataError(f"read_idx: {os.fspath(path)} {error}") from None


def _parse(file: BufferedIOBase) -> Array:
    magic = _read(file, 4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES:
        raise DataError(
            f"is no IDX file: it begins with {magic.hex(' ') or 'nothing'}, not with 00 00 and a "
            f"type code; it may be another file saved under this name"
        )
    dtype = np.dtype(TYPES[magic[2]])
    header = _read(file, 4 * magic[3])
    if len(header) < 4 * magic[3]:
        raise DataError(f"ends within its header of {magic[3]} dimensions; get it again")
    shape = [int(size) for size in np.frombuffer(header, ">u4")]
    bytes_expected = math.prod(shape) * dtype.itemsize
    if not 1 <= len(shape) <= 32 or not 0 < bytes_expected <= MOST_BYTES:
        raise DataError(f"claims the impossible shape {tuple(shape)} of {dtype}; get it again")
    values = _read(file, bytes_expected + 1)
    if len(values) != bytes_expected:
        found = "more" if len(values) > bytes_expected else str(len(values))
        raise DataError(
            f"should have {bytes_expected} bytes after its header for shape {tuple(shape)}, it has "
            f"{found}; get it again"
        )
    array = np.frombuffer(values, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _read(file: BufferedIOBase, count: int) -> bytearray:
    """Read up to `count` bytes; the memory grows with the file, not with what a header claims."""
    data = bytearray()
    while piece := file.read(min(PIECE, count - len(data))):
        data += piece
    return data
