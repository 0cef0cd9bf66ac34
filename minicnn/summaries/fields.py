"""Receptive fields: which pixels of the input a unit sees, followed from operation to operation.

Along each side of the image on its own.  Unit i of a layer sees the pixels first(i) ... last(i);
the next layer's unit i sees, through a kernel of k cells with stride s, padding p and dilation d,
those that units i*s - p ... i*s - p + d*(k - 1) see together.  The image is thought to go on
beyond its border, so that a field can be larger than the image.

Where branches meet, a unit sees what any of them sees.  Their units must lie on the same grid: the
jump, the pixels from one unit to the next, must be the same.  Where it is not, that is noted.

Paper: Araujo, Norris, Sim 2019, "Computing receptive fields of convolutional neural networks",
Distill, doi:10.23915/distill.00021.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import gcd, lcm, prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from minicnn.arguments import Call
from minicnn.differentiable import Op
from minicnn.ops import (
    activation,
    diagonal,
    extremes,
    linear,
    norm,
    rearrange,
    recurrent,
    reduce,
    scan,
)
from minicnn.ops.convolution import conv, conv_bias, conv_input, im2col
from minicnn.ops.embedding import embed
from minicnn.ops.indexing import index
from minicnn.ops.padding import extend
from minicnn.ops.pooling import take_winners, window_sum
from minicnn.ops.resample import weighted_sums
from minicnn.ops.shape import joined, pad_with, permute_dims, view_as
from minicnn_kernels.arrays import Array
from minicnn_kernels.geometry import Bins, Sides, Windows

Span: TypeAlias = Callable[[int], tuple[int, int]]
"""Which units, from first to last, a unit of the next layer sees."""


@dataclass(frozen=True)
class Side:
    """What the units of a tensor see along one side of the image.

    Units repeat: unit i + len(first) sees what unit i sees, `step` pixels further.

    >>> pixels = Side(dim=2, step=1, first=(0,), last=(0,))
    >>> seen = pixels.through(lambda i: (2 * i - 1, 2 * i + 1), moves=2)  # 3x3, stride 2, padding 1
    >>> seen.size, seen.jump, seen.at(5)
    (3, Fraction(2, 1), (9, 11))

    Attributes:
        dim: the dimension of the tensor that goes along this side; None if there is none, and every
            unit sees the same pixels.
    """

    dim: int | None
    step: int
    first: tuple[int, ...]
    last: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many pixels a unit sees."""
        return max(b - a + 1 for a, b in zip(self.first, self.last, strict=True))

    @property
    def jump(self) -> Fraction:
        """How many pixels lie between the fields of neighbouring units."""
        return Fraction(self.step, len(self.first))

    def at(self, i: int) -> tuple[int, int]:
        """Return the first and the last pixel that unit i sees."""
        turn, place = divmod(i, len(self.first))
        return self.first[place] + turn * self.step, self.last[place] + turn * self.step

    def through(self, span: Span, every: int = 1, moves: int = 1, dim: int | None = None) -> Side:
        """Return what a layer sees whose unit i looks at the units span(i) of this one.

        `every` units further, a span lies `moves` units further.
        """
        turns = len(self.first) // gcd(len(self.first), moves)
        step = turns * moves * self.step // len(self.first)
        seen = [self._between(*span(i)) for i in range(every * turns)]
        first, last = zip(*seen, strict=True)
        return Side(self.dim if dim is None else dim, step, first, last)

    def _between(self, begin: int, end: int) -> tuple[int, int]:
        """Return the first and the last pixel that any of these units sees."""
        ends = self.at(begin), self.at(end)  # no unit between them sees further
        return min(first for first, _ in ends), max(last for _, last in ends)

    def everywhere(self, count: int) -> Side:
        """Return what a unit sees that looks at all `count` units."""
        first, last = self._between(0, max(count - 1, 0))
        return Side(None, 0, (first,), (last,))


Field: TypeAlias = tuple[Side, ...]


