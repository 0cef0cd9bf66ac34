"""Checkpoints: everything comes back, and a wrong file changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import nn, random
from minicnn.errors import FileFormatError, ShapeError
from minicnn.io import save_file
from minicnn.optim import SGD, Adam
from minicnn.optim.lr_scheduler import StepLR
from minicnn.train.checkpoint import load_checkpoint, save_checkpoint


def trained(kind, seed):
    minicnn.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    optimizer = kind(model.parameters(), lr=0.1, **({"momentum": 0.9} if kind is SGD else {}))
    scheduler = StepLR(optimizer, step_size=1)
    for _ in range(2):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(minicnn.randn(5, 1, 4, 4)), np.arange(5) % 3)
        loss.backward()
        optimizer.step()
    scheduler.step()
    return model, optimizer, scheduler


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_everything_comes_back(tmp_path, kind):
    model, optimizer, scheduler = trained(kind, seed=1)
    progress = {"epoch": 3, "history": [{"loss": 0.1, "note": None}]}
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, model, optimizer, scheduler, progress)
    state = random.default.get_state()

    other, other_optimizer, other_scheduler = trained(kind, seed=2)
    assert load_checkpoint(path, other, other_optimizer, other_scheduler) == progress
    assert random.default.get_state() == state
    assert other_scheduler.get_last_lr() == scheduler.get_last_lr()
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name].numpy(), tensor.numpy())
    mine, theirs = optimizer.state_dict(), other_optimizer.state_dict()
    for number, values in mine["state"].items():
        for name, value in values.items():
            np.testing.assert_array_equal(theirs["state"][number][name], value)
    settings = mine["param_groups"][0]
    assert {**theirs["param_groups"][0], "betas": None} == {**settings, "betas": None}


def test_weights_alone_are_no_checkpoint(tmp_path):
    model, optimizer, scheduler = trained(SGD, seed=1)
    path = tmp_path / "weights.safetensors"
    for metadata in (None, {"training": "not JSON"}, {"training": "[]"}, {"training": "{}"}):
        save_file(model.state_dict(), path, metadata)
        with pytest.raises(FileFormatError, match=r"no training state.*checkpoint.safetensors"):
            load_checkpoint(path, model, optimizer, scheduler)


def test_a_checkpoint_of_another_model_changes_nothing(tmp_path):
    model, optimizer, scheduler = trained(SGD, seed=1)
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, model, optimizer, scheduler, {})
    other = nn.Linear(2, 2)
    before = other.weight.detach().numpy().copy()
    with pytest.raises(ShapeError, match="11 of 11 keys do not fit Linear"):
        load_checkpoint(path, other, SGD(other.parameters()), None)
    np.testing.assert_array_equal(other.weight.detach().numpy(), before)
