"""What the processor can do at most: multiply-adds in registers, and a stream through memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from minicnn_kernels.arrays import Array
from minicnn_kernels.cpu.jit import jit

CHAINS = 12
"""Sums that do not wait for each other: enough to hide a multiply-add's latency, and with the two
operands few enough for 16 registers."""


def _lanes() -> int:
    """Return how many float32 values a register holds."""
    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    if "+avx512f" in features:
        return 16
    return 8 if "+avx2" in features else 4


LANES = _lanes()
FLOPS = 2 * LANES * CHAINS
"""Operations of one step of `multiply_add`."""


def _multiply_adds() -> Callable[[int, Any], Any]:
    @intrinsic
    def chains(typing: Any, steps: Any, factor: Any) -> Any:
        """Add up CHAINS vectors, sum = sum * factor + factor, `steps` times."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            steps, factor = arguments
            vector = ir.VectorType(ir.FloatType(), LANES)
            entry, body = builder.block, builder.append_basic_block("body")
            end = builder.append_basic_block("end")
            first = builder.insert_element(
                ir.Constant(vector, ir.Undefined), factor, ir.IntType(32)(0)
            )
            order = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
            factors = builder.shuffle_vector(first, first, order)
            builder.branch(body)
            builder.position_at_end(body)
            left = builder.phi(steps.type)
            sums = [builder.phi(vector) for _ in range(CHAINS)]
            flags = ("contract",)  # one instruction, where the processor has it
            longer = [
                builder.fadd(builder.fmul(old, factors, flags=flags), factors, flags=flags)
                for old in sums
            ]
            after = builder.sub(left, left.type(1))
            left.add_incoming(steps, entry)
            left.add_incoming(after, body)
            for number, (old, new) in enumerate(zip(sums, longer, strict=True)):
                old.add_incoming(vector([float(number)] * LANES), entry)
                old.add_incoming(new, body)
            builder.cbranch(builder.icmp_signed(">", after, after.type(0)), body, end)
            builder.position_at_end(end)
            total = reduce(builder.fadd, longer)
            return builder.extract_element(total, ir.IntType(32)(0))

        return types.float32(types.intp, types.float32), generate

    return chains  # type: ignore[no-any-return]


_chains = _multiply_adds()


@jit()
def multiply_add(begin: int, end: int, steps: int, sums: Array) -> None:
    """Let each part make `steps` steps of FLOPS operations; `sums` keeps the compiler honest."""
    for part in range(begin, end):
        sums[part] = _chains(steps, sums[part])


@jit()
def triad(begin: int, end: int, a: Array, b: Array, c: Array, factor: Any) -> None:
    """a = b + factor * c, with arrays larger than the caches."""
    a, b, c = a[begin:end], b[begin:end], c[begin:end]
    for i in range(a.size):
        a[i] = b[i] + factor * c[i]
