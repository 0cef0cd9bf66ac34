"""Recording switched on or off by an argument, next to `no_grad` and `enable_grad`."""

from __future__ import annotations

from contextlib import AbstractContextManager

from minicnn.backprop import enable_grad, no_grad
from minicnn.differentiable import grad_enabled


class set_grad_enabled:
    """Record calls or not, from now on, or inside a `with` block.

    >>> import minicnn
    >>> with set_grad_enabled(False):
    ...     minicnn.is_grad_enabled()
    False
    """

    def __init__(self, mode: bool) -> None:
        self._before = grad_enabled.set(bool(mode))

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        grad_enabled.reset(self._before)


def inference_mode(mode: bool = True) -> AbstractContextManager[None]:
    """Compute without recording, as `no_grad` does; False records again."""
    return no_grad() if mode else enable_grad()
