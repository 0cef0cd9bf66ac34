"""One network on two devices, layer by layer: which is the first that computes something else?

The network runs once on each device, and what goes into each layer of the first is kept.  Then
every layer computes alone, forward and backward, from these inputs and a random dy: on both
devices, and in float64 on the CPU, which says what is right.  So a mistake shows in the layer that
makes it, not in all that follow; and it shows which device makes it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minicnn import random
from minicnn.arguments import Call, Calls, noting
from minicnn.backprop import grad
from minicnn.errors import ArgumentError, MinicnnError
from minicnn.nn import Module
from minicnn.tensor import Tensor
from minicnn_kernels.arrays import Array, device_of, is_floating, to_device
from minicnn_kernels.precision import math_mode
from minicnn_kernels.registry import can_compile, only_numpy, use_algorithms

FLOAT32 = 1e-5
"""The largest relative error of a layer in float32 that is no mistake; most have a tenth of it."""

PRODUCTS = {"fp32": FLOAT32, "tf32": 1e-3, "bf16": 1e-2}
"""The same of convolutions and products of matrices on a card, by its math mode."""

WINOGRAD = 5e-5
"""The same of convolutions where the CPU may take Winograd's algorithm, which rounds more."""

ALIKE = 30.0
"""Errors that differ by less than this factor are the problem's, and not those of one side..."""

WRONG = 0.1
"""... unless they are larger than this."""

CONVOLUTIONS = {"conv", "conv_bias", "conv_input"}
MATRICES = {"affine", "matrix_product"}
MOVES = {"broadcast_to", "cast", "permute_dims", "view_as"}  # nothing is computed


@dataclass(frozen=True)
class Side:
    """A device and how it computes.

    Attributes:
        math: of products on a card: "fp32", "tf32" or "bf16".
        numpy: whether NumPy's kernels alone compute.
        algorithms: by kernel: {"conv": "im2col"}.
    """

    device: str
    math: str = "fp32"
    numpy: bool = False
    algorithms: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        how = [self.math] if self.device != "cpu" else []
        how += ["NumPy"] if self.numpy else []
        how += [f"{kernel}={name}" for kernel, name in self.algorithms.items()]
        return f"{self.device} ({', '.join(how)})" if how else self.device

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Compute this way inside a `with` block."""
        with ExitStack() as stack:
            stack.enter_context(math_mode(self.math))
            stack.enter_context(use_algorithms(**self.algorithms))
            if self.numpy:
                stack.enter_context(only_numpy())
            yield

    def expected(self, operations: set[str]) -> float:
        """Return the largest relative error that is no mistake, of a layer of these operations."""
        if self.device != "cpu":
            return PRODUCTS[self.math if operations & (CONVOLUTIONS | MATRICES) else "fp32"]
        may_be_winograd = can_compile() and not self.numpy and operations & CONVOLUTIONS
        return WINOGRAD if may_be_winograd else FLOAT32


@dataclass
class Row:
    """A layer, and how far each side is from float64.

    Attributes:
        forward, backward: relative errors, one a side: of the result, and the largest of the
            gradients of inputs and parameters.
        expected: the largest that is no mistake, one a side.
        whole: how far the results of the two sides are from each other in the whole run, with all
            that their earlier layers did; None for an operation outside of any layer.
        failures: what a side raised instead, one a side.
    """

    layer: str
    kind: str
    shape: tuple[int, ...]
    forward: tuple[float, float]
    backward: tuple[float, float]
    expected: tuple[float, float]
    whole: float | None = None
    failures: tuple[str, str] = ("", "")

    @property
    def wrong(self) -> tuple[bool, bool]:
        """Which side is further from float64 than expected, and not only as far as the other."""
        first, second = zip(self.forward, self.backward, strict=True)
        return self._is_wrong(0, first, second), self._is_wrong(1, second, first)

    def _is_wrong(self, side: int, own: Sequence[float], other: Sequence[float]) -> bool:
        bound = self.expected[side]
        return any(
            not e <= bound and not (e <= ALIKE * o and e <= WRONG)
            for e, o in zip(own, other, strict=True)
        )


@dataclass
class Report:
    """What was found, in the order of the run.

    Attributes:
        failure: why the whole network did not run on the second side, if it did not.
    """

    sides: tuple[Side, Side]
    rows: list[Row]
    failure: str = ""

    @property
    def first(self) -> Row | None:
        """The first layer that differs beyond what is expected."""
        return next((row for row in self.rows if any(row.wrong)), None)

    def verdict(self) -> str:
        """Say in a sentence or two what was found."""
        row = self.first
        if row is None and self.failure:
            return f"every layer computes alone, but the whole network does not: {self.failure}"
        if row is None:
            return f"all {len(self.rows)} layers compute the same, as far as their precision goes"
        side = row.wrong.index(True)
        start = f"first difference: {row.layer} ({row.kind}): "
        if row.failures[side]:
            return f"{start}{self.sides[side]} fails: {row.failures[side]}"
        who = "both sides are" if all(row.wrong) else f"{self.sides[side]} is"
        parts = {"forward": row.forward[side], "backward": row.backward[side]}
        worst = max(parts, key=lambda name: parts[name])
        return (
            f"{start}{who} off by {parts[worst]:.1e} {worst}, expected at most "
            f"{row.expected[side]:.0e}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON; errors that are not finite as text."""
        rows = [
            {
                "layer": row.layer,
                "kind": row.kind,
                "shape": list(row.shape),
                "forward": [_plain(e) for e in row.forward],
                "backward": [_plain(e) for e in row.backward],
                "expected": list(row.expected),
                "whole": None if row.whole is None else _plain(row.whole),
                "failures": list(row.failures),
                "wrong": list(row.wrong),
            }
            for row in self.rows
        ]
        first = self.first
        return {
            "sides": [str(side) for side in self.sides],
            "failure": self.failure,
            "first": None if first is None else first.layer,
            "verdict": self.verdict(),
            "layers": rows,
        }


