"""Activation functions as layers; the functions in `nn.functional` say what each computes.

`inplace` is accepted as in PyTorch; the result is always new.
"""

from __future__ import annotations

from typing import Any

from minicnn import factories
from minicnn.errors import ArgumentError, ShapeError
from minicnn.nn import functional as F
from minicnn.nn.module import Module
from minicnn.nn.parameter import Parameter

__all__ = [
    "CELU", "ELU", "GELU", "GLU", "SELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh",
    "LeakyReLU", "LogSigmoid", "LogSoftmax", "Maxout", "Mish", "PReLU", "RReLU", "ReLU", "ReLU6",
    "SiLU", "Sigmoid", "Softmax", "Softmax2d", "Softmin", "Softplus", "Softshrink", "Softsign",
    "Tanh", "Tanhshrink", "Threshold",
]  # fmt: skip


class _MaybeInPlace(Module):
    """What has the setting `inplace`, and shows it where it differs from the default."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        settings = self.settings()
        return ", ".join([*settings, "inplace=True"] if self.inplace else settings)

    def settings(self) -> list[str]:
        """Name the other settings."""
        return []


# --- bent lines -----------------------------------------------------------------------------------


class ReLU(_MaybeInPlace):
    """y = max(x, 0)."""

    def forward(self, x: Any) -> Any:
        return F.relu(x)


class LeakyReLU(_MaybeInPlace):
    """y = max(x, 0) + negative_slope * min(x, 0)."""

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Any:
        return F.leaky_relu(x, self.negative_slope)

    def settings(self) -> list[str]:
        return [f"negative_slope={self.negative_slope}"]


class PReLU(Module):
    """y[n,c,i,j] = max(x[n,c,i,j], 0) + weight[c] * min(x[n,c,i,j], 0).

    The weight is learned: one for all channels, or one for each of `num_parameters`.
    """

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.num_parameters, self.init = num_parameters, init
        self.weight = Parameter(factories.zeros(num_parameters))
        self.reset_parameters()
        self.to(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Set every weight to its first value."""
        self.weight.array.fill(self.init)

    def forward(self, x: Any) -> Any:
        return F.prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class RReLU(_MaybeInPlace):
    """y = max(x, 0) + slope * min(x, 0), where in training every slope is drawn at random.

    In evaluation it is the mean of `lower` and `upper`.
    """

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.lower, self.upper = lower, upper

    def forward(self, x: Any) -> Any:
        return F.rrelu(x, self.lower, self.upper, self.training)

    def settings(self) -> list[str]:
        return [f"lower={self.lower}", f"upper={self.upper}"]


class Threshold(_MaybeInPlace):
    """y = x if x > threshold else value."""

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.threshold, self.value = threshold, value

    def forward(self, x: Any) -> Any:
        return F.threshold(x, self.threshold, self.value)

    def settings(self) -> list[str]:
        return [f"threshold={self.threshold}", f"value={self.value}"]


class Hardtanh(_MaybeInPlace):
    """y = min(max(x, min_val), max_val)."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        if not max_val > min_val:
            raise ArgumentError(f"Hardtanh: max_val={max_val} must be above min_val={min_val}")
        self.min_val, self.max_val = min_val, max_val

    def forward(self, x: Any) -> Any:
        return F.hardtanh(x, self.min_val, self.max_val)

    def settings(self) -> list[str]:
        return [f"min_val={self.min_val}", f"max_val={self.max_val}"]


class ReLU6(Hardtanh):
    """y = min(max(x, 0), 6)."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def settings(self) -> list[str]:
        return []


class Hardsigmoid(Module):
    """y = min(max(x + 3, 0), 6) / 6."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Any) -> Any:
        return F.hardsigmoid(x)


class Hardswish(Module):
    """y = x * min(max(x + 3, 0), 6) / 6."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Any) -> Any:
        return F.hardswish(x)


