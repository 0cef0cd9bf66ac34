"""Dropout.

The masks come from the global generator, which `minicnn.manual_seed` seeds.  Everywhere `inplace`
is accepted as in PyTorch; the result is always new.  Without training, or with p = 0, the input is
returned as it is.
"""

from __future__ import annotations

from typing import Any

from minicnn.errors import ArgumentError, ShapeError
from minicnn.nn.functional._checks import check_floating
from minicnn.ops.dropout import alpha_dropout_training, dropout_training
from minicnn.ops.shape import squeeze, unsqueeze

__all__ = [
    "alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout",
]  # fmt: skip


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Set values to 0 with probability p and scale the rest.

    y[i] = x[i] / (1 - p) with probability 1 - p, else 0

    Paper: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov 2014.

    Raises:
        ArgumentError: p is not a probability.
        DTypeError: in training the input is not floating-point.
    """
    return dropout_training(input, p) if _drops("dropout", input, p, training) else input


def dropout1d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Set whole channels to 0 with probability p and scale the rest.

    y[n,c,i] = x[n,c,i] / (1 - p) with probability 1 - p, one draw for all i, else 0

    Shapes: (N, C, L) or (C, L).
    Paper: Tompson, Goroshin, Jain, LeCun, Bregler 2015.

    Raises:
        ArgumentError: p is not a probability.
        ShapeError: the input is neither (N, C, L) nor (C, L).
    """
    drops = _drops("dropout1d", input, p, training)
    if input.ndim not in (2, 3):
        raise ShapeError(f"dropout1d: input must be (N, C, L) or (C, L), got shape {input.shape}")
    if drops:
        return _without_channels("dropout1d", input, p, unbatched=input.ndim == 2)
    return input


def dropout2d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Set whole channels to 0 with probability p and scale the rest.

    y[n,c,i,j] = x[n,c,i,j] / (1 - p) with probability 1 - p, one draw for all i and j, else 0

    Shapes: (N, C, H, W).  The first two dimensions count as N and C whatever follows them, so (C,
    H, W) is not unbatched, as in PyTorch.
    Paper: Tompson, Goroshin, Jain, LeCun, Bregler 2015.

    Raises:
        ArgumentError: p is not a probability.
        ShapeError: in training the input has less than two dimensions.
    """
    drops = _drops("dropout2d", input, p, training)
    return _without_channels("dropout2d", input, p, unbatched=False) if drops else input


def dropout3d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Set whole channels to 0 with probability p and scale the rest.

    y[n,c,h,i,j] = x[n,c,h,i,j] / (1 - p) with probability 1 - p, one draw for all h, i, j, else 0

    Shapes: (N, C, D, H, W) or (C, D, H, W).
    Paper: Tompson, Goroshin, Jain, LeCun, Bregler 2015.

    Raises:
        ArgumentError: p is not a probability.
    """
    drops = _drops("dropout3d", input, p, training)
    if drops:
        return _without_channels("dropout3d", input, p, unbatched=input.ndim != 5)
    return input


def alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """Set values to s with probability p, then scale and shift so that mean and variance stay.

    y[i] = a * (x[i] with probability 1 - p, else s) + b, s = -1.7580993

    s is what selu tends to at -infinity; a = ((1 - p) (1 + p s^2))^(-1/2) and b = -a p s keep mean
    0 and variance 1.  Note that `training` is False unless given, as in PyTorch.
    Paper: Klambauer, Unterthiner, Mayr, Hochreiter 2017.

    Raises:
        ArgumentError: p is not a probability.
        DTypeError: in training the input is not floating-point.
    """
    drops = _drops("alpha_dropout", input, p, training)
    return alpha_dropout_training(input, p) if drops else input


def feature_alpha_dropout(
    input: Any, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Any:
    """Set whole channels to s with probability p, so that mean and variance stay.

    y[n,c,..] = a * (x[n,c,..] with probability 1 - p, one draw a channel, else s) + b

    s, a and b are those of `alpha_dropout`.  Shapes: (N, C, ...).

    Raises:
        ArgumentError: p is not a probability.
        ShapeError: in training the input has less than two dimensions.
    """
    drops = _drops("feature_alpha_dropout", input, p, training)
    if drops:
        _check_channels("feature_alpha_dropout", input)
        return alpha_dropout_training(input, p, channels=True)
    return input


def _drops(op: str, input: Any, p: float, training: bool) -> bool:
    """Check the arguments, and say whether there is anything to do."""
    if not 0 <= p <= 1:
        raise ArgumentError(f"{op}: p must be in [0, 1], got {p}")
    if training and p > 0:
        check_floating(op, "input", input)
    return training and p > 0


def _check_channels(op: str, input: Any) -> None:
    if input.ndim < 2:
        raise ShapeError(f"{op}: input must be (N, C, ...), got shape {input.shape}")


def _without_channels(op: str, input: Any, p: float, unbatched: bool) -> Any:
    x = unsqueeze(input, 0) if unbatched else input
    _check_channels(op, x)
    y = dropout_training(x, p, channels=True)
    return squeeze(y, 0) if unbatched else y
