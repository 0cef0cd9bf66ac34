"""One operation, several algorithms: who is there, what each serves, and which one to take.

>>> from minicnn_kernels import kernels
>>> sorted(kernels["conv_weight"].algorithms)[:3]
['bf16', 'depthwise', 'few_channels']
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from minicnn_kernels import precision, tuning
from minicnn_kernels.arrays import device_of
from minicnn_kernels.constants import is_constant
from minicnn_kernels.errors import AlgorithmError

kernels: dict[str, Kernel] = {}
_only_numpy: ContextVar[bool] = ContextVar("only numpy", default=False)
_chosen: ContextVar[dict[str, str]] = ContextVar("algorithms", default={})  # noqa: B039 - never changed


BOTH = ("cpu", "cuda")
"""The devices of what is written with NumPy and computed by CuPy on a card."""

REMEMBERED = 4096
"""Choices that a kernel keeps; then it begins anew."""


def _layout(array: Any) -> Any:
    """Return what an algorithm's choice may depend on, of an array or a number."""
    if type(array) is np.ndarray:
        return array.shape, array.strides, array.dtype, is_constant(array)
    if hasattr(array, "dtype"):
        return array.shape, array.dtype, device_of(array)
    return array


def _state() -> Any:
    """Return what a choice depends on besides its arguments."""
    return can_compile(), tuning.state(), precision.math_mode.get()


def _serves_all(*arrays: Any, **settings: Any) -> bool:
    return True


@cache
def compiler_is_wanted() -> bool:
    """Say whether Numba is installed, and MINICNN_KERNELS is not "numpy"."""
    return os.environ.get("MINICNN_KERNELS") != "numpy" and find_spec("numba") is not None


def can_compile() -> bool:
    """Say whether compiled kernels run here."""
    return not _only_numpy.get() and compiler_is_wanted()


@contextmanager
def only_numpy() -> Iterator[None]:
    """Run no compiled kernel inside a `with` block, for what is not worth compiling one."""
    token = _only_numpy.set(True)
    try:
        yield
    finally:
        _only_numpy.reset(token)


@dataclass(frozen=True)
class Algorithm:
    """A way to compute a kernel, and when it can and should be taken.

    Attributes:
        cost: estimates the work of a call in any unit that the kernel's algorithms share; `auto`
            takes the cheapest.  None: only by name.
        serves: says whether a call's geometry can be computed at all.
        extras: names of settings that the kernel's other algorithms do not take.
    """

    name: str
    compute: Callable[..., Any]
    devices: tuple[str, ...]
    cost: Callable[..., float] | None
    serves: Callable[..., bool]
    extras: tuple[str, ...] = ()

    @property
    def formula(self) -> str:
        """The first line of the docstring."""
        return (self.compute.__doc__ or "").strip().partition("\n")[0]