class Hardshrink(Module):
    """y = x if |x| > lambd else 0."""

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, x: Any) -> Any:
        return F.hardshrink(x, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class Softshrink(Module):
    """y = sign(x) * max(|x| - lambd, 0)."""

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, x: Any) -> Any:
        return F.softshrink(x, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


# --- smooth ---------------------------------------------------------------------------------------


class ELU(_MaybeInPlace):
    """y = max(x, 0) + alpha * (e^min(x, 0) - 1)."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = alpha

    def forward(self, x: Any) -> Any:
        return F.elu(x, self.alpha)

    def settings(self) -> list[str]:
        return [f"alpha={self.alpha}"]


class CELU(ELU):
    """y = max(x, 0) + alpha * (e^(min(x, 0) / alpha) - 1)."""

    def forward(self, x: Any) -> Any:
        return F.celu(x, self.alpha)


class SELU(_MaybeInPlace):
    """y = 1.0507 * (max(x, 0) + 1.6733 * (e^min(x, 0) - 1))."""

    def forward(self, x: Any) -> Any:
        return F.selu(x)


class GELU(Module):
    """y = x * (1 + erf(x / sqrt(2))) / 2, or with approximate="tanh" nearly so."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, x: Any) -> Any:
        return F.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(_MaybeInPlace):
    """y = x / (1 + e^-x)."""

    def forward(self, x: Any) -> Any:
        return F.silu(x)


class Mish(_MaybeInPlace):
    """y = x * tanh(ln(1 + e^x))."""

    def forward(self, x: Any) -> Any:
        return F.mish(x)


class Sigmoid(Module):
    """y = 1 / (1 + e^-x)."""

    def forward(self, x: Any) -> Any:
        return F.sigmoid(x)


class LogSigmoid(Module):
    """y = -ln(1 + e^-x)."""

    def forward(self, x: Any) -> Any:
        return F.logsigmoid(x)


class Tanh(Module):
    """y = (e^x - e^-x) / (e^x + e^-x)."""

    def forward(self, x: Any) -> Any:
        return F.tanh(x)


class Tanhshrink(Module):
    """y = x - tanh(x)."""

    def forward(self, x: Any) -> Any:
        return F.tanhshrink(x)


class Softplus(Module):
    """y = ln(1 + e^(beta * x)) / beta; x itself where beta * x > threshold."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta, self.threshold = beta, threshold

    def forward(self, x: Any) -> Any:
        return F.softplus(x, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Softsign(Module):
    """y = x / (1 + |x|)."""

    def forward(self, x: Any) -> Any:
        return F.softsign(x)


# --- over several values --------------------------------------------------------------------------


class _Along(Module):
    """What works along one dimension."""

    def __init__(self, dim: Any = None) -> None:
        super().__init__()
        self.dim = dim

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class GLU(_Along):
    """y[i] = x[i] / (1 + e^-x[i + n]) for i = 0 ... n - 1, of 2n values along a dimension."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__(dim)

    def forward(self, x: Any) -> Any:
        return F.glu(x, self.dim)


class Maxout(Module):
    """y[n,c,i,j] = max_k x[n, c * pieces + k, i, j]: the largest of neighbouring channels.

    PyTorch has no such layer.  Paper: Goodfellow et al. 2013, "Maxout networks".
    """

    def __init__(self, pieces: int, dim: int = 1) -> None:
        super().__init__()
        self.pieces, self.dim = pieces, dim

    def forward(self, x: Any) -> Any:
        return F.maxout(x, self.pieces, self.dim)

    def extra_repr(self) -> str:
        return f"pieces={self.pieces}, dim={self.dim}"


class Softmax(_Along):
    """y[i] = e^x[i] / sum_j e^x[j] along a dimension, which must be named."""

    def forward(self, x: Any) -> Any:
        return F.softmax(x, self.dim)


class Softmin(_Along):
    """y[i] = e^-x[i] / sum_j e^-x[j] along a dimension, which must be named."""

    def forward(self, x: Any) -> Any:
        return F.softmin(x, self.dim)


class LogSoftmax(_Along):
    """y[i] = x[i] - ln sum_j e^x[j] along a dimension, which must be named."""

    def forward(self, x: Any) -> Any:
        return F.log_softmax(x, self.dim)


class Softmax2d(Module):
    """y[n,c,i,j] = e^x[n,c,i,j] / sum_k e^x[n,k,i,j]: the softmax of each pixel's channels."""

    def forward(self, x: Any) -> Any:
        if x.ndim not in (3, 4):
            raise ShapeError(f"Softmax2d: input must be (N, C, H, W) or (C, H, W), got {x.shape}")
        return F.softmax(x, -3)
