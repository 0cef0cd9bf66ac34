"""Optimisers and schedules, under PyTorch's names."""

from __future__ import annotations

from minicnn.optim import lr_scheduler, swa_utils
from minicnn.optim.adagrad import Adadelta, Adagrad, RMSprop
from minicnn.optim.adam import Adam, Adamax, AdamW, NAdam, RAdam
from minicnn.optim.lars import LARS
from minicnn.optim.lbfgs import LBFGS
from minicnn.optim.optimizer import Optimizer
from minicnn.optim.sgd import SGD

__all__ = [
    "LARS",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "lr_scheduler",
    "swa_utils",
]
