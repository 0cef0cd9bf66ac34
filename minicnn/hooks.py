"""The handle that takes a registered hook away again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self


class RemovableHandle:
    """Add a hook to a list of hooks; `remove()`, or the end of a `with` block, takes it away.

    >>> hooks = []
    >>> with RemovableHandle(hooks, print):
    ...     len(hooks)
    1
    >>> hooks
    []
    """

    def __init__(self, hooks: list[Callable[..., Any]], hook: Callable[..., Any]) -> None:
        hooks.append(hook)
        self._hooks, self._hook = hooks, hook
        self._registered = True

    def remove(self) -> None:
        """Take the hook away; a second time does nothing."""
        if self._registered and self._hook in self._hooks:
            self._hooks.remove(self._hook)
        self._registered = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()
