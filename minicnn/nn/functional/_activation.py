"""Activation functions: PyTorch's arguments and refusals; the formulas are in `minicnn.ops`.

`inplace` is accepted as in PyTorch; the result is always new.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import random
from minicnn.errors import ArgumentError, ShapeError
from minicnn.ops import activation, extremes
from minicnn.ops.indexing import dimension
from minicnn.ops.reduce import only_floating
from minicnn.ops.shape import chunk, reshape
from minicnn.tensor import Tensor, values_of
from minicnn_kernels.arrays import Array, drawn, filled

__all__ = [
    "celu", "elu", "gelu", "glu", "gumbel_softmax", "hardshrink", "hardsigmoid", "hardswish",
    "hardtanh", "leaky_relu", "log_softmax", "logsigmoid", "maxout", "mish", "prelu", "relu",
    "relu6", "rrelu", "selu", "sigmoid", "silu", "softmax", "softmin", "softplus", "softshrink",
    "softsign", "tanh", "tanhshrink", "threshold",
]  # fmt: skip

# --- bent lines -----------------------------------------------------------------------------------


def relu(input: Any, inplace: bool = False) -> Any:
    """Keep what is positive: Nair and Hinton 2010.

    y = max(x, 0)
    """
    return activation.relu(input)


def relu6(input: Any, inplace: bool = False) -> Any:
    """Keep what is positive, up to 6: Krizhevsky 2010.

    y = min(max(x, 0), 6)
    """
    return activation.hardtanh(input, 0.0, 6.0)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """Keep what is positive and a part of the rest: Maas, Hannun and Ng 2013.

    y = max(x, 0) + negative_slope * min(x, 0)
    """
    return activation.leaky_relu(input, negative_slope)


def prelu(input: Any, weight: Any) -> Any:
    """Keep what is positive and a learned part of the rest: He et al. 2015.

    y[n,c,i,j] = max(x[n,c,i,j], 0) + weight[c] * min(x[n,c,i,j], 0)

    `weight` holds one value, or one for each channel (dimension 1).

    Raises:
        ShapeError: `weight` is neither.
    """
    return activation.prelu(input, weight)


def rrelu(
    input: Any,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Any:
    """Keep what is positive and a random part of the rest: Xu et al. 2015.

    y = max(x, 0) + slope * min(x, 0)

    In training the global generator draws each slope from [lower, upper); in inference it is the
    mean of the two.

    Raises:
        ArgumentError: `lower` is above `upper`.
    """
    return activation.rrelu(input, lower, upper, training)


def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Any:
    """Replace what is not above the threshold.

    y = x if x > threshold else value
    """
    return activation.threshold(input, threshold, value)


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    """Cut off below and above; the gradient at the bounds is 0, other than that of `clamp`.

    y = min(max(x, min_val), max_val)

    Raises:
        ArgumentError: `min_val` is above `max_val`.
    """
    if min_val > max_val:
        raise ArgumentError(f"hardtanh: min_val={min_val} must not be above max_val={max_val}")
    return activation.hardtanh(input, min_val, max_val)


def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """Approximate the sigmoid by three lines.

    y = min(max(x + 3, 0), 6) / 6
    """
    return activation.hardsigmoid(input)


def hardswish(input: Any, inplace: bool = False) -> Any:
    """Approximate silu without exponentials: Howard et al. 2019 (MobileNetV3).

    y = x * min(max(x + 3, 0), 6) / 6
    """
    return activation.hardswish(input)


def hardshrink(input: Any, lambd: float = 0.5) -> Any:
    """Set what is small to 0.

    y = x if |x| > lambd else 0
    """
    return activation.hardshrink(input, lambd)


def softshrink(input: Any, lambd: float = 0.5) -> Any:
    """Move everything towards 0 by lambd, but not beyond.

    y = sign(x) * max(|x| - lambd, 0)

    Raises:
        ArgumentError: lambd is negative.
    """
    if not lambd >= 0:
        raise ArgumentError(f"softshrink: lambd must be at least 0, got {lambd}")
    return activation.softshrink(input, lambd)


# --- smooth ---------------------------------------------------------------------------------------


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """Let what is negative approach -alpha: Clevert, Unterthiner and Hochreiter 2015.

    y = max(x, 0) + alpha * (e^min(x, 0) - 1)
    """
    return activation.elu(input, alpha)


def selu(input: Any, inplace: bool = False) -> Any:
    """Return the ELU that keeps mean 0 and variance 1 from layer to layer: Klambauer et al. 2017.

    y = 1.0507 * (max(x, 0) + 1.6733 * (e^min(x, 0) - 1))
    """
    return activation.selu(input)


def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """Return an ELU whose slope is 1 on both sides of 0: Barron 2017.

    y = max(x, 0) + alpha * (e^(min(x, 0) / alpha) - 1)

    Raises:
        ArgumentError: alpha is 0.
    """
    return activation.celu(input, alpha)


def gelu(input: Any, approximate: str = "none") -> Any:
    """Weigh the input with the probability that a normal value is below it: Hendrycks, Gimpel 2016.

    y = x * (1 + erf(x / sqrt(2))) / 2

    With approximate="tanh" y = x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2.

    Raises:
        ArgumentError: `approximate` is neither "none" nor "tanh".
    """
    if approximate not in ("none", "tanh"):
        raise ArgumentError(f'gelu: approximate must be "none" or "tanh", got {approximate!r}')
    return activation.gelu(input) if approximate == "none" else activation.gelu_by_tanh(input)


def silu(input: Any, inplace: bool = False) -> Any:
    """Weigh the input with its sigmoid, also called swish: Elfwing, Uchibe and Doya 2017.

    y = x / (1 + e^-x)
    """
    return activation.silu(input)


def mish(input: Any, inplace: bool = False) -> Any:
    """Weigh the input with the tanh of its softplus: Misra 2019.

    y = x * tanh(ln(1 + e^x))
    """
    return activation.mish(input)


def sigmoid(input: Any) -> Any:
    """Squeeze everything into (0, 1).

    y = 1 / (1 + e^-x)
    """
    return activation.sigmoid(input)


def logsigmoid(input: Any) -> Any:
    """Return the logarithm of the sigmoid, exact where that is small too.

    y = -ln(1 + e^-x)
    """
    return activation.logsigmoid(input)


def tanh(input: Any) -> Any:
    """Squeeze everything into (-1, 1).

    y = (e^x - e^-x) / (e^x + e^-x)
    """
    return activation.tanh(input)


def tanhshrink(input: Any) -> Any:
    """Take the tanh away.

    y = x - tanh(x)
    """
    return activation.tanhshrink(input)


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """Round off the corner of relu: Dugas et al. 2001.

    y = ln(1 + e^(beta * x)) / beta

    Where beta * x is above the threshold, it is x itself.
    """
    return activation.softplus(input, beta, threshold)


def softsign(input: Any) -> Any:
    """Squeeze everything into (-1, 1), more slowly than tanh.

    y = x / (1 + |x|)
    """
    return activation.softsign(input)


# --- over several values --------------------------------------------------------------------------


def glu(input: Any, dim: int = -1) -> Any:
    """Let the second half of a dimension be the gate of the first: Dauphin et al. 2016.

    y[i] = x[i] / (1 + e^-x[i + n]) for i = 0 ... n - 1, of 2n values

    Raises:
        ShapeError: the dimension has no two halves.
        IndexOutOfRange: there is no such dimension.
    """
    along = dimension("glu", dim, input.ndim)
    if input.ndim == 0 or input.shape[along] % 2:
        raise ShapeError(f"glu: dimension {dim} of {input.shape} must have an even size to halve")
    value, gate = chunk(input, 2, along)
    return activation.gated(value, gate)


def maxout(input: Any, pieces: int, dim: int = 1) -> Any:
    """Return the largest of every `pieces` neighbouring channels: Goodfellow et al. 2013.

    y[n,c,i,j] = max_k x[n, c * pieces + k, i, j] for k = 0 ... pieces - 1

    A linear layer or a convolution with pieces * C outputs before it makes a maxout layer of C
    channels, each the largest of `pieces` functions; equal ones share the gradient.  PyTorch has
    no such function.

    >>> import minicnn
    >>> maxout(minicnn.tensor([[1.0, 5.0, -3.0, -2.0]]), 2)
    tensor([[ 5., -2.]])

    Raises:
        ShapeError: the size of the dimension is no multiple of `pieces`.
        IndexOutOfRange: there is no such dimension.
    """
    along = dimension("maxout", dim, input.ndim)
    if input.ndim == 0 or pieces < 1 or input.shape[along] % pieces:
        raise ShapeError(f"maxout: dimension {dim} of {input.shape} has no groups of {pieces}")
    before, after = input.shape[:along], input.shape[along + 1 :]
    groups = input.shape[along] // pieces
    return extremes.amax(reshape(input, (*before, groups, pieces, *after)), along + 1)


def softmax(input: Any, dim: int | None = None, *, dtype: Any = None) -> Any:
    """Turn values into probabilities along `dim`, computed in `dtype` if one is given.

    y[i] = e^x[i] / sum_j e^x[j]

    Raises:
        ArgumentError: no dimension is named; it is not guessed.
    """
    return activation.softmax(input, _named_dim("softmax", dim), dtype)


def softmin(input: Any, dim: int | None = None, *, dtype: Any = None) -> Any:
    """Turn values into probabilities, the highest for the lowest value.

    y[i] = e^-x[i] / sum_j e^-x[j]

    Raises:
        ArgumentError: no dimension is named; it is not guessed.
    """
    return activation.softmax(-input, _named_dim("softmin", dim), dtype)


def log_softmax(input: Any, dim: int | None = None, *, dtype: Any = None) -> Any:
    """Return the logarithm of `softmax`, exact where a probability is small too.

    y[i] = x[i] - ln sum_j e^x[j]

    Raises:
        ArgumentError: no dimension is named; it is not guessed.
    """
    return activation.log_softmax(input, _named_dim("log_softmax", dim), dtype)


def gumbel_softmax(logits: Any, tau: float = 1, hard: bool = False, *, dim: int = -1) -> Any:
    """Draw from a softmax so that gradients pass: Jang et al. 2016, Maddison et al. 2016.

    y[i] = softmax((logits[i] + g[i]) / tau) with g[i] = -ln(-ln u[i]), u[i] uniform in (0, 1)

    With `hard`, y is 1 for the largest and 0 for the others, and has the gradient of the above.
    """
    only_floating("gumbel_softmax", logits)

    def draw() -> Array:
        waiting = random.default.numpy_generator().standard_exponential(logits.shape)
        gumbels: Array = (-np.log(waiting)).astype(logits.dtype)
        return gumbels

    gumbels = drawn(values_of(logits), draw)
    soft = activation.softmax((logits + gumbels) / tau, dim)
    if not hard:
        return soft
    values = values_of(soft)
    largest = np.zeros_like(values)
    np.put_along_axis(largest, values.argmax(dim, keepdims=True), filled(values, 1), dim)
    return Tensor(largest - values) + soft


def _named_dim(op: str, dim: int | None) -> int:
    if dim is None:
        raise ArgumentError(f"{op}: name the dimension of the classes, as in {op}(x, dim=1)")
    return dim
