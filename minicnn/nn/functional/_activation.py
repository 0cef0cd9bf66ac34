"""Activation functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.errors import ArgumentError
from minicnn.ops import activation
from minicnn.ops.arithmetic import cast

__all__ = ["log_softmax", "relu", "sigmoid", "softmax", "tanh"]


def relu(input: Any, inplace: bool = False) -> Any:
    """Return max(input, 0).

    `inplace` is accepted as in PyTorch; the result is always new.
    """
    return activation.relu(input)


def sigmoid(input: Any) -> Any:
    """Return 1 / (1 + e^-input)."""
    return activation.sigmoid(input)


def tanh(input: Any) -> Any:
    """Return (e^x - e^-x) / (e^x + e^-x)."""
    return activation.tanh(input)


def softmax(input: Any, dim: int | None = None, dtype: Any = None) -> Any:
    """Return e^x[i] / sum_j e^x[j] along `dim`, computed in `dtype` if one is given.

    Raises:
        ArgumentError: no dimension is named; it is not guessed.
    """
    return activation.softmax(
        input if dtype is None else cast(input, np.dtype(dtype)), _named_dim("softmax", dim)
    )


def log_softmax(input: Any, dim: int | None = None, dtype: Any = None) -> Any:
    """Return x[i] - ln sum_j e^x[j] along `dim`, computed in `dtype` if one is given.

    Raises:
        ArgumentError: no dimension is named; it is not guessed.
    """
    return activation.log_softmax(
        input if dtype is None else cast(input, np.dtype(dtype)), _named_dim("log_softmax", dim)
    )


def _named_dim(op: str, dim: int | None) -> int:
    if dim is None:
        raise ArgumentError(f"{op}: name the dimension of the classes, as in {op}(x, dim=1)")
    return dim
