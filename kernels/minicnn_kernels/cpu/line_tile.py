"""A tile of a sum over lines: like `tile_product`, for terms that lie in several runs.

    c[i, j] (+)= sum_rk a[r, k, i] * b[r, k, j]        0 <= i < rows, 0 <= j < columns

Term k of run r lies r steps of runs and k steps of terms away from the first, in a and in b.  Rows
and columns of the tile that no result needs are computed, and not stored.  The second half of the
rows may be those of another line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minicnn_kernels.cpu import vector as v
from minicnn_kernels.cpu.vector import LOW_ROWS, ROWS, VECTOR_BYTES

I32, I64 = ir.IntType(32), ir.IntType(64)


def _line_tile(rows: int, vectors: int) -> Callable[..., None]:
    """Make the loops for tiles of so many rows of so many vectors."""

    @intrinsic
    def tile(
        typing: Any, size: Any, a: Any, at_a: Any, a_steps: Any, b: Any, at_b: Any, b_steps: Any,
        c: Any, at_c: Any, c_steps: Any, part: Any, first: Any, at_first: Any, add: Any, relu: Any,
    ) -> Any:  # fmt: skip
        """Compute a tile.

        Args:
            size: (runs, terms of each).
            a_steps: how far apart lie two rows, two terms, two runs, both halves of the rows.
            b_steps: how far apart lie two terms, two runs.
            c_steps: how far apart lie two rows, both halves of the rows.
            part: the rows of the first half to store, of the second half, and the columns.
            first: where a row lies with which every row of the sum begins.
            add: whether to add to c.
            relu: whether to set negative results to 0.
        """
        n, flag = types.intp, types.boolean
        signature = types.void(
            size, a, n, a_steps, b, n, b_steps, c, n, c_steps, part, first, n, flag, flag
        )

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            size_, a_, at_a, a_steps_, b_, at_b, b_steps_ = arguments[:7]
            c_, at_c, c_steps_, part_, first_, at_first, add_, relu_ = arguments[7:]
            number = context.get_value_type(a.dtype)
            vector = ir.VectorType(number, VECTOR_BYTES // v._bytes_of(number))
            here = v._place(context, builder, first, first_, at_first)
            start = [
                v._load(builder, v._moved(builder, here, j * vector.count), vector)
                for j in range(vectors)
            ]
            tile = _sum(
                builder, [start] * rows, cgutils.unpack_tuple(builder, size_),
                v._place(context, builder, a, a_, at_a), cgutils.unpack_tuple(builder, a_steps_),
                v._place(context, builder, b, b_, at_b), cgutils.unpack_tuple(builder, b_steps_),
            )  # fmt: skip
            there = v._place(context, builder, c, c_, at_c)
            steps = cgutils.unpack_tuple(builder, c_steps_)
            part = cgutils.unpack_tuple(builder, part_)
            _store(builder, tile, there, steps, part, add_, here, relu_)
            return context.get_dummy_value()

        return signature, generate

    return tile  # type: ignore[no-any-return]


def _sum(
    builder: Any, start: list[list[Any]], size: Any, a: Any, a_steps: Any, b: Any, b_steps: Any
) -> list[list[Any]]:
    """Emit a loop over runs around one over their terms; return the tile, vectors in rows."""
    runs, terms = size
    row_step, a_step, a_run, a_half = a_steps
    b_step, b_run = b_steps
    vector = start[0][0].type

    vectors, half = len(start[0]), half_of(len(start))
    row_bytes = builder.mul(row_step, I64(v._bytes_of(vector.element)))
    multiples = {
        odd: v._as_it_is(builder, builder.mul(row_bytes, I64(odd))) for odd in range(1, half, 2)
    }

    def term(values: list[Any]) -> list[Any]:
        upper, lower, b, *tile = values
        row_of_b = [
            v._load(builder, v._moved(builder, b, j * vector.count), vector) for j in range(vectors)
        ]
        sums = []
        for i in range(len(start)):
            place, row = (upper, i) if i < half else (lower, i - half)
            value = builder.load(v._row(builder, place, row, multiples))
            for j, part in enumerate(row_of_b):
                flags = ("contract",)  # one instruction, where the processor has it
                product = builder.fmul(v._splat(builder, value, vector), part, flags=flags)
                sums.append(builder.fadd(tile[i * vectors + j], product, flags=flags))
        upper, lower = (
            v._as_it_is(builder, builder.gep(place, [a_step])) for place in (upper, lower)
        )
        return [upper, lower, builder.gep(b, [b_step]), *sums]

    def run(values: list[Any]) -> list[Any]:
        upper, lower, b, *_ = values
        _, _, _, *tile = _repeat(builder, terms, values, term)
        moved = [builder.gep(place, [a_run]) for place in (upper, lower)]
        return [*moved, builder.gep(b, [b_run]), *tile]

    starts = [a, builder.gep(a, [a_half]), b, *(x for row in start for x in row)]
    _, _, _, *tile = _repeat(builder, runs, starts, run)
    return [tile[i : i + vectors] for i in range(0, len(tile), vectors)]


def half_of(rows: int) -> int:
    """Return how many rows the first half of a tile has."""
    return -(-rows // 2)


def _repeat(
    builder: Any, count: Any, values: list[Any], body: Callable[[list[Any]], list[Any]]
) -> list[Any]:
    """Emit a loop, values = body(values) for so many times; return the last ones."""
    before = builder.block
    head, inside, after = (builder.append_basic_block(name) for name in ("head", "body", "end"))
    builder.branch(head)
    builder.position_at_end(head)
    variables = [v._variable(builder, value, before) for value in (count, *values)]
    left = variables[0]
    builder.cbranch(builder.icmp_signed(">", left, left.type(0)), inside, after)
    builder.position_at_end(inside)
    for variable, value in zip(
        variables, [builder.sub(left, left.type(1)), *body(variables[1:])], strict=True
    ):
        variable.add_incoming(value, builder.block)
    builder.branch(head)
    builder.position_at_end(after)
    return variables[1:]


def _store(
    builder: Any, tile: list[list[Any]], start: Any, steps: list[Any], part: list[Any], add: Any,
    readable: Any, relu: Any,
) -> None:  # fmt: skip
    """Emit the stores of some rows and columns of a tile, added to what is there if `add`."""
    half = half_of(len(tile))
    (step, to_lower), (upper, lower, columns) = steps, part
    lanes = tile[0][0].type.count
    numbers = ir.VectorType(I32, lanes)
    masks = []
    for j in range(len(tile[0])):
        wanted = builder.trunc(builder.sub(columns, I64(j * lanes)), I32)
        lane = ir.Constant(numbers, list(range(lanes)))
        masks.append(builder.icmp_signed("<", lane, v._splat(builder, wanted, numbers)))
    lower_start = builder.gep(start, [to_lower])
    before = builder.block
    with builder.if_then(add):
        sums = _with_rows(builder, tile[:half], start, step, upper, masks, readable)
        sums += _with_rows(builder, tile[half:], lower_start, step, lower, masks, readable)
        inside = builder.block
    for values, added in zip(tile, sums, strict=True):
        for j, value in enumerate(added):
            values[j] = v._variable(builder, values[j], before)
            values[j].add_incoming(value, inside)
    _store_rows(builder, tile[:half], start, step, upper, masks, relu)
    _store_rows(builder, tile[half:], lower_start, step, lower, masks, relu)


def _with_rows(
    builder: Any, tile: list[list[Any]], place: Any, step: Any, height: Any, masks: list[Any],
    readable: Any,
) -> list[list[Any]]:  # fmt: skip
    """Return the sums of rows and of those that are there, the first `height` of them."""
    zero = ir.Constant(tile[0][0].type, [0.0] * tile[0][0].type.count)
    sums = []
    for i, row in enumerate(tile):
        source = builder.select(builder.icmp_signed(">", height, I64(i)), place, readable)
        found = [
            _masked_load(builder, v._moved(builder, source, j * zero.type.count), mask, zero)
            for j, mask in enumerate(masks)
        ]
        sums.append([builder.fadd(*pair) for pair in zip(row, found, strict=True)])
        place = builder.gep(place, [step])
    return sums


def _store_rows(
    builder: Any, tile: list[list[Any]], place: Any, step: Any, height: Any, masks: list[Any],
    relu: Any,
) -> None:  # fmt: skip
    vector = tile[0][0].type
    zero = ir.Constant(vector, [0.0] * vector.count)
    end = builder.append_basic_block("stored")
    for i, row in enumerate(tile):
        inside = builder.append_basic_block(f"row{i}")
        builder.cbranch(builder.icmp_signed(">", height, I64(i)), inside, end)
        builder.position_at_end(inside)
        for j, value in enumerate(row):
            here = v._moved(builder, place, j * vector.count)
            negative = builder.fcmp_ordered("<", value, zero)
            cut = builder.and_(negative, v._splat(builder, relu, negative.type))
            _masked_store(builder, builder.select(cut, zero, value), here, masks[j])
        place = builder.gep(place, [step])
    builder.branch(end)
    builder.position_at_end(end)


def _masked(builder: Any, name: str, result: Any, vector: Any, kinds: list[Any]) -> Any:
    suffix = f"v{vector.count}f{8 * v._bytes_of(vector.element)}.p0"
    return cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(result, kinds), f"llvm.masked.{name}.{suffix}"
    )


def _masked_load(builder: Any, place: Any, mask: Any, otherwise: Any) -> Any:
    vector = otherwise.type
    pointer = builder.bitcast(place, vector.as_pointer())
    load = _masked(builder, "load", vector, vector, [pointer.type, I32, mask.type, vector])
    return builder.call(load, [pointer, I32(v._bytes_of(vector.element)), mask, otherwise])


def _masked_store(builder: Any, value: Any, place: Any, mask: Any) -> None:
    vector = value.type
    pointer = builder.bitcast(place, vector.as_pointer())
    store = _masked(builder, "store", ir.VoidType(), vector, [vector, pointer.type, I32, mask.type])
    builder.call(store, [value, pointer, I32(v._bytes_of(vector.element)), mask])


tile_sum = _line_tile(ROWS, 2)
half_tile_sum = _line_tile(ROWS, 1)
low_tile_sum = _line_tile(LOW_ROWS, 2)
low_half_tile_sum = _line_tile(LOW_ROWS, 1)
