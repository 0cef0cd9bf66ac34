"""All parameters as one vector, for methods that know nothing of layers."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any

from minicnn.errors import DTypeError, ShapeError
from minicnn.ops.shape import cat, view_as
from minicnn.tensor import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Any:
    """Return all parameters, one after the other, as one vector that gradients flow through."""
    return cat([view_as(parameter, (prod(parameter.shape),)) for parameter in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Let the parameters look at the parts of a vector, in the order of `parameters_to_vector`.

    Raises:
        DTypeError: `vec` is no tensor.
        ShapeError: it has too few values.
    """
    if not isinstance(vec, Tensor):
        raise DTypeError(f"vector_to_parameters: vec must be a Tensor, got {type(vec).__name__}")
    start = 0
    for parameter in parameters:
        end = start + prod(parameter.shape)
        if end > prod(vec.shape):
            raise ShapeError(
                f"vector_to_parameters: vec has {prod(vec.shape)} values, the parameters more"
            )
        parameter.data = view_as(vec.detach()[start:end], parameter.shape)
        start = end
