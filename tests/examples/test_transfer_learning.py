"""The example runs, and each of its ways learns something."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import minicnn
from minicnn import models

FILE = Path(__file__).resolve().parents[2] / "examples" / "transfer_learning.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("transfer_learning", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def halves(example):
    """Two classes of digits: ones, which stand upright, and zeros."""
    return example.digits(0, 1)


def test_the_tasks(example):
    digits, shapes = example.digits(5, 9), example.grey_shapes()
    assert (digits.classes, shapes.classes) == (5, 8)
    assert digits.pictures.shape == (596, 1, 32, 32)
    assert shapes.pictures.shape == (8 * example.MANY, 1, 32, 32)
    for task in (digits, shapes):
        assert set(task.labels) == set(task.test_labels) == set(range(task.classes))
        assert task.pictures.dtype == np.float32
    few = example.part(digits, 3, np.random.default_rng(0))
    assert np.bincount(few.labels).tolist() == [3] * 5
    assert len(example.part(digits, 1000, np.random.default_rng(0)).labels) == 596


@pytest.mark.parametrize("way", [
    "from scratch", "logistic regression, last features", "linear SVM, last features",
    "logistic regression, earlier features", "fine-tune behind frozen c1, c3", "fine-tune all",
    "fine-tune all, deep layers slowly",
])  # fmt: skip
def test_every_way_tells_zeros_and_ones_apart(example, halves, way, seeded, monkeypatch):
    monkeypatch.setattr(example, "STEPS", 30)
    pretrained = models.lenet5(3, modern=True)
    before = {key: value.array.copy() for key, value in pretrained.state_dict().items()}
    task = example.part(halves, 6, np.random.default_rng(0))
    assert example.WAYS[way](pretrained, task) > 0.9
    for key, value in pretrained.state_dict().items():  # the next way finds it as it was
        np.testing.assert_array_equal(value.array, before[key])


def test_every_way_is_tested(example):
    assert len(example.WAYS) == 7


def test_the_table(example):
    runs = [{(way, "few"): 0.5 + run / 10 for way in example.WAYS} for run in range(2)]
    lines = example.table(runs).splitlines()
    assert lines[:2] == ["| test accuracy in % | few |", "|---|---|"]
    assert lines[2] == "| from scratch | 55.0 ± 5.0 |"


def test_accuracy(example):
    task = example.Task(None, None, np.zeros((4, 1)), np.array([0, 1, 1, 0]), 2)
    scores = minicnn.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert example.accuracy(lambda pictures: scores, task) == 0.75
