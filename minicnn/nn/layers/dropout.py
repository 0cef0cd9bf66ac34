"""Dropout."""

from __future__ import annotations

from typing import Any

from minicnn.errors import ArgumentError
from minicnn.nn import functional as F
from minicnn.nn.module import Module

__all__ = ["Dropout"]


class Dropout(Module):
    """In training set each value to 0 with probability p and scale the rest by 1 / (1 - p).

    `inplace` is accepted as in PyTorch; the result is always new.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ArgumentError(f"Dropout: p must be in [0, 1], got {p}")
        self.p, self.inplace = p, inplace

    def forward(self, x: Any) -> Any:
        """Drop in training; return x itself in evaluation."""
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        """Name the probability."""
        return f"p={self.p}, inplace={self.inplace}"