def _plain(error: float) -> float | str:
    return error if np.isfinite(error) else str(error)


# --- one run of the whole network -----------------------------------------------------------------


@dataclass
class Unit:
    """A call of a layer, or of an operation outside of any: what can be computed again alone."""

    layer: str
    kind: str
    path: str | None  # of the module
    call: Any  # the operation, if there is no module
    inputs: tuple[Any, ...]
    settings: dict[str, Any]
    result: Any = None
    operations: set[str] = field(default_factory=set)

    def compute(self, model: Module, convert: Callable[[Any], Any]) -> tuple[Any, list[Tensor]]:
        """Return the result and what it can be differentiated by."""
        module = None if self.path is None else model.get_submodule(self.path)
        inputs, settings = _mapped(self.inputs, convert), _mapped(self.settings, convert)
        y = (self.call if module is None else module)(*inputs, **settings)
        parameters = [] if module is None else list(module.parameters())
        given = [t for t in _tensors((inputs, settings)) if t.requires_grad]
        return y, [*given, *(p for p in parameters if p.requires_grad)]


class Run(Calls):
    """The units of one run of a network, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.units: list[Unit] = []
        self._running: list[str] = []  # paths of the modules
        self._layer: Unit | None = None
        self._calls: dict[str, int] = {}

    def append(self, call: Call) -> None:
        """Note an operation for the layer that runs, or as a unit of its own."""
        if self._layer is not None:
            self._layer.operations.add(call.op.name)
        elif call.op.name not in MOVES:
            inside = f"{self._running[-1]}." if self._running and self._running[-1] else ""
            name = self._named(f"{inside}{call.op.name}")
            inputs = _mapped(tuple(call.arrays), _as_input)
            kind, names = f"operation {call.op.name}", {call.op.name}
            self.units.append(
                Unit(name, kind, None, call.op, inputs, call.settings, operations=names)
            )

    def _named(self, name: str) -> str:
        """Number further calls of the same: "relu", "relu 2", ..."""
        count = self._calls[name] = self._calls.get(name, 0) + 1
        return name if count == 1 else f"{name} {count}"

    @contextmanager
    def listening(self, model: Module) -> Iterator[None]:
        """Note the calls of all modules inside a `with` block."""
        modules = list(model.named_modules())
        try:
            for path, module in modules:
                module.__dict__["forward"] = self._noted(path, module, module.forward)
            with noting(self):
                yield
        finally:
            for _, module in modules:
                module.__dict__.pop("forward", None)

    def _noted(self, path: str, module: Module, forward: Callable[..., Any]) -> Any:
        is_layer = not list(module.children())

        def noted(*inputs: Any, **settings: Any) -> Any:
            if self._layer is not None:  # in a layer that calls others by a back door
                return forward(*inputs, **settings)
            if not is_layer:
                self._running.append(path)
                try:
                    return forward(*inputs, **settings)
                finally:
                    self._running.pop()
            name = self._named(path or type(module).__name__)
            unit = Unit(name, type(module).__name__, path, None, inputs, settings)
            self._layer = unit
            try:
                unit.result = forward(*inputs, **settings)
            finally:
                self._layer = None
            self.units.append(unit)
            return unit.result

        return noted


def _as_input(value: Any) -> Any:
    return Tensor(value) if hasattr(value, "dtype") and is_floating(value.dtype) else value


# --- each layer alone -----------------------------------------------------------------------------


def compare(
    model: Module,
    inputs: Sequence[Array],
    sides: tuple[Side, Side],
    *,
    seed: int = 0,
    on_layer: Callable[[Row], None] | None = None,
) -> Report:
    """Compare a model's layers on two sides; the model itself stays where and as it is.

    Args:
        inputs: of the model, as arrays of NumPy.
        on_layer: is called with each row as soon as it is known.

    Raises:
        DeviceError, AlgorithmError: a device, or an algorithm, is not there.
        ArgumentError: the model does not take the inputs on the first side.
    """
    for side in sides:
        with side.computing():  # refuses what does not exist
            pass
    models = [_on(model, side.device) for side in sides]
    state = random.default.get_state()
    try:
        try:
            run = _whole_run(models[0], inputs, sides[0], seed)
        except MinicnnError as error:
            shapes = " and ".join(str(array.shape) for array in inputs)
            name = type(model).__name__
            raise ArgumentError(f"{name} on {sides[0]} does not take {shapes}: {error}") from error
        other, failure = {}, ""
        try:
            second = _whole_run(models[1], inputs, sides[1], seed)
            other = {unit.layer: unit for unit in second.units}
        except Exception as error:  # the layers alone will show where
            failure = f"{type(error).__name__}: {error}"
        reference = copy.deepcopy(model).double()
        rows = []
        for number, unit in enumerate(run.units):
            row = _alone(unit, [reference, *models], sides, seed + number)
            twin = other.get(unit.layer)
            if unit.path is not None and twin is not None:
                row.whole = _difference(twin.result, unit.result)
            rows.append(row)
            if on_layer is not None:
                on_layer(row)
    finally:
        random.default.set_state(state)
    return Report(sides, rows, failure)


def _on(model: Module, device: str) -> Module:
    """Return a copy of the model on a device."""
    return copy.deepcopy(model).to(device=device)


def _whole_run(model: Module, inputs: Sequence[Array], side: Side, seed: int) -> Run:
    run = Run()
    random.manual_seed(seed)
    given = [Tensor(to_device(array, side.device)) for array in inputs]
    with side.computing(), run.listening(model):
        model(*given)
    return run


def _alone(unit: Unit, models: Sequence[Module], sides: tuple[Side, Side], seed: int) -> Row:
    """Compute a layer three times from the same inputs, and compare."""
    exact = _Alone(Side("cpu", numpy=True), np.float64)
    both = [_Alone(side, np.float32) for side in sides]
    for net, one in zip(models, (exact, *both), strict=True):
        one.forward(unit, net, seed)
    if exact.failure:
        raise ArgumentError(f"{unit.layer} does not compute in float64: {exact.failure}")
    dy = _directions(exact, both, seed)
    for one in (exact, *both):
        one.backward(dy)
    first, second = both
    return Row(
        unit.layer,
        unit.kind,
        exact.outputs[0].shape if exact.outputs else (),
        (_largest(first.results, exact.results), _largest(second.results, exact.results)),
        (_largest(first.gradients, exact.gradients), _largest(second.gradients, exact.gradients)),
        (sides[0].expected(unit.operations), sides[1].expected(unit.operations)),
        failures=(first.failure, second.failure),
    )


class _Alone:
    """One computation of a layer; whatever a kernel raises is a finding, too."""

    def __init__(self, side: Side, dtype: Any) -> None:
        self.side, self.dtype, self.failure = side, dtype, ""
        self.outputs: list[Tensor] = []
        self.results: list[Array] | None = None
        self.gradients: list[Array] | None = None

    def forward(self, unit: Unit, model: Module, seed: int) -> None:
        """Compute the result."""
        random.manual_seed(seed)
        try:
            with self.side.computing():
                y, self.inputs = unit.compute(model, _converter(self.side.device, self.dtype))
            self.outputs = _outputs(y)
            self.results = [_on_host(t.array) for t in self.outputs]
        except Exception as error:
            self.failure = f"{type(error).__name__}: {error}"

    def backward(self, directions: list[Array]) -> None:
        """Compute the gradients of all inputs and parameters."""
        if self.failure:
            return
        pairs = [
            (t, Tensor(to_device(dy.astype(t.dtype), t.device)))
            for t, dy in zip(self.outputs, directions, strict=True)
            if t.requires_grad
        ]
        if not pairs or not self.inputs:
            self.gradients = []
            return
        ys, dys = zip(*pairs, strict=True)
        try:
            with self.side.computing():
                found = grad(ys, self.inputs, dys, allow_unused=True)
            self.gradients = [np.zeros(1) if g is None else _on_host(g.array) for g in found]
        except Exception as error:
            self.failure = f"{type(error).__name__}: {error}"


def _directions(exact: _Alone, others: Sequence[_Alone], seed: int) -> list[Array]:
    """Draw a dy for each output, 0 where one side has rectified and another, by a hair, has not."""
    rng = np.random.default_rng(seed)
    found = []
    for i, y in enumerate(exact.results or []):
        dy = rng.standard_normal(y.shape)
        for other in others:
            if other.results and other.results[i].shape == y.shape:
                dy[(other.results[i] == 0) != (y == 0)] = 0
        found.append(dy)
    return found


def _converter(device: str, dtype: Any) -> Callable[[Any], Any]:
    """Return what takes tensors and arrays to a device, floating-point ones in another type."""

    def array_of(array: Any) -> Any:
        own = array if isinstance(array, np.ndarray) else array.get()
        own = own.astype(dtype) if is_floating(own.dtype) else own.copy()
        return to_device(own, device)

    def convert(value: Any) -> Any:
        if isinstance(value, Tensor):
            return Tensor(array_of(value.array), requires_grad=is_floating(value.dtype))
        return array_of(value) if hasattr(value, "dtype") and hasattr(value, "shape") else value

    return convert


# --- trees of values ------------------------------------------------------------------------------


def _mapped(value: Any, function: Callable[[Any], Any]) -> Any:
    """Apply a function to what lies in tuples, lists and dicts."""
    if isinstance(value, dict):
        return {key: _mapped(part, function) for key, part in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_mapped(part, function) for part in value))
    if isinstance(value, (tuple, list)):
        return type(value)(_mapped(part, function) for part in value)
    return function(value)


def _tensors(value: Any) -> list[Tensor]:
    found: list[Tensor] = []
    _mapped(value, lambda part: found.append(part) if isinstance(part, Tensor) else None)
    return found


def _outputs(y: Any) -> list[Tensor]:
    """Return the floating-point tensors of a result."""
    return [t for t in _tensors(y) if is_floating(t.dtype)]


def _arrays(tensors: list[Tensor] | None) -> list[Array] | None:
    return None if tensors is None else [_on_host(t.array) for t in tensors]


def _on_host(array: Any) -> Array:
    own: Array = array if device_of(array) == "cpu" else array.get()
    return own.astype(np.float64)


# --- how far --------------------------------------------------------------------------------------


def relative_error(found: Array, expected: Array) -> float:
    """||found - expected|| / ||expected||; infinite for NaN where there is none, or another shape.

    >>> relative_error(np.array([3.0, 4.0]), np.array([3.0, 5.0])) < 0.2
    True
    """
    if found.shape != expected.shape:
        return float("inf")
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    found, expected = np.where(same, 0, found), np.where(np.isfinite(expected), expected, 0)
    difference = np.linalg.norm(found - np.where(same, 0, expected))
    scale = np.linalg.norm(expected)
    if not np.isfinite(difference):
        return float("inf")
    return float(difference / scale) if scale > 0 else float("inf") if difference > 0 else 0.0


def _largest(found: list[Array] | None, expected: Any) -> float:
    if found is None or len(found) != len(expected):
        return float("inf")
    return max(map(relative_error, found, expected), default=0.0)


def _difference(found: Any, expected: Any) -> float:
    return _largest(_arrays(_outputs(found)), _arrays(_outputs(expected)))
