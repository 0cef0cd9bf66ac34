"""Normalisation in two passes each way: sums over x, then the result.

x is seen as it lies in memory, cut into pieces of one of three kinds:

* runs (P, L): what is added up lies side by side, as in NCHW images;
* columns (P, R, C): rows of neighbouring channels are added up, as in channels-last images;
* rows (P, L): groups, with a weight for each place in the row, as in layer normalisation.

Kernels find the sums of every run or column, a short one puts those together to groups, and then
y = (x - center) * scale + shift with three numbers for each, rectified where that is asked for.

The gradient needs to know where y was rectified.  y could tell, but x and dy are read anyway, and
y is not: so the same three numbers decide again, in the same arithmetic.  If something was added to
y before, to read that would cost as much as y; then the first pass reads y, and writes what is
left of dy, the gradient of what was added.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.cpu.jit import ALIKE, SUMS, jit
from minicnn_kernels.strides import lying_like, memory_order, without_gaps
from minicnn_kernels.threads import parallel

Axes = tuple[int, ...]

CHUNK = 2048  # so many values are added up in their own type, the chunks in float64
ROWS = 32  # so many rows are a chunk
GRAIN = 2**14  # values that are worth a thread
SHORT = 2**13  # a piece of fewer values costs more than it gains


# --- pieces ---------------------------------------------------------------------------------------


class Pieces(NamedTuple):
    """How an array of some shape and strides is cut into pieces.

    Attributes:
        kind: "runs", "columns" or "rows".
        order: its dimensions, the outermost in memory first.
        joined: the shape of what the kernels see.
        kept: the shape of the array, with 1 where the values of a piece lie; in memory's order.
        back: undoes `order`.
    """

    kind: str
    order: Axes
    joined: tuple[int, ...]
    kept: tuple[int, ...]
    back: Axes

    @property
    def columns(self) -> bool:
        """Whether the pieces are columns."""
        return self.kind == "columns"

    @property
    def numbers(self) -> tuple[int, ...]:
        """The shape of numbers that belong to pieces: (P,), or (P, C) for columns."""
        return self.joined[::2] if self.columns else self.joined[:1]

    def see(self, x: Array) -> Array:
        """See x, which lies in this order, as pieces."""
        return x.transpose(self.order).reshape(self.joined)

    def places(self, shape: Axes) -> Array:
        """Return where in an array of a shape that broadcasts to x each piece has its value."""
        return _places(self.order, self.kept, shape)

    def number(self, v: Array, dtype: Any) -> Array:
        """Return v, which broadcasts to x, as one number for each piece."""
        return v.reshape(-1)[self.places(v.shape)].astype(dtype)

    def in_a_row(self, v: Array, dtype: Any) -> Array:
        """Return weights, which broadcast to x, in the order of a row."""
        return np.ascontiguousarray(v.transpose(self.order), dtype).reshape(-1)

    def out_of_rows(self, rows: Array, gamma: Array) -> Array:
        """Return the sum of rows as an array of gamma's shape."""
        total = rows.sum(axis=0, dtype=np.float64).astype(rows.dtype)
        in_order: Array = total.reshape([gamma.shape[i] for i in self.order])
        return in_order.transpose(self.back)

    def spread(self, v: Array) -> Array:
        """See numbers of pieces as an array that broadcasts to x."""
        return v.reshape(self.kept).transpose(self.back)


def pieces_of(x: Array, weights: tuple[int, ...], axes: Axes) -> Pieces:
    """Cut x, which has no gaps, for sums over `axes`; gamma has the shape `weights`."""
    return _pieces(x.shape, memory_order(x), weights, axes)


