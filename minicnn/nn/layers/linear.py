"""Linear layers, and the layers without a formula."""

from __future__ import annotations

from typing import Any

from minicnn import factories
from minicnn.nn import functional as F
from minicnn.nn import init
from minicnn.nn.module import Module
from minicnn.nn.parameter import Parameter
from minicnn.ops.shape import flatten

__all__ = ["Flatten", "Identity", "Linear"]


class Linear(Module):
    """y[..,o] = sum_i x[..,i] * weight[o,i] + bias[o].

    Shapes: (..., in_features) to (..., out_features).
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(factories.zeros(out_features, in_features))
        self.register_parameter("bias", Parameter(factories.zeros(out_features)) if bias else None)
        init.fill_layer_(self.weight, self.bias)

    def forward(self, x: Any) -> Any:
        """Return x @ weight.T + bias."""
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Name the sizes."""
        bias = self.bias is not None
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={bias}"


class Flatten(Module):
    """Make the dimensions from start_dim to end_dim one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Any:
        """Return x flattened."""
        return flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Name the dimensions."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Identity(Module):
    """y = x."""

    def forward(self, x: Any) -> Any:
        """Return x itself."""
        return x
