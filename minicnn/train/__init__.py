"""Training: the Trainer, runs with their folders, metrics and pictures."""

from __future__ import annotations

from minicnn.train.interrupt import Interrupted
from minicnn.train.metrics import accuracy, confusion_matrix, top_k_accuracy
from minicnn.train.recipe import Recipe, recipe_for
from minicnn.train.run import Run
from minicnn.train.trainer import Trainer

__all__ = [
    "Interrupted",
    "Recipe",
    "Run",
    "Trainer",
    "accuracy",
    "confusion_matrix",
    "recipe_for",
    "top_k_accuracy",
]
