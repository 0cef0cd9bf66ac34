"""What is to be computed, as one line of text in the syntax of oneDNN's benchdnn.

A convolution: `mb16ic64ih56oc64kh3ph1` (batch 16, 64 channels of 56x56 pixels, 64 filters of 3x3,
padding 1).  `g` groups, `sh` stride, `dh` dilation minus 1; where `w` is not given it is `h`; a
name and how often the layer occurs in its network may follow as n"conv3*2".  Sequences have w
alone, volumes d, h and w.  Pooling has no oc.  A matrix product: `256x64:64x128`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar, TypeVar

from minicnn.errors import MinicnnError, UsageError
from minicnn_kernels.geometry import Sides, Windows

P = TypeVar("P", bound="Problem")

AXES = "dhw"
BYTES = 4  # of a float32
DEFAULT_BATCH = 2  # benchdnn's
_PIECE = re.compile(r'(mb|ic|oc|g|[iokspd][dhw])(\d+)|n"([^"*]*)(?:\*(\d+))?"')


@dataclass(frozen=True)
class Problem:
    """Something to compute: `flops` operations, and at least `bytes` moved to memory and back.

    Attributes:
        name: the layer's in its network.
        count: how often it occurs there.
    """

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        numbers = [n for value in vars(self).values() for n in _numbers(value)]
        if min(numbers) < 0:
            raise UsageError(f"{self}: a size below 0")

    @property
    def key(self) -> str:
        """The text without name and count: what is computed."""
        return str(replace(self, name="", count=1))  # type: ignore[call-arg]

    @property
    def flops(self) -> int:
        """Additions and multiplications, counted by definition."""
        raise NotImplementedError

    @property
    def bytes(self) -> int:
        """Of all operands and the result, each moved once."""
        raise NotImplementedError


def _numbers(value: Any) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,) if isinstance(value, int) else ()


@dataclass(frozen=True)
class Images(Problem):
    """Windows that move over a batch of images: what convolution and pooling share."""

    batch: int
    in_channels: int
    image: Sides
    kernel: Sides
    stride: Sides
    padding: Sides
    dilation: Sides
    name: str = ""
    count: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.batch, self.in_channels, *self.image, *self.kernel, *self.stride) < 1:
            raise UsageError(f"{self}: a size or a stride of 0")
        try:
            self.windows.checked(self.kind)
        except MinicnnError as error:
            raise UsageError(f"{self}: {error}") from None

    @property
    def windows(self) -> Windows:
        """The geometry."""
        return Windows(self.image, self.kernel, self.stride, self.padding, self.dilation)

    def with_batch(self: P, batch: int) -> P:
        """Return the same layer for another batch."""
        return replace(self, batch=batch)  # type: ignore[call-arg]

    @property
    def _settings(self) -> str:
        """Stride, dilation, padding, name and count, as far as they are not the usual ones."""
        dilation = tuple(d - 1 for d in self.dilation)
        return (
            _written("s", self.stride, 1) + _written("d", dilation, 0)
            + _written("p", self.padding, 0) + _title(self.name, self.count)
        )  # fmt: skip


@dataclass(frozen=True)
class ConvProblem(Images):
    """A convolution.

    >>> problem = ConvProblem.read('mb16ic64ih56oc64kh3ph1n"res2*3"')
    >>> problem.windows.output, problem.count
    ((56, 56), 3)
    >>> print(problem)
    mb16ic64ih56oc64kh3ph1n"res2*3"
    """

    kind: ClassVar[str] = "conv"
    out_channels: int = 1
    groups: int = 1

    @classmethod
    def read(cls, text: str) -> ConvProblem:
        """Read a line.

        Raises:
            UsageError: it says what cannot be read, is missing or does not fit.
        """
        given = _pieces(text)
        return cls(
            **_images(text, given),
            out_channels=_required(text, given, "oc"),
            groups=int(given.get("g", 1)),
        )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.out_channels < 1 or self.groups < 1:
            raise UsageError(f"{self}: a number of channels or groups of 0")
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise UsageError(
                f"{self}: {self.groups} groups do not divide {self.in_channels} input and "
                f"{self.out_channels} output channels"
            )

    def __str__(self) -> str:
        groups = f"g{self.groups}" if self.groups > 1 else ""
        return (
            f"{groups}mb{self.batch}ic{self.in_channels}{_written('i', self.image)}"
            f"oc{self.out_channels}{_written('k', self.kernel)}{self._settings}"
        )

    @property
    def x_shape(self) -> Sides:
        """(N, C, H, W)."""
        return (self.batch, self.in_channels, *self.image)

    @property
    def w_shape(self) -> Sides:
        """(O, C/groups, KH, KW)."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel)

    @property
    def y_shape(self) -> Sides:
        """(N, O, OH, OW)."""
        return (self.batch, self.out_channels, *self.windows.output)

    @property
    def flops(self) -> int:
        """2 N O (C/groups) KH KW OH OW: one multiplication and one addition; padding counts."""
        return 2 * prod(self.y_shape) * prod(self.w_shape[1:])

    @property
    def bytes(self) -> int:
        """Of x, w and y in float32; the same in all three directions."""
        return BYTES * (prod(self.x_shape) + prod(self.w_shape) + prod(self.y_shape))


