"""Data sets: samples by number, and many samples with one indexing call.

A data set holds NumPy arrays and returns NumPy arrays; the DataLoader makes Tensors of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from minicnn.data.collate import as_array, collate
from minicnn.errors import ArgumentError, DataError, ShapeError
from minicnn_kernels.arrays import Array

Index: TypeAlias = int | slice | Array


class Dataset(ABC):
    """Number samples from 0 to len - 1; derive from it and write `__getitem__` and `__len__`.

    A sample is a tuple of arrays and numbers, usually (image, label). Override `batch` as well
    when many samples can be had at once.

    >>> class Squares(Dataset):
    ...     def __getitem__(self, index):
    ...         return float(index), index**2
    ...     def __len__(self):
    ...         return 10
    >>> Squares().batch(np.array([2, 3]))
    (array([2., 3.], dtype=float32), array([4, 9]))
    """

    @abstractmethod
    def __getitem__(self, index: int) -> Any:
        """Return sample number `index`."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    def batch(self, indices: Array) -> tuple[Array, ...]:
        """Return the samples with these numbers, stacked field by field."""
        return collate([self[int(index)] for index in indices])


class TensorDataset(Dataset):
    """Serve arrays (or Tensors on the CPU) of equal length: sample i is (a[i], b[i], ...).

    The arrays are not copied. An index may be an integer, a slice or an array of integers.

    Raises:
        ShapeError: no arrays, or their first dimensions differ.

    >>> dataset = TensorDataset(np.eye(3), [7, 8, 9])
    >>> dataset[np.array([2, 0])]
    (array([[0., 0., 1.],
           [1., 0., 0.]]), array([9, 7]))
    """

    def __init__(self, *arrays: Any) -> None:
        self.arrays = tuple(as_array(array) for array in arrays)
        lengths = {array.shape[:1] for array in self.arrays}
        if len(lengths) != 1 or () in lengths:
            raise ShapeError(
                f"TensorDataset: needs arrays with one common first dimension, got shapes "
                f"{[array.shape for array in self.arrays]}"
            )

    def __getitem__(self, index: Index) -> tuple[Array, ...]:
        return tuple(array[index] for array in self.arrays)

    def __len__(self) -> int:
        return len(self.arrays[0])

    def batch(self, indices: Array) -> tuple[Array, ...]:
        """Return the samples with these numbers, by one indexing call an array."""
        return self[indices]


class Subset(Dataset):
    """Show only some samples of a data set: sample i is `dataset[indices[i]]`.

    Raises:
        ArgumentError: `indices` is not a list of numbers from 0 to len(dataset) - 1.

    >>> odd = Subset(TensorDataset(np.arange(6)), [1, 3, 5])
    >>> len(odd), int(odd[2][0])
    (3, 5)
    """

    def __init__(self, dataset: Dataset, indices: Sequence[int] | Array) -> None:
        self.dataset = dataset
        self.indices: Array = np.array(indices)
        if self.indices.size == 0:
            self.indices = self.indices.astype(np.int64)
        if self.indices.ndim != 1 or self.indices.dtype.kind not in "iu":
            raise ArgumentError(
                f"Subset: indices must be one row of integers, got shape {self.indices.shape} of "
                f"{self.indices.dtype}; np.flatnonzero turns a mask into indices"
            )
        outside = self.indices[(self.indices < 0) | (self.indices >= len(dataset))]
        if len(outside):
            raise ArgumentError(
                f"Subset: indices must lie in 0..{len(dataset) - 1}, got {int(outside[0])}"
            )

    def __getitem__(self, index: Any) -> Any:
        chosen = self.indices[index]
        return self.dataset[int(chosen) if chosen.ndim == 0 else chosen]

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, indices: Array) -> tuple[Array, ...]:
        """Return the samples with these numbers in one call of the data set's own `batch`."""
        return self.dataset.batch(self.indices[indices])


class ImageDataset(Dataset):
    """Keep images as bytes, a quarter of their float32 size, and convert those asked for.

    value[n, c, i, j] = (pixel[n, c, i, j] / 255 - mean[c]) / std[c]

    Args:
        images: uint8, 0 to 255.
        labels: integers from 0 to len(classes) - 1.
        classes: the name of each label.
        mean: of each channel, of pixels between 0 and 1.
        std: the standard deviation of each channel.
        normalize: False leaves values between 0 and 1 (mean 0 and std 1).

    Shapes:
        images: (N, C, H, W)
        labels: (N,)
        sample: float32 (C, H, W) and an int64 label

    Raises:
        ShapeError: the shapes do not fit together.
        DataError: pixels are not bytes, or a label is out of range.

    >>> pixels = np.array([0, 255], dtype=np.uint8).reshape(1, 1, 1, 2)
    >>> images, labels = ImageDataset(pixels, [1], ["cat", "dog"], mean=[0.5], std=[0.25])[:]
    >>> images.ravel(), labels
    (array([-2.,  2.], dtype=float32), array([1]))
    """

    def __init__(
        self,
        images: Array,
        labels: Any,
        classes: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        normalize: bool = True,
    ) -> None:
        name = type(self).__name__
        labels = np.asarray(labels)
        if images.ndim != 4 or labels.shape != images.shape[:1]:
            raise ShapeError(
                f"{name}: images must be (N, C, H, W) and labels (N,), got {images.shape} and "
                f"{labels.shape}"
            )
        if not len(mean) == len(std) == images.shape[1]:
            raise ShapeError(
                f"{name}: mean and std need one value for each of {images.shape[1]} channels, got "
                f"{len(mean)} and {len(std)}"
            )
        if images.dtype != np.uint8 or labels.dtype.kind not in "iu":
            raise DataError(
                f"{name}: images must be uint8 and labels integers, got {images.dtype} and "
                f"{labels.dtype}"
            )
        wrong = np.flatnonzero((labels < 0) | (labels >= len(classes)))
        if len(wrong):
            raise DataError(
                f"{name}: the label of image {wrong[0]} is {labels[wrong[0]]}, outside "
                f"0..{len(classes) - 1}; the data are damaged or belong to another data set"
            )
        self.images = images
        self.labels = labels.astype(np.int64)
        self.classes = tuple(classes)
        self.num_classes = len(self.classes)
        self.input_shape: tuple[int, ...] = images.shape[1:]
        self.mean = tuple(mean) if normalize else (0.0,) * len(mean)
        self.std = tuple(std) if normalize else (1.0,) * len(std)
        # (pixel / 255 - mean) / std, as one multiplication and one addition
        std_ = np.reshape(self.std, (-1, 1, 1))
        self._scale = (1 / (255 * std_)).astype(np.float32)
        self._shift = (-np.reshape(self.mean, (-1, 1, 1)) / std_).astype(np.float32)

    def __getitem__(self, index: Index) -> tuple[Array, Array]:
        values = self.images[index] * self._scale
        values += self._shift
        return values, self.labels[index]

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Array) -> tuple[Array, ...]:
        """Return the images and labels with these numbers, converting only those."""
        return self[indices]


def check_choice(function: str, argument: str, value: str, choices: Sequence[str]) -> None:
    """Raise ArgumentError unless `value` is one of `choices`."""
    if value not in choices:
        raise ArgumentError(f"{function}: {argument} must be one of {choices}, got {value!r}")
