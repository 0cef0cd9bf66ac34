"""Pooling layers; their parameters are those of the function of the same name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minicnn.nn import functional as F
from minicnn.nn.module import Module
from minicnn_kernels.geometry import sides

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d", "AdaptiveMaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d", "LPPool1d",
    "LPPool2d", "LPPool3d", "MaxPool1d", "MaxPool2d", "MaxPool3d", "MaxUnpool1d", "MaxUnpool2d",
    "MaxUnpool3d", "MedianPool1d", "MedianPool2d", "MedianPool3d", "MinPool1d", "MinPool2d",
    "MinPool3d",
]  # fmt: skip


class _WindowPool(Module):
    """A pooling with the settings that all poolings over windows have."""

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


# --- maximum, minimum, median ---------------------------------------------------------------------


class _DilatedPool(_WindowPool):
    """A pooling whose windows may be dilated."""

    pool: Callable[..., Any]

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        self.dilation = dilation

    def forward(self, input: Any) -> Any:
        return self.pool(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode
        )

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, dilation={self.dilation}, ceil_mode={self.ceil_mode}"


class _MaxPool(_DilatedPool):
    """A maximum pooling, which may also return where the maxima lie."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, dilation, ceil_mode)
        self.return_indices = return_indices

    def forward(self, input: Any) -> Any:
        return self.pool(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode,
            self.return_indices,
        )  # fmt: skip


class MaxPool1d(_MaxPool):
    """y[n,c,i] = max_a x[n, c, i*s + a*d - p]."""

    pool = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPool):
    """y[n,c,i,j] = max_ab x[n, c, i*s + a*d - p, j*s + b*d - p]."""

    pool = staticmethod(F.max_pool2d)


class MaxPool3d(_MaxPool):
    """y[n,c,h,i,j] = max_eab x[n, c, h*s + e*d - p, i*s + a*d - p, j*s + b*d - p]."""

    pool = staticmethod(F.max_pool3d)


class MinPool1d(_DilatedPool):
    """y[n,c,i] = min_a x[n, c, i*s + a*d - p]."""

    pool = staticmethod(F.min_pool1d)


class MinPool2d(_DilatedPool):
    """y[n,c,i,j] = min_ab x[n, c, i*s + a*d - p, j*s + b*d - p]."""

    pool = staticmethod(F.min_pool2d)


class MinPool3d(_DilatedPool):
    """y[n,c,h,i,j] = min_eab x[n, c, h*s + e*d - p, i*s + a*d - p, j*s + b*d - p]."""

    pool = staticmethod(F.min_pool3d)


class _MedianPool(_WindowPool):
    """A median pooling."""

    pool: Callable[..., Any]

    def forward(self, input: Any) -> Any:
        return self.pool(input, self.kernel_size, self.stride, self.padding, self.ceil_mode)


class MedianPool1d(_MedianPool):
    """y[n,c,i] = median_a x[n, c, i*s + a - p]."""

    pool = staticmethod(F.median_pool1d)


class MedianPool2d(_MedianPool):
    """y[n,c,i,j] = median_ab x[n, c, i*s + a - p, j*s + b - p]."""

    pool = staticmethod(F.median_pool2d)


class MedianPool3d(_MedianPool):
    """y[n,c,h,i,j] = median_eab x[n, c, h*s + e - p, i*s + a - p, j*s + b - p]."""

    pool = staticmethod(F.median_pool3d)


class _MaxUnpool(Module):
    """The partial inverse of a maximum pooling."""

    ndim: int
    pool: Callable[..., Any]

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        name = type(self).__name__
        self.kernel_size = sides(kernel_size, self.ndim, f"{name}: kernel_size", 1)
        steps = kernel_size if stride is None else stride
        self.stride = sides(steps, self.ndim, f"{name}: stride", 1)
        self.padding = sides(padding, self.ndim, f"{name}: padding")

    def forward(self, input: Any, indices: Any, output_size: Any = None) -> Any:
        return self.pool(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """y[n, c, indices[n,c,i]] = x[n,c,i], and 0 elsewhere."""

    ndim = 1
    pool = staticmethod(F.max_unpool1d)


class MaxUnpool2d(_MaxUnpool):
    """y[n, c, indices[n,c,i,j]] = x[n,c,i,j], and 0 elsewhere."""

    ndim = 2
    pool = staticmethod(F.max_unpool2d)


class MaxUnpool3d(_MaxUnpool):
    """y[n, c, indices[n,c,h,i,j]] = x[n,c,h,i,j], and 0 elsewhere."""

    ndim = 3
    pool = staticmethod(F.max_unpool3d)


# --- mean and power mean --------------------------------------------------------------------------


class AvgPool1d(Module):
    """y[n,c,i] = mean_a x[n, c, i*s + a - p]."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = sides(kernel_size, 1, "AvgPool1d: kernel_size", 1)
        self.stride = sides(kernel_size if stride is None else stride, 1, "AvgPool1d: stride", 1)
        self.padding = sides(padding, 1, "AvgPool1d: padding")
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, input: Any) -> Any:
        return F.avg_pool1d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
            self.count_include_pad,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AvgPool(_WindowPool):
    """A mean pooling, whose divisor may be given."""

    pool: Callable[..., Any]

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, input: Any) -> Any:
        return self.pool(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
            self.count_include_pad, self.divisor_override,
        )  # fmt: skip


class AvgPool2d(_AvgPool):
    """y[n,c,i,j] = mean_ab x[n, c, i*s + a - p, j*s + b - p]."""

    pool = staticmethod(F.avg_pool2d)


class AvgPool3d(_AvgPool):
    """y[n,c,h,i,j] = mean_eab x[n, c, h*s + e - p, i*s + a - p, j*s + b - p]."""

    pool = staticmethod(F.avg_pool3d)


class _LPPool(Module):
    """A power mean pooling."""

    pool: Callable[..., Any]

    def __init__(
        self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.norm_type, self.kernel_size = norm_type, kernel_size
        self.stride, self.ceil_mode = stride, ceil_mode

    def forward(self, input: Any) -> Any:
        return self.pool(input, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """y[n,c,i] = (sum_a x[n, c, i*s + a]^p)^(1/p), p = norm_type."""

    pool = staticmethod(F.lp_pool1d)


class LPPool2d(_LPPool):
    """y[n,c,i,j] = (sum_ab x[n, c, i*s + a, j*s + b]^p)^(1/p), p = norm_type."""

    pool = staticmethod(F.lp_pool2d)


class LPPool3d(_LPPool):
    """y[n,c,h,i,j] = (sum_eab x[n, c, h*s + e, i*s + a, j*s + b]^p)^(1/p), p = norm_type."""

    pool = staticmethod(F.lp_pool3d)


# --- to a given size ------------------------------------------------------------------------------


class _AdaptivePool(Module):
    """A pooling to a given size."""

    pool: Callable[..., Any]

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Any) -> Any:
        return self.pool(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptivePool):
    """Average a sequence to a given length, whatever its own."""

    pool = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptivePool):
    """Average to a given size, whatever the size of the image; 1 pools globally."""

    pool = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptivePool):
    """Average to a given size, whatever the size of the volume."""

    pool = staticmethod(F.adaptive_avg_pool3d)


class _AdaptiveMaxPool(_AdaptivePool):
    """A maximum pooling to a given size, which may also return where the maxima lie."""

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input: Any) -> Any:
        return self.pool(input, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Take maxima of a given number of bins of a sequence."""

    pool = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Take maxima of a given number of bins of the image; 1 pools globally."""

    pool = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """Take maxima of a given number of bins of the volume."""

    pool = staticmethod(F.adaptive_max_pool3d)
