"""Vectors as values in compiled code: many neighbours of an array at once.

The compiler makes vectors of simple loops by itself.  These are for loops that it does not see
through, in which a block of sums must stay in registers while an inner loop adds to it.

Arrays are flat and contiguous, and places count values.  The number of lanes is written in the
code; LLVM takes as many registers for a vector as the processor at hand needs.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, models, register_model


class Vector(types.Type):
    """`lanes` values of a floating-point type, side by side in registers."""

    def __init__(self, dtype: Any, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes
        super().__init__(name=f"Vector({dtype}, {lanes})")

    @property
    def bytes(self) -> int:
        """The bytes of one value."""
        return int(self.dtype.bitwidth) // 8

    @property
    def llvm(self) -> Any:
        """The type in LLVM's language: <64 x float>."""
        return ir.VectorType({4: ir.FloatType, 8: ir.DoubleType}[self.bytes](), self.lanes)


@register_model(Vector)
class _Model(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, vector.llvm)


@intrinsic(prefer_literal=True)
def zeros(typing: Any, array: Any, lanes: Any) -> Any:
    """Return zeros of the type of an array."""
    vector = Vector(array.dtype, lanes.literal_value)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(vector.llvm, None)

    return vector(array, lanes), generate


@intrinsic(prefer_literal=True)
def load(typing: Any, array: Any, place: Any, lanes: Any) -> Any:
    """Return array[place], array[place + 1], ..."""
    vector = Vector(array.dtype, lanes.literal_value)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values = builder.load(_pointer(context, builder, array, arguments, vector))
        values.align = vector.bytes
        return values

    return vector(array, types.intp, lanes), generate


@intrinsic(prefer_literal=True)
def repeat(typing: Any, array: Any, place: Any, lanes: Any) -> Any:
    """Return array[place] in all lanes."""
    vector = Vector(array.dtype, lanes.literal_value)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        one = Vector(array.dtype, 1)
        value = builder.load(_pointer(context, builder, array, arguments, one))
        value.align = vector.bytes
        zero_lanes = ir.Constant(ir.VectorType(ir.IntType(32), vector.lanes), None)
        return builder.shuffle_vector(value, value, zero_lanes)

    return vector(array, types.intp, lanes), generate


@intrinsic
def store(typing: Any, array: Any, place: Any, vector: Any) -> Any:
    """Write the lanes to array[place], array[place + 1], ..."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, array, arguments, vector)
        builder.store(arguments[2], pointer).align = vector.bytes
        return context.get_dummy_value()

    return types.none(array, types.intp, vector), generate


@intrinsic
def add(typing: Any, a: Any, b: Any) -> Any:
    """Return a + b, lane by lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fadd(*arguments)

    return a(a, b), generate


@intrinsic
def multiply_add(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a * b + c, lane by lane; rounded once, where the processor can."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, y, z = arguments
        product = builder.fmul(x, y, flags=("contract",))
        return builder.fadd(product, z, flags=("contract",))

    return c(a, b, c), generate


def _pointer(context: Any, builder: Any, array: Any, arguments: Any, vector: Vector) -> Any:
    data = context.make_array(array)(context, builder, arguments[0]).data
    return builder.bitcast(builder.gep(data, [arguments[1]]), vector.llvm.as_pointer())
