"""Layers: an operation together with the parameters and settings it is called with."""

from __future__ import annotations

from math import sqrt
from typing import Any

from minicnn import factories
from minicnn.errors import ArgumentError, ShapeError
from minicnn.nn import functional as F
from minicnn.nn import init
from minicnn.nn.module import Module
from minicnn.nn.parameter import Parameter
from minicnn.ops.shape import flatten
from minicnn_kernels.geometry import pair


def _first_values(weight: Parameter, bias: Parameter | None) -> None:
    """Fill as PyTorch does: both uniform in [-b, b], b = 1 / sqrt(fan_in)."""
    init.kaiming_uniform_(weight, a=sqrt(5))
    if bias is not None:
        bound = 1 / sqrt(init.fans(weight)[0]) if weight.array.size else 0.0
        init.uniform_(bias, -bound, bound)


class Linear(Module):
    """y[..,o] = sum_i x[..,i] * weight[o,i] + bias[o].

    Shapes: (..., in_features) to (..., out_features).
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(factories.zeros(out_features, in_features))
        self.register_parameter("bias", Parameter(factories.zeros(out_features)) if bias else None)
        _first_values(self.weight, self.bias)

    def forward(self, x: Any) -> Any:
        """Return x @ weight.T + bias."""
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Name the sizes."""
        bias = self.bias is not None
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={bias}"


class Conv2d(Module):
    """y[n,o,i,j] = bias[o] + sum_cab x[n, c, i*s + a*d - p, j*s + b*d - p] * weight[o,c,a,b].

    Shapes: (N, in_channels, H, W) to (N, out_channels, OH, OW).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ArgumentError(
                f"Conv2d: in_channels={in_channels} and out_channels={out_channels} must be "
                f"multiples of groups={groups}"
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = pair(kernel_size, "Conv2d: kernel_size", 1)
        self.stride = pair(stride, "Conv2d: stride", 1)
        self.padding = padding if isinstance(padding, str) else pair(padding, "Conv2d: padding")
        self.dilation, self.groups = pair(dilation, "Conv2d: dilation", 1), groups
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = Parameter(factories.zeros(shape))
        self.register_parameter("bias", Parameter(factories.zeros(out_channels)) if bias else None)
        _first_values(self.weight, self.bias)

    def forward(self, x: Any) -> Any:
        """Correlate x with the filters."""
        return F.conv2d(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )

    def extra_repr(self) -> str:
        """Name the sizes, and the settings that differ from the defaults."""
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        for name, default in (("padding", (0, 0)), ("dilation", (1, 1)), ("groups", 1)):
            value = getattr(self, name)
            text += f", {name}={value}" if value != default else ""
        return text if self.bias is not None else f"{text}, bias=False"


class MaxPool2d(Module):
    """y[n,c,i,j] = max_ab x[n, c, i*s + a*d - p, j*s + b*d - p]."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode

    def forward(self, x: Any) -> Any:
        """Return the maximum of each window."""
        return F.max_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode
        )

    def extra_repr(self) -> str:
        """Name the settings."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class AvgPool2d(Module):
    """y[n,c,i,j] = mean_ab x[n, c, i*s + a - p, j*s + b - p]."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, x: Any) -> Any:
        """Return the mean of each window."""
        return F.avg_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.ceil_mode,
            self.count_include_pad, self.divisor_override,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """Name the settings."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool2d(Module):
    """Average to a given size, whatever the size of the image."""

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, x: Any) -> Any:
        """Return the mean of each bin."""
        return F.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        """Name the size."""
        return f"output_size={self.output_size}"


class BatchNorm2d(Module):
    """y[n,c,i,j] = weight[c] * (x[n,c,i,j] - mean[c]) / sqrt(var[c] + eps) + bias[c].

    In training mean and var are the batch's, and the running averages move towards them; in
    evaluation they are the running averages.  momentum=None: average over all batches so far.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.register_parameter(
            "weight", Parameter(factories.ones(num_features)) if affine else None
        )
        self.register_parameter(
            "bias", Parameter(factories.zeros(num_features)) if affine else None
        )
        tracked = track_running_stats
        self.register_buffer("running_mean", factories.zeros(num_features) if tracked else None)
        self.register_buffer("running_var", factories.ones(num_features) if tracked else None)
        counter = factories.zeros((), dtype="int64") if tracked else None
        self.register_buffer("num_batches_tracked", counter)

    def forward(self, x: Any) -> Any:
        """Normalise each channel."""
        if x.ndim != 4:
            raise ShapeError(f"BatchNorm2d: input must be (N, C, H, W), got shape {x.shape}")
        counted = self.training and self.num_batches_tracked is not None
        batches = self.num_batches_tracked.item() + 1 if counted else 1
        momentum = 1 / batches if self.momentum is None else self.momentum
        y = F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or not self.track_running_stats, momentum, self.eps,
        )  # fmt: skip
        if counted:
            self.num_batches_tracked.copy_(batches)
        return y

    def extra_repr(self) -> str:
        """Name the settings."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class Dropout(Module):
    """In training set each value to 0 with probability p and scale the rest by 1 / (1 - p).

    `inplace` is accepted as in PyTorch; the result is always new.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ArgumentError(f"Dropout: p must be in [0, 1], got {p}")
        self.p, self.inplace = p, inplace

    def forward(self, x: Any) -> Any:
        """Drop in training; return x itself in evaluation."""
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        """Name the probability."""
        return f"p={self.p}, inplace={self.inplace}"


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


class CrossEntropyLoss(Module):
    """The mean of -ln softmax(input)[n, target[n]]; see `functional.cross_entropy`."""

    def __init__(
        self,
        weight: Any = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.settings = (ignore_index, reduction, label_smoothing)

    def forward(self, input: Any, target: Any) -> Any:
        """Return the loss."""
        return F.cross_entropy(input, target, self.weight, *self.settings)


class NLLLoss(Module):
    """The mean of -input[n, target[n]] over log-probabilities; see `functional.nll_loss`."""

    def __init__(
        self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.settings = (ignore_index, reduction)

    def forward(self, input: Any, target: Any) -> Any:
        """Return the loss."""
        return F.nll_loss(input, target, self.weight, *self.settings)


class MSELoss(Module):
    """The mean of (input[i] - target[i])^2."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Any:
        """Return the loss."""
        return F.mse_loss(input, target, self.reduction)
