"""Convolution and its transpose, and windows as columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from minicnn import factories
from minicnn.errors import ArgumentError, DTypeError
from minicnn.nn import functional as F
from minicnn.nn import init
from minicnn.nn.functional._checks import batched
from minicnn.nn.module import Module
from minicnn.nn.parameter import Parameter
from minicnn_kernels.geometry import Sides, same_padding, sides, transposed_size
from minicnn_kernels.registry import check_names, use_algorithms

__all__ = [
    "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "Fold",
    "Unfold",
]  # fmt: skip

Algorithm = str | Mapping[str, str] | None

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _Filters(Module):
    """What a convolution and its transpose share: sizes, settings and parameters.

    A transposed convolution has its channels the other way round: weight is
    (in_channels, out_channels/groups, ...), that of the convolution whose adjoint it is.
    """

    ndim = 2
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        output_padding: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: str | None,
        dtype: Any,
        algorithm: Algorithm,
    ) -> None:
        super().__init__()
        kind = type(self).__name__
        (groups,) = sides(groups, 1, f"{kind}: groups", 1)
        if in_channels % groups or out_channels % groups:
            raise ArgumentError(
                f"{kind}: in_channels={in_channels} and out_channels={out_channels} must be "
                f"multiples of groups={groups}"
            )
        if padding_mode not in PADDING_MODES:
            raise ArgumentError(
                f"{kind}: padding_mode must be one of {PADDING_MODES}, got {padding_mode!r}"
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = sides(kernel_size, self.ndim, f"{kind}: kernel_size", 1)
        self.stride = sides(stride, self.ndim, f"{kind}: stride", 1)
        self.padding: Any = (
            padding if isinstance(padding, str) else sides(padding, self.ndim, f"{kind}: padding")
        )
        self.dilation = sides(dilation, self.ndim, f"{kind}: dilation", 1)
        self.output_padding = sides(output_padding, self.ndim, f"{kind}: output_padding")
        self.groups, self.padding_mode = groups, padding_mode
        self.algorithm = algorithm
        check_names(self._names())
        ends = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        shape = (ends[0], ends[1] // groups, *self.kernel_size)
        self.weight = Parameter(factories.zeros(shape))
        self.register_parameter("bias", Parameter(factories.zeros(out_channels)) if bias else None)
        init.fill_layer_(self.weight, self.bias)
        self.to(device=device, dtype=dtype)

    def _names(self) -> dict[str, str]:
        """Return which algorithms are to compute the layer and its gradients, by kernel."""
        if isinstance(self.algorithm, str):
            return dict.fromkeys(("conv", "conv_input", "conv_weight"), self.algorithm)
        return dict(self.algorithm or {})

    def _computed(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function with the algorithms of this layer."""
        if self.algorithm is None:
            return function(*arguments)
        with use_algorithms(**self._names()):
            return function(*arguments)

    def extra_repr(self) -> str:
        """Name the sizes, and the settings that differ from the defaults."""
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        zeros, ones = (0,) * self.ndim, (1,) * self.ndim
        defaults = {"padding": zeros, "dilation": ones, "output_padding": zeros, "groups": 1}
        for name, default in defaults.items():
            value = getattr(self, name)
            text += f", {name}={value}" if value != default else ""
        text += ", bias=False" if self.bias is None else ""
        text += "" if self.padding_mode == "zeros" else f", padding_mode={self.padding_mode}"
        return text + (f", algorithm={self.algorithm!r}" if self.algorithm else "")


# --- convolution ----------------------------------------------------------------------------------


