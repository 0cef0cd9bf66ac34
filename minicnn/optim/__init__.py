"""Optimisers and schedules, under PyTorch's names."""

from __future__ import annotations

from minicnn.optim import lr_scheduler
from minicnn.optim.adam import Adam
from minicnn.optim.optimizer import Optimizer
from minicnn.optim.sgd import SGD

__all__ = ["SGD", "Adam", "Optimizer", "lr_scheduler"]
