"""`minicnn models` lists what `models.create` builds."""

from __future__ import annotations

import csv
import io

import pytest

from minicnn import cli, models


def run(capsys, *arguments):
    code = cli.main(("models", *arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_all_models(capsys):
    code, out, _ = run(capsys)
    names = [line.split()[0] for line in out.splitlines()[1:]]
    assert code == 0
    assert sorted(names) == list(models.list())
    years = [line.split()[1] for line in out.splitlines()[1:]]
    assert years == sorted(years)
    line = next(line for line in out.splitlines() if line.startswith("vgg16 "))
    assert line.split()[1:6] == ["2014", "138,357,544", "15.5", "G", "3x224x224"]


@pytest.mark.parametrize(("pattern", "some", "others"), [
    ("resnet", {"resnet18", "wide_resnet50_2"}, {"vgg16"}),
    ("ResNet", {"resnet18"}, {"vgg16"}),
    ("vgg*_bn", {"vgg11_bn", "vgg19_bn"}, {"vgg11", "resnet18"}),
    ("szegedy", {"googlenet", "inception_v3"}, {"vgg16"}),
])  # fmt: skip
def test_a_pattern(capsys, pattern, some, others):
    names = {line.split()[0] for line in run(capsys, pattern)[1].splitlines()[1:]}
    assert some <= names
    assert not others & names


def test_csv(capsys):
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO(run(capsys, "--csv")[1]))}
    assert set(rows) == set(models.list())
    assert rows["vgg16"]["parameters"] == "138357544"
    assert int(rows["vgg16"]["flops"]) == 2 * int(rows["vgg16"]["multiply_adds"]) == 30940528640
    assert rows["lenet5"]["input"] == "1x32x32"


def test_lines_end_at_the_edge_of_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    lines = run(capsys)[1].splitlines()
    assert max(map(len, lines)) == 70
    assert lines[1].endswith("…")


def test_a_mistake_is_answered(capsys):
    code, out, err = run(capsys, "resent18")
    assert (code, out) == (2, "")
    assert "no model fits 'resent18'; did you mean resnet18" in err