class _Conv(_Filters):
    """A convolution; how many sides an image has is all in which Conv1d, 2d and 3d differ."""

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
        padding_mode: str = "zeros",
        device: str | None = None,
        dtype: Any = None,
        *,
        algorithm: Algorithm = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias,
            padding_mode, device, dtype, algorithm,
        )  # fmt: skip
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ArgumentError(
                f'{type(self).__name__}: padding must be a number, "same" or "valid", '
                f"got {padding!r}"
            )
        if padding == "same" and max(self.stride) > 1:
            raise ArgumentError(
                f'{type(self).__name__}: padding="same" needs stride 1, got {self.stride}'
            )

    def forward(self, x: Any) -> Any:
        """Correlate x with the filters."""
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            x, padding = F.pad(x, self._border(), mode=self.padding_mode), 0
        convolve = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[self.ndim]
        return self._computed(
            convolve, x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )

    def _border(self) -> Sides:
        """Return the padding as `F.pad` takes it: (before, after) for each side, the last first."""
        if self.padding == "same":
            widths = same_padding(self.kernel_size, self.dilation)
        elif self.padding == "valid":
            widths = ((0, 0),) * self.ndim
        else:
            widths = tuple((p, p) for p in self.padding)
        return tuple(width for pair in reversed(widths) for width in pair)


class Conv1d(_Conv):
    """y[n,o,i] = bias[o] + sum_ca x[n, c, i*s + a*d - p] * weight[o,c,a].

    Shapes: (N, in_channels, L) to (N, out_channels, OL); see `minicnn.nn.functional.conv1d`.
    """

    ndim = 1


class Conv2d(_Conv):
    """y[n,o,i,j] = bias[o] + sum_cab x[n, c, i*s + a*d - p, j*s + b*d - p] * weight[o,c,a,b].

    Shapes: (N, in_channels, H, W) to (N, out_channels, OH, OW); see
    `minicnn.nn.functional.conv2d`.

    A depthwise separable convolution is one filter per channel, then a mixture of the channels:

    >>> from minicnn import nn
    >>> nn.Sequential(nn.Conv2d(32, 32, 3, padding=1, groups=32), nn.Conv2d(32, 64, 1))
    Sequential(
      (0): Conv2d(32, 32, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), groups=32)
      (1): Conv2d(32, 64, kernel_size=(1, 1), stride=(1, 1))
    )

    Args:
        padding_mode: what lies around the image: "zeros", "reflect", "replicate" or "circular".
        algorithm: what computes this layer and both its gradients, as "winograd4" or "im2col",
            or, by kernel, {"conv": .., "conv_input": .., "conv_weight": ..}; None: what
            `minicnn_kernels` chooses.  It may be changed later: `layer.algorithm = ...`.

    Raises:
        ArgumentError: groups that do not divide the channels, an unknown padding or mode.
        AlgorithmError: there is no such algorithm; in use: it does not serve the layer's input.
        ShapeError, DTypeError: a setting that is no integer for each side, or too small.
    """

    ndim = 2


class Conv3d(_Conv):
    """y[n,o,i,j,k] = bias[o] + sum_cabe x[n, c, i*s + a*d - p, ...] * weight[o,c,a,b,e].

    Shapes: (N, in_channels, D, H, W) to (N, out_channels, OD, OH, OW); see
    `minicnn.nn.functional.conv3d`.
    """

    ndim = 3


# --- transposed convolution -----------------------------------------------------------------------


class _ConvTranspose(_Filters):
    """A transposed convolution over any number of sides."""

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: str | None = None,
        dtype: Any = None,
        *,
        algorithm: Algorithm = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ArgumentError(
                f'{type(self).__name__}: padding_mode must be "zeros", got {padding_mode!r}'
            )
        border = sides(padding, self.ndim, f"{type(self).__name__}: padding")
        super().__init__(
            in_channels, out_channels, kernel_size, stride, border, dilation, output_padding,
            groups, bias, padding_mode, device, dtype, algorithm,
        )  # fmt: skip

    def forward(self, x: Any, output_size: Any = None) -> Any:
        """Spread x with the filters; `output_size` chooses among the sizes that are possible.

        Raises:
            ArgumentError: `output_size` is out of range, or not one integer for each side.
        """
        extra = self.output_padding if output_size is None else self._beyond(x, output_size)
        spread = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}[self.ndim]
        return self._computed(
            spread, x, self.weight, self.bias, self.stride, self.padding, extra, self.groups,
            self.dilation,
        )  # fmt: skip

    def _beyond(self, x: Any, output_size: Any) -> Sides:
        """Return by how much `output_size` is larger than the smallest result for x."""
        kind = type(self).__name__
        batched(kind, x, self.ndim)
        if not hasattr(output_size, "__len__"):
            raise DTypeError(f"{kind}: output_size must be a sequence, got {output_size!r}")
        if len(output_size) not in (self.ndim, x.ndim):
            raise ArgumentError(
                f"{kind}: output_size must have {self.ndim} or {x.ndim} numbers for an input of "
                f"shape {x.shape}, got {output_size!r}"
            )
        wanted = tuple(output_size)[-self.ndim :]
        settings = (self.kernel_size, self.stride, self.padding, self.dilation)
        geometry = zip(x.shape[-self.ndim :], *settings, strict=True)
        smallest = tuple(transposed_size(*side) for side in geometry)
        extra = tuple(n - least for n, least in zip(wanted, smallest, strict=True))
        if any(not 0 <= n < step for n, step in zip(extra, self.stride, strict=True)):
            largest = tuple(n + s - 1 for n, s in zip(smallest, self.stride, strict=True))
            raise ArgumentError(
                f"{kind}: output_size must lie between {smallest} and {largest} for an input of "
                f"shape {x.shape}, got {output_size!r}"
            )
        return extra


