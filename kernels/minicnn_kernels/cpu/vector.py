"""The innermost loop of every matrix product: a tile of the result that stays in registers.

A tile has ROWS rows of two vectors.  For each step of the sum the loop loads two vectors of b, and
for each row one value of a, which it multiplies with both:

    c[i, j] (+)= sum_k a[i, k] * b[k, j]        0 <= i < ROWS, 0 <= j < columns

So 2 * ROWS multiply-adds share ROWS + 2 loads.  Numba has no vector types: `tile_product` writes
the loop in LLVM's language, with the tile in variables of the loop ("phi"), which become registers.

All else must be few instructions, or they take the multiply-adds' places.  Values of a are read at
one moving address plus 2^n times an odd multiple of the distance of two rows, which a load of x86
adds by itself: 14 rows need 7 registers and no addition.  Each step also asks the processor for
memory that will be needed later ("ahead"), as it guesses well where one stream is read, but not
where there are 14.

Paper: Goto, van de Geijn 2008, "Anatomy of high-performance matrix multiplication".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

VECTORS = 2
"""Vectors in a row of a tile."""


def _choose_tile() -> tuple[int, int]:
    """Return the bytes of a vector and the rows of a tile, for the processor compiled for.

    The tile, two vectors of b and a value of a fill the vector registers: 32 in AVX-512 and NEON,
    16 in AVX2.  Elsewhere LLVM makes of the vectors what the processor has.
    """
    triple, _, features = cpu_target.target_context.codegen().magic_tuple()
    if "+avx512f" in features:
        return 64, 14
    if "+avx2" in features:
        return 32, 6
    if triple.startswith(("aarch64", "arm64")):
        return 16, 14
    return 16, 4


VECTOR_BYTES, ROWS = _choose_tile()

LOW_ROWS = -(-ROWS // 2) + 1
"""Rows of a tile for the last rows of a block: 64 are four tiles of 14 and a low one of 8."""


def _tile_product(rows: int, vectors: int) -> Callable[..., None]:
    """Make the loop for tiles of so many rows of so many vectors."""

    @intrinsic
    def product(
        typing: Any, depth: Any, a: Any, at_a: Any, row_step: Any, depth_step: Any,
        b: Any, at_b: Any, b_step: Any, c: Any, c_step: Any, accumulate: Any,
        ahead: Any, ahead_step: Any,
    ) -> Any:  # fmt: skip
        """Compute a tile; the steps say how far apart two rows and two terms of the sum lie.

        c is an address: the caller may choose among arrays without a cost.  At step k the address
        ahead + k * ahead_step is fetched into the cache, whatever is there.
        """
        n = types.intp
        signature = types.void(n, a, n, n, n, b, n, n, n, n, types.boolean, n, n)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            depth, a_, at_a, row_step, depth_step, b_, at_b, b_step, c, c_step, add = arguments[:11]
            number = context.get_value_type(a.dtype)
            lanes = VECTOR_BYTES // _bytes_of(number)
            a_start = _place(context, builder, a, a_, at_a), row_step, depth_step
            b_start = _place(context, builder, b, b_, at_b), b_step
            tile = _loop(
                builder, number, (rows, vectors, lanes), depth, a_start, b_start, arguments[11:]
            )
            c_start = builder.inttoptr(c, number.as_pointer())
            with builder.if_else(add) as (sum_up, replace):
                with sum_up:
                    _store(builder, tile, lanes, c_start, c_step, add=True)
                with replace:
                    _store(builder, tile, lanes, c_start, c_step, add=False)
            return context.get_dummy_value()

        return signature, generate

    return product  # type: ignore[no-any-return]


def _loop(
    builder: Any, number: Any, size: tuple[int, int, int], depth: Any, a: Any, b: Any, ahead: Any
) -> list[list[Any]]:
    """Emit the loop over the terms of the sum; return the tile, vectors in rows."""
    (a_start, row_step, depth_step), (b_start, b_step), (ahead_start, ahead_step) = a, b, ahead
    rows, vectors, lanes = size
    vector = ir.VectorType(number, lanes)
    row_bytes = builder.mul(row_step, row_step.type(_bytes_of(number)))
    multiples = {
        odd: _as_it_is(builder, builder.mul(row_bytes, row_bytes.type(odd)))
        for odd in range(1, rows, 2)
    }
    entry = builder.block
    head, body, end = (builder.append_basic_block(name) for name in ("head", "body", "end"))
    builder.branch(head)

    builder.position_at_end(head)
    left = _variable(builder, depth, entry)
    a_place = _variable(builder, a_start, entry)
    b_place = _variable(builder, b_start, entry)
    later = _variable(builder, ahead_start, entry)
    zero = vector([0.0] * lanes)
    tile = [[_variable(builder, zero, entry) for _ in range(vectors)] for _ in range(rows)]
    builder.cbranch(builder.icmp_signed(">", left, left.type(0)), body, end)

    builder.position_at_end(body)
    row_of_b = [_load(builder, _moved(builder, b_place, j * lanes), vector) for j in range(vectors)]
    _fetch(builder, later)
    for i, row in enumerate(tile):
        value = _splat(builder, builder.load(_row(builder, a_place, i, multiples)), vector)
        for old, part in zip(row, row_of_b, strict=True):
            flags = ("contract",)  # one instruction, where the processor has it
            new = builder.fadd(old, builder.fmul(value, part, flags=flags), flags=flags)
            old.add_incoming(new, body)
    left.add_incoming(builder.sub(left, left.type(1)), body)
    a_place.add_incoming(_as_it_is(builder, builder.gep(a_place, [depth_step])), body)
    b_place.add_incoming(builder.gep(b_place, [b_step]), body)
    later.add_incoming(builder.add(later, ahead_step), body)
    builder.branch(head)

    builder.position_at_end(end)
    return tile


def _row(builder: Any, place: Any, i: int, multiples: dict[int, Any]) -> Any:
    """Return the place of row i: odd * row_bytes further in units of 1, 2, 4, ... bytes."""
    if i == 0:
        return place
    unit = i & -i
    units = builder.bitcast(place, ir.IntType(8 * unit).as_pointer())
    return builder.bitcast(builder.gep(units, [multiples[i // unit]]), place.type)


def _as_it_is(builder: Any, value: Any) -> Any:
    """Return the value, and let LLVM not see how it was computed, lest it "simplifies" addresses.

    It would turn them back into a chain of additions, one for each row.
    """
    return builder.asm(ir.FunctionType(value.type, [value.type]), "", "=r,0", [value], False)


def _fetch(builder: Any, place: Any) -> None:
    """Emit the request to bring a line of memory to the second-level cache, for reading."""
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    read, near, data = number(0), number(2), number(1)
    builder.call(prefetch, [builder.inttoptr(place, byte), read, near, data])


def _variable(builder: Any, start: Any, entry: Any) -> Any:
    """Declare a variable of the loop that has the value `start` on entry."""
    variable = builder.phi(start.type)
    variable.add_incoming(start, entry)
    return variable


def _store(
    builder: Any, tile: list[list[Any]], lanes: int, start: Any, step: Any, *, add: bool
) -> None:
    """Emit the stores of a tile, or its addition to what is there."""
    place = start
    for row in tile:
        for j, value in enumerate(row):
            here = _moved(builder, place, j * lanes)
            if add:
                value = builder.fadd(value, _load(builder, here, value.type))
            _store_vector(builder, value, here)
        place = builder.gep(place, [step])


def _moved(builder: Any, place: Any, count: int) -> Any:
    return builder.gep(place, [ir.Constant(ir.IntType(64), count)])


def _load(builder: Any, place: Any, vector: Any) -> Any:
    load = builder.load(builder.bitcast(place, vector.as_pointer()))
    load.align = _bytes_of(vector.element)
    return load


def _store_vector(builder: Any, value: Any, place: Any) -> None:
    store = builder.store(value, builder.bitcast(place, value.type.as_pointer()))
    store.align = _bytes_of(value.type.element)


def _bytes_of(number: Any) -> int:
    if isinstance(number, ir.IntType):
        return int(number.width) // 8
    return 4 if isinstance(number, ir.FloatType) else 8


def _splat(builder: Any, value: Any, vector: Any) -> Any:
    """Return a vector with the value in every lane."""
    undefined = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, undefined, _lanes([0] * vector.count))


@intrinsic
def address(typing: Any, array: Any, at: Any) -> Any:
    """Return the address of the value `at` of a flat array."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ptrtoint(
            _place(context, builder, array, *arguments), context.get_value_type(types.intp)
        )

    return types.intp(array, types.intp), generate


