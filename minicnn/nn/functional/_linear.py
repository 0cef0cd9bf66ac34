"""Linear layers."""

from __future__ import annotations

from typing import Any

from minicnn.errors import ShapeError
from minicnn.ops import linear as linear_ops

__all__ = ["linear"]


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """Return input @ weight.T + bias: y[..,o] = sum_i x[..,i] * w[o,i] + b[o].

    Shapes: input (..., I), weight (O, I), bias (O), result (..., O).
    """
    if weight.ndim != 2 or input.ndim == 0 or input.shape[-1] != weight.shape[1]:
        raise ShapeError(
            f"linear: weight {weight.shape} is (out, in) and must meet the last size of the input "
            f"{input.shape}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(f"linear: bias must have shape {weight.shape[:1]}, got {bias.shape}")
    return linear_ops.affine(input, weight, bias)
