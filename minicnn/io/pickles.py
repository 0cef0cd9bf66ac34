"""Plain values from a pickle, of which nothing is run.

A pickle is a program for a stack machine.  Python's machine imports whatever the program names, and
calls it.  This one knows only the steps that make numbers, texts, lists, tuples and dicts, and the
names in a table of its caller; every other step or name is refused.
"""

from __future__ import annotations

import pickletools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Names = Mapping[tuple[str, str], Any]
"""By (module, name): what stands for it."""

LARGEST = 16 * 2**20  # bytes of a pickle; that of a network of 1,200 arrays has 0.2 MB


@dataclass(frozen=True)
class Recipe:
    """A function of ours that a pickle may call, under the name of the one it stands for."""

    make: Callable[..., Any]


CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY: dict[str, type] = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}
VALUES = {  # steps whose argument is the value
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
}  # fmt: skip


def unpickle(text: bytes, names: Names, persistent: Callable[[Any], Any]) -> Any:
    """Return the value that a pickle describes; `persistent` finds what lies outside of it.

    Raises:
        ValueError: it is damaged, or wants something else than plain values and `names`.

    >>> import pickle
    >>> unpickle(pickle.dumps({"epoch": 3, "loss": [0.5, None]}), {}, print)
    {'epoch': 3, 'loss': [0.5, None]}
    >>> unpickle(pickle.dumps(print), {}, print)
    Traceback (most recent call last):
        ...
    ValueError: it names builtins.print, which is no part of weights
    """
    if len(text) > LARGEST:
        raise ValueError(f"its pickle has {len(text)} bytes, more than {LARGEST}")
    stack: list[Any] = []
    below: list[list[Any]] = []  # the stacks that marks have put aside
    memo: dict[int, Any] = {}
    argument: Any
    for step, argument, position in pickletools.genops(text):
        match step.name:
            case "PROTO" | "FRAME":
                pass
            case name if name in VALUES:
                stack.append(argument)
            case name if name in CONSTANTS:
                stack.append(CONSTANTS[name])
            case name if name in EMPTY:
                stack.append(EMPTY[name]())
            case "MARK":
                below.append(stack)
                stack = []
            case "TUPLE" | "LIST" | "DICT" as name:
                items, stack = stack, below.pop()
                made: Any = tuple(items) if name == "TUPLE" else items
                stack.append(_fill({}, items) if name == "DICT" else made)
            case "TUPLE1" | "TUPLE2" | "TUPLE3" as name:
                stack.append(tuple(_take(stack, int(name[-1]))))
            case "APPEND":
                (item,) = _take(stack, 1)
                _extend(stack[-1], [item])
            case "APPENDS":
                items, stack = stack, below.pop()
                _extend(stack[-1], items)
            case "SETITEM":
                items = _take(stack, 2)
                _fill(stack[-1], items)
            case "SETITEMS":
                items, stack = stack, below.pop()
                _fill(stack[-1], items)
            case "BINPUT" | "LONG_BINPUT" | "PUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET" | "GET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(_named(names, *argument.split(" ", 1)))
            case "STACK_GLOBAL":
                stack.append(_named(names, *_take(stack, 2)))
            case "REDUCE":
                function, arguments = _take(stack, 2)
                if not (isinstance(function, Recipe) and isinstance(arguments, tuple)):
                    raise ValueError(f"at byte {position} it calls what is no function")
                stack.append(function.make(*arguments))
            case "BUILD":  # PyTorch's versions of modules, as an attribute of a state dict
                _take(stack, 1)
                if not isinstance(stack[-1], OrderedDict):
                    raise ValueError(f"at byte {position} it sets attributes")
            case "BINPERSID":
                stack.append(persistent(*_take(stack, 1)))
            case "STOP":
                return stack.pop()
            case name:
                raise ValueError(f"at byte {position} it has the step {name}, unknown in weights")
    raise ValueError("it has no end")


def _take(stack: list[Any], count: int) -> list[Any]:
    """Remove the topmost items and return them in the order in which they came."""
    if len(stack) < count:
        raise ValueError("a step finds too few values")
    items = stack[-count:]
    del stack[-count:]
    return items


def _named(names: Names, module: Any, name: Any) -> Any:
    """Look up a name; texts alone are looked at, since anything else may be costly to hash."""
    if not (isinstance(module, str) and isinstance(name, str) and (module, name) in names):
        raise ValueError(f"it names {module!s:.60}.{name!s:.60}, which is no part of weights")
    return names[module, name]


def _extend(values: Any, items: list[Any]) -> None:
    if not isinstance(values, list):
        raise ValueError("it appends to what is no list")
    values.extend(items)


def _fill(table: Any, items: list[Any]) -> dict[str | int, Any]:
    """Put key, value, key, value, ... into a dict."""
    if not isinstance(table, dict) or len(items) % 2:
        raise ValueError("it sets items of what is no dict, or a key without its value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, (str, int)):  # a tuple in a tuple in ... would overflow the C stack
            raise ValueError("it has a key that is neither text nor a number")
        table[key] = value
    return table
