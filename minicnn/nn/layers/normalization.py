"""Normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minicnn import factories
from minicnn.errors import ArgumentError, ShapeError
from minicnn.nn import functional as F
from minicnn.nn.module import Module
from minicnn.nn.parameter import Parameter
from minicnn.ops.shape import squeeze, unsqueeze

__all__ = [
    "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "GroupNorm", "InstanceNorm1d", "InstanceNorm2d",
    "InstanceNorm3d", "LayerNorm", "LocalResponseNorm", "RMSNorm",
]  # fmt: skip


class _Affine(Module):
    """A layer that may learn a scale, which begins as 1, and a shift, which begins as 0."""

    def _make_parameters(self, shape: tuple[int, ...], weight: bool, bias: bool) -> None:
        for name, wanted in (("weight", weight), ("bias", weight and bias)):
            self.register_parameter(name, Parameter(factories.zeros(*shape)) if wanted else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set weight to 1 and bias to 0."""
        for parameter, value in ((self.weight, 1), (self.bias, 0)):
            if parameter is not None:
                parameter.detach().fill_(value)


# --- channels, with running statistics ------------------------------------------------------------


class _RunningNorm(_Affine):
    """What batch and instance normalisation share: a scale, a shift and statistics per channel."""

    layouts: tuple[str, ...]  # what the input's dimensions may be

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        bias: bool,
        device: str | None,
        dtype: Any,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        tracked = track_running_stats
        self.register_buffer("running_mean", factories.zeros(num_features) if tracked else None)
        self.register_buffer("running_var", factories.ones(num_features) if tracked else None)
        counter = factories.zeros((), dtype="int64") if tracked else None
        self.register_buffer("num_batches_tracked", counter)
        self._make_parameters((num_features,), affine, bias)
        self.to(device=device, dtype=dtype)

    def reset_running_stats(self) -> None:
        """Forget all batches: mean 0, variance 1."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Set weight to 1 and bias to 0, and forget all batches."""
        self.reset_running_stats()
        super().reset_parameters()

    def _check_dimensions(self, x: Any) -> None:
        if x.ndim not in (len(layout.split(", ")) for layout in self.layouts):
            layouts = " or ".join(f"({layout})" for layout in self.layouts)
            raise ShapeError(f"{type(self).__name__}: input must be {layouts}, got shape {x.shape}")

    def extra_repr(self) -> str:
        """Name the settings."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_RunningNorm):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: str | None = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, bias, device, dtype
        )

    def forward(self, x: Any, *, add: Any = None, relu: bool = False) -> Any:
        """Normalise each channel, add a tensor of x's shape, and rectify, in one pass."""
        self._check_dimensions(x)
        counted = self.training and self.num_batches_tracked is not None
        momentum = self.momentum
        if momentum is None:
            momentum = 1 / (self.num_batches_tracked.item() + 1) if counted else 1.0
        y = F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or self.running_mean is None, momentum, self.eps, add=add, relu=relu,
        )  # fmt: skip
        if counted:
            batches = self.num_batches_tracked
            batches += 1  # in place, on a card without a look at it
        return y


class BatchNorm1d(_BatchNorm):
    """y[n,c,i] = weight[c] * (x[n,c,i] - mean[c]) / sqrt(var[c] + eps) + bias[c].

    In training mean and var are the batch's, and the running averages move towards them; in
    evaluation they are the running averages.  momentum=None: average over all batches so far.
    Shapes: (N, C) or (N, C, L).
    """

    layouts = ("N, C", "N, C, L")


class BatchNorm2d(_BatchNorm):
    """y[n,c,i,j] = weight[c] * (x[n,c,i,j] - mean[c]) / sqrt(var[c] + eps) + bias[c].

    In training mean and var are the batch's, and the running averages move towards them; in
    evaluation they are the running averages.  momentum=None: average over all batches so far.
    Shapes: (N, C, H, W).
    """

    layouts = ("N, C, H, W",)


class BatchNorm3d(_BatchNorm):
    """y[n,c,h,i,j] = weight[c] * (x[n,c,h,i,j] - mean[c]) / sqrt(var[c] + eps) + bias[c].

    In training mean and var are the batch's, and the running averages move towards them; in
    evaluation they are the running averages.  momentum=None: average over all batches so far.
    Shapes: (N, C, D, H, W).
    """

    layouts = ("N, C, D, H, W",)