@lru_cache(maxsize=1024)
def _pieces(shape: Axes, order: Axes, weights: tuple[int, ...], axes: Axes) -> Pieces:
    outer = [i for i in order if shape[i] > 1]
    inside = outer[len(outer) - sum(i in axes for i in outer) :]

    def pieces(kind: str, inside: list[int], *joined: int) -> Pieces:
        kept = tuple(1 if i in inside else shape[i] for i in order)
        back = tuple(np.argsort(order).tolist())
        return Pieces(kind, order, (prod(shape) // prod(joined), *joined), kept, back)

    if inside and all(i in axes and weights[i] > 1 for i in inside):
        return pieces("rows", inside, prod(shape[i] for i in inside))
    summed = [i for i in axes if weights[i] == 1]
    width = 1
    while outer and outer[-1] not in summed:
        width *= shape[outer.pop()]
    size, rows = width, list[int]()
    most = max(SHORT, prod(shape) // 8)  # some pieces for each thread
    while outer and outer[-1] in summed and (not rows or size * shape[outer[-1]] <= most):
        size *= shape[outer[-1]]
        rows.append(outer.pop())
    if width == 1:
        return pieces("runs", rows, size)
    return pieces("columns", rows, size // width, width)


@lru_cache(maxsize=1024)
def _places(order: Axes, kept: Axes, shape: Axes) -> Array:
    places = np.arange(prod(shape)).reshape(shape).transpose(order)
    return np.ascontiguousarray(np.broadcast_to(places, kept)).reshape(-1)


def over(pieces: Array, kernel: Any, *others: Any) -> None:
    """Run kernel(begin, end, pieces, *others) on all threads."""
    grain = -(-GRAIN // prod(pieces.shape[1:]))
    parallel(kernel, len(pieces), pieces, *others, grain=grain)


# --- forward --------------------------------------------------------------------------------------


def normalize(
    x: Array, gamma: Array, beta: Array, add: Array | None, mean: Array, var: Array, *,
    axes: Axes, eps: float, centered: bool = True, relu: bool = False,
) -> Array:  # fmt: skip
    """Return gamma * (x - mean) / sqrt(var + eps) + beta + add; write mean and var."""
    x = without_gaps(x)
    pieces = pieces_of(x, gamma.shape, axes)
    sums = np.zeros((2, *pieces.numbers))
    if pieces.kind == "rows":
        y = np.empty_like(x)
        weights = (pieces.in_a_row(v, x.dtype) for v in (gamma, beta))
        over(pieces.see(x), normalize_rows, *weights, centered, eps, *sums, pieces.see(y))
        mean[...], var[...] = (pieces.spread(v) for v in sums)
        return y
    over(pieces.see(x), column_moments if pieces.columns else run_moments, centered, sums)
    put_together(sums.reshape(2, -1), pieces.places(mean.shape), mean.reshape(-1), var.reshape(-1))
    return apply(x, pieces, gamma, beta, add, mean, var, eps, relu)


def rescale(
    x: Array, gamma: Array, beta: Array, add: Array | None, mean: Array, var: Array, *,
    eps: float, relu: bool = False,
) -> Array:  # fmt: skip
    """Return gamma * (x - mean) / sqrt(var + eps) + beta + add with given statistics."""
    x = without_gaps(x)
    alike = np.broadcast_shapes(gamma.shape, mean.shape)
    axes = tuple(i for i, n in enumerate(alike) if n == 1)
    return apply(x, pieces_of(x, alike, axes), gamma, beta, add, mean, var, eps, relu)


def apply(
    x: Array, pieces: Pieces, gamma: Array, beta: Array, add: Array | None, mean: Array,
    var: Array, eps: float, relu: bool,
) -> Array:  # fmt: skip
    """Return the result, of moments that are known."""
    y = np.empty_like(x)
    numbers = numbers_of(x, pieces, gamma, beta, mean, var, eps)
    seen = None if add is None else pieces.see(lying_like(add, x))
    kernel = scale_columns if pieces.columns else scale_runs
    over(pieces.see(x), kernel, seen, numbers, floor_of(x, relu), pieces.see(y))
    return y


def numbers_of(
    x: Array, pieces: Pieces, gamma: Array, beta: Array, mean: Array, var: Array, eps: float
) -> Array:
    """Return center, scale and shift of each piece, and room for two more numbers."""
    numbers = np.empty((5, *pieces.numbers), x.dtype)
    write_numbers(
        mean.reshape(-1), var.reshape(-1), eps, pieces.places(mean.shape), gamma.reshape(-1),
        beta.reshape(-1), pieces.places(gamma.shape), numbers.reshape(5, -1),
    )  # fmt: skip
    return numbers


def floor_of(x: Array, relu: bool) -> Any:
    """Return the least value of the result: NaN for none, as nothing is less than that."""
    return x.dtype.type(0 if relu else np.nan)


@jit()
def put_together(pieces: Array, group: Array, mean: Array, var: Array) -> None:
    """Write mean and variance of groups, from those of pieces of equal size.

    var = mean of the pieces' variances + variance of the pieces' means
    """
    mean[:] = 0
    var[:] = 0
    for p in range(group.size):
        mean[group[p]] += pieces[0, p]
    mean /= group.size // mean.size
    for p in range(group.size):
        distance = pieces[0, p] - mean[group[p]]
        var[group[p]] += pieces[1, p] + distance * distance
    var /= group.size // mean.size


@jit()
def write_numbers(
    mean: Array, var: Array, eps: float, group: Array, gamma: Array, beta: Array, weight: Array,
    numbers: Array,
) -> None:  # fmt: skip
    """Write center, scale and shift of each piece, which has a group and a weight."""
    inv_std = 1 / np.sqrt(var + eps)
    for p in range(group.size):
        numbers[0, p] = mean[group[p]]
        numbers[1, p] = gamma[weight[p]] * inv_std[group[p]]
        numbers[2, p] = beta[weight[p]]


@jit(ALIKE)
def scaled(x: float, center: float, scale: float, shift: float) -> float:
    """Return a value of the result, to the last bit the same wherever it is computed."""
    return (x - center) * scale + shift


@jit(SUMS)
def moments_of(x: Array, centered: bool) -> tuple[float, float]:
    """Return mean and sum of squared distances to it; or 0 and sum of squares.

    They are put together from those of chunks (Chan, Golub, LeVeque 1979): no large numbers are
    subtracted from each other.  `rest` is by how much rounding has moved the center of a chunk.
    """
    mean, total, zero = 0.0, 0.0, x.dtype.type(0)
    for start in range(0, x.size, CHUNK):
        chunk = x[start : start + CHUNK]
        count = chunk.size
        center, rest, squares = zero, zero, zero
        if centered:
            for i in range(count):
                center += chunk[i]
            center /= x.dtype.type(count)
        for i in range(count):
            distance = chunk[i] - center
            rest += distance
            squares += distance * distance
        lost = rest / count if centered else 0.0
        step = center + lost - mean if centered else 0.0
        mean += step * count / (start + count)
        total += squares - lost * lost * count + step * step * start * count / (start + count)
    return mean, total


@jit(SUMS)
def run_moments(begin: int, end: int, x: Array, centered: bool, sums: Array) -> None:
    """Write mean and variance of each run x[p]."""
    mean, var = sums
    for p in range(begin, end):
        mean[p], total = moments_of(x[p], centered)
        var[p] = total / x.shape[1]


@jit(SUMS)
def column_moments(begin: int, end: int, x: Array, centered: bool, sums: Array) -> None:
    """Write mean and variance of each column of each x[p], as `moments_of` finds them."""
    mean, var = sums
    rows, columns = x.shape[1:]
    center, rest = np.empty(columns, x.dtype), np.empty(columns, x.dtype)
    squares = np.empty(columns, x.dtype)
    for p in range(begin, end):
        for start in range(0, rows, ROWS):
            chunk = x[p, start : start + ROWS]
            count = chunk.shape[0]
            center[:] = 0
            rest[:] = 0
            squares[:] = 0
            if centered and start == 0:
                for i in range(count):
                    for c in range(columns):
                        center[c] += chunk[i, c]
                for c in range(columns):
                    center[c] /= x.dtype.type(count)
            elif centered:  # what has been seen will be near enough
                for c in range(columns):
                    center[c] = mean[p, c]
            for i in range(count):
                for c in range(columns):
                    distance = chunk[i, c] - center[c]
                    rest[c] += distance
                    squares[c] += distance * distance
            for c in range(columns):
                lost = rest[c] / count if centered else 0.0
                step = center[c] + lost - mean[p, c] if centered else 0.0
                mean[p, c] += step * count / (start + count)
                var[p, c] += (
                    squares[c] - lost * lost * count + step * step * start * count / (start + count)
                )
        for c in range(columns):
            var[p, c] /= rows


@jit()
def scale_runs(
    begin: int, end: int, x: Array, add: Array | None, numbers: Array, floor: float, y: Array
) -> None:
    """Write y[p] = (x[p] - center[p]) * scale[p] + shift[p] + add[p], and no less than floor."""
    for p in range(begin, end):
        source, target = x[p], y[p]
        m, a, b = numbers[0, p], numbers[1, p], numbers[2, p]
        for i in range(source.size):
            value = scaled(source[i], m, a, b)
            if add is not None:
                value += add[p, i]
            target[i] = floor if value < floor else value


@jit()
def scale_columns(
    begin: int, end: int, x: Array, add: Array | None, numbers: Array, floor: float, y: Array
) -> None:
    """Write y[p,i] = (x[p,i] - center[p]) * scale[p] + shift[p] + add[p,i], no less than floor."""
    for p in range(begin, end):
        m, a, b = numbers[0, p], numbers[1, p], numbers[2, p]
        for i in range(x.shape[1]):
            source, target = x[p, i], y[p, i]
            for c in range(source.size):
                value = scaled(source[c], m[c], a[c], b[c])
                if add is not None:
                    value += add[p, i, c]
                target[c] = floor if value < floor else value


@jit()
def normalize_rows(
    begin: int, end: int, x: Array, gamma: Array, beta: Array, centered: bool, eps: float,
    mean: Array, var: Array, y: Array,
) -> None:  # fmt: skip
    """Write y[p] = gamma * (x[p] - mean) / sqrt(var + eps) + beta, and mean and variance."""
    for p in range(begin, end):
        source, target = x[p], y[p]
        mean[p], total = moments_of(source, centered)
        var[p] = total / source.size
        center, inv_std = x.dtype.type(mean[p]), x.dtype.type(1 / np.sqrt(var[p] + eps))
        for i in range(source.size):
            target[i] = (source[i] - center) * inv_std * gamma[i] + beta[i]


# --- backward -------------------------------------------------------------------------------------


def normalize_gradients(
    dy: Array, x: Array, gamma: Array, beta: Array | None, y: Array | None, mean: Array,
    var: Array, *, axes: Axes, eps: float, centered: bool = True,
) -> tuple[Array, Array, Array, Array | None]:  # fmt: skip
    """Return dx, dgamma, dbeta and dadd of `normalize`, which has filled mean and var.

    With g = dy * gamma and x_hat = (x - mean) / sqrt(var + eps)
        dx = (g - mean(g) - x_hat * mean(g * x_hat)) / sqrt(var + eps)
    is three terms with numbers of pieces: scale * dy + slope * (x - mean) + offset.
    """
    x = without_gaps(x)
    dy = lying_like(dy, x)
    dx = np.empty_like(x)
    pieces = pieces_of(x, gamma.shape, axes)
    seen_x, seen_dy, seen_dx = seen = tuple(pieces.see(v) for v in (x, dy, dx))
    if pieces.kind == "rows":
        return dx, *gradients_of_rows(pieces, seen, gamma, mean, var, eps, centered), None
    shift = gamma if beta is None else beta  # only asked for where y was rectified
    numbers = numbers_of(x, pieces, gamma, shift, mean, var, eps)
    floor, seen_y, dadd, seen_dadd = floor_of(x, beta is not None), None, None, None
    if y is not None and beta is None:
        dadd = np.empty_like(x)
        seen_y, seen_dadd = pieces.see(lying_like(y, x)), pieces.see(dadd)
    sums = np.zeros((2, *pieces.numbers))
    kernel = column_products if pieces.columns else run_products
    over(seen_x, kernel, seen_dy, seen_y, numbers, floor, sums, seen_dadd)
    dgamma, dbeta = (np.empty(gamma.shape, x.dtype) for _ in range(2))
    write_terms(
        sums.reshape(2, -1), prod(x.shape[i] for i in axes), centered, mean.reshape(-1),
        var.reshape(-1), eps, pieces.places(mean.shape), gamma.reshape(-1),
        pieces.places(gamma.shape), dgamma.reshape(-1), dbeta.reshape(-1), numbers.reshape(5, -1),
    )  # fmt: skip
    left = seen_dy if seen_dadd is None else seen_dadd
    over(seen_x, combine_columns if pieces.columns else combine_runs, left, numbers, floor, seen_dx)
    return dx, dgamma, dbeta, dadd


def gradients_of_rows(
    pieces: Pieces, seen: tuple[Array, ...], gamma: Array, mean: Array, var: Array, eps: float,
    centered: bool,
) -> tuple[Array, Array]:  # fmt: skip
    """Write dx of x, dy and dx, which are seen as rows; return dgamma and dbeta."""
    rows, columns = pieces.joined
    blocks, dtype = -(-rows // ROWS), seen[0].dtype
    dgamma, dbeta = (np.empty((blocks, columns), dtype) for _ in range(2))
    numbers = (pieces.number(v, dtype) for v in (mean, 1 / np.sqrt(var + eps)))
    parallel(
        row_gradients, blocks, *seen, pieces.in_a_row(gamma, dtype), *numbers, centered, dgamma,
        dbeta, grain=-(-GRAIN // (ROWS * columns)),
    )  # fmt: skip
    return pieces.out_of_rows(dgamma, gamma), pieces.out_of_rows(dbeta, gamma)


@jit()
def write_terms(
    sums: Array, count: int, centered: bool, mean: Array, var: Array, eps: float, group: Array,
    gamma: Array, weight: Array, dgamma: Array, dbeta: Array, numbers: Array,
) -> None:  # fmt: skip
    """Write dgamma and dbeta, and slope and offset of each piece, of the sums over pieces."""
    of_weights, of_groups = np.zeros((2, gamma.size)), np.zeros((2, mean.size))
    inv_std = 1 / np.sqrt(var + eps)
    for p in range(group.size):
        k, w = group[p], weight[p]
        by_1 = sums[0, p]
        by_x = sums[1, p] + by_1 * (numbers[0, p] - mean[k])  # what rounding has lost
        of_weights[0, w] += by_x * inv_std[k]
        of_weights[1, w] += by_1
        of_groups[0, k] += by_x * gamma[w]
        of_groups[1, k] += by_1 * gamma[w]
    for w in range(gamma.size):
        dgamma[w], dbeta[w] = of_weights[0, w], of_weights[1, w]
    for k in range(mean.size):
        of_groups[0, k] *= -(inv_std[k] ** 3) / count
        of_groups[1, k] *= -inv_std[k] / count if centered else 0.0
    for p in range(group.size):
        numbers[3, p], numbers[4, p] = of_groups[0, group[p]], of_groups[1, group[p]]


@jit(SUMS)
def run_products(
    begin: int, end: int, x: Array, dy: Array, y: Array | None, numbers: Array, floor: float,
    sums: Array, left: Array | None,
) -> None:  # fmt: skip
    """Write the sums of dy and of dy * (x - center) over each run, where y was not rectified."""
    one, zero = x.dtype.type(1), x.dtype.type(0)
    for p in range(begin, end):
        m, a, b = numbers[0, p], numbers[1, p], numbers[2, p]
        for start in range(0, x.shape[1], CHUNK):
            values, slopes = x[p, start : start + CHUNK], dy[p, start : start + CHUNK]
            by_1 = by_x = zero
            for i in range(values.size):
                if y is None:
                    passes = zero if scaled(values[i], m, a, b) <= floor else one
                else:
                    passes = zero if y[p, start + i] == zero else one
                slope = slopes[i] * passes
                if left is not None:
                    left[p, start + i] = slope
                by_1 += slope
                by_x += slope * (values[i] - m)
            sums[0, p] += by_1
            sums[1, p] += by_x


@jit(SUMS)
def column_products(
    begin: int, end: int, x: Array, dy: Array, y: Array | None, numbers: Array, floor: float,
    sums: Array, left: Array | None,
) -> None:  # fmt: skip
    """Write the sums of dy and of dy * (x - center) over each column, as `run_products`."""
    one, zero = x.dtype.type(1), x.dtype.type(0)
    rows, columns = x.shape[1:]
    by_1, by_x = np.empty(columns, x.dtype), np.empty(columns, x.dtype)
    for p in range(begin, end):
        m, a, b = numbers[0, p], numbers[1, p], numbers[2, p]
        for start in range(0, rows, ROWS):
            by_1[:] = 0
            by_x[:] = 0
            for i in range(start, min(rows, start + ROWS)):
                values, slopes = x[p, i], dy[p, i]
                for c in range(columns):
                    if y is None:
                        passes = zero if scaled(values[c], m[c], a[c], b[c]) <= floor else one
                    else:
                        passes = zero if y[p, i, c] == zero else one
                    slope = slopes[c] * passes
                    if left is not None:
                        left[p, i, c] = slope
                    by_1[c] += slope
                    by_x[c] += slope * (values[c] - m[c])
            for c in range(columns):
                sums[0, p, c] += by_1[c]
                sums[1, p, c] += by_x[c]


@jit()
def combine_runs(
    begin: int, end: int, x: Array, dy: Array, numbers: Array, floor: float, dx: Array
) -> None:
    """Write dx[p] = scale[p] * dy[p] + slope[p] * (x[p] - center[p]) + offset[p]."""
    one, zero = x.dtype.type(1), x.dtype.type(0)
    for p in range(begin, end):
        values, slopes, target = x[p], dy[p], dx[p]
        m, a, b = numbers[0, p], numbers[1, p], numbers[2, p]
        slope, offset = numbers[3, p], numbers[4, p]
        for i in range(values.size):
            passes = zero if scaled(values[i], m, a, b) <= floor else one
            target[i] = a * (slopes[i] * passes) + (slope * (values[i] - m) + offset)


@jit()
def combine_columns(
    begin: int, end: int, x: Array, dy: Array, numbers: Array, floor: float, dx: Array
) -> None:
    """Write dx[p,i] = scale[p] * dy[p,i] + slope[p] * (x[p,i] - center[p]) + offset[p]."""
    one, zero = x.dtype.type(1), x.dtype.type(0)
    for p in range(begin, end):
        m, a, b = numbers[0, p], numbers[1, p], numbers[2, p]
        slope, offset = numbers[3, p], numbers[4, p]
        for i in range(x.shape[1]):
            values, slopes, target = x[p, i], dy[p, i], dx[p, i]
            for c in range(values.size):
                passes = zero if scaled(values[c], m[c], a[c], b[c]) <= floor else one
                target[c] = a[c] * (slopes[c] * passes) + (
                    slope[c] * (values[c] - m[c]) + offset[c]
                )


@jit(SUMS)
def row_gradients(
    begin: int, end: int, x: Array, dy: Array, dx: Array, gamma: Array, mean: Array,
    inv_std: Array, centered: bool, dgamma: Array, dbeta: Array,
) -> None:  # fmt: skip
    """Write dx for blocks of ROWS rows, and what each block adds to dgamma and dbeta."""
    for block in range(begin, end):
        by_x, by_1 = dgamma[block], dbeta[block]
        by_x[:] = 0
        by_1[:] = 0
        for p in range(block * ROWS, min((block + 1) * ROWS, x.shape[0])):
            values, slopes, target = x[p], dy[p], dx[p]
            m, a = mean[p], inv_std[p]
            sum_g, sum_g_x = 0.0, 0.0
            for start in range(0, values.size, CHUNK):
                stop = min(values.size, start + CHUNK)
                v, g, w = values[start:stop], slopes[start:stop], gamma[start:stop]
                one = by_v = x.dtype.type(0)
                for i in range(v.size):
                    one += g[i] * w[i]
                    by_v += g[i] * w[i] * (v[i] - m)
                sum_g += one
                sum_g_x += by_v
            b = -a * a * a * x.dtype.type(sum_g_x / values.size)
            c = -a * x.dtype.type(sum_g / values.size) if centered else x.dtype.type(0)
            for i in range(values.size):
                distance = values[i] - m
                target[i] = a * slopes[i] * gamma[i] + (b * distance + c)
                by_x[i] += slopes[i] * distance * a
                by_1[i] += slopes[i]
