"""One run of a model on a hollow input: which module called which operations, and what was kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from minicnn import random
from minicnn.arguments import Call, noting, owner
from minicnn.backprop import enable_grad
from minicnn.differentiable import Node, ticks
from minicnn.errors import ArgumentError, DTypeError, MinicnnError
from minicnn.nn import Module
from minicnn.summaries.costs import multiply_adds, window_bytes
from minicnn.summaries.fields import Field, Fields, Window, window_of
from minicnn.summaries.hollow import HollowCalls, hollow
from minicnn.tensor import Tensor
from minicnn_kernels.arrays import Array, is_floating
from minicnn_kernels.registry import only_numpy

NAMES = {  # what an operation is called by those who call it
    "affine": "linear",
    "conv_bias": "conv",
    "conv_input": "conv_transpose",
    "embed": "embedding",
    "extend": "pad",
    "index": "getitem",
    "joined": "cat",
    "matrix_product": "matmul",
    "normalize_groups": "normalize",
    "normalize_relu": "batch_norm",
    "pad_with": "pad",
    "permute_dims": "permute",
    "pick": "amax",
    "rescale_groups": "batch_norm",
    "take_winners": "max_pool",
    "view_as": "view",
    "weighted_sums": "resample",
    "window_sum": "avg_pool",
}


@dataclass
class Part:
    """A module, or an operation that is called in the forward of one; what was seen of it.

    Attributes:
        path: the dotted name; that of an operation ends in its own name and number.
        module: None for an operation.
        calls: how often it was called.
        shape: of its last result, without the batch; None if there was none.
        sides: the receptive field of a unit of this result, along each side of the input.
        meetings: the jumps of branches that met here although they differ.
        window: what was moved over its first argument.
        made, kept: bytes of the results, and of what is kept until backward.
        columns: bytes of the largest matrix of windows, as im2col makes it.
    """

    path: str
    module: Module | None = None
    kind: str = ""
    children: list[Part] = field(default_factory=list)
    calls: int = 0
    shape: tuple[int, ...] | None = None
    sides: Field | None = None
    meetings: tuple[Any, ...] = ()
    window: Window | None = None
    multiply_adds: int = 0
    made: int = 0
    kept: int = 0
    columns: int = 0

    def walk(self) -> Iterator[Part]:
        """Go over this part and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


class Trace(HollowCalls):
    """The calls of one run, and the tree of who made them."""

    def __init__(self, model: Module, inputs: list[Tensor]) -> None:
        super().__init__()
        self.modules = dict(model.named_modules())
        self.root = Part("", model, type(model).__name__)
        self.parts = {"": self.root}
        self.paths = {id(module): path for path, module in self.modules.items()}
        self.running: list[tuple[Part, list[Part]]] = [(self.root, [])]
        sides = _sides(inputs[0])
        self.image = tuple(inputs[0].shape[dim] for dim in sides)
        self.fields = Fields(inputs[0].array, sides)
        self.makers: dict[int, Part] = {}  # by the tick of the node that the call will get
        state = [*model.parameters(), *model.buffers()]
        self.counted = {id(owner(tensor.array)) for tensor in (*state, *inputs)}
        self.weights = {id(owner(tensor.array)) for tensor in state}

    # --- while the model runs ------------------------------------------------------------

    def enter(self, module: Module, inputs: Any) -> None:
        """Note that a module is called."""
        part = self.part(self.paths[id(module)])
        part.calls += 1
        self.running.append((part, []))

    def leave(self, module: Module, inputs: Any, result: Any) -> None:
        """Note what a module returned."""
        part, _ = self.running.pop()
        first = next(_tensors(result), None)
        if first is not None:
            self.note_result(part, first.array)

    def part(self, path: str) -> Part:
        """Return the part of a module, and make it, and those above it, at its first call."""
        if path not in self.parts:
            module = self.modules[path]
            self.parts[path] = Part(path, module, type(module).__name__)
            self.part(path.rpartition(".")[0]).children.append(self.parts[path])
        return self.parts[path]

    def append(self, call: Call) -> None:
        """Note a call for the module that runs, or, in one with submodules, for itself."""
        super().append(call)
        self.fields.follow(call)
        part = self._of_operation(call)
        self.makers[next(ticks) + 1] = part
        part.multiply_adds += multiply_adds(call)
        part.columns = max(part.columns, window_bytes(call))
        part.window = window_of(call) or part.window
        part.meetings = self.fields.meetings.get(id(call.result), part.meetings)
        memory = owner(call.result)
        if id(memory) not in self.counted:
            self.counted.add(id(memory))
            part.made += memory.nbytes

    def _of_operation(self, call: Call) -> Part:
        part, before = self.running[-1]
        submodules = part.module._modules if part.module is not None else {}
        if not submodules:
            return part
        kind = NAMES.get(call.op.name, call.op.name)
        place = len(before)
        known = [child for child in part.children if child.module is None]
        if place < len(known) and known[place].kind == kind:  # in a further call of the module
            operation = known[place]
        else:
            start = f"{part.path}." if part.path else ""
            taken = {child.path for child in known} | {f"{start}{name}" for name in submodules}
            paths = (f"{start}{kind}{number or ''}" for number in count())
            operation = Part(next(path for path in paths if path not in taken), kind=kind)
            part.children.append(operation)
        before.append(operation)
        operation.calls += 1
        self.note_result(operation, call.result)
        return operation

    def note_result(self, part: Part, array: Array) -> None:
        """Note the shape and the receptive field of a result; weights have no batch."""
        part.sides = self.fields.of(array)
        part.shape = array.shape if part.sides is None else array.shape[1:]

    # --- afterwards ------------------------------------------------------------------------

    def count_kept(self, result: Any) -> None:
        """Count what the graph behind a result keeps, each array once."""
        counted = set(self.weights)
        for node in sorted(_nodes(result), key=lambda node: node.tick):
            for array in _arrays((node.saved, node.settings)):
                memory = owner(array)
                if id(memory) not in counted and node.tick in self.makers:
                    counted.add(id(memory))
                    self.makers[node.tick].kept += memory.nbytes

    def add_uncalled(self) -> None:
        """Make parts of the modules that were not called, if they have parameters."""
        for path, module in self.modules.items():
            above = self.parts.get(path.rpartition(".")[0])
            runs = above is not None and (above is self.root or above.calls or above.children)
            if runs and path not in self.parts and any(True for _ in module.parameters()):
                self.part(path)


