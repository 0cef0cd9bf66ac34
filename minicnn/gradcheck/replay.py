"""Randomness and state that a function under test uses: found, and put back before every call.

A derivative can only be measured of a function that returns the same for the same input.  Dropout
draws a mask and batch norm moves its running mean, so both would not; with their state put back
before every call they do, and the check leaves no trace in the model.
"""

from __future__ import annotations

import functools
import inspect
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

import minicnn.random
from minicnn.nn import Module
from minicnn.tensor import Tensor
from minicnn_kernels.arrays import Array

DEPTH = 4  # how far to follow closures, defaults and attributes


class State(NamedTuple):
    """Something that changes from call to call: how to read it and how to set it."""

    read: Callable[[], Any]
    put_back: Callable[[Any], Any]
    random: bool


class Replay:
    """Remember the state of everything random or stateful that `functions` can reach."""

    def __init__(self, *functions: Any) -> None:
        self._states = [
            State(np.random.get_state, np.random.set_state, random=True),
            State(random.getstate, random.setstate, random=True),
        ]
        for found in _reachable((minicnn.random.default, *functions)):
            if (state := _state_of(found)) is not None:
                self._states.append(state)
        self._begin = [state.read() for state in self._states]

    def restore(self) -> None:
        """Put everything back to what it was when the check began."""
        for state, begin in zip(self._states, self._begin, strict=True):
            state.put_back(begin)

    def fingerprint(self) -> str:
        """Return a text that changes when a random generator has been drawn from."""
        with np.printoptions(threshold=10**9):
            return repr([state.read() for state in self._states if state.random])


def _state_of(found: Any) -> State | None:
    """Return how to read and set the state of an object that has one."""
    if isinstance(found, np.random.Generator):
        bits = found.bit_generator
        return State(lambda: bits.state, lambda state: setattr(bits, "state", state), True)
    if isinstance(found, (np.random.RandomState, minicnn.random.Generator)):
        return State(found.get_state, found.set_state, random=True)
    if isinstance(found, random.Random):
        return State(found.getstate, found.setstate, random=True)
    if isinstance(found, Module):
        return State(lambda: _buffers(found), _put_back, random=False)
    return None


def _buffers(module: Module) -> list[tuple[Tensor, Array, Array]]:
    """Return the running statistics of a module: each Tensor, its array and a copy of it."""
    return [(buffer, buffer.array, buffer.array.copy()) for buffer in module.buffers()]


def _put_back(kept: list[tuple[Tensor, Array, Array]]) -> None:
    for buffer, array, values in kept:
        np.copyto(array, values)
        buffer.array = array


def _reachable(roots: tuple[Any, ...]) -> Iterator[Any]:
    """Go over what functions hold: closures, defaults, globals they name, bound and stored."""
    waiting = [(root, 0) for root in roots]
    seen: set[int] = set()
    while waiting:
        thing, depth = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        yield thing
        if depth < DEPTH:
            waiting += [(part, depth + 1) for part in _parts(thing)]


def _parts(thing: Any) -> list[Any]:
    """Return what a function, method, partial or plain object holds directly."""
    if isinstance(thing, functools.partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    if inspect.ismethod(thing):
        return [thing.__func__, thing.__self__]
    if inspect.isfunction(thing):
        held = inspect.getclosurevars(thing)
        return [*held.nonlocals.values(), *held.globals.values(), *(thing.__defaults__ or ())]
    if isinstance(thing, (list, tuple)) and len(thing) < 100:
        return list(thing)
    if isinstance(thing, dict) and len(thing) < 100:
        return list(thing.values())
    if inspect.ismodule(thing) or inspect.isclass(thing) or isinstance(thing, np.ndarray):
        return []
    return list(getattr(thing, "__dict__", {}).values())
