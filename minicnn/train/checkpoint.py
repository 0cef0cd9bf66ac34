"""Checkpoints: all that decides how training goes on, in one safetensors file.

Weights and the optimiser's arrays are tensors; counters, settings, the state of the random
generator and the history are JSON in the file's metadata.  Loading runs nothing from the file.
"""

from __future__ import annotations

import json
from typing import Any

from minicnn import random
from minicnn.errors import FileFormatError
from minicnn.io.files import StrPath
from minicnn.io.weights import load_file, load_metadata, save_file
from minicnn.nn import Module
from minicnn.optim import Optimizer
from minicnn.optim.lr_scheduler import LRScheduler
from minicnn_kernels.arrays import Array


def save_checkpoint(
    path: StrPath,
    model: Module,
    optimizer: Optimizer,
    scheduler: LRScheduler | None,
    progress: dict[str, Any],
) -> None:
    """Write the whole state of a training to `path`; `progress` is anything JSON can hold."""
    tensors: dict[str, Any] = {f"model.{name}": t for name, t in model.state_dict().items()}
    state = optimizer.state_dict()
    plain: dict[str, dict[str, Any]] = {}
    for number, values in state["state"].items():
        for name, value in values.items():
            if hasattr(value, "dtype"):
                tensors[f"optimizer.{number}.{name}"] = value
            else:
                plain.setdefault(str(number), {})[name] = value
    notes = {
        "optimizer": {"param_groups": state["param_groups"], "state": plain},
        "scheduler": scheduler.state_dict() if scheduler else None,
        "random": random.default.get_state(),
        "progress": progress,
    }
    save_file(tensors, path, {"training": json.dumps(notes)})


def load_checkpoint(
    path: StrPath, model: Module, optimizer: Optimizer, scheduler: LRScheduler | None
) -> Any:
    """Put the state in `path` back into the model, the optimiser and the rest; return `progress`.

    Raises:
        FileFormatError: the file is missing, damaged, or no checkpoint.
        ShapeError: its weights do not fit the model.
    """
    tensors, text = load_file(path), load_metadata(path).get("training")
    try:
        notes = json.loads(text or "")
        optimizer_state: dict[int, dict[str, Any]] = {
            int(number): dict(values) for number, values in notes["optimizer"]["state"].items()
        }
        groups, random_state = notes["optimizer"]["param_groups"], tuple(notes["random"])
        progress, schedule = notes["progress"], notes["scheduler"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise FileFormatError(
            f"load_checkpoint: {str(path)!r} holds weights but no training state; resume from the "
            f"checkpoint.safetensors of a run"
        ) from None
    weights: dict[str, Array] = {}
    for key, array in tensors.items():
        part, _, name = key.partition(".")
        if part == "model":
            weights[name] = array
        else:
            number, _, name = name.partition(".")
            optimizer_state.setdefault(int(number), {})[name] = array
    model.load_state_dict(weights)
    optimizer.load_state_dict({"state": optimizer_state, "param_groups": groups})
    if scheduler is not None and schedule is not None:
        scheduler.load_state_dict(schedule)
    random.default.set_state(random_state)
    return progress