class Fields:
    """The receptive field of each array that is computed from the input.

    Attributes:
        meetings: the calls in which branches of different jumps meet, and these jumps.
    """

    def __init__(self, image: Array, sides: Sequence[int]) -> None:
        """Let each element of the image see itself, along its dimensions `sides`."""
        pixels = tuple(Side(dim, 1, (0,), (0,)) for dim in sides)
        self.known: dict[int, Field] = {id(image): pixels}
        self.meetings: dict[int, tuple[Fraction, ...]] = {}

    def of(self, array: Any) -> Field | None:
        """Return what is known of an array."""
        return self.known.get(id(array))

    def follow(self, call: Call) -> None:
        """Find out what the result of a call sees."""
        sources = [*enumerate(call.arrays), *((-1, v) for v in call.settings.values())]
        seen = [
            tuple(_seen(call, i, x, side) for side in field)
            for i, x in sources
            if (field := self.of(x)) is not None
        ]
        if seen:
            self.known[id(call.result)] = tuple(
                self._met(call, sides) for sides in zip(*seen, strict=True)
            )

    def _met(self, call: Call, sides: tuple[Side, ...]) -> Side:
        """Return what a unit sees that sees all of these."""
        moving = [side for side in sides if side.dim is not None]
        if len(moving) < len(sides):  # one of them sees the same from everywhere
            sides = tuple(
                side if side.dim is None else side.everywhere(call.result.shape[side.dim])
                for side in sides
            )
        elif len({(side.dim, side.jump) for side in sides}) > 1:
            self.meetings[id(call.result)] = tuple(sorted({side.jump for side in sides}))
            return max(sides, key=lambda side: side.size)
        period = lcm(*(len(side.first) for side in sides))
        seen = [[side.at(i) for side in sides] for i in range(period)]
        return Side(
            sides[0].dim,
            int(sides[0].jump * period),
            tuple(min(first for first, _ in unit) for unit in seen),
            tuple(max(last for _, last in unit) for unit in seen),
        )


def _seen(call: Call, i: int, x: Array, side: Side) -> Side:
    """Return what the result sees of argument number i, whose field along a side is given."""
    if side.dim is None:
        return side
    rule = RULES.get(call.op, _element_by_element)
    found = rule(call, i, x, side)
    return side.everywhere(x.shape[side.dim]) if found is None else found


# --- how one operation's results see its arguments ------------------------------------------------
# Each of these returns None where every result sees the whole side.


class Window(NamedTuple):
    """What moves over an image, one number for each side."""

    kernel: Sides
    stride: Sides
    padding: Sides
    dilation: Sides
    groups: int = 1


def window_of(call: Call) -> Window | None:
    """Return the window that a call moves over its first argument, if it does."""
    settings = call.settings
    if call.op in (conv, conv_bias, conv_input):
        geometry = (settings[name] for name in ("stride", "padding", "dilation", "groups"))
        return Window(call.arrays[1].shape[2:], *geometry)
    windows = settings.get("windows")
    if isinstance(windows, Windows):
        return Window(windows.kernel, windows.stride, windows.padding, windows.dilation)
    return None


def _sliding(call: Call, i: int, x: Array, side: Side) -> Side | None:
    """Convolution and pooling."""
    window, n = window_of(call), _spatial(side, i)
    if n is None:
        return None
    if n < 0:
        return side
    if window is None:
        bins: Bins = call.settings["windows"]
        return _even(side, bins.image[n], bins.output[n])
    k, s, p, d = (numbers[n] for numbers in window[:4])
    dim = call.result.ndim - len(window.kernel) + n
    return side.through(lambda i: (i * s - p, i * s - p + d * (k - 1)), moves=s, dim=dim)


def _spatial(side: Side, i: int) -> int | None:
    """Return which side of (N, C, ...) this is; -1 for N, None for C and for what is no image."""
    assert side.dim is not None
    return None if i > 0 or side.dim == 1 else max(side.dim - 2, -1)