@dataclass(frozen=True)
class PoolProblem(Images):
    """A pooling layer.

    >>> PoolProblem.read("mb8ic64ih112kh3sh2ph1").windows.output
    (56, 56)
    """

    kind: ClassVar[str] = "pool"

    @classmethod
    def read(cls, text: str) -> PoolProblem:
        """Read a line.

        Raises:
            UsageError: it says what cannot be read, is missing or does not fit.
        """
        given = _pieces(text)
        for key in ("oc", "g"):
            if key in given:
                raise UsageError(f"problem {text!r}: pooling has no {key}")
        return cls(**_images(text, given))

    def __str__(self) -> str:
        return (
            f"mb{self.batch}ic{self.in_channels}{_written('i', self.image)}"
            f"{_written('k', self.kernel)}{self._settings}"
        )

    @property
    def flops(self) -> int:
        """One comparison or addition for each cell of each window."""
        return self.batch * self.in_channels * prod(self.windows.output) * self.windows.cells

    @property
    def bytes(self) -> int:
        """Of x and y in float32."""
        return (
            BYTES * self.batch * self.in_channels * (prod(self.image) + prod(self.windows.output))
        )


@dataclass(frozen=True)
class GemmProblem(Problem):
    """A product of matrices, (M, K) times (K, N).

    >>> problem = GemmProblem.read('256x64:64x128n"small"')
    >>> problem.m, problem.k, problem.n, problem.flops
    (256, 64, 128, 4194304)
    """

    kind: ClassVar[str] = "gemm"
    m: int
    k: int
    n: int
    name: str = ""
    count: int = 1

    @classmethod
    def read(cls, text: str) -> GemmProblem:
        """Read a line.

        Raises:
            UsageError: it is not of the form MxK:KxN.
        """
        found = re.fullmatch(r'(\d+)x(\d+):(\d+)x(\d+)(?:n"([^"*]*)(?:\*(\d+))?")?', text.strip())
        if not found:
            raise UsageError(f"problem {text!r} is no matrix product; write it as 256x64:64x128")
        m, k, rows, n = map(int, found.groups()[:4])
        if k != rows:
            raise UsageError(f"problem {text!r}: {k} columns do not fit {rows} rows")
        return cls(m, k, n, found[5] or "", int(found[6] or 1))

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.m, self.k, self.n) < 1:
            raise UsageError(f"{self}: a size of 0")

    def __str__(self) -> str:
        return f"{self.m}x{self.k}:{self.k}x{self.n}{_title(self.name, self.count)}"

    @property
    def flops(self) -> int:
        """2 M N K: one multiplication and one addition."""
        return 2 * self.m * self.n * self.k

    @property
    def bytes(self) -> int:
        """Of the three matrices in float32."""
        return BYTES * (self.m * self.k + self.k * self.n + self.m * self.n)


# --- reading --------------------------------------------------------------------------------------


