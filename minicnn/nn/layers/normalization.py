"""Normalisation."""

from __future__ import annotations

from typing import Any

from minicnn import factories
from minicnn.errors import ShapeError
from minicnn.nn import functional as F
from minicnn.nn.module import Module
from minicnn.nn.parameter import Parameter

__all__ = ["BatchNorm2d"]


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
