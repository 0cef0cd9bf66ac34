"""Loss functions."""

from __future__ import annotations

from minicnn.ops.loss import cross_entropy, mse_loss, nll_loss

__all__ = ["cross_entropy", "mse_loss", "nll_loss"]