def trace(
    model: Module, shapes: list[tuple[int, ...]], dtype: Any = None, training: bool = False
) -> Trace:
    """Run a model on hollow inputs, a batch of one; leave it as it was.

    Raises:
        ArgumentError: the model does not take inputs of these shapes.
    """
    own = next((p.dtype for p in model.parameters() if is_floating(p.dtype)), np.float32)
    try:
        return _run(model, shapes, own if dtype is None else dtype, training)
    except MinicnnError as error:
        if dtype is None and isinstance(error, DTypeError):
            with suppress(MinicnnError):
                return _run(model, shapes, np.int64, training)  # words
        raise ArgumentError(
            f"summary: {type(model).__name__} does not take an input of shape "
            f"{' and '.join(map(str, shapes))}: {error}\n"
            f"(the shape is that of one example, without the batch: channels, height, width)"
        ) from error


def _run(model: Module, shapes: list[tuple[int, ...]], dtype: Any, training: bool) -> Trace:
    inputs = [Tensor(hollow((1, *shape), dtype)) for shape in shapes]
    found = Trace(model, inputs)
    handles = []
    with _unchanged(model), enable_grad(), only_numpy(), noting(found), np.errstate(all="ignore"):
        for module in model.modules():
            module.training = training
        try:
            for module in model.modules():
                handles.append(module.register_forward_pre_hook(found.enter))
                handles.append(module.register_forward_hook(found.leave))
            result = model(*inputs)
        finally:
            for handle in handles:
                handle.remove()
    found.count_kept(result)
    found.add_uncalled()
    return found


@contextmanager
def _unchanged(model: Module) -> Iterator[None]:
    """Put mode, buffers and random numbers back after a run."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.array.copy()) for buffer in model.buffers()]
    numbers = random.default.get_state()
    try:
        yield
    finally:
        random.default.set_state(numbers)
        for module, mode in modes:
            module.training = mode
        for buffer, values in buffers:
            buffer.array[...] = values


def _sides(x: Tensor) -> tuple[int, ...]:
    """Return the dimensions of an input that go along the sides of an image, or along a text."""
    return tuple(range(2 if is_floating(x.dtype) else 1, x.ndim))


def _tensors(result: Any) -> Iterator[Tensor]:
    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, (tuple, list, dict)):
        for part in result.values() if isinstance(result, dict) else result:
            yield from _tensors(part)


def _arrays(value: Any) -> Iterator[Array]:
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, (tuple, list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _arrays(part)


def _nodes(result: Any) -> set[Node]:
    found: set[Node] = set()
    waiting = [tensor.node for tensor in _tensors(result)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Node) and node not in found:
            found.add(node)
            waiting += node.parents  # type: ignore[arg-type]
    return found
