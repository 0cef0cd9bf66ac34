"""Run folders: what is in them, and what a damaged one says."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from minicnn import models
from minicnn.errors import DataError, FileFormatError, UsageError
from minicnn.io import load_file, save_file
from minicnn.train.recipe import Recipe
from minicnn.train.run import Run, free_folder, start_from

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
        "augment": True, "seed": 0, "device": "cpu", "size": 32, "width": 1.0, "init": None,
        "patience": None, "lr_decay": 0.0, "schedule": "cosine", "capture": True,
        "precision": "fp32",
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


# --- weights to start from, and stopping early --------------------------------------------------


def test_weights_to_start_from(finished, tmp_path):
    run, _ = finished
    same = Run.start(Recipe(init=str(run.folder / "weights.safetensors")), tmp_path / "same")
    assert same.drawn == []
    for key, value in run.model.state_dict().items():
        np.testing.assert_array_equal(same.model.state_dict()[key].array, value.array)


def test_weights_of_other_classes_keep_all_but_the_last_layer(finished, tmp_path):
    run, _ = finished
    other = models.create("lenet5", num_classes=3)
    drawn = other.output.weight.array.copy()
    assert start_from(run.folder / "weights.safetensors", other) == [
        "output.weight", "output.bias",
    ]  # fmt: skip
    np.testing.assert_array_equal(other.c1.weight.array, run.model.c1.weight.array)
    np.testing.assert_array_equal(other.output.weight.array, drawn)


def test_weights_of_another_network_are_refused_before_anything_is_written(finished, tmp_path):
    run, _ = finished
    weights = str(run.folder / "weights.safetensors")
    for recipe, error, text in (
        (Recipe(model="mlp", init=weights), UsageError, "weights of another network: of 1. names"),
        (Recipe(init=str(tmp_path / "none.safetensors")), FileFormatError, "missing"),
    ):
        with pytest.raises(error, match=text):
            Run.start(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    narrow, wide = (models.create("cifar_cnn", width=width) for width in (1 / 16, 1 / 8))
    save_file(narrow.state_dict(), tmp_path / "narrow.safetensors")
    with pytest.raises(UsageError, match=r"has the shape .* is --width the same"):
        start_from(tmp_path / "narrow.safetensors", wide)


def test_patience_keeps_the_best_weights(tmp_path, monkeypatch):
    recipe = Recipe(model="mlp", epochs=9, batch_size=400, lr=0.01, patience=2, augment=False)
    run = Run.start(recipe, tmp_path / "run")
    losses, best = iter([3.0, 1.0, 2.0, 1.5, 0.5]), {}
    evaluate = run.trainer.evaluate

    def planned(loader):
        totals = evaluate(loader)
        loss = next(losses)
        totals.restore((loss * totals.count, totals.correct, totals.count))
        if loss == 1.0:
            best.update({k: v.array.copy() for k, v in run.model.state_dict().items()})
        return totals

    monkeypatch.setattr(run.trainer, "evaluate", planned)
    run.train(progress=False)
    assert len(run.trainer.history) == 4  # two epochs after the best one
    kept = load_file(run.folder / "weights.safetensors")
    for key, value in best.items():
        np.testing.assert_array_equal(kept[key], value)
    assert not (run.folder / "filters.png").exists()  # no convolution, no filters
    again = Run.open(run.folder)
    again.resume()
    assert again.trainer.waited == 2  # nothing is left to do
