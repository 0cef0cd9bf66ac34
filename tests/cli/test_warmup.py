"""`minicnn warmup` compiles once, says so, and needs no Numba."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import cli
from minicnn.cli import warmup
from minicnn_kernels.registry import can_compile

needs_numba = pytest.mark.skipif(not can_compile(), reason="Numba is not installed")


@needs_numba
def test_every_step_trains_and_uses_a_network(monkeypatch, capsys):
    done = []
    steps = {name: lambda name=name: done.append(name) for name in warmup.STEPS}
    monkeypatch.setattr(warmup, "STEPS", steps)
    assert cli.main(("warmup",)) == 0
    assert done == ["LeNet-5", "LeNet-5 modern", "ResNet-18"]
    out = capsys.readouterr().out
    assert "ready for LeNet-5, LeNet-5 modern, ResNet-18" in out
    assert "compiled for" in out


def test_a_step_goes_forward_backward_and_changes_the_weights():
    model = minicnn.nn.Sequential(minicnn.nn.Flatten(), minicnn.nn.Linear(4, 3))
    before = model[1].bias.array.copy()
    warmup._training_step(lambda: model, (2, 1, 2, 2))()
    assert not np.array_equal(model[1].bias.array, before)
    assert not model.training


def test_without_numba_there_is_nothing_to_do(monkeypatch, capsys):
    monkeypatch.setattr("minicnn_kernels.registry.can_compile", lambda: False)
    monkeypatch.setattr(warmup, "STEPS", {"never": lambda: pytest.fail("it was run")})
    assert cli.main(("warmup",)) == 0
    assert "nothing to compile" in capsys.readouterr().out


@needs_numba
def test_without_a_folder_it_says_so(monkeypatch, capsys):
    from minicnn_kernels.cpu import jit

    monkeypatch.setattr(jit, "cache_folder", lambda: None)
    monkeypatch.setattr(warmup, "STEPS", {})
    assert cli.main(("warmup",)) == 0
    assert "no folder to keep" in capsys.readouterr().out
