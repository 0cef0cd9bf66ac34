"""From an expression to a CUDA kernel over all elements.

The kernel is C++ text, which is compiled when it is first run.  For 1 - x * x it is

    #include "pointwise.cuh"

    using Index = int;

    extern "C" __global__ void __launch_bounds__(256)
    formula(Index size, float c0, const float* __restrict__ x0, float* __restrict__ y) {
        const Index i = 4 * (Index(blockIdx.x) * 256 + threadIdx.x);
        if (i >= size) return;
        const auto loaded0 = load<4>(x0 + i);
        Pack<float, 4> result;
        for (int k = 0; k < 4; k++) {
            const float v0 = loaded0.values[k];
            const float t0 = v0 * v0;
            const float t1 = c0 - t0;
            result.values[k] = t1;
        }
        store(y + i, result);
    }

Numbers are arguments, so that one kernel serves every slope of a leaky ReLU; so are sizes and
strides.  Where an array does not lie in memory like the result, a bias for instance, its place is
computed from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from operator import mul
from typing import Any, NamedTuple

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.cuda import replay
from minicnn_kernels.cuda.launch import launch_text
from minicnn_kernels.cuda.packs import PACK, pack_of
from minicnn_kernels.expression import STEPS, Node, Steps, an_array_of, filled, type_name
from minicnn_kernels.strides import joined_sides, lying_like, memory_order, result_of

THREADS = 256
FAR = 2**30  # places from here on need whole numbers of 64 bits

EXACT = ("-fmad=false",)
"""Round after each step, as on the CPU: memory is slower than arithmetic anyway."""

Shape = tuple[int, ...]


def evaluate(node: Node, shape: Shape) -> Array:
    """Compute an expression of this shape; in memory the result lies like its arrays."""
    program = Program(node)
    if program.arrays:
        y = result_of(program.arrays, shape, node.dtype)
    else:
        y = np.empty(shape, node.dtype, like=an_array_of(node))
    if y.size:
        _kernel_of(program, y).run(y, program.arrays)
    return y


class Plan(NamedTuple):
    """How to compute an expression again, for other arrays of the same shapes and layouts.

    Attributes:
        like: which input the result is laid out like in memory; None: none.
        arrays: which inputs the kernel reads.
    """

    kernel: Kernel
    shape: Shape
    dtype: Any
    like: int | None
    arrays: list[int]

    def run(self, inputs: tuple[Any, ...]) -> Array:
        """Compute the expression for these inputs."""
        arrays = [inputs[i] for i in self.arrays]
        if self.like is None:
            y = np.empty(self.shape, self.dtype, like=arrays[0])
        else:
            y = np.empty_like(inputs[self.like], self.dtype)
        self.kernel.run(y, arrays)
        return y


def plan_of(node: Node, shape: Shape, inputs: tuple[Any, ...]) -> Plan | None:
    """Return the plan of an expression, or None if it reads other arrays than the inputs.

    None also for no values at all.
    """
    program = Program(node)
    arrays = program.arrays
    place_of = {id(value): place for place, value in enumerate(inputs)}
    if not arrays or program.sources or 0 in shape or not all(id(x) in place_of for x in arrays):
        return None
    like = next((place_of[id(x)] for x in arrays if x.shape == shape), None)
    kernel = _kernel_of(program, result_of(arrays, shape, node.dtype))
    return Plan(kernel, shape, node.dtype, like, [place_of[id(x)] for x in arrays])


class Kernel(NamedTuple):
    """A kernel for arrays of certain shapes and layouts.

    Attributes:
        wide: its text if each thread computes several values that lie side by side; None where
            they do not.
        narrow: its text if each thread computes one.
        numbers, extents: its arguments besides arrays.
    """

    wide: str | None
    narrow: str
    numbers: tuple[Any, ...]
    extents: tuple[Any, ...]

    def run(self, y: Array, arrays: list[Array]) -> None:
        """Write to y what the kernel computes of the arrays."""
        width = 1 if self.wide is None else pack_of(PACK, y, *arrays)
        text = self.narrow if self.wide is None or width == 1 else self.wide
        size, *rest = self.extents
        arguments = (size, *self.numbers, *arrays, *rest, y)
        blocks = -(-y.size // (THREADS * width))
        launch_text(text, "formula", (blocks,), (THREADS,), arguments, options=EXACT)


def _kernel_of(program: Program, y: Array) -> Kernel:
    """Write the kernel that computes y, and its arguments."""
    walk = walk_of(y, program.arrays)
    number = np.int64 if walk.is_far else np.int32
    strided = [steps for steps, kind in zip(walk.strides, walk.kinds, strict=True) if kind in ".s"]
    extents = [y.size, *(step for steps in strided for step in steps)]
    extents += walk.sizes[1:] if strided else ()
    return Kernel(
        program.text(walk, PACK) if walk.is_wide else None,
        program.text(walk, 1),
        program.numbers,
        tuple(map(number, extents)),
    )


class Walk(NamedTuple):
    """How the arrays of a program are walked through along a result, in the order of its memory.

    Attributes:
        sizes: of the sides of the result, the outermost first.
        strides: of each array along them, in values.
        kinds: for each array, whether it lies in memory like the result ("+"), is a single value
            ("0"), or has its place computed and moves along the last side ("s") or stands still
            there (".").
        is_wide: whether values that lie side by side in the result do so in the arrays, too.
        is_far: whether places need whole numbers of 64 bits.
    """

    sizes: tuple[int, ...]
    strides: list[tuple[int, ...]]
    kinds: str
    is_wide: bool
    is_far: bool


def walk_of(y: Array, arrays: list[Array]) -> Walk:
    """Find out how to walk through arrays along the result y, whose values lie side by side."""
    sides = joined_sides(y, arrays, memory_order(y))
    sizes = tuple(size for size, _ in sides)
    own = tuple(prod(sizes[axis + 1 :]) for axis in range(len(sizes)))
    strides = [tuple(steps[k] for _, steps in sides) for k in range(len(arrays))]
    kinds = "".join(
        "+" if steps == own else "0" if not any(steps) else "." if not steps[-1] else "s"
        for steps in strides
    )
    is_wide = sizes[-1] % PACK == 0 and all(
        steps[-1] == 0 or (steps[-1] == 1 and all(step % PACK == 0 for step in steps[:-1]))
        for steps in strides
    )
    is_far = any(sum(map(abs, map(mul, steps, sizes))) >= FAR for steps in (own, *strides))
    return Walk(sizes, strides, kinds, is_wide, is_far)


# --- changes in place -----------------------------------------------------------------------------

CHUNK = 2**14  # values of an array that a block changes


def change(members: Sequence[dict[str, Array]], nodes: dict[str, Node]) -> None:
    """Write the value of each expression into the array of its name, for all members in one launch.

    The expressions are of the first member's arrays, and may read them all; for the others those of
    the same name stand in their place.  The arrays of a member are dense and of one shape, and
    those to be changed laid out in memory alike.  Other arrays hold a single value for all members.
    """
    first = members[0]
    targets = [Node("array", first[name].dtype, value=first[name]) for name in nodes]
    program = Program(*targets, *nodes.values())
    names = {id(array): name for name, array in first.items()}
    read = [names.get(id(array)) for array in program.arrays]
    own, shared = [name for name in read if name], [k for k, name in enumerate(read) if not name]
    alike = [[lying_like(member[name], member[own[0]]) for name in own] for member in members]
    if not (blocks := blocks_of(alike)):
        return
    numbers = np.zeros(len(program.numbers), np.int64)
    for place, number in zip(numbers[:, None], program.numbers, strict=True):
        place.view(number.dtype)[0] = number
    text = program.text_of_changes(len(nodes), shared)
    arguments = (
        replay.numbers(numbers, reader=text),
        replay.same_numbers(lambda: table_of(alike)),
        np.int32(len(members)),
        *(program.arrays[k] for k in shared),
    )
    launch_text(text, "change", (blocks,), (THREADS,), arguments, options=EXACT)


def blocks_of(members: Sequence[Sequence[Any]]) -> int:
    """Return how many blocks work on members, arrays of one size each."""
    return sum(-(-arrays[0].size // CHUNK) for arrays in members)


def table_of(members: Sequence[Sequence[Any]]) -> Array:
    """Return a row for each member, and then for each block which member is its own.

    A row is (first block, size, values that can be read at once, addresses of the arrays).
    """
    sizes = np.array([arrays[0].size for arrays in members])
    packs = [pack_of(arrays[0].size, *arrays) for arrays in members]
    addresses = [[array.data.ptr for array in arrays] for arrays in members]
    blocks = -(-sizes // CHUNK)
    rows = np.column_stack([blocks.cumsum() - blocks, sizes, packs, addresses])
    return np.concatenate([rows.ravel(), np.repeat(np.arange(len(members)), blocks)])


# --- the text of a kernel -------------------------------------------------------------------------

FORMULA = """
#include "pointwise.cuh"

