"""From an expression to a compiled loop over all elements.

The loop is Python text, which anyone can read in the folder of compiled code.  For 1 - x * x it is

    def loop(begin, end, numbers, y, x0):
        c0 = float32(numbers[0])
        y = y[begin:end]
        x0 = x0[begin:end]
        for i in range(y.size):
            v0 = x0[i]
            t0 = v0 * v0
            t1 = c0 - t0
            y[i] = t1

Numbers are arguments, so that one loop serves every slope of a leaky ReLU.  Where an array does not
lie in memory like the result, a bias for instance, the loop goes row by row.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from minicnn_kernels.arrays import Array
from minicnn_kernels.cpu import mathematics
from minicnn_kernels.cpu.jit import cache_folder, jit
from minicnn_kernels.expression import STEPS, Node, Steps, filled, type_name
from minicnn_kernels.strides import joined_sides, memory_order, result_of, strides_like
from minicnn_kernels.threads import parallel

GRAIN = 2**14  # values that are worth a thread
SHORT = 16  # rows of fewer values cost more than a copy

Shape = tuple[int, ...]


def evaluate(node: Node, shape: Shape) -> Array:
    """Compute an expression of this shape; in memory the result lies like its arrays."""
    program = Program(node)
    y = result_of(program.arrays, shape, node.dtype)
    if y.size:
        rows = rows_of(y, program.arrays)
        _run(program.loop(*_loop_of(rows)), rows, y, program.numbers, program.arrays)
    return y


def _loop_of(rows: Rows | None) -> tuple[str, str]:
    return (OVER_VALUES, "") if rows is None else (OVER_ROWS, rows.walks)


def _run(
    loop: Callable[..., None], rows: Rows | None, y: Array, numbers: Array, arrays: list[Array]
) -> None:
    """Write to y what the loop computes of the arrays."""
    flat = [_flat(x) for x in arrays]
    if rows is None:
        parallel(loop, y.size, numbers, _flat(y), *flat, grain=GRAIN)
        return
    operands = [part for pair in zip(flat, rows.starts, strict=True) for part in pair]
    grain = max(1, GRAIN // rows.columns)
    parallel(loop, rows.n_rows, numbers, _flat(y), rows.columns, *operands, grain=grain)


class Plan(NamedTuple):
    """How to compute an expression again, for other arrays of the same shapes and layouts.

    Attributes:
        like: which input the result is laid out like in memory; None: none.
        arrays: which inputs the loop reads.
        sources: which of the numbers are inputs, and which inputs.
    """

    loop: Callable[..., None]
    rows: Rows | None
    shape: Shape
    dtype: Any
    like: int | None
    arrays: list[int]
    numbers: Array
    sources: list[tuple[int, int]]

    def run(self, inputs: tuple[Any, ...]) -> Array:
        """Compute the expression for these inputs."""
        if self.like is None:
            y = np.empty(self.shape, self.dtype)
        else:
            y = np.empty_like(inputs[self.like], self.dtype)
        numbers = self.numbers
        if self.sources:
            numbers = numbers.copy()
            for number, place in self.sources:
                numbers[number] = inputs[place].item()
        _run(self.loop, self.rows, y, numbers, [inputs[i] for i in self.arrays])
        return y


def plan_of(node: Node, shape: Shape, inputs: tuple[Any, ...]) -> Plan | None:
    """Return the plan of an expression, or None if it reads other arrays than the inputs.

    None also where an array cannot be walked as it lies in memory, and for no values at all.
    """
    program = Program(node)
    place_of = {id(value): place for place, value in enumerate(inputs)}
    read = [*program.arrays, *(source for _, source in program.sources)]
    if not all(id(array) in place_of for array in read) or 0 in shape:
        return None
    arrays = list(program.arrays)
    rows = rows_of(result_of(arrays, shape, node.dtype), arrays)
    if any(a is not b for a, b in zip(arrays, program.arrays, strict=True)):
        return None
    like = next((place_of[id(x)] for x in arrays if x.shape == shape), None)
    return Plan(
        program.loop(*_loop_of(rows)), rows, shape, node.dtype, like,
        [place_of[id(x)] for x in arrays],
        program.numbers, [(number, place_of[id(x)]) for number, x in program.sources],
    )  # fmt: skip


def change(members: Sequence[dict[str, Array]], nodes: dict[str, Node]) -> None:
    """Write the value of each expression into the array of its name, in one pass for each member.

    The expressions are of the first member's arrays, and may read them all; for the others those of
    the same name stand in their place.  The arrays of a member are dense and of one shape, and
    those to be changed laid out in memory alike.
    """
    first = members[0]
    targets = [Node("array", first[name].dtype, value=first[name]) for name in nodes]
    program = Program(*targets, *nodes.values())
    loop = program.loop(IN_PLACE, changed=len(nodes))
    names = {id(array): name for name, array in first.items()}
    read = [names[id(array)] for array in program.arrays]
    for member in members:
        like = member[read[0]]
        if like.size:
            arrays = (member[name] for name in read)
            flat = [_flat(x if x.strides == like.strides else _laid_like(like, x)) for x in arrays]
            parallel(loop, like.size, program.numbers, *flat, grain=GRAIN)


# --- the text of a loop ---------------------------------------------------------------------------

OVER_VALUES = """
def loop(begin, end, numbers, y, {arrays}):
    {numbers}
    y = y[begin:end]
    {slices}
    for i in range(y.size):
        {values}
        {steps}
        y[i] = {result}
