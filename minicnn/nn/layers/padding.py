"""Padding layers: a border of a constant, or of the image's own values.

All take the widths as one integer for every side, or as (left, right), (left, right, top, bottom)
or (left, right, top, bottom, front, back).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minicnn.errors import ShapeError
from minicnn.nn import functional as F
from minicnn.nn.module import Module

__all__ = [
    "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d",
    "ConstantPad3d", "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d",
    "ReplicationPad2d", "ReplicationPad3d", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d",
]  # fmt: skip


class _Pad(Module):
    """Pad the last `sides` dimensions: what all padding layers share."""

    sides: int
    mode = "constant"

    def __init__(self, padding: Any) -> None:
        super().__init__()
        several = isinstance(padding, Iterable)
        self.padding = tuple(padding) if several else (padding,) * (2 * self.sides)

    def forward(self, x: Any) -> Any:
        """Put the border around x."""
        return F.pad(x, self.padding, self.mode)

    def extra_repr(self) -> str:
        """Name the widths."""
        return f"{self.padding}"


# --- a constant -----------------------------------------------------------------------------------


class _ConstantPad(_Pad):
    """Pad with a given value."""

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, x: Any) -> Any:
        """Put the border around x."""
        return F.pad(x, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        """Name the widths and the value."""
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """y[..,i] = x[.., i - left], or `value` outside."""

    sides = 1


class ConstantPad2d(_ConstantPad):
    """y[..,i,j] = x[.., i - top, j - left], or `value` outside."""

    sides = 2


class ConstantPad3d(_ConstantPad):
    """y[..,h,i,j] = x[.., h - front, i - top, j - left], or `value` outside."""

    sides = 3


class ZeroPad1d(_Pad):
    """y[..,i] = x[.., i - left], or 0 outside."""

    sides = 1


class ZeroPad2d(_Pad):
    """y[..,i,j] = x[.., i - top, j - left], or 0 outside."""

    sides = 2


class ZeroPad3d(_Pad):
    """y[..,h,i,j] = x[.., h - front, i - top, j - left], or 0 outside."""

    sides = 3


# --- reflected at the outer pixels, which are not repeated ----------------------------------------


class ReflectionPad1d(_Pad):
    """y = x reflected: abcd becomes cb|abcd|cb.  Input (N, C, L) or (C, L)."""

    sides, mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """y = x reflected: abcd becomes cb|abcd|cb.  Input (N, C, H, W) or (C, H, W)."""

    sides, mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """y = x reflected: abcd becomes cb|abcd|cb.  Input (N, C, D, H, W) or (C, D, H, W)."""

    sides, mode = 3, "reflect"


# --- the outer pixels, repeated -------------------------------------------------------------------


class ReplicationPad1d(_Pad):
    """y = x with its ends repeated: abcd becomes aa|abcd|dd.  Input (N, C, L) or (C, L)."""

    sides, mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """y = x with its ends repeated: abcd becomes aa|abcd|dd.  Input (N, C, H, W) or (C, H, W)."""

    sides, mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """y = x with its ends repeated: abcd becomes aa|abcd|dd.  Input (N, C, D, H, W), N optional."""

    sides, mode = 3, "replicate"


# --- wrapped around -------------------------------------------------------------------------------


class _CircularPad(_Pad):
    """Wrap around."""

    mode = "circular"

    def forward(self, x: Any) -> Any:
        """Put the border around x.

        Raises:
            ShapeError: x is no image of that many sides, with or without a batch.
        """
        if x.ndim not in (self.sides + 1, self.sides + 2):
            raise ShapeError(
                f"{type(self).__name__}: input must have {self.sides + 1} or {self.sides + 2} "
                f"dimensions, got shape {x.shape}"
            )
        return super().forward(x)


class CircularPad1d(_CircularPad):
    """y = x wrapped around: abcd becomes cd|abcd|ab.  Input (N, C, L) or (C, L)."""

    sides = 1


class CircularPad2d(_CircularPad):
    """y = x wrapped around: abcd becomes cd|abcd|ab.  Input (N, C, H, W) or (C, H, W)."""

    sides = 2


class CircularPad3d(_CircularPad):
    """y = x wrapped around: abcd becomes cd|abcd|ab.  Input (N, C, D, H, W) or (C, D, H, W)."""

    sides = 3
