"""Images padded, resized and rearranged."""

from __future__ import annotations

from typing import Any

from minicnn.errors import ArgumentError, ShapeError
from minicnn.ops.shape import pad_with

__all__ = ["pad"]


def pad(input: Any, pad: Any, mode: str = "constant", value: float | None = None) -> Any:
    """Put `value` (default 0) around a tensor: pad = (left, right, top, bottom, ...).

    The last dimension comes first.  Negative widths cut off.
    """
    if mode != "constant":
        raise ArgumentError(f'pad: mode must be "constant", got {mode!r}')
    widths = tuple(pad)
    if len(widths) % 2 or len(widths) > 2 * input.ndim:
        raise ArgumentError(
            f"pad: needs (before, after) for at most {input.ndim} dimensions, got {widths}"
        )
    pairs = list(zip(widths[::2], widths[1::2], strict=True))
    everywhere = ((0, 0),) * (input.ndim - len(pairs)) + tuple(reversed(pairs))
    if any(
        n + min(a, 0) + min(b, 0) < 0 for n, (a, b) in zip(input.shape, everywhere, strict=True)
    ):
        raise ShapeError(f"pad: {widths} cuts more than there is from shape {input.shape}")
    return pad_with(input, everywhere, 0.0 if value is None else value)
