"""`minicnn eval` repeats the result that training printed."""

from __future__ import annotations

import json

from minicnn import cli


def test_eval_agrees_with_training(capsys, run_folder):
    assert cli.main(("eval", str(run_folder))) == 0
    lines = capsys.readouterr().out.splitlines()
    accuracy = json.loads((run_folder / "result.json").read_text())["test_accuracy"]
    assert lines[0].startswith(f"test accuracy {accuracy:.2%} ({round(300 * accuracy)} of 300")
    assert len(lines) == 11
    assert sum(int(line.split("(")[1].split()[0]) for line in lines[1:]) == round(300 * accuracy)


def test_the_validation_split(capsys, run_folder):
    assert cli.main(("eval", str(run_folder), "--split", "validation")) == 0
    assert capsys.readouterr().out.startswith("validation accuracy")


def test_damaged_weights(capsys, run_folder, tmp_path):
    (tmp_path / "config.json").write_bytes((run_folder / "config.json").read_bytes())
    whole = (run_folder / "weights.safetensors").read_bytes()
    (tmp_path / "weights.safetensors").write_bytes(whole[: len(whole) // 2])
    assert cli.main(("eval", str(tmp_path))) == 1
    assert "weights.safetensors" in capsys.readouterr().err
