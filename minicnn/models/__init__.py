"""Networks, one paper a file."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from minicnn.errors import UsageError
from minicnn.models.lenet import lenet5
from minicnn.nn import Module

_BUILDERS: dict[str, Callable[..., Module]] = {"lenet5": lenet5}

__all__ = ["create", "lenet5", "list"]


def list() -> tuple[str, ...]:
    """Return the names that `create` knows."""
    return tuple(sorted(_BUILDERS))


def create(name: str, **settings: Any) -> Module:
    """Build a model by name: `create("lenet5", num_classes=10)`.

    Raises:
        UsageError: there is no model of that name.
    """
    if name not in _BUILDERS:
        close = difflib.get_close_matches(name, _BUILDERS, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise UsageError(f"unknown model {name!r}; {hint}there are: {', '.join(_BUILDERS)}")
    return _BUILDERS[name](**settings)
