"""First values of parameters.  Every function changes its tensor in place and returns it.

Papers: Glorot, Bengio 2010, AISTATS ("xavier"); He et al. 2015, arXiv:1502.01852 ("kaiming").
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import erf, prod, sqrt

import numpy as np

from minicnn import random
from minicnn.backprop import no_grad
from minicnn.errors import ArgumentError, ShapeError
from minicnn.tensor import Tensor

_undrawn: ContextVar[bool] = ContextVar("undrawn", default=False)


@contextmanager
def undrawn() -> Iterator[None]:
    """Draw no first values inside a `with` block: what is built there may be of any size.

    Parameters stay as they were allocated, and most of their memory is never touched.  For who
    only wants shapes, or loads weights afterwards.
    """
    token = _undrawn.set(True)
    try:
        yield
    finally:
        _undrawn.reset(token)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor that keeps the variance of activations through a nonlinearity."""
    gains = {"linear": 1.0, "conv2d": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": sqrt(2.0)}
    if nonlinearity == "leaky_relu":
        return sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in gains:
        known = ", ".join(sorted([*gains, "leaky_relu"]))
        raise ArgumentError(
            f"calculate_gain: unknown nonlinearity {nonlinearity!r}; known: {known}"
        )
    return gains[nonlinearity]


def fans(tensor: Tensor) -> tuple[int, int]:
    """Return how many inputs one output sees, and how many outputs one input reaches."""
    if tensor.ndim < 2:
        raise ShapeError(f"init: fan in and fan out need 2 dimensions or more, got {tensor.shape}")
    window = prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Fill with uniform numbers in [a, b)."""
    if _undrawn.get():
        return tensor
    generator = random.default.numpy_generator()
    with no_grad():
        tensor.copy_(generator.uniform(a, b, tensor.shape))
    return tensor


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Fill with normal numbers."""
    if _undrawn.get():
        return tensor
    generator = random.default.numpy_generator()
    with no_grad():
        tensor.copy_(generator.normal(mean, std, tensor.shape))
    return tensor


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one value."""
    with no_grad():
        tensor.fill_(val)
    return tensor


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1."""
    return constant_(tensor, 1.0)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Fill uniformly in [-b, b], b = gain * sqrt(6 / (fan_in + fan_out))."""
    bound = gain * sqrt(6 / max(sum(fans(tensor)), 1))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Fill normally with std = gain * sqrt(2 / (fan_in + fan_out))."""
    return normal_(tensor, 0.0, gain * sqrt(2 / max(sum(fans(tensor)), 1)))


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(f'init: mode must be "fan_in" or "fan_out", got {mode!r}')
    fan = fans(tensor)[0 if mode == "fan_in" else 1]
    return calculate_gain(nonlinearity, a) / sqrt(max(fan, 1))  # without inputs nothing is filled


def kaiming_uniform_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """Fill uniformly in [-b, b], b = sqrt(3) * gain / sqrt(fan)."""
    bound = sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """Fill normally with std = gain / sqrt(fan)."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity))


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0
) -> Tensor:
    """Fill normally, drawing again whatever falls outside [a, b].

    Raises:
        ArgumentError: so little of the distribution lies in [a, b] that drawing would not end.
    """
    low, high = (erf((limit - mean) / (std * sqrt(2))) for limit in (a, b))
    if (high - low) / 2 < 1e-3:
        raise ArgumentError(
            f"trunc_normal_: [{a}, {b}] holds less than 0.1 % of a normal distribution with mean "
            f"{mean} and std {std}; move or widen it"
        )
    if _undrawn.get():
        return tensor
    generator = random.default.numpy_generator()
    values = generator.normal(mean, std, tensor.shape)
    while (outside := (values < a) | (values > b)).any():
        values[outside] = generator.normal(mean, std, int(outside.sum()))
    with no_grad():
        tensor.copy_(values)
    return tensor


def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with ones on the diagonal, zeros elsewhere: a linear layer changes nothing."""
    if tensor.ndim != 2:
        raise ShapeError(f"eye_: needs a matrix, got shape {tensor.shape}")
    rows, columns = tensor.shape
    with no_grad():
        tensor.copy_(np.eye(rows, columns))
    return tensor


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill a kernel (O, C, ...) with a 1 in the middle of w[c,c]: a convolution changes nothing.

    Raises:
        ShapeError: it is no kernel of 1 to 3 sides, or O is no multiple of groups.
    """
    if tensor.ndim not in (3, 4, 5) or tensor.shape[0] % groups:
        raise ShapeError(
            f"dirac_: needs a kernel (O, C, ...) of 1 to 3 sides, O a multiple of groups={groups}, "
            f"got {tensor.shape}"
        )
    values = np.zeros(tensor.shape)
    middle = tuple(size // 2 for size in tensor.shape[2:])
    of_group = tensor.shape[0] // groups
    for group in range(groups):
        for channel in range(min(of_group, tensor.shape[1])):
            values[(group * of_group + channel, channel, *middle)] = 1
    with no_grad():
        tensor.copy_(values)
    return tensor


def orthogonal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Fill with rows, or columns if these are fewer, at right angles and of length `gain`.

    All dimensions but the first count as one.  Paper: Saxe et al. 2013, arXiv:1312.6120.
    """
    if tensor.ndim < 2:
        raise ShapeError(f"orthogonal_: needs 2 dimensions or more, got shape {tensor.shape}")
    rows, columns = tensor.shape[0], prod(tensor.shape[1:])
    long, short = max(rows, columns), min(rows, columns)
    q, r = np.linalg.qr(random.default.numpy_generator().standard_normal((long, short)))
    q = q * np.sign(np.diagonal(r))  # makes all such matrices equally likely
    with no_grad():
        tensor.copy_(gain * (q if rows >= columns else q.T).reshape(tensor.shape))
    return tensor


def fill_layer_(weight: Tensor, bias: Tensor | None) -> None:
    """Fill a layer as PyTorch does: weight and bias uniform in [-b, b], b = 1 / sqrt(fan_in)."""
    kaiming_uniform_(weight, a=sqrt(5))
    if bias is not None:
        bound = 1 / sqrt(fans(weight)[0]) if weight.array.size else 0.0
        uniform_(bias, -bound, bound)
