"""Pooling computed with the wrong windows, or with the wrong winners in the right windows.

Window t covers the places b = t * stride + a * dilation - padding, for a below the kernel size.
First the windows are found that explain the outputs (or, for a mean, the measured Jacobian); then
Jacobians that a slip would give are compared with the gradient found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from minicnn.gradcheck.diagnosis.case import Candidate, Case, Trial
from minicnn_kernels.arrays import Array

Sizes = tuple[int, ...]
MOST_CHOICES = 20_000


@dataclass(frozen=True)
class Windows:
    """Sizes along each spatial axis."""

    kernel: Sizes
    stride: Sizes
    padding: Sizes

    def places(self, axis: int, outputs: int) -> Array:
        """List [t, a]: the place in the image of cell a of window t."""
        t, a = np.arange(outputs)[:, None], np.arange(self.kernel[axis])
        return np.asarray(t * self.stride[axis] + a - self.padding[axis])

    def cover(self, image: Sizes, outputs: Sizes) -> Array:
        """Mark [window, place], both raveled over space, where the place is in the window."""
        whole = np.ones((1, 1), bool)
        for axis, (size, count) in enumerate(zip(image, outputs, strict=True)):
            places = self.places(axis, count)
            whole = np.kron(whole, (places[..., None] == np.arange(size)).any(axis=1))
        return whole.astype(bool)


@dataclass(frozen=True)
class Pooling:
    """What was recognized: windows, image and output sizes, and the planes of x and J.

    Attributes:
        planes: x as (planes, places).
        blocks: J as (planes, windows, places); nothing lies outside these blocks.
        largest: it is a maximum, not a mean.
    """

    windows: Windows
    image: Sizes
    outputs: Sizes
    planes: Array
    blocks: Array
    largest: bool


def recognize(case: Case) -> Pooling | None:
    """Find the windows of a pooling."""
    J, y = case.jacobian, case.y[0]
    if J is None or len(case.y) > 1 or np.isnan(J).any() or y.ndim != case.x.ndim:
        return None
    lead = max(case.x.ndim - 3, 2) if case.x.ndim >= 3 else 0
    if y.shape[:lead] != case.x.shape[:lead] or not y.size or y.size == case.x.size:
        return None
    image, outputs = case.x.shape[lead:], y.shape[lead:]
    if not image:
        return None
    count = int(np.prod(case.x.shape[:lead]))
    planes, results = case.x.reshape(count, -1), y.reshape(count, -1)
    four = J.reshape(count, results.shape[1], count, planes.shape[1])
    blocks = np.stack([four[k, :, k] for k in range(count)])
    if np.count_nonzero(J) != np.count_nonzero(blocks):
        return None
    seen: Array = np.abs(blocks) > 1e-8 * np.abs(blocks).max(initial=0)
    axes = [list(_along_axis(*sizes)) for sizes in zip(image, outputs, strict=True)]
    if np.prod([float(len(axis)) for axis in axes]) > MOST_CHOICES:
        return None
    single = bool((seen.sum(axis=2) <= 1).all())
    for choice in product(*axes):
        kernel, stride, padding = zip(*choice, strict=True)
        windows = Windows(kernel, stride, padding)
        cover = windows.cover(image, outputs)
        if (seen & ~cover).any():
            continue
        found = Pooling(windows, image, outputs, planes, blocks, single)
        if single:
            highest = np.where(cover, planes[:, None], -np.inf).max(axis=2)
            if np.array_equal(highest, results):
                return found
        elif (seen == cover).all():
            return found
    return None


def _along_axis(image: int, outputs: int) -> Iterator[tuple[int, int, int]]:
    for kernel in range(1, image + 1):
        for stride in range(1, 5) if outputs > 1 else (1,):
            for padding in range(kernel // 2 + 1):
                span = image + 2 * padding - kernel
                if outputs in (span // stride + 1, -(-span // stride) + 1):
                    yield kernel, stride, padding


def wrong_windows(case: Case) -> Iterator[Candidate]:
    """dx is that of other windows, or goes to other cells of the right windows."""
    found = recognize(case)
    if found is None:
        return
    told = f"(window {found.windows.kernel}, stride {found.windows.stride})"
    for text, windows in _slips(found.windows):
        cover = windows.cover(found.image, found.outputs)
        rank = 3.0
        if found.largest:
            yield _candidate(case, "geometry", f"{text} {told}", _placed(found, windows), rank)
            yield _candidate(case, "geometry", f"{text} {told}", _won(found, cover), rank)
        else:
            weight = found.blocks.max(axis=2, keepdims=True)
            yield _candidate(case, "geometry", f"{text} {told}", weight * cover, rank)
            share = cover / np.maximum(cover.sum(axis=1, keepdims=True), 1)
            spread = np.broadcast_to(share, found.blocks.shape)
            yield _candidate(case, "geometry", f"{text} {told}", spread, rank + 0.1)
    if found.largest:
        yield from _wrong_winners(case, found, told)
    else:
        yield from _wrong_divisors(case, found, told)


def _wrong_winners(case: Case, found: Pooling, told: str) -> Iterator[Candidate]:
    cover = found.windows.cover(found.image, found.outputs)
    everywhere = np.broadcast_to(cover, found.blocks.shape).astype(float)
    area = cover.sum(axis=1, keepdims=True)
    first = _ones_at(everywhere.argmax(axis=2), found)
    last = _ones_at(cover.shape[1] - 1 - everywhere[..., ::-1].argmax(axis=2), found)
    smallest = _won(found, cover, -found.planes)
    for text, blocks in [
        ("every cell of a window gets its dy, not only the winner", everywhere),
        ("dy is shared by all cells of a window, as for a mean", everywhere / area),
        ("dy goes to the smallest cell of a window", smallest),
        ("dy goes to the first cell of a window", first),
        ("dy goes to the last cell of a window", last),
    ]:
        yield _candidate(case, "local-derivative", f"{text} {told}", blocks, 3.2)
    for cause, text, change in _decodings(found.windows.kernel):
        yield _candidate(case, cause, f"{text} {told}", _placed(found, found.windows, change), 3.1)
    if case.x.ndim > 2:
        lead = case.x.shape[: case.x.ndim - len(found.image)]
        blocks = found.blocks.reshape(*lead, *found.blocks.shape[1:])
        for axis, name in enumerate(["image", "channel"][: len(lead)]):
            for place, which in [(0, "first"), (-1, "last")]:
                one = np.take(blocks, [place], axis)
                same = np.broadcast_to(one, blocks.shape).reshape(found.blocks.shape)
                text = f"the winners of the {which} {name} are used for all of them {told}"
                yield _candidate(case, "partial", text, same, 3.1)


def _wrong_divisors(case: Case, found: Pooling, told: str) -> Iterator[Candidate]:
    cover = found.windows.cover(found.image, found.outputs)
    inside = cover.sum(axis=1, keepdims=True)
    full = int(np.prod(found.windows.kernel))
    for text, divisor in [
        (f"each window is divided by its full area, {full}", np.full(inside.shape, full)),
        ("each window is divided by the number of its cells inside the image", inside),
    ]:
        blocks = np.broadcast_to(cover / divisor, found.blocks.shape)
        yield _candidate(case, "geometry", f"{text} {told}", blocks, 2.9)


def _decodings(kernel: Sizes) -> Iterator[tuple[str, str, Callable[[Array], Array]]]:
    """List wrong ways to turn the number of a cell in a window into its row and column."""
    if len(kernel) != 2:
        return
    rows, columns = kernel

    def with_width(width: int, exchanged: bool) -> Callable[[Array], Array]:
        def change(cell: Array) -> Array:
            number = cell[..., 0] * columns + cell[..., 1]
            row_and_column = [number // width, number % width]
            return np.stack(row_and_column[::-1] if exchanged else row_and_column, axis=-1)

        return change

    yield "transposed", "row and column of the winner are exchanged", with_width(columns, True)
    for width in {rows, rows + 1, columns + 1, columns - 1, columns * 2} - {columns, 0}:
        text = f"the number of the winner is read as if a window were {width} wide"
        yield "permuted", text, with_width(width, False)
        yield "permuted", f"{text}, and exchanged", with_width(width, True)


def _slips(right: Windows) -> Iterator[tuple[str, Windows]]:
    """List windows that a slip in one setting would give."""
    k, s, p = right.kernel, right.stride, right.padding
    n = len(k)
    options: list[tuple[str, Windows]] = [
        ("the stride is ignored", Windows(k, (1,) * n, p)),
        ("the stride is exchanged between the axes", Windows(k, s[::-1], p)),
        ("the window size is taken for the stride", Windows(k, k, p)),
        ("the stride is taken for the window size", Windows(s, s, p)),
        ("the window is exchanged between the axes", Windows(k[::-1], s, p)),
        ("window and stride are exchanged between the axes", Windows(k[::-1], s[::-1], p)),
        ("the padding is ignored", Windows(k, s, (0,) * n)),
        ("the padding is exchanged between the axes", Windows(k, s, p[::-1])),
        ("the padding is off by one", Windows(k, s, tuple(q + 1 for q in p))),
        ("the padding is off by one", Windows(k, s, tuple(q - 1 for q in p))),
        ("the window is too large by one", Windows(tuple(a + 1 for a in k), s, p)),
    ]
    if min(k) > 1:
        smaller = Windows(tuple(a - 1 for a in k), s, p)
        options.append(("the window is too small by one", smaller))
    for axis in range(n):
        options.append(
            (f"the stride of axis {axis} is used for all", Windows(k, (s[axis],) * n, p))
        )
        options.append(
            (f"the window of axis {axis} is used for all", Windows((k[axis],) * n, s, p))
        )
    for text, windows in options:
        if windows != right:
            yield text, windows


def _won(found: Pooling, cover: Array, values: Array | None = None) -> Array:
    """Give each window's dy to its largest value, in windows of any cover."""
    values = found.planes if values is None else values
    winner = np.where(cover, values[:, None], -np.inf).argmax(axis=2)
    return _ones_at(winner, found) * np.asarray(cover.any(axis=1))[:, None]


