"""`minicnn train`: what it prints and leaves, and stopping and resuming for real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

from minicnn import cli
from minicnn.data import shapes
from minicnn.train.recipe import Recipe
from minicnn.train.run import Run

QUICK = ("train", "lenet5", "--modern", "--epochs", "1", "--batch", "400", "--no-augment")


def test_a_run_says_where_everything_is(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert cli.main(QUICK) == 0
    out = capsys.readouterr().out
    assert "61,706 parameters" in out
    assert "epoch 1/1   train loss" in out
    assert "test accuracy" in out
    for name in ("weights.safetensors", "loss.png", "confusion.png", "filters.png"):
        assert f"runs/lenet5-modern/{name}" in out
        assert (tmp_path / "runs/lenet5-modern" / name).exists()
    assert "\r" not in out  # a pipe gets lines, not a bar


def test_quiet_prints_the_result_only(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert cli.main((*QUICK, "--quiet", "--out", "here")) == 0
    assert capsys.readouterr().out.startswith("test accuracy")


def test_another_network_on_other_pictures(capsys, monkeypatch, tmp_path):
    """The whole way: train, test again, ask about a test picture, start from the weights."""
    monkeypatch.setattr(shapes, "SPLITS", {"train": (0, 9), "validation": (20, 5), "test": (30, 5)})
    monkeypatch.chdir(tmp_path)
    narrow = ("train", "resnet20", "--width", "0.25", "--batch", "4", "--epochs", "1", "--quiet")
    assert cli.main((*narrow, "--data", "shapes", "--size", "16", "--patience", "1")) == 0
    assert " of 5 images), loss" in capsys.readouterr().out
    recipe = json.loads((tmp_path / "runs/resnet20/config.json").read_text())
    assert (recipe["data"], recipe["size"], recipe["width"]) == ("shapes", 16, 0.25)
    assert (recipe["batch_size"], recipe["lr"], recipe["patience"]) == (4, 0.05, 1)
    assert cli.main(("eval", "runs/resnet20")) == 0
    assert cli.main(("predict", "runs/resnet20", "--test-image", "4", "--top", "1")) == 0
    assert "test image 4 (labelled " in capsys.readouterr().out
    weights = "runs/resnet20/weights.safetensors"
    pair = {"size": 16, "shapes": ["star", "bar"]}
    monkeypatch.setattr(Recipe, "open_data", lambda self, split: shapes.Shapes(split, **pair))
    assert cli.main((*narrow[:-1], "--data", "shapes", "--init", weights)) == 0
    assert f"from {weights}, but new: fc.weight, fc.bias" in capsys.readouterr().out


def test_refusals_come_before_anything_is_written(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for arguments, text in (
        (("lenet6",), "did you mean 'lenet5'"),
        (("alexnet", "--size", "32", "--width", "0.1"), "does not take pictures of 1x32x32"),
        (("lenet5", "--width", "0.5"), "has no setting width"),
        (("lenet5", "--width", "0"), "--width must be a positive number, got 0"),
        (("lenet5", "--patience", "0"), "--patience must be at least 1, got 0"),
        (("lenet5", "--data", "cifar10"), "add --data-root"),
        (("--resume", "runs/x", "--seed", "0", "--width", "1"), "leave out width, seed"),
    ):
        assert cli.main(("train", *arguments)) == 2
        assert text in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


def test_ctrl_c_leaves_a_checkpoint_that_resumes_to_the_same_weights(tmp_path, capsys):
    def train(folder):
        return subprocess.Popen(
            [
                sys.executable, "-u", "-m", "minicnn", "train", "lenet5", "--epochs", "3",
                "--batch", "64", "--out", str(folder),
            ],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip

    stopped = train(tmp_path / "stopped")
    for line in stopped.stdout:
        if line.startswith("epoch 1/3"):
            stopped.send_signal(signal.SIGINT)
            break
    _, err = stopped.communicate(timeout=120)
    assert stopped.returncode == 130
    assert f"minicnn train --resume {tmp_path / 'stopped'}" in err
    assert "Traceback" not in err
    assert not (tmp_path / "stopped" / "weights.safetensors").exists()

    whole = train(tmp_path / "whole")
    _, err = whole.communicate(timeout=240)
    assert whole.returncode == 0, err
    assert err == ""  # no bar on a pipe
    resumed = subprocess.run(
        [sys.executable, "-m", "minicnn", "train", "--resume", str(tmp_path / "stopped")],
        capture_output=True, text=True, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming after epoch 1" in resumed.stdout
    first, second = (
        (tmp_path / name / "weights.safetensors").read_bytes() for name in ("stopped", "whole")
    )
    assert first == second


def test_lenet_on_a_card_and_afterwards_without(capsys, monkeypatch, tmp_path, card):
    """Train it there by captured steps, test it on either device, go on with it on the CPU."""
    splits = {"train": (0, 3), "validation": (20, 1), "test": (30, 1)}
    monkeypatch.setattr(shapes, "SPLITS", splits)
    monkeypatch.setattr(Run, "_draw", lambda self, totals: None)
    monkeypatch.chdir(tmp_path)
    card.machine.cards = 2
    settings = ("--data", "shapes", "--size", "32", "--batch", "1", "--epochs", "1")
    assert cli.main(("train", "lenet5", "--modern", *settings, "--device", "cuda:1")) == 0
    out, warnings = capsys.readouterr()
    assert "seed 0, cuda:1\n" in out
    assert "of the card\n" in out
    assert warnings == ""
    assert card.seen("launch")["graph"] == 1  # of three batches
    folder = tmp_path / "runs" / "lenet5-modern"
    recipe = json.loads((folder / "config.json").read_text())
    assert (recipe["device"], recipe["capture"]) == ("cuda:1", True)
    assert "peak_bytes,reserved_bytes" in (folder / "metrics.csv").read_text()
    results = []
    for device in ((), ("--device", "cpu")):
        assert cli.main(("eval", str(folder), *device)) == 0
        assert cli.main(("predict", str(folder), "--test-image", "0", *device)) == 0
        results.append(capsys.readouterr().out)
    assert results[0] == results[1]
    card.machine.driver = False
    assert cli.main(("eval", str(folder))) == 2
    assert "no NVIDIA driver" in capsys.readouterr().err
    assert cli.main(("train", "--resume", str(folder), "--device", "cpu", "--no-capture")) == 0
    assert "seed 0, cpu\n" in capsys.readouterr().out
