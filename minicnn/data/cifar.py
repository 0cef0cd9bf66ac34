"""CIFAR-10 and CIFAR-100, read from their binary version.

Each image is a record of bytes: its label (CIFAR-100: the coarse, then the fine one), then 3072
pixels, all red ones, all green ones, all blue ones, row by row.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from minicnn.data.dataset import ImageDataset, check_choice
from minicnn.errors import DataError
from minicnn_kernels.arrays import Array

PIXELS = 3 * 32 * 32
CIFAR10_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


class CIFAR10(ImageDataset):
    """Serve CIFAR-10: 50,000 training and 10,000 test colour images, 32x32 pixels, 10 classes.

    Nothing is downloaded. `root` is the folder cifar-10-batches-bin, or holds it.

    Args:
        root: the folder.
        split: "train" or "test".
        normalize: whether to subtract the training images' mean (0.4914, 0.4822, 0.4465) and
            divide by their standard deviation (0.2470, 0.2435, 0.2616), of red, green and blue;
            otherwise values lie between 0 and 1.

    Raises:
        DataError: a file is missing or damaged.

    Paper: Krizhevsky 2009, "Learning multiple layers of features from tiny images".
    """

    def __init__(
        self, root: str | os.PathLike[str], split: str = "train", *, normalize: bool = True
    ) -> None:
        check_choice("CIFAR10", "split", split, ["train", "test"])
        batches = [f"data_batch_{number}.bin" for number in range(1, 6)]
        folder = _find("CIFAR10", root, "cifar-10-batches-bin", "cifar-10-binary.tar.gz")
        files = {"train": batches, "test": ["test_batch.bin"]}[split]
        labels, images = _read_records("CIFAR10", folder, files, labels_per_image=1)
        super().__init__(
            images,
            labels[:, 0],
            classes=_read_names("CIFAR10", folder / "batches.meta.txt", 10) or CIFAR10_NAMES,
            mean=[0.4914, 0.4822, 0.4465],
            std=[0.2470, 0.2435, 0.2616],
            normalize=normalize,
        )


class CIFAR100(ImageDataset):
    """Serve CIFAR-100: 50,000 training and 10,000 test colour images, 32x32 pixels.

    Nothing is downloaded. `root` is the folder cifar-100-binary, or holds it. Without the file
    of class names in it, classes are called "0", "1", ...

    Args:
        root: the folder.
        split: "train" or "test".
        labels: "fine" for 100 classes, "coarse" for the 20 groups that they belong to.
        normalize: whether to subtract the training images' mean (0.5071, 0.4865, 0.4409) and
            divide by their standard deviation (0.2673, 0.2564, 0.2762), of red, green and blue;
            otherwise values lie between 0 and 1.

    Raises:
        DataError: a file is missing or damaged.

    Paper: Krizhevsky 2009, "Learning multiple layers of features from tiny images".
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "train",
        *,
        labels: str = "fine",
        normalize: bool = True,
    ) -> None:
        check_choice("CIFAR100", "split", split, ["train", "test"])
        check_choice("CIFAR100", "labels", labels, ["fine", "coarse"])
        column, count = {"coarse": (0, 20), "fine": (1, 100)}[labels]
        folder = _find("CIFAR100", root, "cifar-100-binary", "cifar-100-binary.tar.gz")
        both_labels, images = _read_records(
            "CIFAR100", folder, [f"{split}.bin"], labels_per_image=2
        )
        names = _read_names("CIFAR100", folder / f"{labels}_label_names.txt", count)
        super().__init__(
            images,
            both_labels[:, column],
            classes=names or [str(label) for label in range(count)],
            mean=[0.5071, 0.4865, 0.4409],
            std=[0.2673, 0.2564, 0.2762],
            normalize=normalize,
        )


def _find(name: str, root: str | os.PathLike[str], folder: str, archive: str) -> Path:
    """Return the folder that has .bin files: `root / folder`, or `root` itself."""
    root = Path(root).expanduser()
    for candidate in (root / folder, root):
        if any(candidate.glob("*.bin")):
            return candidate
    python_version = [
        path
        for path in (root / "cifar-10-batches-py", root / "cifar-100-python", root)
        if (path / "data_batch_1").is_file() or (path / "train").is_file()
    ]
    refusal = (
        f"\n{python_version[0]} is the Python version, which is refused: its files are pickles, "
        f"and loading a pickle can run any code."
        if python_version
        else ""
    )
    raise DataError(
        f"{name}: no .bin files in {root / folder} or {root}.{refusal}\n"
        f"Download the binary version, {archive}, and extract it in {root}"
    )


def _read_records(
    name: str, folder: Path, files: list[str], labels_per_image: int
) -> tuple[Array, Array]:
    """Return labels, uint8 (N, labels_per_image), and images, uint8 (N, 3, 32, 32)."""
    record = labels_per_image + PIXELS
    parts = []
    for path in [folder / file for file in files]:
        try:
            data = np.fromfile(path, dtype=np.uint8)
        except OSError as error:
            raise DataError(
                f"{name}: {path} cannot be read ({error.strerror}); extract the archive again"
            ) from error
        if len(data) == 0 or len(data) % record:
            raise DataError(
                f"{name}: {path} has {len(data)} bytes, not a whole number of {record}-byte "
                f"records; it is cut off or belongs to another data set: get it again"
            )
        parts.append(data.reshape(-1, record))
    records = np.concatenate(parts)
    # a view: np.concatenate has made the only copy
    images = records[:, labels_per_image:].reshape(-1, 3, 32, 32)
    return records[:, :labels_per_image], images


def _read_names(name: str, path: Path, count: int) -> list[str]:
    """Return the class names, one on each line; an empty list without the file."""
    if not path.is_file():
        return []
    names = path.read_text(encoding="utf-8", errors="replace").split()
    if len(names) != count:
        raise DataError(f"{name}: {path} should have {count} class names, it has {len(names)}")
    return names
