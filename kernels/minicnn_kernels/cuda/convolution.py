"""Convolution and its two gradients on a card, as implicit GEMM: see implicit_gemm.cuh.

Planning turns shapes into a launch, in plain Python, and remembers it; nothing here asks a card but
for how many processors it has.
"""

from __future__ import annotations

from functools import cache, partial
from math import gcd, prod
from typing import Any, NamedTuple

import numpy as np

from minicnn_kernels import cards
from minicnn_kernels.arrays import Array, as_channels_first
from minicnn_kernels.cuda.launch import Dims, launch
from minicnn_kernels.cuda.layout import channels_last
from minicnn_kernels.cuda.splits import add_parts
from minicnn_kernels.geometry import Sides, Windows

# --- the structures of implicit_gemm.cuh ----------------------------------------------------------


def _structure(**fields: Any) -> np.dtype[Any]:
    return np.dtype(list(fields.items()), align=True)


def _ints(names: str) -> dict[str, Any]:
    return dict.fromkeys(names.split(), np.int32)


DIVISOR = _structure(value=np.int32, multiplier=np.uint32, shift=np.int32)
WINDOWS = _structure(
    **dict.fromkeys(["per_image", "per_line", "channels", "kernel_w"], DIVISOR),
    **_ints("height width pixel start_h start_w step_h step_w dilation_h dilation_w"),
)
PHASES = _structure(
    **_ints(
        "count images height width kernel_h kernel_w stride_h stride_w padding_h padding_w "
        "dilation_h dilation_w tap_step_h tap_step_w"
    )
)
PROBLEM = _structure(
    **dict.fromkeys(["a_group", "b_group", "y_group", "part"], np.int64),
    windows=WINDOWS,
    phases=PHASES,
    **_ints(
        "rows columns inner inner_of_part parts matrix_pitch y_pitch plain "
        "a_vectors b_vectors y_vectors"
    ),
)