class _InstanceNorm(_RunningNorm):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: str | None = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, bias, device, dtype
        )

    def forward(self, x: Any) -> Any:
        """Normalise each channel of each image."""
        self._check_dimensions(x)
        unbatched = x.ndim == len(self.layouts[0].split(", "))
        channels = x.shape[0 if unbatched else 1]
        if self.affine and channels != self.num_features:
            raise ShapeError(
                f"{type(self).__name__}: input must have num_features {self.num_features} "
                f"channels, got shape {x.shape}"
            )
        y = F.instance_norm(
            unsqueeze(x, 0) if unbatched else x, self.running_mean, self.running_var,
            self.weight, self.bias, self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum, self.eps,
        )  # fmt: skip
        return squeeze(y, 0) if unbatched else y


class InstanceNorm1d(_InstanceNorm):
    """y[n,c,i] = weight[c] * (x[n,c,i] - mean[n,c]) / sqrt(var[n,c] + eps) + bias[c].

    With track_running_stats, evaluation uses running averages over all images instead.
    Shapes: (N, C, L) or (C, L).
    """

    layouts = ("C, L", "N, C, L")


class InstanceNorm2d(_InstanceNorm):
    """y[n,c,i,j] = weight[c] * (x[n,c,i,j] - mean[n,c]) / sqrt(var[n,c] + eps) + bias[c].

    With track_running_stats, evaluation uses running averages over all images instead.
    Shapes: (N, C, H, W) or (C, H, W).
    """

    layouts = ("C, H, W", "N, C, H, W")


class InstanceNorm3d(_InstanceNorm):
    """y[n,c,h,i,j] = weight[c] * (x[n,c,h,i,j] - mean[n,c]) / sqrt(var[n,c] + eps) + bias[c].

    With track_running_stats, evaluation uses running averages over all images instead.
    Shapes: (N, C, D, H, W) or (C, D, H, W).
    """

    layouts = ("C, D, H, W", "N, C, D, H, W")


# --- without statistics to keep -------------------------------------------------------------------


class GroupNorm(_Affine):
    """y[n,c,..] = weight[c] * (x[n,c,..] - mean[n,g]) / sqrt(var[n,g] + eps) + bias[c].

    g is the group of channel c.  Shapes: (N, C, ...).
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: str | None = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise ArgumentError(
                f"GroupNorm: num_channels {num_channels} must be a multiple of num_groups "
                f"{num_groups}"
            )
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.affine = affine
        self._make_parameters((num_channels,), affine, bias)
        self.to(device=device, dtype=dtype)

    def forward(self, x: Any) -> Any:
        """Normalise each group of channels of each image."""
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Name the settings."""
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class LayerNorm(_Affine):
    """y[n,i] = weight[i] * (x[n,i] - mean[n]) / sqrt(var[n] + eps) + bias[i].

    i goes over the last dimensions, those of normalized_shape.  Shapes: (..., *normalized_shape).
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape, self.eps = _as_shape(normalized_shape), eps
        self.elementwise_affine = elementwise_affine
        self._make_parameters(self.normalized_shape, elementwise_affine, bias)
        self.to(device=device, dtype=dtype)

    def forward(self, x: Any) -> Any:
        """Normalise over the last dimensions."""
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Name the settings."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """y[n,i] = weight[i] * x[n,i] / sqrt(mean_j x[n,j]^2 + eps).

    i goes over the last dimensions, those of normalized_shape.  Shapes: (..., *normalized_shape).
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape, self.eps = _as_shape(normalized_shape), eps
        self.elementwise_affine = elementwise_affine
        weight = Parameter(factories.ones(*self.normalized_shape)) if elementwise_affine else None
        self.register_parameter("weight", weight)
        self.to(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Set weight to 1."""
        if self.weight is not None:
            self.weight.detach().fill_(1)

    def forward(self, x: Any) -> Any:
        """Divide by the root of the mean square."""
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """Name the settings."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class LocalResponseNorm(Module):
    """y[n,c,..] = x[n,c,..] / (k + alpha / size * sum_j x[n,j,..]^2)^beta.

    j goes over `size` channels around c.  average=False leaves out the division of alpha by size,
    as Krizhevsky, Sutskever and Hinton (2012) do: AlexNet uses
    `LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2, average=False)`.
    """

    def __init__(
        self,
        size: int,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 1.0,
        *,
        average: bool = True,
    ) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k, self.average = size, alpha, beta, k, average

    def forward(self, x: Any) -> Any:
        """Divide each value by the strength of the channels around its own."""
        return F.local_response_norm(
            x, self.size, self.alpha, self.beta, self.k, average=self.average
        )

    def extra_repr(self) -> str:
        """Name the settings; `average` only where it differs from PyTorch's convention."""
        own = "" if self.average else ", average=False"
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}{own}"


def _as_shape(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    """Accept a number for a shape of one dimension."""
    return (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
