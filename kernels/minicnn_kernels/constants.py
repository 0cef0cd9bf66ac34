"""Arrays that never change, and what kernels have made of them.

The filters of a trained network stay the same from call to call, and so does every other order or
transform in which a kernel wants them.  What is made of a constant is kept as long as it lives.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from typing import NamedTuple

import numpy as np

from minicnn_kernels.arrays import Array


class _Constant(NamedTuple):
    memory: Array
    kept: dict[Hashable, Array]


_constants: dict[int, _Constant] = {}  # by the id of the array that is handed out


def constant(array: Array) -> Array:
    """Return an array as one that cannot be written to, of which kernels keep what they make.

    It looks at the same memory, if that is contiguous, so nobody may change the array any more.

    >>> w = constant(np.ones(3))
    >>> is_constant(w), w.flags.writeable
    (True, False)
    """
    memory = np.ascontiguousarray(array)
    view = memory.view()
    view.flags.writeable = False
    _constants[id(view)] = _Constant(memory, {})
    weakref.finalize(view, _constants.pop, id(view)).atexit = False
    return view


def is_constant(array: Array) -> bool:
    """Say whether an array is one that `constant` has returned."""
    return id(array) in _constants


def readable(array: Array) -> Array:
    """Return an array; a constant as its memory, for which compiled code need not be made anew."""
    found = _constants.get(id(array))
    return found.memory if found else array


def kept(array: Array, how: Hashable, make: Callable[[], Array]) -> Array:
    """Return what `make` makes of a constant; `how` tells it from other things made of it."""
    things = _constants[id(array)].kept
    if how not in things:
        things[how] = make()
    return things[how]