def divisor(value: int) -> tuple[int, int, int]:
    """Return what divides by `value`: x // value == x * multiplier >> 31 + shift below 2^31.

    >>> _, multiplier, shift = divisor(7)
    >>> 100 * multiplier >> 31 + shift
    14
    """
    shift = (value - 1).bit_length()
    return value, -(-(1 << 31 + shift) // value), shift


# --- planning -------------------------------------------------------------------------------------


class Tile(NamedTuple):
    """What a block computes, and how well.

    Attributes:
        chunk: values of the sum that are loaded together.
        rate: products of a processor in a cycle, if it has so many blocks.
        blocks: that keep a processor busy; fewer take as long.
        latency: cycles until a chunk has come, divided by how many are on their way.
    """

    rows: int
    columns: int
    threads: int
    chunk: int
    shared: int
    rate: float
    blocks: int
    latency: int


def _tile(rows: int, columns: int, warps: int, itemsize: int, rate: float) -> Tile:
    """Describe a tile for tensor cores: four stages of 64 bytes a line."""
    stages = 4 * 64 * (rows + columns)
    return Tile(rows, columns, 32 * warps, 64 // itemsize, stages, rate, 8 // warps, 250)


TILES = {
    "simt": (Tile(128, 64, 128, 8, 0, 85, 3, 600), Tile(64, 64, 64, 8, 0, 70, 6, 600)),
    "tf32x3": (
        *(_tile(128, 128, 8, 4, 180), _tile(128, 64, 4, 4, 170)),
        *(_tile(64, 64, 4, 4, 140), _tile(128, 32, 4, 4, 140)),
    ),
    "tf32": (
        *(_tile(256, 128, 8, 4, 550), _tile(128, 128, 4, 4, 500)),
        *(_tile(128, 64, 4, 4, 400), _tile(64, 64, 4, 4, 300), _tile(128, 32, 4, 4, 300)),
    ),
    "bf16": (_tile(128, 128, 4, 4, 700), _tile(64, 64, 4, 4, 350)),
    "bf16_arrays": (
        *(_tile(256, 128, 8, 2, 1100), _tile(128, 128, 4, 2, 1000)),
        _tile(64, 64, 4, 2, 600),
    ),
}
BANDWIDTH = 2000  # bytes that parts of sums are written and read in a cycle
LAUNCH = 5000  # cycles
FEWEST_CHUNKS = 8  # in a part of a sum
MOST_PARTS = 512
WORKSPACE_BYTES = 32 * 2**20  # for parts of sums


class Plan(NamedTuple):
    """A launch.

    Attributes:
        problem: the structure PROBLEM.
        parts: of each sum, which have a workspace of floats (parts, values of y).
    """

    file: str
    kernel: str
    grid: Dims
    threads: int
    shared: int
    problem: Array
    parts: int


class Convolution(NamedTuple):
    """Sizes of a convolution; images of one side are lines of height 1."""

    images: int
    channels: int
    filters: int
    groups: int
    windows: Windows

    def forward(self, unit: int) -> dict[str, Any]:
        """Describe y = windows of x * filters, for units of so many values in 16 bytes."""
        taps, channels, filters = self._sizes()
        return {
            **{"a_group": channels, "b_group": filters * taps, "y_group": filters},
            "windows": self._windows_of_x(),
            "rows": self.images * prod(self.windows.output),
            **{"columns": filters, "inner": taps},
            **{"matrix_pitch": taps, "y_pitch": self.filters},
            "plain": self._is_plain(),
            "a_vectors": channels % unit == 0,
            "b_vectors": taps % unit == 0,
            "y_vectors": filters % 4 == 0,
        }

    def weight(self, unit: int) -> dict[str, Any]:
        """Describe dw = dy * windows of x."""
        taps, channels, filters = self._sizes()
        return {
            **{"a_group": filters, "b_group": channels, "y_group": filters * taps},
            "windows": self._windows_of_x(),
            **{"rows": filters, "columns": taps},
            "inner": self.images * prod(self.windows.output),
            **{"matrix_pitch": self.filters, "y_pitch": taps},
            "plain": self._is_plain(),
            "a_vectors": filters % unit == 0,
            "b_vectors": channels % unit == 0,
            "y_vectors": taps % 4 == 0,
        }

    def input(self, unit: int) -> dict[str, Any]:
        """Describe dx = windows of dy * filters, for each phase; sizes are those of the largest.

        Pixel h sees tap a in window i if h + p = i*s + a*d.  So taps of a phase are s / gcd(s, d)
        apart, and their windows -d / gcd(s, d).
        """
        taps, channels, filters = self._sizes()
        stride, padding, dilation = (getattr(self.windows, n) for n in _MOVES)
        kernel, image = self.windows.kernel, self.windows.image
        common = [gcd(s, d) for s, d in zip(stride, dilation, strict=True)]
        tap_step = [s // c for s, c in zip(stride, common, strict=True)]
        pixels = prod(-(-n // s) for n, s in zip(image, stride, strict=True))
        seen = prod(-(-k // s) for k, s in zip(kernel, tap_step, strict=True))
        return {
            **{"a_group": filters, "b_group": filters * taps, "y_group": channels},
            "windows": {
                "per_image": divisor(prod(image)),
                "per_line": divisor(image[1]),
                "channels": divisor(filters),
                "kernel_w": divisor(kernel[1]),
                **_two("", self.windows.output, "height width"),
                "pixel": self.filters,
                **_two("start", padding),
                **_two("step", (1, 1)),
                **_two("dilation", [-d // c for d, c in zip(dilation, common, strict=True)]),
            },
            "phases": {
                **{"count": prod(stride), "images": self.images},
                **_two("", image, "height width"),
                **_two("kernel", kernel),
                **_two("stride", stride),
                **_two("padding", padding),
                **_two("dilation", dilation),
                **_two("tap_step", tap_step),
            },
            "rows": self.images * pixels,
            **{"columns": channels, "inner": seen * filters},
            **{"matrix_pitch": taps, "y_pitch": self.channels},
            "plain": self._is_plain(),
            "a_vectors": filters % unit == 0,
            "b_vectors": channels % unit == 0,
            "y_vectors": channels % 4 == 0,
        }

    def _sizes(self) -> tuple[int, int, int]:
        """Return the values of a filter, and the channels and filters of a group."""
        channels = self.channels // self.groups
        return channels * self.windows.cells, channels, self.filters // self.groups

    def _windows_of_x(self) -> dict[str, Any]:
        windows = self.windows
        return {
            "per_image": divisor(prod(windows.output)),
            "per_line": divisor(windows.output[1]),
            "channels": divisor(self.channels // self.groups),
            "kernel_w": divisor(windows.kernel[1]),
            **_two("", windows.image, "height width"),
            "pixel": self.channels,
            **_two("start", [-p for p in windows.padding]),
            **_two("step", windows.stride),
            **_two("dilation", windows.dilation),
        }

    def _is_plain(self) -> bool:
        """Say whether each window is one pixel, and each pixel a window."""
        windows = self.windows
        return windows.cells == prod(windows.stride) == 1 and not any(windows.padding)


_MOVES = ("stride", "padding", "dilation")


def _two(name: str, values: Any, names: str = "") -> dict[str, int]:
    return dict(zip(names.split() or (f"{name}_h", f"{name}_w"), values, strict=True))


def _of_two_sides(windows: Windows) -> Windows:
    """See an image of one side as one of height 1."""
    if windows.ndim == 2:
        return windows
    return Windows(
        (1, *windows.image),
        (1, *windows.kernel),
        (1, *windows.stride),
        (0, *windows.padding),
        (1, *windows.dilation),
    )


@cache
def plan(name: str, sizes: Convolution, math: str, itemsize: int, processors: int) -> Plan:
    """Plan the pass `name`: "conv", "conv_input" or "conv_weight"."""
    describe = {"conv": sizes.forward, "conv_input": sizes.input, "conv_weight": sizes.weight}
    described = describe[name](16 // itemsize)
    values = {"conv": sizes.images * prod(sizes.windows.output) * sizes.filters}
    values["conv_input"] = sizes.images * prod(sizes.windows.image) * sizes.channels
    values["conv_weight"] = sizes.filters * (sizes.channels // sizes.groups) * sizes.windows.cells
    return planned(name, described, math, sizes.groups, values[name], processors)


def planned(
    name: str, described: dict[str, Any], math: str, groups: int, values: int, processors: int
) -> Plan:
    """Choose a tile and how to split the sums, for a product and how many values it has."""
    rows, columns, inner = (int(described[size]) for size in ("rows", "columns", "inner"))
    phases = int(described.get("phases", {}).get("count", 1))

    def blocks(tile: Tile) -> int:
        return -(-rows // tile.rows) * -(-columns // tile.columns) * groups

    def cycles(tile: Tile, depth: int) -> float:
        parts = _parts(inner, depth)
        turns = -(-blocks(tile) * phases * parts // processors)  # blocks of a processor
        computing = max(turns, tile.blocks) * tile.rows * tile.columns * depth / tile.rate
        adding = LAUNCH + 8 * parts * values / BANDWIDTH if parts > 1 else 0
        return max(computing, depth / tile.chunk * tile.latency) + adding

    tile, depth = min(
        ((tile, depth) for tile in TILES[math] for depth in _depths(inner, tile.chunk, values)),
        key=lambda choice: cycles(*choice),
    )
    parts = _parts(inner, depth)
    problem = np.zeros((), PROBLEM)
    _fill(problem, {**described, "parts": parts, "part": values, "inner_of_part": depth})
    problem.flags.writeable = False
    kernel = f"{name}_{math}_{tile.rows}x{tile.columns}"
    grid = blocks(tile), phases, parts
    return Plan(f"conv_{math}.cu", kernel, grid, tile.threads, tile.shared, problem, parts)


def _parts(inner: int, depth: int) -> int:
    """Count the parts of a sum, of so many values each."""
    return -(-inner // depth) if inner else 1


def _depths(inner: int, chunk: int, values: int) -> list[int]:
    """Return how many values of a sum a part may take, whole chunks, most first."""
    chunks = -(-inner // chunk)
    room = WORKSPACE_BYTES // 4 // max(1, values)
    most = max(1, min(MOST_PARTS, chunks // FEWEST_CHUNKS, room))
    parts = [n << i for i in range(9) for n in (2, 3) if n << i <= most]
    return [-(-chunks // n) * chunk for n in (1, *parts)]


def _fill(structure: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, dict):
            _fill(structure[name], value)
        else:
            structure[name] = value


# --- launching ------------------------------------------------------------------------------------


def aligned(x: Any) -> Array:
    """Return the array itself if it is a run from a multiple of 16 bytes on, else a copy."""
    is_ready = x.flags.c_contiguous and x.data.ptr % 16 == 0
    found: Array = x if is_ready else x.copy()
    return found


def _images(x: Array) -> Array:
    return aligned(channels_last(x))


def run(
    chosen: Plan, a: Array, b: Array, shape: Dims,
    bias: Array | None = None, add: Array | None = None, relu: bool = False,
) -> Array:  # fmt: skip
    """Return y, of a shape whose last dimension has the channels, computed as planned."""
    bias = None if bias is None else aligned(bias)
    y: Array = np.empty(shape, a.dtype, like=a)
    if not y.size:
        return y
    parts = np.empty((chosen.parts, *shape), np.float32, like=a) if chosen.parts > 1 else None
    launch(
        chosen.file, chosen.kernel, chosen.grid, (chosen.threads,),
        (a, b, y, bias, add, parts, np.int32(relu), chosen.problem), shared=chosen.shared,
    )  # fmt: skip
    return y if parts is None else add_parts(parts, y.dtype, bias, add, relu)


@cache
def _processors(card: int) -> int:
    return cards.card(card).processors


def processors() -> int:
    """Return how many processors the current card has."""
    return _processors(int(cards.cupy().cuda.runtime.getDevice()))


def _planned(
    name: str, math: str, a: Any, b: Any, images: int, channels: int, filters: int, groups: int,
    windows: Windows,
) -> Plan:  # fmt: skip
    sizes = Convolution(images, channels, filters, groups, _of_two_sides(windows))
    if a.dtype != np.float32:
        math = "bf16_arrays"
    return plan(name, sizes, math, a.dtype.itemsize, processors())


def conv(
    x: Array, w: Array, *, stride: Sides, padding: Sides, dilation: Sides, groups: int, math: str,
    bias: Array | None = None, add: Array | None = None, relu: bool = False,
) -> Array:  # fmt: skip
    """y[n,o,i,j] = sum_cab x[n, c, i*s + a*d - p, j*s + b*d - p] * w[o,c,a,b] (+ bias, + add)."""
    windows = Windows(x.shape[2:], w.shape[2:], stride, padding, dilation)
    images, filters = _images(x), _images(w)
    chosen = _planned("conv", math, images, filters, len(x), x.shape[1], len(w), groups, windows)
    add = None if add is None else _images(add)
    shape = len(x), *windows.output, len(w)
    return as_channels_first(run(chosen, images, filters, shape, bias, add, relu))


def conv_input(
    dy: Array, w: Array, *,
    size: Sides, stride: Sides, padding: Sides, dilation: Sides, groups: int, math: str,
) -> Array:  # fmt: skip
    """dx[n, c, i*s + a*d - p, j*s + b*d - p] += dy[n,o,i,j] * w[o,c,a,b], gathered by pixels."""
    windows = Windows(size, w.shape[2:], stride, padding, dilation)
    images, filters, channels = _images(dy), _images(w), w.shape[1] * groups
    chosen = _planned(
        "conv_input", math, images, filters, len(dy), channels, len(w), groups, windows
    )
    return as_channels_first(run(chosen, images, filters, (len(dy), *size, channels)))


def conv_weight(
    x: Array, dy: Array, *,
    size: Sides, stride: Sides, padding: Sides, dilation: Sides, groups: int, math: str,
) -> Array:  # fmt: skip
    """dw[o,c,a,b] = sum_nij x[n, c, i*s + a*d - p, j*s + b*d - p] * dy[n,o,i,j]."""
    windows = Windows(x.shape[2:], size, stride, padding, dilation)
    images, gradients = _images(x), _images(dy)
    channels, filters = x.shape[1], dy.shape[1]
    chosen = _planned(
        "conv_weight", math, gradients, images, len(x), channels, filters, groups, windows
    )
    shape = filters, *size, channels // groups
    return as_channels_first(run(chosen, gradients, images, shape))


for _math in ("simt", "tf32x3", "tf32", "bf16"):
    globals()[f"conv_{_math}"] = partial(conv, math=_math)
    globals()[f"conv_input_{_math}"] = partial(conv_input, math=_math)
    globals()[f"conv_weight_{_math}"] = partial(conv_weight, math=_math)
