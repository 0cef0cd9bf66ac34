"""How exactly a card computes products of float32: the math mode.

"fp32": to about 1e-6, as on the CPU.  "tf32": factors rounded to 11 bits.  "bf16": to 8 bits.  Sums
are float32 in each, and so is what lies in memory; on the CPU all three are "fp32".
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

from minicnn_kernels.errors import ArgumentError

MODES = ("fp32", "tf32", "bf16")

TORCH_NAMES = {"highest": "fp32", "high": "tf32", "medium": "bf16"}
"""What PyTorch calls the modes, where it sets them for products of matrices."""


class MathMode:
    """The mode of this moment: that of a `with` block, else the program's, else MINICNN_MATH's.

    >>> with math_mode("tf32"):
    ...     math_mode.get()
    'tf32'
    """

    def __init__(self) -> None:
        self._of_block: ContextVar[str | None] = ContextVar("math mode", default=None)
        self._of_program: str | None = None

    def get(self) -> str:
        """Return "fp32", "tf32" or "bf16".

        Raises:
            ArgumentError: MINICNN_MATH names another.
        """
        return self._of_block.get() or self._of_program or _of_environment()

    def set(self, mode: str) -> None:
        """Take a mode from now on, on all threads, wherever no `with` block says otherwise.

        Raises:
            ArgumentError: there is no such mode.
        """
        self._of_program = _checked(mode, "set_math_mode")

    @contextmanager
    def __call__(self, mode: str) -> Iterator[None]:
        """Take a mode inside a `with` block, or a decorated function.

        Raises:
            ArgumentError: there is no such mode.
        """
        token = self._of_block.set(_checked(mode, "math_mode"))
        try:
            yield
        finally:
            self._of_block.reset(token)


math_mode = MathMode()
set_math_mode = math_mode.set


def set_float32_matmul_precision(precision: str) -> None:
    """Set the math mode by PyTorch's names: "highest" (fp32), "high" (tf32), "medium" (bf16).

    In PyTorch it holds for products of matrices; here, as every math mode, for convolutions, too.

    Raises:
        ArgumentError: another name.
    """
    if precision not in TORCH_NAMES:
        raise ArgumentError(
            f"set_float32_matmul_precision: unknown precision {precision!r}; there are "
            f"{', '.join(TORCH_NAMES)}"
        )
    math_mode.set(TORCH_NAMES[precision])


def get_float32_matmul_precision() -> str:
    """Return the present math mode by PyTorch's name: "highest", "high" or "medium"."""
    mode = math_mode.get()
    return next(name for name, ours in TORCH_NAMES.items() if ours == mode)


@cache
def _of_environment() -> str:
    return _checked(os.environ.get("MINICNN_MATH") or "fp32", "MINICNN_MATH")


def _checked(mode: str, whose: str) -> str:
    if mode not in MODES:
        raise ArgumentError(f"{whose}: unknown math mode {mode!r}; there are {', '.join(MODES)}")
    return mode