class Kernel:
    """An operation on arrays, computed by the algorithm that `choose` picks.

    Attributes:
        tunable: whether measuring can decide, see `minicnn_kernels.tuning`: the algorithms
            differ by more than their start, and do not change their arguments.
    """

    def __init__(self, name: str, tunable: bool = False) -> None:
        self.name, self.tunable = name, tunable
        self.algorithms: dict[str, Algorithm] = {}
        self._choices: dict[Any, Algorithm] = {}
        kernels[name] = self

    def algorithm(
        self,
        name: str,
        *,
        devices: tuple[str, ...] = ("cpu",),
        cost: Callable[..., float] | None = None,
        serves: Callable[..., bool] = _serves_all,
        extras: tuple[str, ...] = (),
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register the decorated function as the algorithm `name`."""

        def register(compute: Callable[..., Any]) -> Callable[..., Any]:
            self.algorithms[name] = Algorithm(name, compute, devices, cost, serves, extras)
            self._choices.clear()
            return compute

        return register

    def compiled(
        self,
        name: str,
        function: str,
        formula: str,
        *,
        device: str = "cpu",
        cost: Callable[..., float] | None = None,
        serves: Callable[..., bool] = _serves_all,
        extras: tuple[str, ...] = (),
    ) -> None:
        """Register an algorithm of compiled code, imported when it is first called.

        Args:
            function: its place below minicnn_kernels.cpu or .cuda: "pooling.max_winners".
            formula: the first line of its docstring.
        """
        module, _, attribute = function.rpartition(".")

        def compute(*arrays: Any, **settings: Any) -> Any:
            found = import_module(f"minicnn_kernels.{device}.{module}")
            return getattr(found, attribute)(*arrays, **settings)

        def serves_here(*arrays: Any, **settings: Any) -> bool:
            return (device != "cpu" or can_compile()) and serves(*arrays, **settings)

        compute.__doc__ = formula
        self.algorithm(name, devices=(device,), cost=cost, serves=serves_here, extras=extras)(
            compute
        )

    def check_name(self, name: str) -> None:
        """Raise AlgorithmError if there is no algorithm of that name."""
        if name not in self.algorithms:
            known = ", ".join(sorted(self.algorithms))
            raise AlgorithmError(f"{self.name}: unknown algorithm {name!r}; there are {known}")

    def choose(self, *arrays: Any, algorithm: str | None = None, **settings: Any) -> Algorithm:
        """Return the algorithm asked for by name, else the cheapest that serves this call.

        A choice depends on how the arrays lie in memory, not on what is in them, and is remembered.

        Raises:
            AlgorithmError: there is none of that name, or it does not serve this call.
        """
        name = algorithm or _chosen.get().get(self.name, "auto")
        key = name, _state(), *map(_layout, arrays), *settings.items()
        try:
            if (found := self._choices.get(key)) and self.algorithms.get(found.name) is found:
                return found
        except TypeError:  # a setting that has no hash, as arrays
            return self._choose(name, arrays, settings)
        if len(self._choices) >= REMEMBERED:
            self._choices.clear()
        self._choices[key] = found = self._choose(name, arrays, settings)
        return found

    def _choose(self, name: str, arrays: tuple[Any, ...], settings: dict[str, Any]) -> Algorithm:
        first = next((x for x in arrays if not isinstance(x, (int, float))), arrays[0])
        device = device_of(first).partition(":")[0]
        able = {
            a.name: a
            for a in self.algorithms.values()
            if device in a.devices and a.serves(*arrays, **settings)
        }
        if name != "auto":
            self.check_name(name)
            if name not in able:
                raise AlgorithmError(
                    f"{self.name}: algorithm {name!r} does not serve this call on {device}; "
                    f"those that do: {', '.join(sorted(able)) or 'none'}"
                )
            return able[name]
        costs = {n: a.cost(*arrays, **settings) for n, a in able.items() if a.cost is not None}
        if not costs:
            raise AlgorithmError(f"{self.name}: no algorithm serves this call on {device}")
        if (name := preferred().get(self.name, "auto")) in able:
            return able[name]
        cheapest = min(costs, key=costs.__getitem__)
        if self.tunable and tuning.is_on():
            worth = [n for n, cost in costs.items() if cost <= tuning.WORTH * costs[cheapest]]
            computes = {name: able[name].compute for name in worth}
            return able[tuning.fastest(self.name, computes, cheapest, arrays, settings)]
        return able[cheapest]

    def __call__(self, *arrays: Any, algorithm: str | None = None, **settings: Any) -> Any:
        """Compute with the algorithm that `choose` picks."""
        return self.choose(*arrays, algorithm=algorithm, **settings).compute(*arrays, **settings)


def check_names(names: dict[str, str]) -> None:
    """Raise AlgorithmError if there is no such kernel, or it has no such algorithm."""
    for kernel, name in names.items():
        if kernel not in kernels:
            raise AlgorithmError(
                f"unknown kernel {kernel!r}; there are {', '.join(sorted(kernels))}"
            )
        if name != "auto":
            kernels[kernel].check_name(name)


@contextmanager
def use_algorithms(**names: str) -> Iterator[None]:
    """Take the named algorithms inside a `with` block: `use_algorithms(conv="loops")`.

    What is computed inside the block takes them for its gradients, too, whenever that may be.

    Raises:
        AlgorithmError: an unknown kernel or algorithm.
    """
    check_names(names)
    token = _chosen.set({**_chosen.get(), **names})
    try:
        yield
    finally:
        _chosen.reset(token)


def chosen() -> dict[str, str]:
    """Return the names that `use_algorithms` has given, by kernel."""
    return _chosen.get()


@cache
def preferred() -> dict[str, str]:
    """Return the names that MINICNN_ALGORITHMS gives, by kernel: "conv=winograd4,conv_input=fft".

    They are taken wherever they serve, and nothing else was asked for.

    Raises:
        AlgorithmError: an unknown kernel or algorithm.
    """
    parts = os.environ.get("MINICNN_ALGORITHMS", "").split(",")
    pairs = (part.partition("=") for part in parts if part.strip())
    names = {kernel.strip(): name.strip() for kernel, _, name in pairs}
    try:
        check_names(names)
    except AlgorithmError as error:
        raise AlgorithmError(f"MINICNN_ALGORITHMS: {error}") from None
    return names
