"""`minicnn gradcheck` as a student, an author and a build server use it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from textwrap import dedent

import pytest

from minicnn import cli
from minicnn.cli import targets
from minicnn.cli.gradcheck import shape

FILE = """
    import numpy as np

    def relu(x):
        return np.maximum(0, x)

    def relu_backward(dy, x):
        return dy * (x > 0)

    def affine(x, w):
        return x @ w

    def affine_backward(dy, x, w):
        return dy @ w.T, x.T @ dy / len(x)

    def affine_inputs():
        draw = np.random.default_rng(0).standard_normal
        return draw((4, 3)), draw((3, 2))

    def rounded(x):
        return np.round(x, 8)

    def rounded_backward(dy, x):
        return dy

    def drawn(x, scale):
        return x * scale

    def drawn_backward(dy, x, scale):
        return dy * scale, np.sum(dy * x) * np.ones(())

    def drawn_inputs():
        return np.random.standard_normal(3), np.array(np.random.random())
"""


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.py"
    path.write_text(dedent(FILE))
    return path


def run(capsys, *arguments):
    try:
        code = cli.main(("gradcheck", *arguments))
    except SystemExit as stop:  # argparse's own way to end
        code = stop.code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, captured.out, captured.err


# --- exit codes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "first"),
    [
        (("mine.py::relu", "--shape", "2,3"), 0, "pass  mine.py::relu(x [2, 3]): 6 comparisons"),
        (("mine.py::affine",), 1, "gradcheck FAIL  mine.py::affine(x [4, 3], w [3, 2])"),
        (("mine.py::rounded", "--shape", "3"), 3, "gradcheck INCONCLUSIVE  mine.py::rounded(x"),
        (("mine.py::rounded", "--shape", "3", "--allow-inconclusive"), 0, "gradcheck INCONCLUSIVE"),
        (("cosh",), 0, "pass  cosh: signed"),
        (("cosh", "--order", "2", "--mode", "fast"), 0, "pass  the gradient of cosh: signed"),
        (("--model", "lenet5: modern", "--budget", "0.1"), 0, "pass  lenet5: modern"),
        (("mine.py::drawn",), 0, "pass  mine.py::drawn(x [3], scale [])"),
    ],
)
def test_exit_code_and_first_line(capsys, arguments, code, first):
    found, out, err = run(capsys, *arguments)
    assert found == code
    assert out.startswith(first)
    assert err == ""


def test_the_worst_verdict_of_several_counts(capsys):
    one = "mine.py::relu", "mine.py::rounded"
    code, out, _ = run(capsys, *one, "--shape", "3")
    assert code == 3
    assert out.splitlines()[-1].startswith("2 checks: 1 pass, 0 fail, 1 inconclusive, ")
    code, out, _ = run(capsys, "cosh", "mine.py::rounded", "mine.py::relu", "--shape", "3")
    assert code == 3
    assert run(capsys, "mine.py::affine", "cosh")[0] == 1


def test_targets_may_stand_on_both_sides_of_an_option(capsys):
    code, out, _ = run(capsys, "cosh", "--seed", "3", "sinh")
    assert code == 0
    assert "2 checks: 2 pass" in out


def test_a_failure_says_what_and_how_to_repeat(capsys):
    _, out, _ = run(capsys, "mine.py::affine", "--seed", "4", "--mode", "full")
    assert "likely cause: " in out
    assert "4 is the batch size" in out
    assert "repeat: minicnn gradcheck mine.py::affine --seed 4 --mode full\n" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ("mine.py::affine", "--seed", "4", "--budget", "0.5"),
        ("mine.py::rounded", "--shape", "2,2", "--rtol", "1e-9"),
        ("cosh: signed", "--eps", "1e-14"),  # rounding is all there is
    ],
)
def test_the_repeat_line_repeats(capsys, arguments):
    code, out, _ = run(capsys, *arguments)
    (command,) = [line for line in out.splitlines() if line.startswith("  repeat: ")]
    words = shlex.split(command)[1:]
    assert words[:2] == ["minicnn", "gradcheck"]
    again, second, _ = run(capsys, *words[2:])
    assert again == code != 0
    assert second.splitlines()[:-1] == out.splitlines()[:-1]  # the last one holds the time


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name what to check"),
        (("conv2",), "did you mean conv2d"),
        (("cosh", "conv: grops"), "did you mean conv: groups"),
        (("--model", "lenet"), "did you mean lenet5"),
        (("--model",), "expected one argument"),
        (("mine.py::rel",), "did you mean relu"),
        (("nowhere.py::relu",), "no such file"),
        (("mine.py::relu",), "minicnn gradcheck mine.py::relu --shape 2,3"),
        (("mine.py::relu", "--shape", "2;3"), "'2;3' is no shape; write it as 2,3,5,5"),
        (("mine.py::relu", "--shape=-2,3"), "'-2,3' is no shape"),
        (("cosh", "--shape", "2"), "operations have sample inputs"),
        (("cosh", "--seed", "-1"), "--seed must be at least 0, got -1"),
        (("cosh", "--rtol", "-1"), "rtol must not be negative, got -1.0"),
        (("cosh", "--eps", "nan"), "eps must not be negative, got nan"),
        (("cosh", "--budget", "nan"), "--budget must be at least 0 seconds"),
        (("cosh", "--mode", "slow"), "invalid choice: 'slow'"),
        (("cosh", "--order", "3"), "invalid choice: 3"),
        (("cosh", "--json", "."), "--json: . is a folder; name a file"),
        (("cosh", "--fast"), "unrecognized arguments: --fast"),
        (("--all", "--planted"), "choose one of --all, --planted"),
        (("--planted", "no_such"), "no planted mistake 'no_such'"),
        (("--planted", "conv2d_stride_ignord"), "did you mean conv2d_stride_ignored"),
        (("--planted", "--html", "x.html"), "--planted takes names of mistakes"),
        (("--planted", "--order", "2"), "--planted takes names of mistakes"),
    ],
)
def test_mistakes(capsys, tmp_path, arguments, message):
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert message in err
    assert out == ""
    assert [path.name for path in tmp_path.iterdir() if path.name != "__pycache__"] == ["mine.py"]


def test_a_mistake_in_the_last_target_stops_the_first(capsys):
    code, out, _ = run(capsys, "cosh", "conv2d", "mine.py::rel")
    assert (code, out) == (2, "")


def test_an_error_in_the_file_is_one_line_with_its_place(capsys, file):
    file.write_text("import numpy as np\n\nnp.zeros(3)[7]\n")
    code, _, err = run(capsys, "mine.py::relu")
    assert code == 2
    assert err == (
        f"minicnn gradcheck: mine.py::relu: {file}, line 3: IndexError: index 7 is out of bounds "
        f"for axis 0 with size 3\n"
    )


def test_shapes():
    assert shape("2,3") == (2, 3)
    assert shape("(4,)") == (4,)
    assert shape("0,2") == (0, 2)
    assert shape("") == ()


# --- files ----------------------------------------------------------------------------------------


def test_json_holds_every_check(capsys, tmp_path):
    path = tmp_path / "new" / "out.json"
    code, _, _ = run(capsys, "mine.py::affine", "cosh", "--json", str(path))
    assert code == 1
    found = json.loads(path.read_text())
    assert [check["verdict"] for check in found["checks"]] == ["fail", "pass"]
    assert found["checks"][0]["target"] == "mine.py::affine"
    assert found["checks"][0]["causes"][0]["cause"] == "factor"
    assert list(path.parent.iterdir()) == [path]  # nothing half-written beside it


def test_html_is_one_page_with_every_map(capsys, tmp_path):
    path = tmp_path / "out.html"
    run(capsys, "mine.py::affine", "cosh", "--html", str(path))
    text = path.read_text()
    assert text.count("<html") == 1
    assert text.count("<h2>") == 2
    assert "likely cause" in text


def test_a_file_that_cannot_be_written_is_no_wrong_gradient(capsys, tmp_path):
    (tmp_path / "taken").touch()
    code, out, err = run(capsys, "cosh", "--json", str(tmp_path / "taken" / "out.json"))
    assert code == 2
    assert out.startswith("pass  cosh")  # the result is not lost
    assert "taken" in err


# --- lists and everything -------------------------------------------------------------------------


def test_list(capsys):
    code, out, _ = run(capsys, "--list")
    assert code == 0
    for name in ("operations:", "  conv2d\n", "  Linear\n", "  lenet5\n"):
        assert name in out


def test_all_with_something_that_has_no_inputs(capsys, monkeypatch):
    monkeypatch.setattr(targets, "everything", lambda order: targets.own_checks("cosh", order))
    monkeypatch.setattr(targets, "unchecked", lambda: [])
    assert run(capsys, "--all")[0] == 0
    monkeypatch.setattr(targets, "unchecked", lambda: ["newcomer"])
    code, out, _ = run(capsys, "--all")
    assert code == 3
    assert "not checked  newcomer" in out


def test_lines_come_as_they_are_known():
    """A pipe sees the first line before the last check is done, and no bar."""
    process = subprocess.run(
        [sys.executable, "-m", "minicnn", "gradcheck", "cosh", "sinh"],
        capture_output=True, text=True, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert (process.returncode, process.stderr) == (0, "")
    assert [line.split()[0] for line in process.stdout.splitlines()] == ["pass", "pass", "2"]


def test_help_teaches_by_examples(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    for text in ("minicnn gradcheck conv2d relu", "--shape 4,6", "exit codes: 0 pass", "_inputs()"):
        assert text in out


def test_a_reader_that_goes_away_is_no_error():
    process = subprocess.run(
        f'"{sys.executable}" -m minicnn gradcheck cosh sigmoid relu | true',
        shell=True, capture_output=True, text=True,
    )  # fmt: skip
    assert process.stderr == ""
