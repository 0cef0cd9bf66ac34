"""A trained model made ready for inference: the operations of one run, and constant weights.

What a model's `forward` does to tensors of given shapes is always the same sequence of operations.
So it is recorded in one run and from then on repeated on arrays, without modules, checks and
tensors in between.  In the sequence one sees who uses a result, and joins what belongs together:

    y = relu(conv(x, w) + b + shortcut)

is one step, as far as the network has it.  And as the weights cannot change any more, kernels keep
their filters in the order in which they read them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

import minicnn_kernels as kernels
from minicnn import arguments
from minicnn.arguments import Call, Calls, noting
from minicnn.backprop import is_grad_enabled, no_grad
from minicnn.errors import ArgumentError, GradientError
from minicnn.nn.module import Module
from minicnn.nn.utils.fusion import alike, fuse_all_bn_eval, mapped
from minicnn.ops.activation import relu
from minicnn.ops.arithmetic import add
from minicnn.ops.convolution import Names, conv, conv_bias
from minicnn.ops.pooling import take_winners
from minicnn.tensor import Tensor
from minicnn_kernels.arrays import Array
from minicnn_kernels.constants import constant

Constants = dict[int, tuple[Array, Array]]
"""By the id of an array: the array, lest another one gets that id, and the constant made of it."""

MOST_PROGRAMS = 16
"""How many shapes of input a frozen model remembers; then it begins anew."""


def freeze(model: Module, *inputs: Any) -> Frozen:
    """Return a copy of a model that is faster, for inference alone: it cannot be changed.

    It is in evaluation, its batch norms are built into the layers before them, and its weights are
    kept in the order in which the kernels read them.  It has no parameters, and no gradient flows
    through it.  The first call with inputs of new shapes runs the model, notes the operations, and
    compares what they make of other values with what the model makes of them; later calls repeat
    the operations.  So `forward` may not decide by values, draw random numbers, or compute with
    arrays.

    >>> import minicnn
    >>> from minicnn import nn
    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
    >>> frozen = freeze(model, minicnn.rand(1, 1, 4, 4))
    >>> frozen(minicnn.rand(5, 1, 4, 4)).shape
    (5, 2, 2, 2)

    Args:
        inputs: of the shapes that the model will mostly get.

    Raises:
        ArgumentError: repeating the operations gives something else than the model.
    """
    frozen = Frozen(fuse_all_bn_eval(model, *inputs))
    frozen(*inputs)
    return frozen


class Frozen(Module):
    """A model that repeats the operations it was seen to do; made by `freeze`."""

    def __init__(self, model: Module) -> None:
        super().__init__()
        vars(self)["_model"] = model.requires_grad_(False)  # no submodule: nothing can be trained
        self._programs: dict[Any, Program] = {}
        self._constants: Constants = {}
        super().train(False)

    def forward(self, *inputs: Any) -> Any:
        """Repeat the operations on other values.

        Raises:
            ArgumentError: an input is no tensor; see also `freeze`.
            GradientError: an input requires a gradient.
        """
        if not all(isinstance(x, Tensor) for x in inputs):
            raise ArgumentError("a frozen model takes tensors by position, nothing else")
        if is_grad_enabled() and any(x.requires_grad for x in inputs):
            raise GradientError("no gradient flows through a frozen model; use .detach()")
        key = tuple((x.shape, x.dtype) for x in inputs)
        if key not in self._programs:
            if len(self._programs) >= MOST_PROGRAMS:
                self._programs.clear()
                self._constants.clear()
            self._programs[key] = self._recorded(inputs)
        return self._programs[key](*inputs)

    def _recorded(self, inputs: tuple[Tensor, ...]) -> Program:
        """Note what the model does to such inputs, and see whether that is all it does."""
        with no_grad(), noting(Calls()) as noted:
            result = self._model(*inputs)
        program = Program(noted, [x.array for x in inputs], result, self._constants)
        others = [Tensor(np.flip(x.array)) for x in inputs]
        with no_grad():
            same = alike(program(*others), self._model(*others))
        if not same:
            raise ArgumentError(
                "freeze: repeating the operations of this model on other values gives something "
                "else than the model; does its forward decide by values, draw random numbers, or "
                "compute with arrays?"
            )
        return program

    def train(self, mode: bool = True) -> Frozen:
        """Stay in evaluation.

        Raises:
            ArgumentError: training is asked for.
        """
        if mode:
            raise ArgumentError(
                "a frozen model cannot be trained; train the model it was made from, then freeze "
                "that again"
            )
        return self

    def load_state_dict(self, state_dict: Any, strict: bool = True) -> Any:
        """Refuse.

        Raises:
            ArgumentError: always; the weights are constants.
        """
        raise ArgumentError(
            "a frozen model keeps its weights; load others into the model it was made from, then "
            "freeze that again"
        )

    def to(self, *targets: Any, dtype: Any = None, device: str | None = None) -> Frozen:
        """Refuse.

        Raises:
            ArgumentError: always; the weights are constants.
        """
        raise ArgumentError(
            "a frozen model keeps its type and device; convert the model it was made from, then "
            "freeze that again"
        )

    def __reduce__(self) -> Any:
        return Frozen, (self._model,)

    def extra_repr(self) -> str:
        """Show the model."""
        return f"\n{self._model!r}"


# --- the operations of one run --------------------------------------------------------------------


@dataclass
class Step:
    """A value that is computed from others: compute(*arguments, **settings).

    Attributes:
        op: the operation it was at first.
        places: by position, the numbers of the arguments that are no constants.
        value: the number of the result.
        last: the numbers of the values that are needed no longer.
    """

    op: Any
    compute: Callable[..., Array]
    arguments: list[Any]
    settings: dict[str, Any]
    places: dict[int, int]
    value: int
    last: list[int] = field(default_factory=list)


class Program:
    """The operations between some inputs and a result, repeated on other values of their shapes."""

    def __init__(
        self, calls: list[Call], inputs: list[Array], result: Any, constants: Constants
    ) -> None:
        numbers = {id(x): number for number, x in enumerate(inputs)}
        steps = []
        for call in calls:
            places = {i: numbers[id(x)] for i, x in enumerate(call.arrays) if id(x) in numbers}
            if places and id(call.result) not in numbers:
                value = numbers[id(call.result)] = len(numbers)
                steps.append(_step(call, places, value, constants))
        self.count = len(numbers)
        self.result = mapped(result, lambda tensor: numbers.get(id(tensor.array), tensor))
        results: list[Any] = []
        mapped(self.result, results.append)
        self.steps = _joined(steps, results)
        for step in self.steps:
            for position in step.places:
                step.arguments[position] = None  # the values of this run may go
        needed = set(results)
        for step in reversed(self.steps):
            step.last = [number for number in {*step.places.values()} if number not in needed]
            needed.update(step.last)

    @np.errstate(all="ignore")
    def __call__(self, *inputs: Tensor) -> Any:
        """Compute the result for other inputs."""
        values: list[Any] = [None] * self.count
        values[: len(inputs)] = [x.array for x in inputs]
        for step in self.steps:
            arrays = list(step.arguments)
            for position, number in step.places.items():
                arrays[position] = values[number]
            values[step.value] = step.compute(*arrays, **step.settings)
            del arrays
            for number in step.last:
                values[number] = None
        return mapped(self.result, lambda r: r if isinstance(r, Tensor) else Tensor(values[r]))


def _step(call: Call, places: dict[int, int], value: int, constants: Constants) -> Step:
    """Return how a call is repeated."""
    op, arrays, settings = call.op, call.arrays, call.settings
    if op in (conv, conv_bias) and [*places] == [0]:
        x, w, *b = arrays
        if id(w) not in constants:
            constants[id(w)] = w, constant(w)
        w = constants[id(w)][1]
        shift = b[0] if b else np.zeros(len(w), w.dtype)
        return Step(op, _convolved, [x, w, shift, None], settings, places, value)
    if op is take_winners and settings["best"] is not None:
        windows = {"windows": settings["windows"]}
        return Step(op, _maxima, [arrays[0]], windows, places, value)
    return Step(op, partial(_computed, op), arrays, settings, places, value)


def _convolved(
    x: Array, w: Array, b: Array, shortcut: Array | None, names: Names = None, **settings: Any
) -> Array:
    algorithm = (names or {}).get("conv")
    return kernels.conv_bias(x, w, b, add=shortcut, algorithm=algorithm, **settings)


def _maxima(x: Array, windows: Any) -> Array:
    maxima: Array = kernels.max_winners(x, windows=windows)[0]
    return maxima


def _computed(op: Any, *arrays: Any, **settings: Any) -> Array:
    y: Array = arguments.compute(op, list(arrays), settings)
    return y


def _joined(steps: list[Step], results: list[Any]) -> list[Step]:
    """Let convolutions add a shortcut and rectify, where nothing else uses what they compute."""
    uses = Counter(results)
    for step in steps:
        uses.update(step.places.values())
    joined: dict[int, Step] = {}  # by the number of its value
    for step in steps:
        source = _convolution_before(step, joined, uses)
        if source is not None:
            del joined[source.value]
            if step.op is add:
                (other,) = (n for n in step.places.values() if n != source.value)
                source.places[3] = other
            else:
                source.settings = {**source.settings, "relu": True}
            source.value, step = step.value, source
        joined[step.value] = step
    return list(joined.values())


def _convolution_before(step: Step, before: dict[int, Step], uses: Counter[Any]) -> Step | None:
    """Return the convolution that can do this step too."""
    shapes = {x.shape for x in step.arguments if hasattr(x, "shape")}
    if step.op not in (add, relu) or len(shapes) > 1 or len(step.places) != len(step.arguments):
        return None
    for number in reversed(step.places.values()):
        source = before.get(number)
        if (
            source is not None
            and source.compute is _convolved
            and uses[number] == 1
            and "relu" not in source.settings
            and (step.op is relu or 3 not in source.places)
        ):
            return source
    return None
