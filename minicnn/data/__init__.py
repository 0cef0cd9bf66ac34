"""Data: data sets, and the loader that makes batches of them.

`load` opens a known data set by name; `DataLoader` iterates over any data set.
"""

from __future__ import annotations

import difflib
import os
from typing import Any, TypeAlias

from minicnn.data.cifar import CIFAR10, CIFAR100
from minicnn.data.collate import collate
from minicnn.data.dataset import Dataset, ImageDataset, Subset, TensorDataset
from minicnn.data.digits import Digits
from minicnn.data.idx import MNIST, FashionMNIST, read_idx
from minicnn.data.loader import DataLoader
from minicnn.data.sequences import Melodies, Sentences, Vowels, mu_law, mu_law_inverse
from minicnn.data.shapes import Shapes
from minicnn.errors import DataError

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "KNOWN",
    "MNIST",
    "DataLoader",
    "Dataset",
    "Digits",
    "FashionMNIST",
    "ImageDataset",
    "KnownDataset",
    "Melodies",
    "Sentences",
    "Shapes",
    "Subset",
    "TensorDataset",
    "Vowels",
    "collate",
    "load",
    "mu_law",
    "mu_law_inverse",
    "read_idx",
]

KnownDataset: TypeAlias = Digits | Shapes | ImageDataset | Vowels | Melodies | Sentences

OFFLINE: dict[str, type[Digits | Shapes]] = {"digits": Digits, "shapes": Shapes}
FROM_FILES: dict[str, type[MNIST | CIFAR10 | CIFAR100]] = {
    "mnist": MNIST,
    "fashion-mnist": FashionMNIST,
    "cifar10": CIFAR10,
    "cifar100": CIFAR100,
}
SEQUENCES: dict[str, type[Vowels | Melodies | Sentences]] = {
    "vowels": Vowels,
    "melodies": Melodies,
    "sentences": Sentences,
}
KNOWN = (*OFFLINE, *FROM_FILES)  # images with labels


def load(
    name: str,
    split: str = "train",
    root: str | os.PathLike[str] | None = None,
    **options: Any,
) -> KnownDataset:
    """Open a data set by name; each has `classes`, `num_classes` and `input_shape`.

    Args:
        name: "digits", "shapes", "mnist", "fashion-mnist", "cifar10" or "cifar100"; or the
            sequences "vowels", "melodies" or "sentences".
        split: "train" or "test"; those that come without files have "validation" too.
        root: the folder with the data set's files; those without files ignore it.
        options: further arguments of the data set's class, such as `size`.

    Raises:
        DataError: the name is unknown, or the data set's files are missing or damaged.

    >>> load("digits", "validation").input_shape
    (1, 32, 32)
    """
    known = (*KNOWN, *SEQUENCES)
    if name not in known:
        near = difflib.get_close_matches(name.lower(), known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise DataError(f"load: unknown data set {name!r}{hint} Known are {', '.join(known)}.")
    if name in OFFLINE:
        return OFFLINE[name](split, **options)
    if name in SEQUENCES:
        return SEQUENCES[name](split, **options)
    if root is None:
        raise DataError(f"load: {name!r} is read from files; name their folder as root")
    return FROM_FILES[name](root, split, **options)