"""

IN_PLACE = """
def loop(begin, end, numbers, {arrays}):
    {numbers}
    {slices}
    for i in range(x0.size):
        {values}
        {steps}
        {changes}
"""

OVER_ROWS = """
def loop(begin, end, numbers, y, columns, {arrays_and_starts}):
    {numbers}
    for r in range(begin, end):
        row = y[r * columns : (r + 1) * columns]
        {rows}
        for i in range(row.size):
            {values_of_rows}
            {steps}
            row[i] = {result}
"""


class Program(Steps):
    """The steps of some expressions as the text of a loop in Python, and the loop compiled."""

    def __init__(self, *nodes: Node) -> None:
        super().__init__(*nodes)
        self.numbers = np.array([value for value, _ in self.constants], np.float64)

    def statement(self, name: str, node: Node, operands: list[str]) -> str:
        """Return the assignment of a step to a variable."""
        step = "{type}({0})" if node.name == "cast" else STEPS[node.name].python
        return f"{name} = {step.format(*operands, type=type_name(node.dtype))}"

    def loop(self, template: str, walks: str = "", changed: int = 0) -> Callable[..., None]:
        """Return the compiled loop that a template describes, see `text`."""
        types = [dtype for _, dtype in self.constants]
        key = (
            template, walks, changed, *self.results, len(self.arrays), *types, *self.statements
        )  # fmt: skip
        if key not in _loops:
            _loops[key] = compiled(self.text(template, walks, changed))
        return _loops[key]

    def text(self, template: str, walks: str = "", changed: int = 0) -> str:
        """Return the loop that a template describes; the first arrays are `changed` in place.

        `walks` says for each array whether its values lie along a row ("+"), or one of them serves
        the whole row ("0").  starts0[r] is where row r of array 0 begins.
        """
        arrays = range(len(self.arrays))
        moving = [k for k in arrays if walks[k : k + 1] == "+"]
        rows = [f"r{k} = x{k}[starts{k}[r] : starts{k}[r] + columns]" for k in moving]
        rows += [f"v{k} = x{k}[starts{k}[r]]" for k in arrays if k not in moving]
        parts = {
            "arrays": ", ".join(f"x{k}" for k in arrays),
            "arrays_and_starts": ", ".join(f"x{k}, starts{k}" for k in arrays),
            "numbers": [
                f"c{k} = {type_name(dtype)}(numbers[{k}])"
                for k, (_, dtype) in enumerate(self.constants)
            ],
            "slices": [f"x{k} = x{k}[begin:end]" for k in arrays],
            "rows": rows,
            "values": [f"v{k} = x{k}[i]" for k in arrays],
            "values_of_rows": [f"v{k} = r{k}[i]" for k in moving],
            "steps": self.statements,
            "result": self.results[0],
            "changes": [f"x{k}[i] = {self.results[changed + k]}" for k in range(changed)],
        }
        return filled(template, parts)


NAMES = ("ceil", "copysign", "float32", "float64", "floor", "inf", "int8", "rint", "sqrt", "trunc")

_loops: dict[tuple[Any, ...], Callable[..., None]] = {}


def compiled(text: str) -> Callable[..., None]:
    """Return the loop of a text, compiled at its first call with arrays of each type."""
    path = _kept(text)
    names = {name: getattr(np, name) for name in NAMES} | vars(mathematics)
    exec(compile(text, path or "<loop>", "exec"), names)  # our own text, see Program.text
    loop: Callable[..., None] = names["loop"]
    return jit(keep=path is not None)(loop)


def _kept(text: str) -> str | None:
    """Write a text to the folder of compiled code, where Numba wants to find it."""
    if (folder := cache_folder()) is None:
        return None
    path = Path(folder, "loops", f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.py")
    if not path.exists():
        path.parent.mkdir(exist_ok=True, mode=0o700)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(text)
        try:
            os.link(draft, path)  # unlike a renaming, leaves the file of another process alone
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return str(path)


# --- how arrays lie in memory ---------------------------------------------------------------------


class Rows(NamedTuple):
    """A result cut into rows along which every operand moves evenly or stands still.

    Attributes:
        n_rows, columns: of the rows; together all values of the result, in the order of memory.
        walks: how each operand goes through a row, see `Program.text`.
        starts: where in the memory of each operand the rows begin.
    """

    n_rows: int
    columns: int
    walks: str
    starts: list[Array]


def rows_of(y: Array, arrays: list[Array]) -> Rows | None:
    """Cut the result into rows; None where all arrays lie in memory just like it.

    `arrays` are replaced by copies where they cannot be walked.
    """
    if all(x.flags.c_contiguous and x.shape == y.shape for x in (y, *arrays)):
        return None
    order = memory_order(y)
    last = next((axis for axis in reversed(order) if y.shape[axis] > 1), None)
    for k, x in enumerate(arrays):
        arrays[k] = x if _is_forward(x) else x.copy(order="K")
        if last is not None and strides_like(arrays[k], y)[last] > 1:
            arrays[k] = _laid_like(y, x)
    sides = joined_sides(y, arrays, order)
    if len(sides) > 1 and sides[-1][0] < SHORT:
        arrays[:] = [_laid_like(y, x) for x in arrays]
        sides = joined_sides(y, arrays, order)
    (columns, steps), outer = sides[-1], sides[:-1]
    if not outer and all(step == 1 for step in steps):
        return None
    starts = [np.zeros((), np.int64) for _ in arrays]
    for size, strides in outer:
        places = np.arange(size)
        starts = [s[..., None] + places * step for s, step in zip(starts, strides, strict=True)]
    walks = "".join("0+"[step] for step in steps)
    return Rows(y.size // columns, columns, walks, [s.ravel() for s in starts])


def _is_forward(x: Array) -> bool:
    """Say whether every axis goes forward in memory, by whole values; there may be gaps."""
    return all(stride >= 0 and stride % x.itemsize == 0 for stride in x.strides)


def _flat(x: Array) -> Array:
    """See the memory from the first value to the last; for a dense array, that is all values."""
    if x.flags.c_contiguous:
        return x.reshape(-1)
    in_order = x.transpose(memory_order(x))
    if in_order.flags.c_contiguous:
        return in_order.reshape(-1)
    length = 1 + sum((n - 1) * s for n, s in zip(x.shape, x.strides, strict=True)) // x.itemsize
    return as_strided(x, (length,), (x.itemsize,), writeable=x.flags.writeable)


def _laid_like(y: Array, x: Array) -> Array:
    """Return a copy of x, repeated to the shape of y, that lies in memory like y."""
    copy = np.empty_like(y, x.dtype)
    np.copyto(copy, x)
    return copy
