"""Shapes: pictures that are drawn when they are asked for, so there are as many as one wants.

Coloured shapes of random place, size and turn on a noisy background, with what is known of each:
its class, its box, its pixels, its pose.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minicnn.data.dataset import Dataset, Index, check_choice
from minicnn.errors import ArgumentError
from minicnn_kernels.arrays import Array


def disc(x: Array, y: Array) -> Array:
    """Return the distance from the rim."""
    distance: Array = np.sqrt(x * x + y * y) - 1
    return distance


def bar(x: Array, y: Array) -> Array:
    """Return the distance from four sides, two of them far away."""
    return np.maximum(np.abs(x) - 0.95, np.abs(y) - 0.3)


def star(x: Array, y: Array) -> Array:
    """Draw five lines: who is beyond two of them is outside, so the second distance counts."""
    largest = second = np.full_like(x, -np.inf)
    for k in range(5):
        beyond = x * math.cos(0.4 * math.pi * k) + y * math.sin(0.4 * math.pi * k)
        second = np.maximum(second, np.minimum(largest, beyond))
        largest = np.maximum(largest, beyond)
    distance: Array = second - math.cos(0.4 * math.pi)
    return distance


# How far (x, y) lies outside of the shape, below 0 inside; its outermost points have distance 1
# from (0, 0). Beside it, how many turns leave the shape as it is; 0 where every turn does.
SHAPES: dict[str, tuple[Callable[[Array, Array], Array], int]] = {
    "circle": (disc, 0),
    "ring": (lambda x, y: np.abs(disc(x, y) + 0.25) - 0.25, 0),
    "semicircle": (lambda x, y: np.maximum(disc(x, y), -x), 1),
    "triangle": (lambda x, y: np.maximum(-x, x / 2 + np.abs(y) * math.sqrt(0.75)) - 0.5, 3),
    "square": (lambda x, y: np.maximum(np.abs(x), np.abs(y)) - math.sqrt(0.5), 4),
    "bar": (bar, 2),
    "cross": (lambda x, y: np.minimum(bar(x, y), bar(y, x)), 4),
    "star": (star, 5),
}
COLOURS = {
    "red": (0.9, 0.2, 0.2),
    "green": (0.2, 0.8, 0.2),
    "blue": (0.25, 0.35, 0.95),
    "yellow": (0.95, 0.85, 0.2),
    "purple": (0.8, 0.25, 0.85),
    "white": (0.9, 0.9, 0.9),
}
SPLITS = {"train": (0, 5000), "validation": (2**40, 1000), "test": (2**41, 1000)}  # first, length
BACKGROUND = 0.05, 0.35  # darkest and brightest, where white is 1
RADIUS = 0.26, 0.46  # least and largest, as a part of the cell
LIGHT = 0.75, 1.0  # which part of its colour a shape has
MOST = 10_000_000  # pictures of a split
LEAST_CELL = 10  # pixels
PER_PICTURE, PER_OBJECT = 7, 7  # random numbers beside the noise
BLOCK = 2**16  # pixels drawn at a time: what a cache holds


class Shapes(Dataset):
    """Draw coloured shapes on a noisy background: eight shapes, six colours.

    Picture i of a split depends on (seed, split, i) and the settings alone: it is the same in every
    run, and nothing is stored or downloaded.

    value[n, c, i, j] = (pixel[n, c, i, j] / 255 - mean[c]) / std[c], with mean and std of the
    default pictures.

    With `objects` above 1 each picture has 1 to `objects` shapes. The picture is a grid of square
    cells, and a cell holds one shape or none, so that they do not overlap. In targets, the rows of
    objects that are not there have class -1, and are 0 otherwise.

    Args:
        split: "train", "validation" or "test", of 5,000, 1,000 and 1,000 pictures.
        size: height and width of the pictures in pixels.
        labels: what the classes are: "shape", "colour", or "both", as in "red circle".
        targets: "labels", "boxes", "masks" or "pose": what a sample has after its picture.
        objects: the largest number of shapes in a picture; 1 if `targets` is "labels".
        shapes: the names of the shapes to draw.
        noise: the noise's standard deviation, from 0 to 0.25, where white is 1.
        length: another number of pictures.
        seed: an integer in [0, 2**64).
        normalize: False leaves values between 0 and 1.

    Shapes:
        picture: float32 (3, size, size)
        "labels": the class, int64
        "boxes": classes int64 (objects,) and float32 (objects, 4): the left, top, right and bottom
            edge in pixels
        "masks": the class of each pixel, int64 (size, size); class 0 is the background
        "pose": classes int64 (objects,) and float32 (objects, 5): x and y of the middle, from -1 at
            the left and top edge to 1; the radius, where half the picture is 1; cos(k a) and
            sin(k a) of the angle a from the x to the y axis, where k turns leave the shape as it
            is, so that there is one answer

    Raises:
        ArgumentError: an argument is out of its range.

    >>> pictures, labels = Shapes("test")[:3]
    >>> pictures.shape, [Shapes.classes[label] for label in labels]
    ((3, 3, 32, 32), ['square', 'star', 'circle'])
    """

    classes: tuple[str, ...] = tuple(SHAPES)
    num_classes = len(SHAPES)
    input_shape: tuple[int, ...] = (3, 32, 32)
    mean: tuple[float, ...] = (0.292, 0.271, 0.271)
    std: tuple[float, ...] = (0.231, 0.201, 0.216)

    def __init__(
        self,
        split: str = "train",
        size: int = 32,
        *,
        labels: str = "shape",
        targets: str = "labels",
        objects: int = 1,
        shapes: Sequence[str] = tuple(SHAPES),
        noise: float = 0.08,
        length: int | None = None,
        seed: int = 0,
        normalize: bool = True,
    ) -> None:
        check_choice("Shapes", "split", split, [*SPLITS])
        check_choice("Shapes", "labels", labels, ["shape", "colour", "both"])
        check_choice("Shapes", "targets", targets, ["labels", "boxes", "masks", "pose"])
        for shape in shapes:
            check_choice("Shapes", "each of shapes", shape, [*SHAPES])
        self.first, usual = SPLITS[split]
        self.length = usual if length is None else length
        _check(not shapes, "shapes is empty; name at least one")
        _check(objects < 1, f"objects must be at least 1, got {objects}")
        _check(not 0 <= noise <= 0.25, f"noise must lie in 0..0.25, got {noise}")
        _check(not 0 <= self.length <= MOST, f"length must lie in 0..{MOST}, got {length}")
        _check(not 0 <= seed < 2**64, f"seed must lie in [0, 2**64), got {seed}")
        self.cells = math.isqrt(objects - 1) + 1  # in a row of the grid
        least = LEAST_CELL * self.cells
        _check(
            size < least, f"{objects} objects need a size of at least {least} pixels, got {size}"
        )
        _check(
            targets == "labels" and objects > 1,
            f"a picture of {objects} objects has no one label; let targets be boxes, masks or pose",
        )
        self.size, self.objects, self.noise, self.seed = size, objects, noise, seed
        self.shapes, self.labels, self.targets = tuple(shapes), labels, targets
        self.input_shape = (3, size, size)
        if not normalize:
            self.mean, self.std = (0.0,) * 3, (1.0,) * 3
        both = tuple(f"{colour} {shape}" for shape in shapes for colour in COLOURS)
        names = {"shape": self.shapes, "colour": tuple(COLOURS), "both": both}[labels]
        self.classes = ("background", *names) if targets == "masks" else names
        self.num_classes = len(self.classes)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Index) -> tuple[Array, ...]:
        chosen = np.arange(self.length)[index]
        fields = self.batch(np.atleast_1d(chosen))
        return fields if chosen.ndim else tuple(field[0] for field in fields)

    def batch(self, indices: Array) -> tuple[Array, ...]:
        """Return the pictures with these numbers, and their targets."""
        some = max(1, BLOCK // self.size**2)
        starts = range(0, max(len(indices), 1), some)
        parts = [self._draw(indices[start : start + some]) for start in starts]
        return tuple(np.concatenate(field) for field in zip(*parts, strict=True))

    def _draw(self, indices: Array) -> tuple[Array, ...]:
        """Return a few pictures and their targets."""
        numbers, noise = self._random(indices)
        o = self._objects(numbers)
        coverage = self._coverage(o)
        pictures = background(numbers[:, 1:PER_PICTURE], self.size)
        grid = in_cells(pictures, self.cells)
        behind = grid[o.n, :, o.row, :, o.column]  # (M, 3, cell, cell)
        grid[o.n, :, o.row, :, o.column] = behind + coverage[:, None] * (o.paint - behind)
        pictures += (noise - np.float32(127.5)) * np.float32(self.noise * math.sqrt(12) / 256)
        pictures = np.rint(pictures.clip(0, 1) * 255)  # what a file of bytes could hold
        mean, std = (np.array(v, np.float32)[:, None, None] for v in (self.mean, self.std))
        return (pictures / 255 - mean) / std, *self._targets(o, coverage, len(indices))

    def _random(self, indices: Array) -> tuple[Array, Array]:
        """Return numbers from 0 to 1, a row a picture, and bytes of noise (N, 3, size, size).

        Philox gives each picture words of its own; that these never change, NumPy promises.
        """
        count = PER_PICTURE + self.cells**2 + PER_OBJECT * self.objects
        values = 3 * self.size**2
        words = np.empty((len(indices), count + -(-values // 8)), np.uint64)
        for i, index in enumerate(indices):
            key = np.array([self.seed, self.first + int(index)], np.uint64)
            words[i] = np.random.Philox(key=key).random_raw(words.shape[1])
        numbers = (words[:, :count] >> np.uint64(11)) * 2.0**-53
        noise = words[:, count:].astype("<u8", copy=False).view(np.uint8)[:, :values]
        return numbers, noise.reshape(-1, 3, self.size, self.size)

    def _objects(self, numbers: Array) -> Objects:
        """Choose shapes and places for each row of numbers."""
        split = PER_PICTURE + self.cells**2
        there = np.arange(self.objects) < 1 + np.floor(numbers[:, :1] * self.objects)
        n, slot = np.nonzero(there)
        order = np.argsort(numbers[:, PER_PICTURE:split], axis=1, kind="stable")
        row, column = np.divmod(order[n, slot], self.cells)
        draws = numbers[:, split:].reshape(-1, self.objects, PER_OBJECT)[n, slot].T
        shape, colour, radius, x, y, angle, light = draws
        cell = self.size // self.cells
        radius = cell * between(RADIUS, radius)
        hue = (colour * len(COLOURS)).astype(np.intp)
        paint = np.array([*COLOURS.values()]).T[:, hue] * between(LIGHT, light)
        return Objects(
            n=n,
            slot=slot,
            row=row,
            column=column,
            shape=(shape * len(self.shapes)).astype(np.intp),
            colour=hue,
            radius=radius,
            x=column * cell + between((radius, cell - radius), x),
            y=row * cell + between((radius, cell - radius), y),
            angle=2 * math.pi * angle,
            paint=paint.T.astype(np.float32)[:, :, None, None],
        )

    def _coverage(self, o: Objects) -> Array:
        """Return which part of each pixel of its cell an object covers: float32 (M, cell, cell).

        Of a pixel whose middle lies d outside of an edge, about 1/2 - d is covered.
        """
        cell = self.size // self.cells
        pixels = np.arange(cell) + 0.5
        x = ((pixels + (o.column * cell - o.x)[:, None]) / o.radius[:, None])[:, None, :]
        y = ((pixels + (o.row * cell - o.y)[:, None]) / o.radius[:, None])[:, :, None]
        cosine, sine = np.cos(o.angle)[:, None, None], np.sin(o.angle)[:, None, None]
        u = (cosine * x + sine * y).astype(np.float32)
        v = (cosine * y - sine * x).astype(np.float32)
        outside = np.empty_like(u)
        for number, shape in enumerate(self.shapes):
            chosen = o.shape == number
            outside[chosen] = SHAPES[shape][0](u[chosen], v[chosen])
        outside *= o.radius[:, None, None].astype(np.float32)
        coverage: Array = (np.float32(0.5) - outside).clip(0, 1)
        return coverage

    def _targets(self, o: Objects, coverage: Array, count: int) -> tuple[Array, ...]:
        """Return what a sample has after its picture."""
        both = o.shape * len(COLOURS) + o.colour
        label = {"shape": o.shape, "colour": o.colour, "both": both}[self.labels]
        if self.targets == "labels":
            return (label.astype(np.int64),)
        filled = coverage >= 0.5
        if self.targets == "masks":
            masks = np.zeros((count, self.size, self.size), np.int64)
            grid = in_cells(masks, self.cells)
            grid[o.n, o.row, :, o.column] = filled * (label + 1)[:, None, None]
            return (masks,)
        known = self._boxes(o, filled) if self.targets == "boxes" else self._poses(o)
        labels = np.full((count, self.objects), -1, np.int64)
        rows = np.zeros((count, self.objects, len(known)), np.float32)
        labels[o.n, o.slot], rows[o.n, o.slot] = label, np.stack(known, axis=1)
        return labels, rows

    def _boxes(self, o: Objects, filled: Array) -> list[Array]:
        """Return the left, top, right and bottom edge of the pixels of each object."""
        cell = self.size // self.cells
        across, down = filled.max(axis=1), filled.max(axis=2)
        first = [o.column * cell + across.argmax(axis=1), o.row * cell + down.argmax(axis=1)]
        return [
            *first,
            (o.column + 1) * cell - across[:, ::-1].argmax(axis=1),
            (o.row + 1) * cell - down[:, ::-1].argmax(axis=1),
        ]

    def _poses(self, o: Objects) -> list[Array]:
        """Return x, y, radius, cosine and sine of each object."""
        half = self.size / 2
        turn = np.array([SHAPES[shape][1] for shape in self.shapes])[o.shape] * o.angle
        return [o.x / half - 1, o.y / half - 1, o.radius / half, np.cos(turn), np.sin(turn)]


class Objects(NamedTuple):
    """All shapes in some pictures, M of them.

    `n` is the picture, `slot` the row of its targets; `row` and `column` are the cell; `shape` and
    `colour` are numbers; `radius`, `x` and `y` are in pixels, `angle` in radians; `paint` is the
    colour (M, 3, 1, 1).
    """

    n: Array
    slot: Array
    row: Array
    column: Array
    shape: Array
    colour: Array
    radius: Array
    x: Array
    y: Array
    angle: Array
    paint: Array


def between(ends: tuple[Any, Any], part: Array) -> Array:
    """Return the value that lies a part of the way, 0 to 1, from one end to the other."""
    value: Array = ends[0] + (ends[1] - ends[0]) * part
    return value


def background(numbers: Array, size: int) -> Array:
    """Return pictures (N, 3, size, size) that go from one dark colour at the left to another."""
    left, right = between(BACKGROUND, numbers).reshape(-1, 2, 3, 1, 1).swapaxes(0, 1)
    line = between((left, right), (np.arange(size) + 0.5) / size)  # (N, 3, 1, size)
    return np.repeat(line.astype(np.float32), size, axis=2)


def in_cells(pictures: Array, cells: int) -> Array:
    """View pictures (..., size, size) as (..., cells, cell, cells, cell), what is over left out."""
    cell = pictures.shape[-1] // cells
    part = pictures[..., : cells * cell, : cells * cell]
    return part.reshape(*pictures.shape[:-2], cells, cell, cells, cell)


def _check(wrong: bool, message: str) -> None:
    if wrong:
        raise ArgumentError(f"Shapes: {message}")
