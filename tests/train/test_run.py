"""Run folders: what is in them, and what a damaged one says."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from minicnn.data import Digits, Subset
from minicnn.errors import DataError, FileFormatError, UsageError
from minicnn.io import load_file
from minicnn.train.run import Recipe, Run, free_folder

QUICK = Recipe(epochs=1, batch_size=400, lr=0.01)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "quick"
    run = Run.start(QUICK, folder)
    return run, run.train(progress=False)


def test_the_folder_holds_everything(finished):
    run, totals = finished
    names = {path.name for path in run.folder.iterdir()}
    assert names == {
        "config.json", "metrics.csv", "result.json", "weights.safetensors",
        "checkpoint.safetensors", "loss.png", "confusion.png", "filters.png",
    }  # fmt: skip
    assert json.loads((run.folder / "config.json").read_text()) == {
        "model": "lenet5", "modern": False, "data": "digits", "data_root": None, "epochs": 1,
        "batch_size": 400, "optimizer": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": 0.0001,
        "augment": True, "seed": 0, "device": "cpu",
    }  # fmt: skip
    with open(run.folder / "metrics.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["epoch"] == "1"
    assert float(row["validation_accuracy"]) == run.trainer.history[0]["validation_accuracy"]
    result = json.loads((run.folder / "result.json").read_text())
    assert result["test_accuracy"] == totals.accuracy
    assert result["images"] == 300


def test_the_weights_give_the_same_result_again(finished):
    run, totals = finished
    again = Run.open(run.folder)
    again.load_weights()
    assert again.recipe == QUICK
    assert np.array_equal(again.test().predictions, totals.predictions)


def test_the_same_recipe_gives_the_same_weights(finished, tmp_path):
    run, _ = finished
    other = Run.start(QUICK, tmp_path / "other")
    other.train(progress=False)
    for name in ("weights.safetensors", "checkpoint.safetensors", "filters.png"):
        first, second = ((r.folder / name).read_bytes() for r in (run, other))
        assert first == second or name.startswith("checkpoint")  # which holds the seconds
    first, second = (load_file(r.folder / "weights.safetensors") for r in (run, other))
    assert all(np.array_equal(first[key], second[key]) for key in first)


def test_a_folder_is_not_overwritten(finished):
    run, _ = finished
    before = (run.folder / "config.json").read_bytes()
    with pytest.raises(UsageError, match="holds a run already"):
        Run.start(Recipe(seed=5), run.folder)
    assert (run.folder / "config.json").read_bytes() == before


def test_damaged_folders(tmp_path):
    with pytest.raises(FileFormatError, match="no run folder"):
        Run.open(tmp_path)
    (tmp_path / "config.json").write_text('{"model": ')
    with pytest.raises(FileFormatError, match=r"config.json is damaged"):
        Run.open(tmp_path)
    (tmp_path / "config.json").write_text('{"colour": "red"}')
    with pytest.raises(FileFormatError, match=r"config.json is damaged.*colour"):
        Run.open(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileFormatError, match="has not finished"):
        Run.open(tmp_path).load_weights()


def test_a_bad_recipe_leaves_no_folder(tmp_path):
    for recipe, error in (
        (Recipe(model="lenet6"), UsageError),
        (Recipe(data="mnist", data_root=str(tmp_path)), DataError),
        (Recipe(optimizer="magic"), UsageError),
    ):
        with pytest.raises(error):
            Run.start(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_folders_are_counted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(free_folder(QUICK)) == "runs/lenet5"
    (tmp_path / "runs" / "lenet5").mkdir(parents=True)
    assert str(free_folder(QUICK)) == "runs/lenet5-2"
    assert str(free_folder(Recipe(modern=True))) == "runs/lenet5-modern"


def test_a_data_set_without_validation_lends_a_tenth(monkeypatch):
    monkeypatch.setattr(Recipe, "open_data", lambda self, split: Digits(split))
    train, validation = Recipe(data="mnist").loaders()
    assert isinstance(train.dataset, Subset)
    assert isinstance(validation.dataset, Subset)
    chosen = np.concatenate([train.dataset.indices, validation.dataset.indices])
    assert len(validation.dataset) == 119
    assert sorted(chosen.tolist()) == list(range(1197))
