"""Augmentation: every epoch sees the training images a little moved, turned and scaled."""

from __future__ import annotations

import numpy as np

from minicnn import random
from minicnn.errors import ArgumentError
from minicnn.tensor import Tensor
from minicnn_kernels.arrays import Array


class RandomAffine:
    """Turn, scale and shift each image of a batch at random, by interpolation between pixels.

    Args:
        degrees: largest turn to either side.
        translate: largest shift, as a fraction of the image's height and width.
        scale: largest change of size, as a fraction; 0.1 means factors from 0.9 to 1.1.

    What comes in from outside has the value of the nearest border pixel.  The numbers come from
    the global generator, one call a batch.

    Raises:
        ArgumentError: a setting is negative, or scale is 1 or more.
    """

    def __init__(self, degrees: float = 0.0, translate: float = 0.0, scale: float = 0.0) -> None:
        if min(degrees, translate, scale) < 0 or scale >= 1:
            raise ArgumentError(
                f"RandomAffine: degrees={degrees}, translate={translate} and scale={scale} must "
                f"be at least 0, and scale below 1"
            )
        self.degrees, self.translate, self.scale = degrees, translate, scale

    def __call__(self, images: Tensor) -> Tensor:
        """Return a changed copy of images (N, C, H, W)."""
        n, _, height, width = images.shape
        draw = random.default.numpy_generator().uniform
        angle = np.radians(draw(-self.degrees, self.degrees, n))
        factor = 1 + draw(-self.scale, self.scale, n)
        shift = draw(-self.translate, self.translate, (2, n))
        cosine, sine = (f(angle)[:, None, None] / factor[:, None, None] for f in (np.cos, np.sin))
        # Coordinates from the middle of the image: where does pixel [i, j] of the result come from?
        y, x = np.ogrid[:height, :width]
        y, x = y - (height - 1) / 2, x - (width - 1) / 2
        rows = cosine * y - sine * x + (height - 1) / 2 + (shift[0] * height)[:, None, None]
        columns = sine * y + cosine * x + (width - 1) / 2 + (shift[1] * width)[:, None, None]
        return Tensor(sample(images.numpy(), rows, columns))


def sample(images: Array, rows: Array, columns: Array) -> Array:
    """Return y[n,c,i,j] = images[n, c, rows[n,i,j], columns[n,i,j]], linear between pixels.

    Shapes: images (N, C, H, W), rows and columns (N, OH, OW) in pixels, result (N, C, OH, OW).

    >>> line = np.array([0.0, 1.0, 4.0]).reshape(1, 1, 1, 3)
    >>> sample(line, np.zeros((1, 1, 2)), np.array([[[0.5, 1.5]]])).tolist()
    [[[[0.5, 2.5]]]]
    """
    n, _, height, width = images.shape
    top, down = _split(rows, height)
    left, right = _split(columns, width)
    index = np.arange(n)[:, None, None]
    pixels = images.transpose(0, 2, 3, 1)  # (N, H, W, C): indexing keeps the channels together
    below, beside = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    upper = pixels[index, top, left] * (1 - right) + pixels[index, top, beside] * right
    lower = pixels[index, below, left] * (1 - right) + pixels[index, below, beside] * right
    mixed = upper * (1 - down) + lower * down
    result: Array = mixed.transpose(0, 3, 1, 2).astype(images.dtype)
    return result


def _split(position: Array, size: int) -> tuple[Array, Array]:
    """Return the pixel before a position, and how far behind it the position lies, 0 to 1."""
    inside = np.clip(position, 0, size - 1)
    before = np.floor(inside).astype(np.intp)
    return before, (inside - before)[..., None]