def _ones_at(place: Array, found: Pooling) -> Array:
    return np.asarray(place[..., None] == np.arange(found.blocks.shape[2]), dtype=np.float64)


def _placed(
    found: Pooling, windows: Windows, change: Callable[[Array], Array] | None = None
) -> Array:
    """Give each window's dy to the cell that won, with the window put where `windows` says."""
    right = found.windows
    winner = np.stack(np.unravel_index(found.blocks.argmax(axis=2), found.image), axis=-1)
    t = np.stack(np.unravel_index(np.arange(found.blocks.shape[1]), found.outputs), axis=-1)
    cell = winner - (t * right.stride - right.padding)
    place = t * windows.stride - windows.padding + (cell if change is None else change(cell))
    inside = np.asarray(((place >= 0) & (place < found.image)).all(axis=-1))
    flat: Array = np.zeros(inside.shape, dtype=np.int64)
    for axis, size in enumerate(found.image):
        flat = flat * size + place[..., axis]
    return _ones_at(np.where(inside, flat, -1), found)


def _candidate(case: Case, cause: str, text: str, blocks: Array, rank: float) -> Candidate:
    def predict(trial: Trial) -> Array:
        dy = trial.dy[0].reshape(blocks.shape[0], -1)
        return np.asarray(np.einsum("ps,psb->pb", dy, blocks)).reshape(case.x.shape)

    return Candidate(cause, text, predict, rank)
