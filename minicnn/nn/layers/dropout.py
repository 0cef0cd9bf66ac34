"""Dropout.  Everywhere `inplace` is accepted as in PyTorch; the result is always new."""

from __future__ import annotations

from typing import Any

from minicnn.errors import ArgumentError
from minicnn.nn import functional as F
from minicnn.nn.module import Module

__all__ = [
    "AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout",
]  # fmt: skip


class _Dropout(Module):
    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ArgumentError(f"{type(self).__name__}: p must be in [0, 1], got {p}")
        self.p, self.inplace = p, inplace

    def extra_repr(self) -> str:
        """Name the probability."""
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """In training set each value to 0 with probability p and scale the rest by 1 / (1 - p)."""

    def forward(self, x: Any) -> Any:
        """Drop in training; return x itself in evaluation."""
        return F.dropout(x, self.p, self.training)


class Dropout1d(_Dropout):
    """In training set each channel to 0 with probability p and scale the rest by 1 / (1 - p).

    Shapes: (N, C, L) or (C, L).
    """

    def forward(self, x: Any) -> Any:
        """Drop channels in training; return x itself in evaluation."""
        return F.dropout1d(x, self.p, self.training)


class Dropout2d(_Dropout):
    """In training set each channel to 0 with probability p and scale the rest by 1 / (1 - p).

    Shapes: (N, C, H, W).
    """

    def forward(self, x: Any) -> Any:
        """Drop channels in training; return x itself in evaluation."""
        return F.dropout2d(x, self.p, self.training)


class Dropout3d(_Dropout):
    """In training set each channel to 0 with probability p and scale the rest by 1 / (1 - p).

    Shapes: (N, C, D, H, W) or (C, D, H, W).
    """

    def forward(self, x: Any) -> Any:
        """Drop channels in training; return x itself in evaluation."""
        return F.dropout3d(x, self.p, self.training)


class AlphaDropout(_Dropout):
    """In training set each value to where selu saturates, and keep mean 0 and variance 1."""

    def forward(self, x: Any) -> Any:
        """Drop in training; return x itself in evaluation."""
        return F.alpha_dropout(x, self.p, self.training)


class FeatureAlphaDropout(_Dropout):
    """In training set each channel to where selu saturates, and keep mean 0 and variance 1.

    Shapes: (N, C, ...).
    """

    def forward(self, x: Any) -> Any:
        """Drop channels in training; return x itself in evaluation."""
        return F.feature_alpha_dropout(x, self.p, self.training)
