"""`minicnn parity`, also by somebody who mistypes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from minicnn import cli
from minicnn_kernels.registry import kernels

NET = """
from minicnn import nn

model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 4 * 4, 3))
words = nn.Sequential(nn.Embedding(7, 3), nn.Flatten(), nn.Linear(12, 2))
"""


@pytest.fixture(autouse=True)
def net(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def wrong():
    def compute(x, w, **settings):
        return kernels["conv"].algorithms["im2col"].compute(x, w, **settings) * np.float32(1.01)

    kernels["conv"].algorithm("wrong")(compute)
    yield
    del kernels["conv"].algorithms["wrong"]


def run(capsys, *arguments):
    code = cli.main(("parity", *arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


TWICE = ("--devices", "cpu,cpu", "--kernels", "numpy")


def test_a_named_model_agrees(capsys):
    code, out, _ = run(capsys, "lenet5", "--set", "modern=True", *TWICE, "--batch", "1")
    assert code == 0
    assert "cpu beside cpu (NumPy)" in out
    assert "c1                      Conv2d" in out
    assert out.endswith("layers compute the same, as far as their precision goes\n")


def test_a_wrong_kernel_is_named_and_the_table_ends_there(capsys, wrong):
    arguments = ("net.py::model", "--size", "1x6x6", "--devices", "cpu,cpu")
    code, out, _ = run(capsys, *arguments, "--algorithm", "conv=wrong")
    assert code == 1
    assert "first difference: 0 (Conv2d): cpu (conv=wrong) is off by 9.7e-03 forward" in out
    assert "Linear" not in out
    code, out, _ = run(capsys, *arguments, "--algorithm", "conv=wrong", "--all")
    assert code == 1
    assert "Linear" in out
    assert out.count("differs") == 1


def test_json_has_every_figure(capsys):
    code, out, _ = run(capsys, "net.py::model", "--size", "1x6x6", *TWICE, "--json", "--seed", "4")
    found = json.loads(out)
    assert code == 0
    assert [row["kind"] for row in found["layers"]] == ["Conv2d", "ReLU", "Flatten", "Linear"]
    assert found["first"] is None


def test_words_are_drawn_for_a_model_that_reads_them(capsys):
    code, out, _ = run(capsys, "net.py::words", "--size", "4", *TWICE)
    assert code == 0
    assert "Embedding" in out


def test_without_a_card_it_says_what_is_missing(capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    code, _, err = run(capsys, "lenet5")
    assert code == 2
    assert "cuda needs CuPy" in err


MISTAKES = {
    "one device": (("lenet5", "--devices", "cuda"), "--devices names two, as cpu,cuda"),
    "no device": (("lenet5", "--devices", "cpu,tpu"), "unknown device 'tpu'"),
    "no batch": (("lenet5", "--devices", "cpu,cpu", "--batch", "0"), "--batch must be at least 1"),
    "a mode of the CPU": (("lenet5", "--devices", "cpu,cpu", "--math", "tf32"), "--math is of car"),
    "no algorithm": (("lenet5", *TWICE, "--algorithm", "conv"), "--algorithm is written as"),
    "no size": (("net.py::model", *TWICE), "add --size"),
    "another size": (("net.py::model", "--size", "3x6x6", *TWICE), "does not take (2, 3, 6, 6)"),
    "no model": (("lenet6", *TWICE), "no model is called 'lenet6'"),
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_explained(capsys, arguments, message):
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert message in err


def test_an_unknown_algorithm_is_named(capsys):
    code, _, err = run(capsys, "lenet5", *TWICE, "--algorithm", "conv=magic")
    assert code != 0
    assert "unknown algorithm 'magic'" in err
