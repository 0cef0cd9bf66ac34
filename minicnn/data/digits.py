"""Digits: 1,797 handwritten digits that come with minicnn, so that every example runs offline.

Data: E. Alpaydin, C. Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI Machine
Learning Repository, https://doi.org/10.24432/C50P49, CC BY 4.0 (see DIGITS-LICENSE.txt).
"""

from __future__ import annotations

from importlib import resources

import numpy as np

from minicnn.data.dataset import TensorDataset, check_choice
from minicnn.errors import ArgumentError
from minicnn_kernels.arrays import Array

WIDTH = 8  # pixels
INK = 16  # the value of a fully black pixel
HELD_OUT = 30  # images of each digit in "validation", and again in "test"


class Digits(TensorDataset):
    """Serve handwritten digits, 8x8 pixels enlarged to size x size, and their labels 0 to 9.

    value = (pixel / 16 - 0.3053) / 0.3232: the mean and standard deviation of the training images
    at 32x32, so that inputs have mean 0 and variance 1 (at other sizes: mean 0, variance about
    1). Paper is -0.94, ink 2.15.  LeCun 1998 aims at the same with -0.1 and 1.175; these digits
    fill more of their frame, where that range would give mean 0.29.

    The split never changes: of every digit 30 images for "validation", 30 for "test", the rest
    for "train", together 300, 300 and 1,197. The same 13 people wrote all of them, so results
    say nothing about a new person's hand.

    Args:
        split: "train", "validation" or "test".
        size: height and width of the images in pixels, at least 8; 32 is LeNet-5's input.
        normalize: False leaves values between 0 and 1.

    Shapes:
        images: float32 (N, 1, size, size)
        labels: int64 (N,)

    >>> images, labels = Digits("test")[:4]
    >>> images.shape, labels
    ((4, 1, 32, 32), array([1, 5, 1, 5]))
    """

    classes = tuple("0123456789")
    num_classes = 10
    input_shape: tuple[int, ...] = (1, 32, 32)
    mean: tuple[float, ...] = (0.3053,)
    std: tuple[float, ...] = (0.3232,)

    def __init__(self, split: str = "train", size: int = 32, *, normalize: bool = True) -> None:
        if size < WIDTH:
            raise ArgumentError(f"Digits: size must be at least {WIDTH} pixels, got {size}")
        if not normalize:
            self.mean, self.std = (0.0,), (1.0,)
        self.input_shape = (1, size, size)
        pixels, labels = read_digits()
        chosen = split_indices(labels, split)
        images = enlarge(pixels[chosen] / INK, size)
        images = ((images - self.mean) / self.std).astype(np.float32)
        super().__init__(images[:, np.newaxis], labels[chosen])


def read_digits() -> tuple[Array, Array]:
    """Return all images, uint8 (1797, 8, 8) from 0 (paper) to 16 (ink), and int64 labels."""
    with resources.files("minicnn.data").joinpath("digits.npz").open("rb") as file:
        stored = np.load(file, allow_pickle=False)
        return stored["images"], stored["labels"].astype(np.int64)


def split_indices(labels: Array, split: str) -> Array:
    """Return, in ascending order, the numbers of the images that belong to `split`."""
    check_choice("Digits", "split", split, ["train", "validation", "test"])
    # Shuffled by sorting raw random words: NumPy promises that these never change, which it
    # does not promise of permutation().
    words = np.random.Philox(key=1998).random_raw(len(labels))
    shuffled = np.argsort(words, kind="stable")
    parts = {
        "test": slice(0, HELD_OUT),
        "validation": slice(HELD_OUT, 2 * HELD_OUT),
        "train": slice(2 * HELD_OUT, None),
    }
    by_digit = [shuffled[labels[shuffled] == digit][parts[split]] for digit in range(10)]
    return np.sort(np.concatenate(by_digit))


def enlarge(images: Array, size: int) -> Array:
    """Resize square images by linear interpolation between pixel centres.

    y[n,i,j] = sum_ab w[i,a] x[n,a,b] w[j,b], with w[i,a] = max(0, 1 - |position[i] - a|), where
    position[i] = (i + 1/2) * (old size / new size) - 1/2, kept within the image.

    Shapes:
        images: (N, K, K)
        result: (N, size, size)

    >>> enlarge(np.array([[[0.0, 1.0], [0.0, 1.0]]]), 4)[0, 0]
    array([0.  , 0.25, 0.75, 1.  ])
    """
    old_size = images.shape[-1]
    position = (np.arange(size) + 0.5) * (old_size / size) - 0.5
    position = np.clip(position, 0, old_size - 1)
    weights = np.maximum(0, 1 - np.abs(position[:, np.newaxis] - np.arange(old_size)))
    resized: Array = weights @ images @ weights.T
    return resized
