"""`minicnn summary`, also by somebody who mistypes."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

import minicnn
from minicnn import cli

NET = """
import numpy as np
import minicnn
from minicnn import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 26 * 26, 10))

model = Net()
number = 3

def build():
    return Net()

def broken():
    return Net()(1, 2)

def needs(size):
    return Net()
"""


@pytest.fixture
def net(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)


def run(capsys, *arguments):
    code = cli.main(("summary", *arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_named_model(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    code, out, err = run(capsys, "vgg16")
    assert (code, err) == (0, "")
    assert out.startswith("VGG for one example of 3x224x224")
    assert "(3*3*128 + 1) * 256 = 295,168" in out
    assert "138,357,544 parameters" in out


def test_settings_size_and_depth(capsys):
    code, out, _ = run(
        capsys, "resnet50", "--set", "stride_in_1x1=True", "--set", "num_classes=7", "--size",
        "96", "--depth", "1", "--wide",
    )  # fmt: skip
    assert code == 0
    assert "3x96x96" in out
    assert "(2048 + 1) * 7 = 14,343" in out
    assert "483" in out
    assert "im2col" in out


@pytest.mark.parametrize("name", ["model", "Net", "build"])
def test_a_model_in_a_file(capsys, net, name):
    state = minicnn.random.default.get_state()
    code, out, err = run(capsys, f"net.py::{name}", "--size", "1,28,28")
    assert (code, err) == (0, "")
    assert "(1352 + 1) * 10 = 13,530" in out
    assert minicnn.random.default.get_state() == state


def test_csv_and_a_page(capsys, tmp_path):
    file = tmp_path / "new" / "lenet.html"
    code, out, _ = run(capsys, "lenet5", "--csv", "--html", str(file))
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0
    assert sum(int(row["parameters"]) for row in rows) == 61_750
    assert file.read_text().startswith("<!doctype html>")
    assert [path.name for path in file.parent.iterdir()] == ["lenet.html"]


def test_nothing_is_drawn_and_nothing_allocated(capsys, monkeypatch):
    monkeypatch.setattr(np.random, "Generator", lambda bits: pytest.fail("drawn"))
    assert run(capsys, "vgg19", "--depth", "0")[0] == 0


@pytest.mark.parametrize(("arguments", "message"), [
    (("vgg",), "no model is called 'vgg'; did you mean"),
    (("vgg16", "--size", "224x224"), "does not take an input of shape (224, 224)"),
    (("vgg16", "--size", "0"), "--size is written as 3x224x224"),
    (("vgg16", "--size", "3x224x"), "--size is written as 3x224x224"),
    (("vgg16", "--size", "3", "--size", "4"), "VGG does not take 2 inputs: too many positional"),
    (("vgg16", "--set", "num_class=3"), "no setting 'num_class'; did you mean num_classes?"),
    (("vgg16", "--set", "num_classes=-3"), "vgg16: "),
    (("vgg16", "--set", "num_classes"), "--set is written as NAME=VALUE"),
    (("vgg16", "--depth", "-2"), "--depth must be at least 0"),
    (("VGG-16",), "did you mean vgg16"),
    (("net.py",), "net.py: name a model in it, as net.py::model"),
    (("net.py:model",), "as net.py::model"),
    (("net.py::models", "--size", "1x28x28"), "did you mean model?"),
    (("net.py::model",), "add --size 3x224x224"),
    (("net.py::model", "--size", "28"), "does not take an input of shape (28,)"),
    (("net.py::number", "--size", "28"), "is of type int; name a minicnn Module"),
    (("net.py::broken", "--size", "28"), "net.py, line 17: TypeError"),
    (("net.py::needs", "--size", "28"), "TypeError"),
    (("net.py::model", "--size", "28", "--set", "a=1"), "--set is for models of the catalogue"),
    (("other.py::model", "--size", "28"), "no such file: other.py"),
])  # fmt: skip
def test_mistakes(capsys, net, arguments, message):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