using Index = {index};

extern "C" __global__ void __launch_bounds__(256)
formula({parameters}) {{
    const Index i = {width} * (Index(blockIdx.x) * 256 + threadIdx.x);
    if (i >= size) return;
    {places}
    {loads}
    Pack<{type}, {width}> result;
    for (int k = 0; k < {width}; k++) {{
        {values}
        {steps}
        result.values[k] = {result};
    }}
    store(y + i, result);
}}
"""

CHANGE = """
#include "pointwise.cuh"

template <int n>
__device__ void change_part(long long begin, long long end, const long long* numbers, {declared}) {{
    {numbers}
    {single}
    for (long long i = begin + n * threadIdx.x; i < end; i += n * 256) {{
        {loads}
        {results}
        for (int k = 0; k < n; k++) {{
            {values}
            {steps}
            {changes}
        }}
        {stores}
    }}
}}

extern "C" __global__ void __launch_bounds__(256)
change(const long long* numbers, const long long* table, int members{single_values}) {{
    const long long* row = table + table[members * {row} + blockIdx.x] * {row};
    const long long begin = (blockIdx.x - row[0]) * {chunk};
    const long long end = min(row[1], begin + {chunk});
    if (row[2] == {pack})
        change_part<{pack}>(begin, end, numbers, {given});
    else
        change_part<1>(begin, end, numbers, {given});
}}
"""

TYPES = {
    "float32": "float", "float64": "double", "bool": "bool", "int8": "signed char",
    "float16": "f16", "bfloat16": "bf16",
}  # fmt: skip
STORED = ("f16", "bf16")  # in memory only


class Program(Steps):
    """The steps of some expressions as the text of a kernel.

    Attributes:
        numbers: its constants, of the types that the kernel declares, `constant_types`.
        type: of the first result.
    """

    def __init__(self, *nodes: Node) -> None:
        super().__init__(*nodes)
        self.numbers = tuple(dtype.type(value) for value, dtype in self.constants)
        self.constant_types = [_type(dtype) for _, dtype in self.constants]
        self.type = _type(nodes[0].dtype)

    def statement(self, name: str, node: Node, operands: list[str]) -> str:
        """Return the definition of a step's value."""
        kind, given = _type(node.dtype), [_type(argument.dtype) for argument in node.arguments]
        if node.name != "cast":
            step = STEPS[node.name].cuda or STEPS[node.name].python
        elif given[0] in STORED:
            step = "to_float({0})"
        else:
            step = "from_float<{type}>({0})" if kind in STORED else "({type}){0}"
        f = "f" if kind == "float" else ""
        return f"const {kind} {name} = {step.format(*operands, type=kind, f=f)};"

    def text(self, walk: Walk, width: int) -> str:
        """Return the kernel for a result, `width` values of it in each thread."""
        arrays, sides = range(len(self.arrays)), range(len(walk.sizes))
        types = [_type(x.dtype) for x in self.arrays]
        strided = [k for k in arrays if walk.kinds[k] in ".s"]
        moving = [k for k in arrays if walk.kinds[k] in "+s"]
        place = [{"+": "i", "0": "0"}.get(kind, f"p{k}") for k, kind in enumerate(walk.kinds)]
        places = ["Index i0 = i;"] if strided else []
        for side in reversed(sides[1:]) if strided else ():
            places += [f"const Index i{side} = i0 % n{side};", f"i0 /= n{side};"]
        for k in strided:
            terms = " + ".join(f"i{side} * s{k}_{side}" for side in sides)
            places += [f"const Index p{k} = {terms};"]
        parts = {
            "index": "long long" if walk.is_far else "int",
            "width": width,
            "type": self.type,
            "parameters": ", ".join(
                [
                    "Index size",
                    *(f"{kind} c{k}" for k, kind in enumerate(self.constant_types)),
                    *(f"const {types[k]}* __restrict__ x{k}" for k in arrays),
                    *(f"Index s{k}_{side}" for k in strided for side in sides),
                    *(f"Index n{side}" for side in sides[1:] if strided),
                    f"{self.type}* __restrict__ y",
                ]
            ),
            "places": places,
            "loads": [
                f"const auto loaded{k} = load<{width}>(x{k} + {place[k]});"
                if k in moving
                else f"const {types[k]} v{k} = x{k}[{place[k]}];"
                for k in arrays
            ],
            "values": [f"const {types[k]} v{k} = loaded{k}.values[k];" for k in moving],
            "steps": self.statements,
            "result": self.results[0],
        }
        return filled(FORMULA.strip(), parts)

    def text_of_changes(self, changed: int, shared: Sequence[int] = ()) -> str:
        """Return the kernel that changes the first arrays of several members.

        `shared` are the arrays of one value that all members read.
        """
        types = [_type(x.dtype) for x in self.arrays]
        key = (changed, *shared, *types, *self.results, *self.statements, *self.constant_types)
        if key not in _texts:
            _texts[key] = self._text_of_changes(range(changed), shared, types)
        return _texts[key]

    def _text_of_changes(self, written: range, shared: Sequence[int], types: list[str]) -> str:
        arrays = range(len(self.arrays))
        own = [k for k in arrays if k not in shared]
        pointers = [f"{'' if k in written else 'const '}{types[k]}*" for k in arrays]
        place = {k: f"reinterpret_cast<{pointers[k]}>(row[{3 + i}])" for i, k in enumerate(own)}
        results = self.results[len(written) :]
        parts = {
            "single_values": "".join(f", {pointers[k]} x{k}" for k in shared),
            "declared": ", ".join(f"{pointers[k]} x{k}" for k in arrays),
            "numbers": [
                f"const {kind} c{k} = *reinterpret_cast<const {kind}*>(numbers + {k});"
                for k, kind in enumerate(self.constant_types)
            ],
            "single": [f"const {types[k]} v{k} = *x{k};" for k in shared],
            "loads": [f"const auto loaded{k} = load<n>(x{k} + i);" for k in own],
            "results": [f"Pack<{types[k]}, n> result{k};" for k in written],
            "values": [f"const {types[k]} v{k} = loaded{k}.values[k];" for k in own],
            "steps": self.statements,
            "changes": [f"result{k}.values[k] = {results[k]};" for k in written],
            "stores": [f"store(x{k} + i, result{k});" for k in written],
            "row": 3 + len(own),
            "chunk": CHUNK,
            "pack": PACK,
            "given": ", ".join(place.get(k, f"x{k}") for k in arrays),
        }
        return filled(CHANGE.strip(), parts)


_texts: dict[tuple[Any, ...], str] = {}


def _type(dtype: Any) -> str:
    return TYPES[type_name(dtype)]
