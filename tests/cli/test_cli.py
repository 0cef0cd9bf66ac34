"""The command as a stranger uses it: help, mistakes, exit codes; never a traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

from minicnn import cli


def run(capsys, *arguments):
    try:
        code = cli.main(arguments)
    except SystemExit as stop:  # argparse's own way to end
        code = stop.code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, captured.out, captured.err


def test_help_shows_every_command_and_examples(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    for word in ("train", "eval", "predict", "gradcheck", "info", "minicnn train lenet5"):
        assert word in out


@pytest.mark.parametrize("command", ["train", "eval", "predict", "gradcheck", "info"])
def test_every_command_explains_itself(capsys, command):
    code, out, _ = run(capsys, command, "--help")
    assert code == 0
    assert len(out) > 150


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "COMMAND"),
        (("trian",), 2, "invalid choice"),
        (("train",), 2, "name a model"),
        (("train", "lenet"), 2, "did you mean 'lenet5'"),
        (("train", "lenet5", "--epochs", "0"), 2, "--epochs must be at least 1, got 0"),
        (("train", "lenet5", "--epochs", "many"), 2, "invalid int value"),
        (("train", "lenet5", "--lr", "nan"), 2, "--lr must be a positive number"),
        (("train", "lenet5", "--lr", "0"), 2, "--lr must be a positive number"),
        (("train", "lenet5", "--batch", "-3"), 2, "--batch must be at least 1, got -3"),
        (("train", "lenet5", "--data", "digit"), 2, "invalid choice: 'digit'"),
        (("train", "lenet5", "--data", "mnist"), 2, "add --data-root"),
        (("train", "lenet5", "--data", "mnist", "--data-root", "nowhere"), 1, "nowhere"),
        (("train", "lenet5", "--device", "gpu"), 2, "unknown device 'gpu'"),
        (("train", "--resume", "nowhere"), 1, "no run folder"),
        (("train", "lenet5", "--resume", "nowhere"), 2, "leave out model"),
        (("eval", "nowhere"), 1, "no run folder"),
        (("predict", "nowhere"), 2, "name a picture"),
        (("predict", "nowhere", "--tpo", "3"), 2, "unrecognized arguments: --tpo"),
        (("eval", "nowhere", "else"), 2, "unrecognized arguments: else"),
        (("predict", "nowhere", "a.png"), 1, "no run folder"),
    ],
)
def test_mistakes(capsys, monkeypatch, tmp_path, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    found, _, err = run(capsys, *arguments)
    assert found == code
    assert message in err
    assert list(tmp_path.iterdir()) == []  # nothing half-made is left behind


def test_ctrl_c_outside_training(capsys, monkeypatch):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.info, "run", interrupted)
    code, _, err = run(capsys, "info")
    assert (code, err.strip()) == (130, "stopped")


def test_a_reader_that_goes_away_is_no_error():
    process = subprocess.run(
        f'"{sys.executable}" -m minicnn info | true', shell=True, capture_output=True, text=True
    )
    assert "Traceback" not in process.stderr
