"""hypothesis strategies for tests of operations: arrays, layouts, shapes, window geometries.

Each keeps to what is valid by construction and comes back to the corners again and again: ties,
kinks, empty batches, left-over rows, strides beyond the kernel.  ::

    @given(st.data(), conv_geometries())
    def test_my_convolution(data, geometry):
        x = data.draw(arrays(geometry.input_shape))
        w = data.draw(arrays(geometry.weight_shape))
        y = my_conv2d(x, w, **geometry.settings)
        assert y.shape == geometry.output_shape

Arrays are made from a kind and a seed, which is fast for any size; a failing example notes the
call of `make_array` that makes the same values again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np

from minicnn.errors import ArgumentError, DTypeError
from minicnn_kernels.arrays import Array, is_floating
from minicnn_kernels.geometry import output_size, transposed_size

try:
    from hypothesis import note
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as hypothesis_numpy
except ModuleNotFoundError as error:
    raise ImportError(
        'minicnn.testing.strategies needs hypothesis: pip install "minicnn[test]"', name=error.name
    ) from error

__all__ = [
    "KINDS",
    "LATTICE_GAP",
    "ConvGeometry",
    "PoolGeometry",
    "arrays",
    "away_from",
    "broadcastable_shapes",
    "conv_geometries",
    "indices",
    "layouts",
    "make_array",
    "pool_geometries",
    "reduction_arguments",
    "separated_arrays",
    "shapes",
    "upstream",
]

Shape: TypeAlias = tuple[int, ...]
ShapeOrStrategy: TypeAlias = Shape | st.SearchStrategy[Shape]
Value = TypeVar("Value")

SEEDS = st.integers(0, 2**32 - 1)


class _Dice:
    """Choices among options, one for each roll; rolls of 0 choose the first options."""

    def __init__(self, rolls: bytes):
        self._rolls = iter(rolls)

    def pick(self, options: Sequence[Value]) -> Value:
        return options[next(self._rolls, 0) % len(options)]

    def often(self, usual: Sequence[Value], rare: Sequence[Value]) -> Value:
        """Pick a usual option four times as often as a rare one."""
        return self.pick([*usual, *usual, *usual, *usual, *rare])


# All rolls are drawn at once.  hypothesis varies an example by copying what one draw chose to
# another draw; of many small draws that makes repetitions and, where a copy is out of the other's
# range, an end in the first option: the plain cases crowd out the others.
DICE = st.binary(min_size=32, max_size=32).map(_Dice)


# --- values ---------------------------------------------------------------------------------------

LATTICE_GAP = 1 / 16  # exact in every floating-point type, and far above any step of a difference
TIED = (-1.5, 0.5, 1.5)
KINKS = (0.0, -1.0, 1.0)  # of relu and abs, and the joints of clipped and Huber-like functions
NEAR = tuple(sign * 10.0**-k for k in range(4, 10) for sign in (1, -1))


def _normal(generator: np.random.Generator, count: int) -> Array:
    return generator.standard_normal(count)


def _lattice(generator: np.random.Generator, count: int) -> Array:
    return (generator.permutation(count) - count // 2 + 0.5) * LATTICE_GAP


def _tied(generator: np.random.Generator, count: int) -> Array:
    return generator.choice(TIED, count)


def _near_kink(generator: np.random.Generator, count: int) -> Array:
    kinks: Array = generator.choice(KINKS, count)
    near: Array = kinks + generator.integers(2, size=count) * generator.choice(NEAR, count)
    return near


def _tiny(generator: np.random.Generator, count: int) -> Array:
    return 1e-20 * generator.standard_normal(count)


def _huge(generator: np.random.Generator, count: int) -> Array:
    return 1e8 * generator.standard_normal(count)


def _constant(generator: np.random.Generator, count: int) -> Array:
    return np.full(count, generator.standard_normal())


def _zeros(generator: np.random.Generator, count: int) -> Array:
    return np.zeros(count)


def _mixed(generator: np.random.Generator, count: int) -> Array:
    return generator.choice((-1.0, 1.0), count) * 10 ** generator.uniform(-8, 8, count)


KINDS: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "normal": _normal,
    "lattice": _lattice,
    "tied": _tied,
    "near_kink": _near_kink,
    "tiny": _tiny,
    "huge": _huge,
    "constant": _constant,
    "zeros": _zeros,
    "mixed": _mixed,
}


def make_array(
    shape: Shape, kind: str = "normal", seed: int = 0, dtype: Any = np.float64, scale: float = 1.0
) -> Array:
    """Make the array that `arrays` draws for a kind and a seed.

    Kinds, before `scale`: "normal" (mean 0, deviation 1); "lattice" (all different, LATTICE_GAP
    apart, none nearer to 0 than half of it); "tied" (three values); "near_kink" (0, -1 and 1, or
    1e-9 to 1e-4 beside them); "tiny" (1e-20); "huge" (1e8); "constant"; "zeros"; "mixed"
    (magnitudes from 1e-8 to 1e8).  What `dtype` cannot hold takes its nearest normal magnitude.

    >>> sorted(make_array((4,), "lattice", seed=3).tolist())
    [-0.09375, -0.03125, 0.03125, 0.09375]

    Raises:
        ArgumentError: an unknown kind, or a scale that is not positive and finite.
        DTypeError: `dtype` is not a floating-point type.
    """
    _check(dtype, kind, scale)
    values = scale * KINDS[kind](np.random.default_rng(seed), math.prod(shape))
    limits = np.finfo(dtype)
    magnitudes = np.clip(np.abs(values), limits.smallest_normal, limits.max)
    within = np.where(values == 0, 0.0, np.copysign(magnitudes, values))
    return within.astype(dtype).reshape(shape)


def _check(dtype: Any, kind: str | None, scale: float) -> None:
    if not is_floating(dtype):
        raise DTypeError(
            f"arrays: dtype must be floating-point, got {dtype}; "
            f"see hypothesis.extra.numpy.arrays for other types"
        )
    if kind is not None and kind not in KINDS:
        raise ArgumentError(f"arrays: unknown kind {kind!r}; it must be one of {', '.join(KINDS)}")
    if not 0 < scale < math.inf:
        raise ArgumentError(f"arrays: scale must be positive and finite, got {scale}")


def arrays(
    shape: ShapeOrStrategy, dtype: Any = np.float64, kind: str | None = None, scale: float = 1.0
) -> st.SearchStrategy[Array]:
    """Draw arrays of one kind (see `make_array`), or of any kind for None.

    Raises:
        ArgumentError, DTypeError: as `make_array`.
    """
    _check(dtype, kind, scale)
    return _arrays(shape, np.dtype(dtype), [kind] if kind is not None else list(KINDS), scale)


@st.composite
def _arrays(
    draw: st.DrawFn,
    shape: ShapeOrStrategy,
    dtype: np.dtype[Any],
    kinds: Sequence[str],
    scale: float,
) -> Array:
    sides, kind, seed = draw(_strategy(shape)), draw(DICE).pick(kinds), draw(SEEDS)
    note(f"make_array({sides}, {kind!r}, seed={seed}, dtype={dtype.name!r}, scale={scale})")
    return make_array(sides, kind, seed, dtype, scale)


def _strategy(shape: ShapeOrStrategy) -> st.SearchStrategy[Shape]:
    return shape if isinstance(shape, st.SearchStrategy) else st.just(tuple(shape))


def separated_arrays(shape: ShapeOrStrategy, gap: float) -> st.SearchStrategy[Array]:
    """Draw arrays in which any two values differ by more than `gap`, at uneven distances.

    Raises:
        ArgumentError: `gap` is not positive and finite.
    """
    if not 0 < gap < math.inf:
        raise ArgumentError(f"separated_arrays: gap must be positive and finite, got {gap}")

    def values(generator: np.random.Generator, count: int) -> Array:
        # A little more than the gap, so that rounding cannot bring two values too close.
        steps = gap * (1.001 + generator.exponential(0.5, count))
        ascending = np.cumsum(steps) - steps.sum() / 2
        return generator.permutation(ascending)

    return _from_seed(shape, values)


def away_from(
    shape: ShapeOrStrategy, points: Iterable[float], margin: float
) -> st.SearchStrategy[Array]:
    """Draw arrays whose values keep at least `margin` (up to rounding) from each of `points`.

    Raises:
        ArgumentError: `margin` is not positive and finite, or a point is not finite.
    """
    centres = sorted(map(float, points))
    if not 0 < margin < math.inf or not all(map(math.isfinite, centres)):
        raise ArgumentError(
            f"away_from: points and a positive margin must be finite, got {centres} and {margin}"
        )
    starts: list[float] = []
    ends: list[float] = []
    for centre in centres:
        if ends and centre - margin <= ends[-1]:
            ends[-1] = centre + margin
        else:
            starts.append(centre - margin)
            ends.append(centre + margin)

    def values(generator: np.random.Generator, count: int) -> Array:
        # The line is cut at each forbidden interval and its parts are pushed apart.
        widths = np.subtract(ends, starts)
        shifts = np.concatenate([[0.0], np.cumsum(widths)]) - widths.sum() / 2
        line = generator.standard_normal(count)
        part = np.searchsorted(starts - shifts[:-1], line, side="right")
        low, high = np.array([-np.inf, *ends]), np.array([*starts, np.inf])
        apart: Array = np.clip(line + shifts[part], low[part], high[part])
        return apart

    return _from_seed(shape, values)


def upstream(shape: ShapeOrStrategy, dtype: Any = np.float64) -> st.SearchStrategy[Array]:
    """Draw dy for a backward pass: random signs, magnitudes from 0.5 to 2.

    None is near zero, where it would hide a mistake, and they differ, which ones would not.

    Raises:
        DTypeError: `dtype` is not a floating-point type.
    """
    _check(dtype, None, 1.0)

    def values(generator: np.random.Generator, count: int) -> Array:
        return generator.choice((-1.0, 1.0), count) * generator.uniform(0.5, 2, count)

    return _from_seed(shape, values).map(lambda dy: dy.astype(dtype))


def _from_seed(
    shape: ShapeOrStrategy, values: Callable[[np.random.Generator, int], Array]
) -> st.SearchStrategy[Array]:
    def make(sides: Shape, seed: int) -> Array:
        return values(np.random.default_rng(seed), math.prod(sides)).reshape(sides)

    return st.builds(make, _strategy(shape), SEEDS)


# --- memory layouts -------------------------------------------------------------------------------


def _stepped(array: Array, step: int) -> Array:
    """Return array[::step, ::step, ...]: a view, also of an array without dimensions."""
    everywhere: Any = (*[slice(None, None, step)] * array.ndim, ...)
    view: Array = array[everywhere]
    return view


def _reversed(array: Array) -> Array:
    return _stepped(_stepped(array, -1).copy(), -1)


def _every_second(array: Array) -> Array:
    junk = np.nan if np.issubdtype(array.dtype, np.inexact) else 1  # who reads it shall notice
    view = _stepped(np.full([2 * n for n in array.shape], junk, array.dtype), 2)
    view[...] = array
    return view


def _transposed(array: Array) -> Array:
    return array.swapaxes(-1, -2).copy().swapaxes(-1, -2)


def _channels_last(array: Array) -> Array:
    return np.moveaxis(np.moveaxis(array, 1, -1).copy(), -1, 1)


def _misaligned(array: Array) -> Array:
    memory = np.zeros(array.nbytes + 1, np.uint8)
    view: Array = np.ndarray(array.shape, array.dtype, memory, offset=1)
    view[...] = array
    return view


def _read_only(array: Array) -> Array:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def _repeated(array: Array) -> Array:
    return np.broadcast_to(_without_repeats(array), array.shape)


def _without_repeats(array: Array) -> Array:
    """Keep one position of each dimension along which nothing changes, not even the sign of 0."""
    for axis in range(array.ndim):
        first = array.take(range(min(1, array.shape[axis])), axis)
        if np.broadcast_to(first, array.shape).tobytes() == array.tobytes():
            array = first
    return array


# Name -> the fewest dimensions it is for, and how to make it.
LAYOUTS: dict[str, tuple[int, Callable[[Array], Array]]] = {
    "contiguous": (0, np.ndarray.copy),
    "fortran": (2, lambda array: array.copy(order="F")),
    "transposed": (2, _transposed),
    "channels_last": (3, _channels_last),
    "reversed": (0, _reversed),
    "every_second": (0, _every_second),
    "misaligned": (0, _misaligned),
    "read_only": (0, _read_only),
    "repeated": (1, _repeated),
}


def layouts(array: Array) -> st.SearchStrategy[Array]:
    """Draw copies of `array`, equal to the last bit, that lie differently in memory.

    "contiguous"; "fortran" (first dimension fastest); "transposed" (the last two dimensions
    swapped); "channels_last"; "reversed" (negative strides); "every_second" (NaN in between);
    "misaligned" (one byte off); "read_only"; "repeated" (stride 0 and read-only, only where the
    values allow it).  Layouts that need more dimensions than the array has are left out.
    """
    array = np.asarray(array)
    names = [name for name, (least, _) in LAYOUTS.items() if array.ndim >= least]
    if _without_repeats(array).shape == array.shape:
        names = [name for name in names if name != "repeated"]

    def make(dice: _Dice) -> Array:
        name = dice.pick(names)
        note(f"layout: {name}")
        return LAYOUTS[name][1](array)

    return DICE.map(make)


# --- shapes, dimensions, positions ----------------------------------------------------------------


def shapes(min_dims: int = 0, max_dims: int = 4, max_side: int = 5) -> st.SearchStrategy[Shape]:
    """Draw shapes, now and then with a side of 0; sides shrink towards 1.

    Raises:
        ArgumentError: nothing lies between the limits.
    """
    if not 0 <= min_dims <= max_dims or max_side < 1:
        raise ArgumentError(
            f"shapes: needs 0 <= min_dims <= max_dims and max_side of at least 1, "
            f"got {min_dims}, {max_dims} and {max_side}"
        )

    def make(dice: _Dice) -> Shape:
        sides = []
        for position in range(max_dims):
            there, side = dice.pick([False, True]), dice.pick(range(1, max_side + 1))
            if there or position < min_dims:
                sides.append(side)
        if dice.often([False, False], [True]) and sides:
            sides[dice.pick(range(len(sides)))] = 0
        return tuple(sides)

    return DICE.map(make)


def broadcastable_shapes(
    count: int = 2, max_dims: int = 4, max_side: int = 4
) -> st.SearchStrategy[tuple[Shape, ...]]:
    """Draw `count` shapes that NumPy broadcasts together; 0 dimensions and sides of 0 occur."""
    return hypothesis_numpy.mutually_broadcastable_shapes(
        num_shapes=count, min_dims=0, max_dims=max_dims, min_side=0, max_side=max_side
    ).map(lambda found: found.input_shapes)


def reduction_arguments(
    shape: Shape,
) -> st.SearchStrategy[tuple[int | tuple[int, ...] | None, bool]]:
    """Draw (dim, keepdim) for a reduction over `shape`.

    dim is None, a dimension, or a tuple of different ones; they count from the front or the end.
    """
    ndim = len(shape)

    def make(dice: _Dice) -> tuple[int | tuple[int, ...] | None, bool]:
        keepdim = dice.pick([False, True])
        form = dice.pick(["all", "one", "several"] if ndim else ["all"])
        if form == "all":
            return None, keepdim
        left, dims = list(range(ndim)), []
        for _ in range(1 if form == "one" else dice.pick(range(1, ndim + 1))):
            dim = left.pop(dice.pick(range(len(left))))
            dims.append(dice.pick([dim, dim - ndim]))
        return (dims[0] if form == "one" else tuple(dims)), keepdim

    return DICE.map(make)


@st.composite
def indices(draw: st.DrawFn, length: int) -> Array:
    """Draw up to 8 positions (int64) in a dimension of `length`: repeated, and from both ends."""
    if length == 0:
        return np.zeros(0, np.int64)
    few = draw(st.lists(st.integers(0, length - 1), min_size=1, max_size=8))
    either_end = [*few, *(i - length for i in few)]
    dice = draw(DICE)
    return np.array([dice.pick(either_end) for _ in range(dice.pick(range(9)))], np.int64)


# --- window geometries ----------------------------------------------------------------------------


@dataclass(frozen=True)
class ConvGeometry:
    """The sizes of one convolution over any number of dimensions; all in pixels or channels.

    >>> geometry = ConvGeometry(
    ...     batch=1, in_channels=2, out_channels=4, image=(5, 6), kernel=(3, 2), stride=(2, 1),
    ...     padding=(1, 0), dilation=(1, 2), groups=2, output_padding=(0, 0), bias=False)
    >>> geometry.input_shape, geometry.weight_shape, geometry.output_shape
    ((1, 2, 5, 6), (4, 1, 3, 2), (1, 4, 3, 4))
    """

    batch: int
    in_channels: int
    out_channels: int
    image: Shape
    kernel: Shape
    stride: Shape
    padding: Shape
    dilation: Shape
    groups: int
    output_padding: Shape
    bias: bool
    transposed: bool = False

    @property
    def input_shape(self) -> Shape:
        """(N, C, ...) of the input."""
        return (self.batch, self.in_channels, *self.image)

    @property
    def weight_shape(self) -> Shape:
        """(O, C/groups, ...) of the filters, or (C, O/groups, ...) if transposed."""
        if self.transposed:
            return (self.in_channels, self.out_channels // self.groups, *self.kernel)
        return (self.out_channels, self.in_channels // self.groups, *self.kernel)

    @property
    def bias_shape(self) -> Shape | None:
        """(O,), or None without a bias."""
        return (self.out_channels,) if self.bias else None

    @property
    def output_shape(self) -> Shape:
        """(N, O, ...) of the result."""
        windows = zip(
            self.image, self.kernel, self.stride, self.padding, self.dilation, strict=True
        )
        if self.transposed:
            smallest = (transposed_size(*side) for side in windows)
            sizes = [n + extra for n, extra in zip(smallest, self.output_padding, strict=True)]
        else:
            sizes = [output_size(*side) for side in windows]
        return (self.batch, self.out_channels, *sizes)

    @property
    def settings(self) -> dict[str, Any]:
        """The keywords for `conv1d`, `conv2d`, `conv3d`, or their transposed kin."""
        found = {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }
        return {**found, "output_padding": self.output_padding} if self.transposed else found


@dataclass(frozen=True)
class PoolGeometry:
    """The sizes of one pooling over any number of dimensions; all in pixels or channels."""

    batch: int
    channels: int
    image: Shape
    kernel: Shape
    stride: Shape
    padding: Shape
    dilation: Shape
    ceil_mode: bool
    count_include_pad: bool

    @property
    def input_shape(self) -> Shape:
        """(N, C, ...) of the input."""
        return (self.batch, self.channels, *self.image)

    @property
    def output_shape(self) -> Shape:
        """(N, C, ...) of the result."""
        windows = zip(
            self.image, self.kernel, self.stride, self.padding, self.dilation, strict=True
        )
        sizes = [output_size(*side, self.ceil_mode) for side in windows]
        return (self.batch, self.channels, *sizes)

    @property
    def max_settings(self) -> dict[str, Any]:
        """The keywords for `max_pool1d`, `max_pool2d` or `max_pool3d`."""
        return {
            "kernel_size": self.kernel,
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "ceil_mode": self.ceil_mode,
        }

    @property
    def average_settings(self) -> dict[str, Any]:
        """The keywords for `avg_pool1d`, `avg_pool2d` or `avg_pool3d`.

        Raises:
            ArgumentError: the windows are dilated, which a mean cannot be.
        """
        if max(self.dilation) > 1:
            raise ArgumentError(
                f"average_settings: a mean has no dilation, this geometry has {self.dilation}; "
                f"draw from pool_geometries(dilated=False)"
            )
        return {
            "kernel_size": self.kernel,
            "stride": self.stride,
            "padding": self.padding,
            "ceil_mode": self.ceil_mode,
            "count_include_pad": self.count_include_pad,
        }


Side: TypeAlias = tuple[int, int, int, int, int]  # image, kernel, stride, padding, dilation

BATCHES = ([1, 2, 3], [0])
STRIDES = [1, 2, 1, 2, 3, 4]


def _conv_side(dice: _Dice, max_side: int) -> Side:
    kernel = dice.pick(range(1, min(4, max_side) + 1))
    stride, dilation = dice.pick(STRIDES), _dilation(dice, kernel, max_side)
    padding = dice.often([0, (kernel - 1) // 2, kernel // 2], [kernel - 1, kernel, kernel + 1])
    windows = (kernel, stride, padding, dilation)
    return _image(dice, max_side, *windows), *windows


def _pool_side(dice: _Dice, max_side: int, dilated: bool) -> Side:
    kernel = dice.pick(range(1, min(4, max_side) + 1))
    stride, padding = dice.pick(STRIDES), dice.pick(range(kernel // 2 + 1))
    dilation = _dilation(dice, kernel, max_side) if dilated else 1
    # A window that steps over the whole image sees padding only, and its maximum is -inf.
    least = dilation if padding else 1
    windows = (kernel, stride, padding, dilation)
    return _image(dice, max_side, *windows, least), *windows


def _dilation(dice: _Dice, kernel: int, max_side: int) -> int:
    """Pick a dilation with which the kernel fits into `max_side` pixels."""
    fitting = [d for d in (1, 2, 3) if output_size(max_side, kernel, dilation=d) >= 1]
    return dice.pick([1, *fitting])


def _image(
    dice: _Dice,
    max_side: int,
    kernel: int,
    stride: int,
    padding: int,
    dilation: int,
    least: int = 1,
) -> int:
    """Pick the side of an image with room for at least one window; often the smallest."""
    fitting = [
        n
        for n in range(least, max_side + 1)
        if output_size(n, kernel, stride, padding, dilation) >= 1
    ]
    return dice.pick([fitting[0], fitting[0], *fitting])


def _sides(dice: _Dice, dims: int, side: Callable[[_Dice], Side]) -> tuple[Shape, ...]:
    """Pick images, kernels, strides, paddings and dilations; now and then all sides are alike."""
    alike = dice.often([False], [True])
    sides = [side(dice)] * dims if alike else [side(dice) for _ in range(dims)]
    return tuple(zip(*sides, strict=True))


def conv_geometries(
    dims: int = 2, transposed: bool = False, max_side: int = 7
) -> st.SearchStrategy[ConvGeometry]:
    """Draw convolutions with at least one window over `dims` (1 to 3) dimensions.

    Often: stride beyond the kernel, left-over rows, a kernel of one pixel or as large as the
    image, each dimension different, padding as wide as the kernel, groups, depthwise filters,
    one channel, a batch of 1 or 0.

    A transposed convolution is the adjoint of an ordinary one: its output is the image of the
    other, and `output_padding` (less than the stride) is what the other leaves over.

    Args:
        max_side: the longest side of the image, or of the output if transposed; in pixels.

    Raises:
        ArgumentError: `dims` or `max_side` is out of range.
    """
    _check_sizes("conv_geometries", dims, max_side)
    return DICE.map(lambda dice: _conv_geometry(dice, dims, transposed, max_side))


def _conv_geometry(dice: _Dice, dims: int, transposed: bool, max_side: int) -> ConvGeometry:
    image, kernel, stride, padding, dilation = _sides(
        dice, dims, lambda dice: _conv_side(dice, max_side)
    )
    left_over = (0,) * dims
    if transposed:
        windows = [*zip(kernel, stride, padding, dilation, strict=True)]
        larger = image
        image = tuple(output_size(n, *side) for n, side in zip(larger, windows, strict=True))
        left_over = tuple(
            n - transposed_size(count, *side)
            for n, count, side in zip(larger, image, windows, strict=True)
        )
    groups = dice.pick([1, 1, 2, 3])
    return ConvGeometry(
        batch=dice.often(*BATCHES),
        in_channels=groups * dice.pick([1, 2, 3]),
        out_channels=groups * dice.pick([1, 2, 3]),
        image=image,
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        output_padding=left_over,
        bias=dice.pick([False, True]),
        transposed=transposed,
    )


def pool_geometries(
    dims: int = 2, max_side: int = 7, dilated: bool = True
) -> st.SearchStrategy[PoolGeometry]:
    """Draw poolings over `dims` (1 to 3) dimensions in which every window sees a pixel.

    Often: stride beyond the kernel, overlap, left-over rows, windows that `ceil_mode` lets hang
    over the edge, padding of half the kernel, each dimension different.

    Args:
        max_side: the longest side of the image, in pixels.
        dilated: allow dilation, which a maximum has and a mean has not.

    Raises:
        ArgumentError: `dims` or `max_side` is out of range.
    """
    _check_sizes("pool_geometries", dims, max_side)
    return DICE.map(lambda dice: _pool_geometry(dice, dims, max_side, dilated))


def _pool_geometry(dice: _Dice, dims: int, max_side: int, dilated: bool) -> PoolGeometry:
    image, kernel, stride, padding, dilation = _sides(
        dice, dims, lambda dice: _pool_side(dice, max_side, dilated)
    )
    return PoolGeometry(
        batch=dice.often(*BATCHES),
        channels=dice.pick([1, 2, 3]),
        image=image,
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=dice.pick([False, True]),
        count_include_pad=dice.pick([False, True]),
    )


def _check_sizes(function: str, dims: int, max_side: int) -> None:
    if dims not in (1, 2, 3):
        raise ArgumentError(f"{function}: dims must be 1, 2 or 3, got {dims}")
    if max_side < 1:
        raise ArgumentError(f"{function}: max_side must be at least 1 pixel, got {max_side}")
