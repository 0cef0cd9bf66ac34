"""Small constant matrices times matrices of vectors, written out without a loop.

`between` is for Winograd's transforms, Y = M X M^T.  An element of X and Y is a vector: the values
of as many neighbouring channels as a register holds.  The products with 0 are left out, those with
1 and -1 are additions; a compiler would see neither if M were an array.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from minicnn_kernels.arrays import Array
from minicnn_kernels.cook_toom import CookToom, cook_toom
from minicnn_kernels.cpu.vector import VECTOR_BYTES


def between(choose: Callable[[CookToom], Array]) -> Callable[..., None]:
    """Make function(m, x, at_x, row_x, column_x, y, at_y, row_y, column_y): Y = M X M^T.

    M is chosen from the matrices of F(m, 3), m = 2 or 4.  X[a, b] is the vector that begins at
    x[at_x + a * row_x + b * column_x], and Y likewise.
    """

    @intrinsic
    def product(
        typing: Any, m: Any, x: Any, at_x: Any, row_x: Any, column_x: Any,
        y: Any, at_y: Any, row_y: Any, column_y: Any,
    ) -> Any:  # fmt: skip
        n = types.intp

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            m, x_, at_x, row_x, column_x, y_, at_y, row_y, column_y = arguments
            number = context.get_value_type(x.dtype)
            vector = ir.VectorType(number, VECTOR_BYTES // (x.dtype.bitwidth // 8))
            source, target = (
                builder.gep(context.make_array(kind)(context, builder, array).data, [at])
                for kind, array, at in ((x, x_, at_x), (y, y_, at_y))
            )
            is_2 = builder.icmp_signed("==", m, m.type(2))
            with builder.if_else(is_2) as branches:
                for outputs, branch in zip((2, 4), branches, strict=True):
                    with branch:
                        matrix = choose(cook_toom(outputs, 3)).tolist()
                        width = len(matrix[0])
                        rows = [
                            [_load(builder, place, vector) for place in line]
                            for line in _grid(builder, source, row_x, column_x, width)
                        ]
                        columns = [
                            _times(builder, matrix, each) for each in zip(*rows, strict=True)
                        ]
                        grid = _grid(builder, target, row_y, column_y, len(matrix))
                        for line, row in zip(grid, zip(*columns, strict=True), strict=True):
                            for place, value in zip(
                                line, _times(builder, matrix, row), strict=True
                            ):
                                _store(builder, place, value)
            return context.get_dummy_value()

        return types.void(n, x, n, n, n, y, n, n, n), generate

    return product  # type: ignore[no-any-return]


@intrinsic
def move(typing: Any, x: Any, at_x: Any, y: Any, at_y: Any) -> Any:
    """Copy the vector that begins at x[at_x] to y[at_y]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x_, at_x, y_, at_y = arguments
        number = context.get_value_type(x.dtype)
        vector = ir.VectorType(number, VECTOR_BYTES // (x.dtype.bitwidth // 8))
        source, target = (
            builder.gep(context.make_array(kind)(context, builder, array).data, [at])
            for kind, array, at in ((x, x_, at_x), (y, y_, at_y))
        )
        _store(builder, target, _load(builder, source, vector))
        return context.get_dummy_value()

    return types.void(x, types.intp, y, types.intp), generate


def _times(builder: Any, matrix: list[list[float]], x: Sequence[Any]) -> list[Any]:
    """Emit y[i] = sum_j matrix[i][j] * x[j]."""
    return [_combination(builder, row, x) for row in matrix]


def _combination(builder: Any, factors: list[float], x: Sequence[Any]) -> Any:
    """Emit sum_j factors[j] * x[j]: additions where a factor is 1 or -1, nothing where it is 0."""
    total = None
    for factor, value in zip(factors, x, strict=True):
        if factor == 0:
            continue
        if abs(factor) != 1:
            size = ir.Constant(value.type, [abs(factor)] * value.type.count)
            value = builder.fmul(value, size, flags=("contract",))
        if total is None:
            total = value if factor > 0 else builder.fneg(value)
        else:
            join = builder.fadd if factor > 0 else builder.fsub
            total = join(total, value, flags=("contract",))
    return total


def _grid(builder: Any, start: Any, row: Any, column: Any, count: int) -> list[list[Any]]:
    """Emit the places start + i * row + j * column, in rows."""

    def place(i: int, j: int) -> Any:
        offset = builder.add(builder.mul(row, row.type(i)), builder.mul(column, column.type(j)))
        return builder.gep(start, [offset])

    return [[place(i, j) for j in range(count)] for i in range(count)]


def _load(builder: Any, place: Any, vector: Any) -> Any:
    load = builder.load(builder.bitcast(place, vector.as_pointer()))
    load.align = _alignment(vector)
    return load


def _store(builder: Any, place: Any, value: Any) -> None:
    store = builder.store(value, builder.bitcast(place, value.type.as_pointer()))
    store.align = _alignment(value.type)


def _alignment(vector: Any) -> int:
    """Vectors begin anywhere: they are as aligned as a number is."""
    return 4 if isinstance(vector.element, ir.FloatType) else 8
