"""Activation functions."""

from __future__ import annotations

from typing import Any

from minicnn.nn import functional as F
from minicnn.nn.module import Module

__all__ = ["LogSoftmax", "ReLU", "Sigmoid", "Softmax", "Tanh"]


class ReLU(Module):
    """y = max(x, 0).  `inplace` is accepted as in PyTorch; the result is always new."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Any) -> Any:
        """Return max(x, 0)."""
        return F.relu(x)

    def extra_repr(self) -> str:
        """Name the setting where it differs from the default."""
        return "inplace=True" if self.inplace else ""


class Tanh(Module):
    """y = tanh(x)."""

    def forward(self, x: Any) -> Any:
        """Return tanh(x)."""
        return F.tanh(x)


class Sigmoid(Module):
    """y = 1 / (1 + e^-x)."""

    def forward(self, x: Any) -> Any:
        """Return 1 / (1 + e^-x)."""
        return F.sigmoid(x)


class Softmax(Module):
    """y[i] = e^x[i] / sum_j e^x[j] along a dimension."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Any) -> Any:
        """Return the softmax of x."""
        return F.softmax(x, self.dim)

    def extra_repr(self) -> str:
        """Name the dimension."""
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """y[i] = x[i] - ln sum_j e^x[j] along a dimension."""

    def forward(self, x: Any) -> Any:
        """Return the logarithm of the softmax of x."""
        return F.log_softmax(x, self.dim)
