"""Convolution, and windows as columns."""

from __future__ import annotations

from typing import Any

from minicnn import factories
from minicnn.errors import ArgumentError
from minicnn.nn import functional as F
from minicnn.nn import init
from minicnn.nn.module import Module
from minicnn.nn.parameter import Parameter
from minicnn_kernels.geometry import sides

__all__ = ["Conv2d"]


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
        self.kernel_size = sides(kernel_size, 2, "Conv2d: kernel_size", 1)
        self.stride = sides(stride, 2, "Conv2d: stride", 1)
        self.padding = padding if isinstance(padding, str) else sides(padding, 2, "Conv2d: padding")
        self.dilation, self.groups = sides(dilation, 2, "Conv2d: dilation", 1), groups
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = Parameter(factories.zeros(shape))
        self.register_parameter("bias", Parameter(factories.zeros(out_channels)) if bias else None)
        init.fill_layer_(self.weight, self.bias)

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
