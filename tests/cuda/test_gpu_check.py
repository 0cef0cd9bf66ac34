"""The script that checks and measures a card, against the stand-in for one."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from minicnn_kernels import kernels
from minicnn_kernels.cuda import numba_cuda

FILE = Path(__file__).parents[2] / "benchmarks" / "gpu_check.py"
SPEC = importlib.util.spec_from_file_location("gpu_check", FILE)
gpu_check = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(gpu_check)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """To ask for the processor and for PyTorch takes seconds."""
    monkeypatch.setattr(gpu_check.machine, "facts", dict)
    monkeypatch.setattr(gpu_check, "torch_or_reason", lambda: "not measured: no PyTorch")


@pytest.fixture(autouse=True)
def without_numba_cuda(monkeypatch):
    """Numba would look for a real card."""

    def version(name):
        raise numba_cuda.PackageNotFoundError(name)

    monkeypatch.setattr(numba_cuda, "version", version)


def run(folder, *stages):
    code = gpu_check.main(["--tiny", "--out", str(folder), "--only", *stages])
    return code, json.loads((folder / "gpu_check.json").read_text())["stages"]


def test_without_a_card_one_line_says_so(tmp_path, capsys):
    assert gpu_check.main(["--out", str(tmp_path)]) == 2
    assert capsys.readouterr().out.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_algorithms_and_layers_are_checked(card, tmp_path):
    code, stages = run(
        tmp_path, "environment", "correctness", "operations", "ceilings", "convolutions"
    )
    assert code == 0
    assert not any("error" in stage for stage in stages.values())
    checked = stages["correctness"]["rows"]
    asked = {(row["kernel"], row["asked"]) for row in checked if row.get("right")}
    assert {("conv", "few_channels"), ("conv_weight", "small_groups"), ("conv", "auto")} <= asked
    assert {("normalize", "cuda"), ("add_lines", "cuda")} <= asked
    assert len(stages["operations"]["rows"]) >= 3
    assert all(row["right"] for row in stages["operations"]["rows"])
    assert all(row["value"] > 0 for row in stages["ceilings"]["rows"])
    (forward, *_) = stages["convolutions"]["rows"]
    assert forward["right"]
    assert forward["minicnn"] > 0
    assert forward["minicnn graph"] > 0
    assert forward["torch"].startswith("not measured: ")
    assert "| not measured |" in (tmp_path / "gpu_check.md").read_text()


@pytest.mark.slow_emulation
def test_networks_are_trained_and_replayed(card, tmp_path):
    code, stages = run(tmp_path, "captured", "models")
    assert code == 0
    (replayed,) = stages["captured"]["rows"]
    assert replayed["difference"] == 0
    assert all(row["minicnn captured"] > 0 for row in stages["models"]["rows"])


def test_what_is_wrong_is_listed(card, tmp_path, monkeypatch):
    usual = kernels["conv"].algorithms["few_channels"]

    def compute(x, w, **settings):
        y = usual.compute(x, w, **settings)
        y[0, 0, 0, 0] += 1
        return y

    wrong = type(usual)(**{**vars(usual), "compute": compute})
    monkeypatch.setitem(kernels["conv"].algorithms, "few_channels", wrong)
    kernels["conv"]._choices.clear()
    monkeypatch.setattr(gpu_check, "overheard", dict)
    code, _ = run(tmp_path, "correctness")
    assert code == 1
    assert '"asked": "few_channels"' in (tmp_path / "gpu_check.md").read_text()


def test_a_stage_ends_when_its_seconds_are_used_up(card, tmp_path, monkeypatch):
    monkeypatch.setitem(gpu_check.STAGES, "ceilings", (gpu_check.measure_ceilings, -1.0))
    _, stages = run(tmp_path, "ceilings")
    assert all("budget" in row["missing"] for row in stages["ceilings"]["rows"])


def test_a_stage_that_breaks_off_spoils_no_other(card, tmp_path, monkeypatch):
    def broken(stage, sizes):
        stage.add(what="first", value=1.0, unit="")
        raise RuntimeError("no more")

    monkeypatch.setitem(gpu_check.STAGES, "ceilings", (broken, 1.0))
    code, stages = run(tmp_path, "ceilings", "environment")
    assert code == 1
    assert stages["ceilings"]["error"] == "RuntimeError: no more"
    assert stages["ceilings"]["rows"]
    assert stages["environment"]["rows"]


def test_a_stage_goes_on_behind_a_fault(tmp_path, monkeypatch):
    """The process of a stage, here a function, faults at its second row."""
    tried = []

    def ceilings(stage, sizes):
        for number in range(4):
            stage.measured(lambda number=number: compute(number), what=number)

    def compute(number):
        tried.append(number)
        if number == 1:
            raise RuntimeError("cudaErrorIllegalAddress: an illegal memory access")
        return {"value": float(number), "unit": ""}

    def process(command, **settings):
        assert settings["timeout"] > 0
        gpu_check.main(command[2:])

    monkeypatch.setitem(gpu_check.STAGES, "ceilings", (ceilings, 30.0))
    monkeypatch.setattr(gpu_check.subprocess, "run", process)
    monkeypatch.setattr(gpu_check.cards, "count", lambda: 1)
    assert gpu_check.main(["--out", str(tmp_path), "--only", "ceilings"]) == 1
    found = json.loads((tmp_path / "gpu_check.json").read_text())["stages"]["ceilings"]
    assert tried == [0, 1, 2, 3]
    assert [row["what"] for row in found["rows"]] == [0, 1, 2, 3]
    assert [row.get("failed", False) for row in found["rows"]] == [False, True, False, False]
    assert "error" not in found


def test_a_stage_that_hangs_is_ended(tmp_path, monkeypatch):
    def process(command, timeout, **settings):
        raise gpu_check.subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(gpu_check.subprocess, "run", process)
    monkeypatch.setattr(gpu_check.cards, "count", lambda: 1)
    assert gpu_check.main(["--out", str(tmp_path), "--only", "ceilings"]) == 1
    assert "did not end within" in (tmp_path / "gpu_check.md").read_text()


def test_tables_are_made_of_what_was_measured(tmp_path, capsys):
    row = {"model": "lenet5", "batch": 64, "math": "fp32", "minicnn": 2.0, "minicnn captured": 0.5}
    rows = [{**row, "torch": 1.0, "torch-cl": "not measured: no"}]
    file = tmp_path / "found.json"
    file.write_text(json.dumps({"stages": {"models": {"rows": rows}}}))
    assert gpu_check.main(["--table", str(file)]) == 0
    text = capsys.readouterr().out
    assert "| lenet5 | 64 | fp32 | 2 | 0.5 | 1 | not measured | 2 | not measured |" in text
    assert "not measured: no" in text


def test_the_whole_run_fits_ten_minutes():
    assert sum(seconds for _, seconds in gpu_check.STAGES.values()) < 600
    assert np.prod([1, *map(len, (gpu_check.LAYERS, gpu_check.MODELS))]) > 0
