"""`minicnn train`: what it prints and leaves, and stopping and resuming for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from minicnn import cli

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