tile_product = _tile_product(ROWS, VECTORS)
half_tile_product = _tile_product(ROWS, VECTORS // 2)
low_tile_product = _tile_product(LOW_ROWS, VECTORS)


@intrinsic
def copy(
    typing: Any, source: Any, at_source: Any, target: Any, at_target: Any, count: Any
) -> Any:  # fmt: skip
    """target[at_target + i] = source[at_source + i] for 0 <= i < count; no slices to pay for."""
    n = types.intp
    signature = types.void(source, n, target, n, n)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source_, at_source, target_, at_target, count = arguments
        here = _place(context, builder, source, source_, at_source)
        there = _place(context, builder, target, target_, at_target)
        size = _bytes_of(context.get_value_type(source.dtype))
        cgutils.raw_memcpy(builder, there, here, count, size)
        return context.get_dummy_value()

    return signature, generate


def _copy_of(vectors: int) -> Callable[..., None]:
    @intrinsic
    def copy(typing: Any, source: Any, at_source: Any, target: Any, at_target: Any) -> Any:
        """Copy as many values as so many vectors have."""
        signature = types.void(source, types.intp, target, types.intp)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            source_, at_source, target_, at_target = arguments
            here = _place(context, builder, source, source_, at_source)
            there = _place(context, builder, target, target_, at_target)
            number = context.get_value_type(source.dtype)
            vector = ir.VectorType(number, VECTOR_BYTES // _bytes_of(number))
            row = [
                _load(builder, _moved(builder, here, j * vector.count), vector)
                for j in range(vectors)
            ]
            for j, value in enumerate(row):
                _store_vector(builder, value, _moved(builder, there, j * vector.count))
            return context.get_dummy_value()

        return signature, generate

    return copy  # type: ignore[no-any-return]


copy_vector = _copy_of(1)
copy_row = _copy_of(VECTORS)


@intrinsic
def clear(typing: Any, target: Any, at: Any, count: Any) -> Any:
    """target[at + i] = 0 for 0 <= i < count."""
    signature = types.void(target, types.intp, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target_, at, count = arguments
        there = _place(context, builder, target, target_, at)
        size = _bytes_of(context.get_value_type(target.dtype))
        cgutils.memset(builder, there, builder.mul(count, count.type(size)), 0)
        return context.get_dummy_value()

    return signature, generate


def _place(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    """Return the address of the value `at` of an array."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [at])


@intrinsic
def transpose_square(
    typing: Any, source: Any, at_source: Any, source_step: Any,
    target: Any, at_target: Any, target_step: Any,
) -> Any:  # fmt: skip
    """target[j, i] = source[i, j] for as many rows and columns as a vector has lanes.

    In step h = 1, 2, 4, ... rows i and i + h exchange the values whose columns differ from the row
    in the bit h.
    """
    n = types.intp
    signature = types.void(source, n, n, target, n, n)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source_, at_source, source_step, target_, at_target, target_step = arguments
        here = _place(context, builder, source, source_, at_source)
        there = _place(context, builder, target, target_, at_target)
        number = context.get_value_type(source.dtype)
        lanes = VECTOR_BYTES // _bytes_of(number)
        vector = ir.VectorType(number, lanes)
        rows = []
        for _ in range(lanes):
            rows.append(_load(builder, here, vector))
            here = builder.gep(here, [source_step])
        h = 1
        while h < lanes:
            upper = _lanes([j if not j & h else lanes + j - h for j in range(lanes)])
            lower = _lanes([j + h if not j & h else lanes + j for j in range(lanes)])
            for i in (i for i in range(lanes) if not i & h):
                a, b = rows[i], rows[i + h]
                rows[i] = builder.shuffle_vector(a, b, upper)
                rows[i + h] = builder.shuffle_vector(a, b, lower)
            h *= 2
        for row in rows:
            _store_vector(builder, row, there)
            there = builder.gep(there, [target_step])
        return context.get_dummy_value()

    return signature, generate


def _lanes(numbers: list[int]) -> Any:
    return ir.Constant(ir.VectorType(ir.IntType(32), len(numbers)), numbers)
