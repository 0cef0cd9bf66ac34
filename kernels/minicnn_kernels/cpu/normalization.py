"""Normalisation in two passes each way: sums over x, then the result.

x is seen as it lies in memory, cut into pieces of one of three kinds:

* runs (P, L): what is added up lies side by side, as in NCHW images;
* columns (P, R, C): rows of neighbouring channels are added up, as in channels-last images;
* rows (P, L): groups, with a weight for each place in the row, as in layer normalisation.

Kernels find the sums of every run or column, NumPy puts those together to groups (the arrays are
small), and then y = (x - center) * scale + shift with three numbers for each.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.cpu.jit import SUMS, jit
from minicnn_kernels.cpu.memory import lying_like, memory_order, without_gaps
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
    def numbers(self) -> tuple[int, ...]:
        """The shape of numbers that belong to pieces: (P,), or (P, C) for columns."""
        return self.joined[::2] if self.kind == "columns" else self.joined[:1]

    def see(self, x: Array) -> Array:
        """See x, which lies in this order, as pieces."""
        return x.transpose(self.order).reshape(self.joined)

    def number(self, v: Array, dtype: Any) -> Array:
        """Return v, which broadcasts to x, as one number for each piece."""
        values = np.empty(self.kept, dtype)
        values[...] = v.transpose(self.order)
        return values.reshape(self.numbers)

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


def over(pieces: Array, kernel: Any, *others: Any) -> None:
    """Run kernel(begin, end, pieces, *others) on all threads."""
    grain = -(-GRAIN // prod(pieces.shape[1:]))
    parallel(kernel, len(pieces), pieces, *others, grain=grain)


# --- forward --------------------------------------------------------------------------------------


def normalize(
    x: Array, gamma: Array, beta: Array, *,
    axes: Axes, eps: float, statistics: tuple[Array, Array], centered: bool = True,
) -> Array:  # fmt: skip
    """Return gamma * (x - mean) / sqrt(var + eps) + beta; write mean and var to `statistics`."""
    x = without_gaps(x)
    y = np.empty_like(x)
    pieces = pieces_of(x, gamma.shape, axes)
    mean, var = (np.zeros(pieces.numbers) for _ in range(2))
    if pieces.kind == "rows":
        weights = (pieces.in_a_row(v, x.dtype) for v in (gamma, beta))
        over(pieces.see(x), normalize_rows, *weights, centered, eps, mean, var, pieces.see(y))
        statistics[0][...], statistics[1][...] = pieces.spread(mean), pieces.spread(var)
        return y
    moments = column_moments if pieces.kind == "columns" else run_moments
    over(pieces.see(x), moments, centered, mean, var)
    put_together(pieces.spread(mean), pieces.spread(var), axes, statistics)
    apply(x, pieces, y, statistics[0], gamma / np.sqrt(statistics[1] + eps), beta)
    return y


def put_together(mean: Array, var: Array, axes: Axes, statistics: tuple[Array, Array]) -> None:
    """Write mean and variance of groups to `statistics`, from those of pieces of equal size.

    var = mean of the pieces' variances + variance of the pieces' means
    """
    total_mean, total_var = statistics
    if mean.shape == total_mean.shape:
        total_mean[...], total_var[...] = mean, var
        return
    pieces = mean.size // total_mean.size
    np.divide(mean.sum(axes, keepdims=True), pieces, out=total_mean)
    var = var + np.square(mean - total_mean)
    np.divide(var.sum(axes, keepdims=True), pieces, out=total_var)


def rescale(
    x: Array, gamma: Array, beta: Array, *, statistics: tuple[Array, Array], eps: float
) -> Array:
    """Return gamma * (x - mean) / sqrt(var + eps) + beta with given statistics."""
    x = without_gaps(x)
    y = np.empty_like(x)
    mean, var = statistics
    scale = gamma / np.sqrt(var + eps)
    alike = np.broadcast_shapes(scale.shape, beta.shape, mean.shape)
    axes = tuple(i for i, n in enumerate(alike) if n == 1)
    apply(x, pieces_of(x, alike, axes), y, mean, scale, beta)
    return y


def apply(x: Array, pieces: Pieces, y: Array, center: Array, scale: Array, shift: Array) -> None:
    """Write (x - center) * scale + shift to y."""
    numbers = (pieces.number(v, x.dtype) for v in (center, scale, shift))
    kernel = scale_columns if pieces.kind == "columns" else scale_runs
    over(pieces.see(x), kernel, *numbers, pieces.see(y))


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
def run_moments(begin: int, end: int, x: Array, centered: bool, mean: Array, var: Array) -> None:
    """Write mean and variance of each run x[p]."""
    for p in range(begin, end):
        mean[p], total = moments_of(x[p], centered)
        var[p] = total / x.shape[1]


@jit(SUMS)
def column_moments(begin: int, end: int, x: Array, centered: bool, mean: Array, var: Array) -> None:
    """Write mean and variance of each column of each x[p], as `moments_of` finds them."""
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
            if centered:
                for i in range(count):
                    for c in range(columns):
                        center[c] += chunk[i, c]
                for c in range(columns):
                    center[c] /= x.dtype.type(count)
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
    begin: int, end: int, x: Array, center: Array, scale: Array, shift: Array, y: Array
) -> None:
    """Write y[p] = (x[p] - center[p]) * scale[p] + shift[p]."""
    for p in range(begin, end):
        source, target = x[p], y[p]
        m, a, b = center[p], scale[p], shift[p]
        for i in range(source.size):
            target[i] = (source[i] - m) * a + b


@jit()
def scale_columns(
    begin: int, end: int, x: Array, center: Array, scale: Array, shift: Array, y: Array
) -> None:
    """Write y[p,i,c] = (x[p,i,c] - center[p,c]) * scale[p,c] + shift[p,c]."""
    for p in range(begin, end):
        m, a, b = center[p], scale[p], shift[p]
        for i in range(x.shape[1]):
            source, target = x[p, i], y[p, i]
            for c in range(source.size):
                target[c] = (source[c] - m[c]) * a[c] + b[c]


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
    dy: Array, x: Array, gamma: Array, *,
    axes: Axes, eps: float, statistics: tuple[Array, Array], centered: bool = True,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Return dx, dgamma and dbeta of `normalize`, which has filled `statistics`.

    With g = dy * gamma and x_hat = (x - mean) / sqrt(var + eps)
        dx = (g - mean(g) - x_hat * mean(g * x_hat)) / sqrt(var + eps)
    is three terms with numbers of pieces: scale * dy + slope * (x - mean) + shift.
    """
    x = without_gaps(x)
    dy = lying_like(dy, x)
    dx = np.empty_like(x)
    mean, inv_std = statistics[0], 1 / np.sqrt(statistics[1] + eps)
    pieces = pieces_of(x, gamma.shape, axes)
    seen = [pieces.see(v) for v in (x, dy, dx)]
    if pieces.kind == "rows":
        blocks = -(-len(seen[0]) // ROWS)
        dgamma, dbeta = (np.empty((blocks, pieces.joined[1]), x.dtype) for _ in range(2))
        numbers = (pieces.number(v, x.dtype) for v in (mean, inv_std))
        parallel(
            row_gradients, blocks, *seen, pieces.in_a_row(gamma, x.dtype), *numbers, centered,
            dgamma, dbeta, grain=-(-GRAIN // (ROWS * pieces.joined[1])),
        )  # fmt: skip
        return dx, pieces.out_of_rows(dgamma, gamma), pieces.out_of_rows(dbeta, gamma)
    columns = pieces.kind == "columns"
    center = pieces.number(mean, x.dtype)
    sum_dy, sum_dy_x = (np.zeros(pieces.numbers) for _ in range(2))
    over(seen[0], column_products if columns else run_products, seen[1], center, sum_dy, sum_dy_x)
    by_1 = pieces.spread(sum_dy)
    by_x = pieces.spread(sum_dy_x) + by_1 * (mean.astype(x.dtype) - mean)  # what rounding has lost
    alike = tuple(i for i in range(x.ndim) if gamma.shape[i] == 1)
    dbeta = by_1.sum(alike, keepdims=True)
    dgamma = (by_x * inv_std).sum(alike, keepdims=True)
    count = prod(x.shape[i] for i in axes)
    mean_g, mean_g_x = ((v * gamma).sum(axes, keepdims=True) / count for v in (by_1, by_x))
    terms = gamma * inv_std, -mean_g_x * inv_std**3, -mean_g * inv_std * centered
    numbers = (pieces.number(v, x.dtype) for v in terms)
    over(seen[0], combine_columns if columns else combine_runs, seen[1], center, *numbers, seen[2])
    return dx, dgamma.astype(x.dtype), dbeta.astype(x.dtype)


@jit(SUMS)
def run_products(
    begin: int, end: int, x: Array, dy: Array, center: Array, sum_dy: Array, sum_dy_x: Array
) -> None:
    """Write the sums of dy and of dy * (x - center) over each run."""
    for p in range(begin, end):
        for start in range(0, x.shape[1], CHUNK):
            values, slopes = x[p, start : start + CHUNK], dy[p, start : start + CHUNK]
            m = center[p]
            by_1 = by_x = x.dtype.type(0)
            for i in range(values.size):
                by_1 += slopes[i]
                by_x += slopes[i] * (values[i] - m)
            sum_dy[p] += by_1
            sum_dy_x[p] += by_x


@jit(SUMS)
def column_products(
    begin: int, end: int, x: Array, dy: Array, center: Array, sum_dy: Array, sum_dy_x: Array
) -> None:
    """Write the sums of dy and of dy * (x - center) over each column."""
    rows, columns = x.shape[1:]
    by_1, by_x = np.empty(columns, x.dtype), np.empty(columns, x.dtype)
    for p in range(begin, end):
        m = center[p]
        for start in range(0, rows, ROWS):
            by_1[:] = 0
            by_x[:] = 0
            for i in range(start, min(rows, start + ROWS)):
                values, slopes = x[p, i], dy[p, i]
                for c in range(columns):
                    by_1[c] += slopes[c]
                    by_x[c] += slopes[c] * (values[c] - m[c])
            for c in range(columns):
                sum_dy[p, c] += by_1[c]
                sum_dy_x[p, c] += by_x[c]


@jit()
def combine_runs(
    begin: int, end: int, x: Array, dy: Array, center: Array, scale: Array, slope: Array,
    shift: Array, dx: Array,
) -> None:  # fmt: skip
    """Write dx[p] = scale[p] * dy[p] + slope[p] * (x[p] - center[p]) + shift[p]."""
    for p in range(begin, end):
        values, slopes, target = x[p], dy[p], dx[p]
        m, a, b, c = center[p], scale[p], slope[p], shift[p]
        for i in range(values.size):
            target[i] = a * slopes[i] + (b * (values[i] - m) + c)


@jit()
def combine_columns(
    begin: int, end: int, x: Array, dy: Array, center: Array, scale: Array, slope: Array,
    shift: Array, dx: Array,
) -> None:  # fmt: skip
    """Write dx[p,i] = scale[p] * dy[p,i] + slope[p] * (x[p,i] - center[p]) + shift[p]."""
    for p in range(begin, end):
        m, a, b, c = center[p], scale[p], slope[p], shift[p]
        for i in range(x.shape[1]):
            values, slopes, target = x[p, i], dy[p, i], dx[p, i]
            for j in range(values.size):
                target[j] = a[j] * slopes[j] + (b[j] * (values[j] - m[j]) + c[j])


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