def _pieces(text: str) -> dict[str, str]:
    """Take a line apart: {"mb": "16", "ic": "64", ..., "name": ..., "count": ...}."""
    given: dict[str, str] = {}
    rest = text.strip()
    while rest:
        found = _PIECE.match(rest)
        if not found:
            raise UsageError(
                f"problem {text!r} cannot be read from {rest!r} on; write it as "
                f"mb16ic64ih56oc64kh3ph1"
            )
        key, number, name, count = found.groups()
        pieces = {key: number} if key else {"name": name, "count": count or "1"}
        if twice := given.keys() & pieces.keys():
            raise UsageError(f"problem {text!r} has {min(twice)} twice")
        given |= pieces
        rest = rest[found.end() :].removeprefix("_")
    return given


def _images(text: str, given: dict[str, str]) -> dict[str, Any]:
    """Return the arguments that convolution and pooling share."""
    axes = next((AXES[AXES.index(axis) :] for axis in AXES if f"i{axis}" in given), "")
    if not axes:
        raise UsageError(f"problem {text!r} lacks the size of the image: ih, or iw of a sequence")
    unused = [key for key in given if key[-1] in AXES and key[-1] not in axes and len(key) == 2]
    if unused:
        raise UsageError(f"problem {text!r} has {unused[0]}, but its image has no such side")
    if not any(f"k{axis}" in given for axis in axes):
        raise UsageError(f"problem {text!r} lacks the size of the kernel: k{axes[0]}")
    image, kernel = _sides(given, "i", axes, 1), _sides(given, "k", axes, 1)
    stride, skipped = _sides(given, "s", axes, 1), _sides(given, "d", axes, 0)
    dilation = tuple(d + 1 for d in skipped)
    padding = _sides(given, "p", axes, 0)
    arguments = {"image": image, "kernel": kernel, "stride": stride, "dilation": dilation}
    if any(f"o{axis}" in given for axis in axes) and 0 not in stride:
        expected = _sides(given, "o", axes, 1)
        if not any(f"p{axis}" in given for axis in axes):
            padding = _padding_for(expected, Windows(image, kernel, stride, (), dilation))
        output = Windows(image, kernel, stride, padding, dilation).output
        if output != expected:
            raise UsageError(
                f"problem {text!r}: the output is {output}, not {expected} (padding is the same "
                f"on both sides)"
            )
    return {
        "batch": int(given.get("mb", DEFAULT_BATCH)),
        "in_channels": _required(text, given, "ic"),
        **arguments,
        "padding": padding,
        "name": given.get("name", ""),
        "count": int(given.get("count", 1)),
    }


def _padding_for(output: Sides, windows: Windows) -> Sides:
    """Return the padding with which so many windows fit, as benchdnn does where none is given."""
    sides = zip(output, windows.image, windows.stride, windows.reach, strict=True)
    return tuple(max(0, (o - 1) * s + reach - n) // 2 for o, n, s, reach in sides)


def _sides(given: dict[str, str], letter: str, axes: str, usual: int) -> Sides:
    """Return one number a side; one that is left out is the same as that before it."""
    found: list[int] = []
    for axis in axes:
        found.append(int(given.get(letter + axis, found[-1] if found else usual)))
    return tuple(found)


def _required(text: str, given: dict[str, str], key: str) -> int:
    if key not in given:
        what = {"ic": "input channels", "oc": "output channels"}[key]
        raise UsageError(f"problem {text!r} lacks {key}, the number of {what}")
    return int(given[key])


# --- writing --------------------------------------------------------------------------------------


def _written(letter: str, numbers: Sides, usual: int | None = None) -> str:
    """Write one number a side so that `_sides` reads it back; nothing if all are the usual one."""
    if all(number == usual for number in numbers):
        return ""
    axes = AXES[-len(numbers) :]
    before: tuple[int | None, ...] = (None, *numbers[:-1])
    return "".join(
        f"{letter}{axis}{number}"
        for axis, number, last in zip(axes, numbers, before, strict=True)
        if number != last
    )


def _title(name: str, count: int) -> str:
    if not name and count == 1:
        return ""
    return f'n"{name}*{count}"' if count > 1 else f'n"{name}"'
