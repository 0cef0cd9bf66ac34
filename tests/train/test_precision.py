"""Training in each precision, stopped and resumed, on the CPU and on a card."""

from __future__ import annotations

import json

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.data import DataLoader, TensorDataset
from minicnn.errors import UsageError
from minicnn.io.weights import load_metadata
from minicnn.optim import SGD
from minicnn.train.precision import PRECISIONS, Precision
from minicnn.train.trainer import Trainer
from minicnn_kernels.precision import MODES, math_mode

MIXED = ["bf16-mixed", "fp16-mixed"]


def stripes(count=32):
    """Tiny pictures that are bright at the top (class 0) or at the left (class 1)."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, count)
    images = rng.normal(0, 0.3, (count, 1, 6, 6)).astype(np.float32)
    images[labels == 0, :, :2] += 1
    images[labels == 1, :, :, :2] += 1
    return DataLoader(TensorDataset(images, labels), 8, shuffle=True, seed=3)


def trainer(precision, device="cpu", **settings):
    if precision == "bf16-mixed":
        pytest.importorskip("ml_dtypes")
    minicnn.manual_seed(3)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)
    ).to(device=device)
    optimizer = SGD(model.parameters(), lr=0.05, momentum=0.9)
    return Trainer(model, optimizer, precision=precision, **settings)


@pytest.mark.parametrize("precision", MIXED)
def test_a_network_learns_in_mixed_precision(precision, seeded):
    found = trainer(precision)
    history = found.fit(stripes(), stripes(), epochs=4, progress=False)
    assert history[-1]["validation_accuracy"] > 0.9
    assert {str(p.dtype) for p in found.model.parameters()} == {"float32"}
    exact = trainer("fp32").fit(stripes(), epochs=4, progress=False)
    assert history[-1]["train_loss"] != exact[-1]["train_loss"]
    assert history[-1]["train_loss"] == pytest.approx(exact[-1]["train_loss"], abs=0.05)


@pytest.mark.parametrize("precision", MIXED)
def test_a_resumed_training_ends_with_the_same_weights(precision, tmp_path, seeded):
    whole = trainer(precision)
    whole.fit(stripes(), epochs=2, progress=False)
    path = tmp_path / "checkpoint.safetensors"
    first = trainer(precision, checkpoint=path)
    first.precision.scaler.growth_interval = 3
    first.fit(stripes(), epochs=1, progress=False)
    scale = first.precision.scaler.state_dict()
    notes = json.loads(load_metadata(path)["training"])
    assert notes["progress"]["scaler"] == scale
    second = trainer(precision)
    second.resume(path)
    assert second.precision.scaler.state_dict() == scale
    second.fit(stripes(), epochs=2, progress=False)
    for a, b in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        np.testing.assert_array_equal(a.array, b.array)


def test_a_checkpoint_from_before_precisions_is_taken(tmp_path, seeded):
    path = tmp_path / "checkpoint.safetensors"
    trainer("fp32", checkpoint=path).fit(stripes(), epochs=1, progress=False)
    found = trainer("fp16-mixed")
    found.resume(path)
    assert found.precision.scaler.get_scale() == 65536


@pytest.mark.parametrize("capture", [True, False])
def test_on_a_card_it_learns_too(card, capture, seeded):
    found = trainer("fp16-mixed", "cuda", capture=capture)
    history = found.fit(stripes(), stripes(), epochs=2, progress=False)
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert history[-1]["validation_accuracy"] > 0.8
    assert (("launch", "graph") in card.machine.seen) == capture


def test_a_mode_holds_forward_and_backward(seeded):
    found = trainer("fp32")
    found.precision = Precision("tf32", "cuda:0")
    modes = {"forward": [], "backward": []}

    def note(module, inputs, result):
        modes["forward"].append(math_mode.get())
        if result.requires_grad:
            result.register_hook(lambda dy: modes["backward"].append(math_mode.get()))

    found.model.register_forward_hook(note)
    found.fit(stripes(), stripes(), epochs=1, progress=False)
    assert set(modes["forward"]) == set(modes["backward"]) == {"tf32"}
    assert math_mode.get() == "fp32"


def test_every_mode_and_nothing_else_is_a_precision():
    assert set(MODES) < set(PRECISIONS)
    for name in MODES:
        with Precision(name, "cuda:0").products():
            assert math_mode.get() == name


def test_the_usual_precision_leaves_the_mode_alone():
    with math_mode("tf32"), Precision("fp32", "cuda:0").products():
        assert math_mode.get() == "tf32"


def test_what_is_not_there_is_refused():
    with pytest.raises(UsageError, match="unknown precision 'fp8'; there are fp32, tf32, bf16"):
        Precision("fp8", "cpu")
    with pytest.raises(UsageError, match="tf32 is a mode of cards; on the CPU there are fp32"):
        Precision("tf32", "cpu")
