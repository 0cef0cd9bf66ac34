"""Loss functions."""

from __future__ import annotations

from typing import Any

from minicnn.nn import functional as F
from minicnn.nn.module import Module

__all__ = ["CrossEntropyLoss", "MSELoss", "NLLLoss"]


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
