"""Dropout."""

from __future__ import annotations

from typing import Any

from minicnn.errors import ArgumentError
from minicnn.ops import dropout as dropout_ops

__all__ = ["dropout"]


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Set values to 0 with probability p and scale the rest by 1 / (1 - p).

    In inference the input is returned as it is.  The mask comes from the global generator, which
    `minicnn.manual_seed` seeds.  `inplace` is accepted as in PyTorch; the result is always new.
    """
    if not 0 <= p <= 1:
        raise ArgumentError(f"dropout: p must be in [0, 1], got {p}")
    return dropout_ops.dropout_training(input, p) if training and p > 0 else input
