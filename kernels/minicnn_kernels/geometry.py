"""Convolution arithmetic in plain integers: how many windows there are, and where they lie.

All sizes are in pixels.  A pair is (vertical, horizontal).
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from minicnn_kernels.errors import ShapeError

Pair: TypeAlias = tuple[int, int]


def pair(value: Any, name: str = "value", least: int = 0) -> Pair:
    """Return (value, value) for an integer, or the two integers of a sequence.

    >>> pair(3), pair((1, 2))
    ((3, 3), (1, 2))

    Raises:
        ShapeError: not one or two integers, or one below `least`.
    """
    try:
        parts = tuple(operator.index(part) for part in value) if _is_sequence(value) else None
        numbers = parts if parts is not None else (operator.index(value),) * 2
    except TypeError:
        numbers = ()
    if len(numbers) == 1:
        numbers *= 2
    if len(numbers) != 2 or min(numbers) < least:
        raise ShapeError(f"{name} must be one or two integers of at least {least}, got {value!r}")
    return numbers[0], numbers[1]


def _is_sequence(value: Any) -> bool:
    return isinstance(value, (tuple, list)) or (
        hasattr(value, "__len__") and hasattr(value, "__iter__")
    )


def output_size(
    size: int,
    kernel: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
) -> int:
    """Count the windows along one side: floor((size + 2 padding - reach) / stride) + 1.

    The reach of a kernel is dilation * (kernel - 1) + 1 pixels.  With `ceil_mode` the division
    rounds up, unless the last window would start beyond the image and its left padding.

    >>> output_size(227, kernel=11, stride=4)  # AlexNet's first layer
    55
    >>> output_size(5, kernel=3, stride=2, padding=1)
    3
    """
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return span // stride + 1
    count = -(-span // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding else count


@dataclass(frozen=True)
class Windows:
    """The windows that a kernel sees as it moves over an image.

    >>> windows = Windows(image=(5, 5), kernel=(3, 3), stride=(2, 2), padding=(1, 1))
    >>> windows.output
    (3, 3)
    >>> windows.tap(0, 2)  # rows and columns of the padded image seen by kernel cell [0, 2]
    (slice(0, 5, 2), slice(2, 7, 2))
    """

    image: Pair
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    ceil_mode: bool = False

    @cached_property
    def output(self) -> Pair:
        """How many windows there are, vertically and horizontally."""
        h, w = (
            output_size(*side, self.ceil_mode)
            for side in zip(
                self.image, self.kernel, self.stride, self.padding, self.dilation, strict=True
            )
        )
        return h, w

    @cached_property
    def padded(self) -> Pair:
        """The size of the image with its padding, and with what `ceil_mode` adds at the end."""
        h, w = (
            max(size + 2 * p, (count - 1) * s + reach)
            for size, p, count, s, reach in zip(
                self.image, self.padding, self.output, self.stride, self.reach, strict=True
            )
        )
        return h, w

    @property
    def cells(self) -> int:
        """How many pixels one window sees."""
        return self.kernel[0] * self.kernel[1]

    @property
    def reach(self) -> Pair:
        """How far one window extends, the pixels that dilation skips included."""
        h, w = (d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True))
        return h, w

    @property
    def overlap(self) -> bool:
        """Whether a pixel can lie in several windows."""
        return any(reach > step for reach, step in zip(self.reach, self.stride, strict=True))

    @property
    def inside(self) -> tuple[slice, slice]:
        """Where the image lies within the padded image."""
        (h, w), (top, left) = self.image, self.padding
        return slice(top, top + h), slice(left, left + w)

    def tap(self, a: int, b: int) -> tuple[slice, slice]:
        """Where kernel cell [a, b] lies in the padded image, over all windows at once."""
        rows, columns = (
            slice(i * d, i * d + (count - 1) * s + 1, s)
            for i, d, count, s in zip((a, b), self.dilation, self.output, self.stride, strict=True)
        )
        return rows, columns

    def taps(self) -> Iterator[tuple[int, int, tuple[slice, slice]]]:
        """Go over the cells of the kernel in reading order: (a, b, where it lies)."""
        for a in range(self.kernel[0]):
            for b in range(self.kernel[1]):
                yield a, b, self.tap(a, b)

    def checked(self, op: str) -> Windows:
        """Return self if at least one window fits.

        Raises:
            ShapeError: the kernel reaches beyond the padded image.
        """
        if min(self.output) < 1:
            padded = tuple(n + 2 * p for n, p in zip(self.image, self.padding, strict=True))
            raise ShapeError(
                f"{op}: a kernel of {self.kernel} with dilation {self.dilation} reaches over "
                f"{self.reach} pixels, more than the padded image of {padded}; use a larger "
                f"image or padding"
            )
        return self


def same_padding(kernel: Pair, dilation: Pair) -> tuple[Pair, Pair]:
    """Return ((top, bottom), (left, right)) that keep the size at stride 1.

    An odd total leaves the extra pixel at the bottom and the right, as in PyTorch.

    >>> same_padding((3, 4), (1, 1))
    ((1, 1), (1, 2))
    """
    totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    vertical, horizontal = ((total // 2, total - total // 2) for total in totals)
    return vertical, horizontal
