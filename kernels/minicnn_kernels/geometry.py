"""Convolution arithmetic in plain integers: how many windows there are, and where they lie.

An image has one, two or three sides: (width), (height, width) or (depth, height, width), all in
pixels.  Whatever moves over it (a kernel, a stride, ...) has one integer per side as well.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Any, TypeAlias

from minicnn_kernels.errors import DTypeError, ShapeError

Sides: TypeAlias = tuple[int, ...]


def sides(value: Any, count: int, name: str = "value", least: int = 0) -> Sides:
    """Return one integer per side: (value, value) for an integer, or those of a sequence.

    >>> sides(3, 2), sides((1, 2), 2)
    ((3, 3), (1, 2))

    Raises:
        DTypeError: something other than integers.
        ShapeError: not one or `count` integers, or one below `least`.
    """
    allowed = "one integer" if count == 1 else f"one or {count} integers"
    refusal = f"{name} must be {allowed} of at least {least}, got {value!r}"
    try:
        numbers = tuple(map(operator.index, value if hasattr(value, "__iter__") else [value]))
    except TypeError:
        raise DTypeError(refusal) from None
    if len(numbers) == 1:
        numbers *= count
    if len(numbers) != count or min(numbers) < least:
        raise ShapeError(refusal)
    return numbers


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


def transposed_size(
    size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> int:
    """Return the size of the smallest image in which `output_size` counts `size` windows.

    >>> transposed_size(3, kernel=3, stride=2, padding=1)
    5
    """
    return (size - 1) * stride + dilation * (kernel - 1) + 1 - 2 * padding


@dataclass(frozen=True)
class Windows:
    """The windows that a kernel sees as it moves over an image.

    >>> windows = Windows(image=(5, 5), kernel=(3, 3), stride=(2, 2), padding=(1, 1))
    >>> windows.output
    (3, 3)
    >>> windows.place((0, 2))  # rows and columns of the padded image seen by kernel cell [0, 2]
    (slice(0, 5, 2), slice(2, 7, 2))

    Left out, stride and dilation are 1 and padding is 0.
    """

    image: Sides
    kernel: Sides
    stride: Sides = ()
    padding: Sides = ()
    dilation: Sides = ()
    ceil_mode: bool = False

    def __post_init__(self) -> None:
        for name, default in (("stride", 1), ("padding", 0), ("dilation", 1)):
            if not getattr(self, name):
                object.__setattr__(self, name, (default,) * self.ndim)

    @property
    def ndim(self) -> int:
        """How many sides the image has."""
        return len(self.image)

    @cached_property
    def output(self) -> Sides:
        """How many windows there are along each side."""
        geometry = (self.image, self.kernel, self.stride, self.padding, self.dilation)
        return tuple(output_size(*side, self.ceil_mode) for side in zip(*geometry, strict=True))

    @cached_property
    def padded(self) -> Sides:
        """The size of the image with its padding, and with what `ceil_mode` adds at the end."""
        geometry = (self.image, self.padding, self.output, self.stride, self.reach)
        return tuple(
            max(size + 2 * p, (count - 1) * s + reach)
            for size, p, count, s, reach in zip(*geometry, strict=True)
        )

    @property
    def cells(self) -> int:
        """How many pixels one window sees."""
        return prod(self.kernel)

    @property
    def reach(self) -> Sides:
        """How far one window extends, the pixels that dilation skips included."""
        return tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True))

    @property
    def overlap(self) -> bool:
        """Whether a pixel can lie in several windows."""
        return any(reach > step for reach, step in zip(self.reach, self.stride, strict=True))

    @property
    def inside(self) -> tuple[slice, ...]:
        """Where the image lies within the padded image."""
        return tuple(slice(p, p + n) for n, p in zip(self.image, self.padding, strict=True))

    @property
    def starts(self) -> tuple[slice, ...]:
        """Where the first cells of all windows lie in the padded image."""
        return self.place((0,) * self.ndim)

    def place(self, cell: Sides) -> tuple[slice, ...]:
        """Where a cell of the kernel lies in the padded image, over all windows at once."""
        return tuple(
            slice(a * d, a * d + (count - 1) * s + 1, s)
            for a, d, count, s in zip(cell, self.dilation, self.output, self.stride, strict=True)
        )

    @cached_property
    def places(self) -> list[list[list[int]]]:
        """For each side, which pixel window i sees through cell a, or -1 for the padding.

        >>> Windows(image=(3,), kernel=(2,), padding=(1,)).places
        [[[-1, 0], [0, 1], [1, 2], [2, -1]]]
        """
        geometry = (self.image, self.output, self.kernel, self.stride, self.padding, self.dilation)
        return [
            [
                [k if 0 <= (k := i * s - p + a * d) < n else -1 for a in range(kernel)]
                for i in range(count)
            ]
            for n, count, kernel, s, p, d in zip(*geometry, strict=True)
        ]

    def taps(self) -> Iterator[tuple[tuple[Any, ...], tuple[slice, ...]]]:
        """Go over the cells of the kernel in reading order: (cell, where it lies)."""
        for cell in product(*map(range, self.kernel)):
            yield cell, self.place(cell)

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


@dataclass(frozen=True)
class Bins:
    """Bins as even as they can be over an image: from floor(i*n/m) to ceil((i+1)*n/m).

    Along one side they differ by one pixel at most, and neighbours may share a pixel.  The kernel
    is the longest of them.

    >>> Bins(image=(5,), output=(2,)).edges, Bins(image=(2,), output=(3,)).edges
    ([[(0, 3), (2, 5)]], [[(0, 1), (0, 2), (1, 2)]])
    """

    image: Sides
    output: Sides

    @property
    def ndim(self) -> int:
        """How many sides the image has."""
        return len(self.image)

    @cached_property
    def edges(self) -> list[list[tuple[int, int]]]:
        """For each side the first pixel and the end of each bin."""
        return [
            [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]
            for n, m in zip(self.image, self.output, strict=True)
        ]

    @cached_property
    def kernel(self) -> Sides:
        """The size of the largest bin."""
        return tuple(max((end - first for first, end in side), default=1) for side in self.edges)

    @property
    def cells(self) -> int:
        """How many pixels the largest bin sees."""
        return prod(self.kernel)

    @cached_property
    def places(self) -> list[list[list[int]]]:
        """For each side, which pixel bin i sees through cell a, or -1 beyond its end.

        >>> Bins(image=(4,), output=(3,)).places
        [[[0, 1], [1, 2], [2, 3]]]
        """
        return [
            [[k if (k := first + a) < end else -1 for a in range(longest)] for first, end in side]
            for side, longest in zip(self.edges, self.kernel, strict=True)
        ]


def same_padding(kernel: Sides, dilation: Sides) -> tuple[tuple[int, int], ...]:
    """Return (before, after) for each side so that the size stays the same at stride 1.

    An odd total leaves the extra pixel at the end, as in PyTorch.

    >>> same_padding((3, 4), (1, 1))
    ((1, 1), (1, 2))
    """
    totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return tuple((total // 2, total - total // 2) for total in totals)