class ConvTranspose1d(_ConvTranspose):
    """y[n, o, i*s + a*d - p] += x[n,c,i] * weight[c,o,a], and + bias[o].

    Shapes: (N, in_channels, L) to (N, out_channels, OL); see
    `minicnn.nn.functional.conv_transpose1d`.
    """

    ndim = 1


class ConvTranspose2d(_ConvTranspose):
    """y[n, o, i*s + a*d - p, j*s + b*d - p] += x[n,c,i,j] * weight[c,o,a,b], and + bias[o].

    Shapes: (N, in_channels, H, W) to (N, out_channels, OH, OW); see
    `minicnn.nn.functional.conv_transpose2d`.  Called with `output_size` it gives back the size
    from which a convolution with the same settings came:

    >>> import minicnn
    >>> from minicnn import nn
    >>> x = minicnn.zeros(1, 2, 12, 11)
    >>> down, up = nn.Conv2d(2, 3, 3, stride=2), nn.ConvTranspose2d(3, 2, 3, stride=2)
    >>> down(x).shape, up(down(x)).shape, up(down(x), output_size=x.shape).shape
    ((1, 3, 5, 5), (1, 2, 11, 11), (1, 2, 12, 11))
    """

    ndim = 2


class ConvTranspose3d(_ConvTranspose):
    """y[n, o, i*s + a*d - p, ...] += x[n,c,i,j,k] * weight[c,o,a,b,e], and + bias[o].

    Shapes: (N, in_channels, D, H, W) to (N, out_channels, OD, OH, OW); see
    `minicnn.nn.functional.conv_transpose3d`.
    """

    ndim = 3


# --- windows as columns ---------------------------------------------------------------------------


class Unfold(Module):
    """y[n, c*KH*KW + a*KW + b, i*OW + j] = x[n, c, i*s + a*d - p, j*s + b*d - p].

    Shapes: (N, C, H, W) to (N, C*KH*KW, OH*OW); see `minicnn.nn.functional.unfold`.
    """

    def __init__(
        self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
    ) -> None:
        super().__init__()
        self.kernel_size, self.dilation = kernel_size, dilation
        self.padding, self.stride = padding, stride

    def forward(self, x: Any) -> Any:
        """Copy the windows of x side by side."""
        return F.unfold(x, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        """Name the settings."""
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )


class Fold(Module):
    """y[n, c, i*s + a*d - p, j*s + b*d - p] += x[n, c*KH*KW + a*KW + b, i*OW + j].

    Shapes: (N, C*KH*KW, OH*OW) to (N, C, *output_size); see `minicnn.nn.functional.fold`.
    """

    def __init__(
        self,
        output_size: Any,
        kernel_size: Any,
        dilation: Any = 1,
        padding: Any = 0,
        stride: Any = 1,
    ) -> None:
        super().__init__()
        self.output_size, self.kernel_size, self.dilation = output_size, kernel_size, dilation
        self.padding, self.stride = padding, stride

    def forward(self, x: Any) -> Any:
        """Add the windows up where they came from."""
        return F.fold(
            x, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride
        )

    def extra_repr(self) -> str:
        """Name the settings."""
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, "
            f"dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
        )