def _even(side: Side, n: int, m: int) -> Side:
    """Let m bins share n units."""
    g = gcd(n, m)
    return side.through(
        lambda i: (i * n // m, -(-(i + 1) * n // m) - 1), every=m // g, moves=n // g
    )


def _transposed(call: Call, i: int, x: Array, side: Side) -> Side | None:
    """The gradient of convolution: unit o sees those i for which o = i*s - p + a*d, 0 <= a < k."""
    window, n = window_of(call), _spatial(side, i)
    assert window is not None
    if n is None or n < 0:
        return None if n is None else side
    k, s, p, d = (numbers[n] for numbers in window[:4])

    def span(o: int) -> tuple[int, int]:
        end = (o + p) // s
        return min(-(-(o + p - d * (k - 1)) // s), end), end

    return side.through(span, every=s)


def _resampled(call: Call, i: int, x: Array, side: Side) -> Side | None:
    """Weighted sums by a table; its middle is taken, where the border changes nothing."""
    taps, dim = call.settings["taps"], call.settings["dim"]
    if side.dim != dim % x.ndim:
        return side
    n, m = taps.size, taps.places.shape[1]
    every, moves = m // gcd(n, m), n // gcd(n, m)
    middle = m // every // 2

    def span(i: int) -> tuple[int, int]:
        turn, place = divmod(i, every)
        column = middle * every + place
        places = taps.places[taps.weights[:, column] != 0, column] + (turn - middle) * moves
        return int(places.min()), int(places.max())

    return side.through(span, every, moves)


def _padded(call: Call, i: int, x: Array, side: Side) -> Side | None:
    before, _ = call.settings["widths"][side.dim]
    return side.through(lambda i: (i - before, i - before))


def _permuted(call: Call, i: int, x: Array, side: Side) -> Side | None:
    dims = [dim % x.ndim for dim in call.settings["dims"]]
    return replace(side, dim=dims.index(side.dim or 0))


def _reshaped(call: Call, i: int, x: Array, side: Side) -> Side | None:
    """A dimension is still there if it has its size, and as many values behind it."""
    assert side.dim is not None
    size, behind = x.shape[side.dim], prod(x.shape[side.dim + 1 :])
    for dim, n in enumerate(call.result.shape):
        if n == size and prod(call.result.shape[dim + 1 :]) == behind:
            return replace(side, dim=dim)
    return None


def _indexed(call: Call, i: int, x: Array, side: Side) -> Side | None:
    where = call.settings["where"]
    parts = list(where) if isinstance(where, tuple) else [where]
    if any(isinstance(part, (np.ndarray, list)) or hasattr(part, "chosen") for part in parts):
        return None
    if ... in parts:
        taken = sum(part is not None and part is not ... for part in parts)
        at = parts.index(...)
        parts[at : at + 1] = [slice(None)] * (x.ndim - taken)
    dim = new = 0
    for part in parts:
        if part is None:
            new += 1
        elif dim == side.dim:
            if not isinstance(part, slice):
                return Side(None, 0, *((end,) for end in side.at(part % x.shape[dim])))
            start, _, step = part.indices(x.shape[dim])
            return _every(side, start, step, new)
        else:
            dim, new = dim + 1, new + isinstance(part, slice)
    assert side.dim is not None
    return replace(side, dim=side.dim - dim + new)


def _every(side: Side, start: int, step: int, dim: int) -> Side:
    return side.through(lambda i: (start + i * step, start + i * step), moves=step, dim=dim)


def _joined(call: Call, i: int, x: Array, side: Side) -> Side | None:
    return None if side.dim == call.settings["dim"] % x.ndim else side


def _multiplied(call: Call, i: int, x: Array, side: Side) -> Side | None:
    """Products of matrices: the rows of the first, the columns of the second are those of y."""
    assert side.dim is not None
    inner = x.ndim - 1 if i == 0 else x.ndim - 2
    return None if side.dim == inner else replace(side, dim=side.dim + call.result.ndim - x.ndim)


def _reduced(call: Call, i: int, x: Array, side: Side) -> Side | None:
    """Sums and the like: the dimensions that are gone are seen as a whole."""
    assert side.dim is not None
    named = call.settings.get("dims", call.settings.get("dim"))
    named = range(x.ndim) if named is None or named == () else named
    dims = {d % x.ndim for d in ([named] if isinstance(named, int) else named)}
    if side.dim in dims:
        return None
    if call.result.ndim == x.ndim:
        return side
    return replace(side, dim=side.dim - sum(d < side.dim for d in dims))


def _embedded(call: Call, i: int, x: Array, side: Side) -> Side | None:
    return side if i < 0 else None


def _all_of_it(call: Call, i: int, x: Array, side: Side) -> Side | None:
    return None


def _element_by_element(call: Call, i: int, x: Array, side: Side) -> Side | None:
    """Whatever keeps the sizes of its arguments, or broadcasts them."""
    assert side.dim is not None
    dim = side.dim + call.result.ndim - x.ndim
    same = 0 <= dim < call.result.ndim and call.result.shape[dim] == x.shape[side.dim]
    return replace(side, dim=dim) if same else None


RULES: dict[Op[Any], Callable[[Call, int, Array, Side], Side | None]] = {
    **dict.fromkeys((conv, conv_bias, im2col, take_winners, window_sum), _sliding),
    conv_input: _transposed,
    weighted_sums: _resampled,
    **dict.fromkeys((pad_with, extend), _padded),
    permute_dims: _permuted,
    view_as: _reshaped,
    index: _indexed,
    joined: _joined,
    **dict.fromkeys((linear.affine, linear.matrix_product), _multiplied),
    **dict.fromkeys(
        (
            reduce.sum, reduce.product, reduce.variance, reduce.log_sum_exp, extremes.pick,
            norm.finite_norm, activation.softmax, activation.log_softmax, linear.inner_product,
            scan.running_sum, scan.running_product, scan.running_logsumexp, scan.recurrence,
            rearrange.rolled,
        ),
        _reduced,
    ),
    **dict.fromkeys(
        (recurrent.rnn, recurrent.lstm, recurrent.gru, diagonal.diagonal_of), _all_of_it
    ),
    embed: _embedded,
}  # fmt: skip
