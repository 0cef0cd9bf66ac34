"""`minicnn bench` from the command line, with problems that take no time."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from pathlib import Path

import pytest

from minicnn import cli
from minicnn.bench import peak, session
from minicnn.bench.peak import Roof
from minicnn.bench.worker import WorkerError
from minicnn.cli import bench
from minicnn_kernels import conv, threads

ROOT = Path(__file__).resolve().parents[2]
QUICK = ("--min-time", "0", "--min-runs", "1", "--vs", "none")
TINY = ("bench", "conv", "--problem", 'mb2ic3ih6oc4kh3ph1n"tiny*2"', *QUICK)


@pytest.fixture(autouse=True)
def known_roof(monkeypatch):
    monkeypatch.setattr(peak, "measure", lambda device: Roof(1e11, 1e10))
    before = threads.get_num_threads()
    yield
    assert threads.get_num_threads() == before


@pytest.fixture
def wrong():
    """An algorithm that forgets the last row of the result."""

    @conv.algorithm("planted")
    def planted(x, w, **settings):
        y = conv(x, w, algorithm="im2col", **settings)
        y[:, :, -1] = 0
        return y

    yield
    del conv.algorithms["planted"]


def test_a_problem_is_measured_and_printed(capsys):
    assert cli.main(TINY) == 0
    out = capsys.readouterr().out
    assert "100 GFLOP/s in registers, 10.0 GB/s" in out
    assert "tiny  mb2ic3ih6oc4kh3ph1 (x2): 15.6 kFLOP, 6.35 FLOP/byte" in out
    assert "numpy" in out
    assert "auto: im2col" in out
    assert max(map(len, out.splitlines())) <= 100


def test_all_algorithms_in_all_directions_with_both_layouts_and_one_thread(capsys):
    options = ("--algo", "all", "--dir", "fwd,bwd_d,bwd_w,train", "--layout", "nchw,nhwc")
    assert cli.main((*TINY, *options, "--threads", "1")) == 0
    out = capsys.readouterr().out
    for text in ("flipped_filter/nchw", "im2col/nhwc", "auto/nchw", "train"):
        assert text in out
    assert "loops" not in out


def test_a_wrong_result_prints_fail_and_gets_no_time(wrong, capsys):
    assert cli.main((*TINY, "--algo", "planted,im2col")) == 1
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if "planted" in line and "FAIL" in line]
    assert "FAIL: relative error" in line
    assert "ms" not in line


def test_files_hold_everything(tmp_path, capsys):
    files = [tmp_path / f"new.{kind}" for kind in ("json", "csv", "html")]
    command = [*TINY, "--json", str(files[0]), "--csv", str(files[1]), "--html", str(files[2])]
    assert cli.main(command) == 0
    report = json.loads(files[0].read_text())
    (result,) = report["results"]
    assert result["problem"] == "mb2ic3ih6oc4kh3ph1"
    assert result["runs"] == len(result["times"]) == 1
    assert result["of_limit"] > 0
    (row,) = csv.DictReader(io.StringIO(files[1].read_text()))
    assert row["contestant"] == "auto"
    assert "<svg" in files[2].read_text()


def test_an_older_measurement_decides_the_exit_code(tmp_path, capsys):
    file = tmp_path / "old.json"
    assert cli.main((*TINY, "--json", str(file))) == 0
    report = json.loads(file.read_text())
    for factor, code in ((1e-9, 1), (1e9, 0)):
        old = {**report, "results": [{**r, "times": [factor]} for r in report["results"]]}
        file.write_text(json.dumps(old))
        assert cli.main((*TINY, "--compare", str(file), "--fail-over", "50%")) == code
    assert "1 of 1 measured before as well" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (WorkerError("it has ended"), 1)]
)
def test_what_was_measured_is_kept(error, code, tmp_path, monkeypatch, capsys):
    file = tmp_path / "new.json"
    compete, works = session.compete, []

    def stopping(work, *others):
        works.append(work)
        if len(works) == 2:
            raise error
        return compete(work, *others)

    monkeypatch.setattr(session, "compete", stopping)
    assert cli.main((*TINY, "--dir", "fwd,bwd_d", "--json", str(file))) == code
    assert [r["direction"] for r in json.loads(file.read_text())["results"]] == ["fwd"]
    assert "tiny" in capsys.readouterr().out


def test_pytorch_takes_part(torch, capsys):
    command = [word for word in TINY if word not in ("--vs", "none")]
    assert cli.main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in ("torch", "torch-cl"):
        assert any(line.split()[1:2] == [name] and line.endswith("x") for line in lines)
    assert any(line.startswith("oneDNN") for line in lines)


def test_pytorch_is_not_needed(monkeypatch, capsys):
    monkeypatch.setattr(bench, "find_spec", lambda name: None)
    monkeypatch.setattr("minicnn.bench.worker.find_spec", lambda name: None)
    command = [word for word in TINY if word not in ("--vs", "none")]
    assert cli.main(command) == 0
    assert cli.main((*command, "--vs", "torch")) == 2
    assert "pip install torch" in capsys.readouterr().err


def test_another_batch_and_a_file_of_problems(tmp_path, capsys):
    file = tmp_path / "mine.txt"
    file.write_text("mb8ic3ih6oc4kh3\nic2ih4oc2kh1\n")
    assert cli.main(("bench", "conv", "--suite", str(file), "--batch", "1", *QUICK)) == 0
    out = capsys.readouterr().out
    assert "mb1ic3ih6oc4kh3" in out
    assert "mb1ic2ih4oc2kh1" in out
    assert "total ms" in out


def test_named_algorithms_that_do_not_serve_are_skipped(capsys):
    assert cli.main((*TINY, "--algo", "depthwise,im2col", "--baseline", "im2col")) == 0
    out = capsys.readouterr().out
    assert "skipped: does not serve this" in out
    assert "1.00x" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--suite", "vgg61"), "did you mean vgg16"),
        (("--problem", "mb16ic"), "cannot be read from 'ic' on"),
        (("--dir", "forward"), "--dir: unknown 'forward'; there are fwd, bwd_d, bwd_w, train"),
        (("--algo", "im2cool"), "--algo: unknown 'im2cool'; there are all, auto"),
        (("--layout", "nhcw"), "--layout: unknown 'nhcw'"),
        (("--device", "tpu"), "--device: unknown 'tpu'"),
        (("--vs", "jax"), "--vs: unknown 'jax'"),
        (("--batch", "0"), "--batch must be at least 1"),
        (("--min-time", "9"), "--min-time must be at least 0 and at most --max-time"),
        (("--threads", "0"), "is no list of numbers; write it as 1,2"),
        (("--fail-over", "much"), "write it as 5% or 0.05"),
        (("--json", "."), "--json: . is a folder"),
        (("--baseline", "nobody"), "--baseline: unknown 'nobody'"),
    ],
)
def test_a_mistake_is_one_clear_line_and_exit_code_2(words, message, capsys):
    command = ("bench", "conv", "--vs", "none", *words)
    try:
        code = cli.main(command)
    except SystemExit as error:  # argparse itself refuses
        code = error.code
    assert code == 2
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_a_card_that_is_not_there(capsys):
    try:
        import cupy  # noqa: F401
    except ImportError:
        assert cli.main((*TINY, "--device", "cpu,cuda")) == 2
        assert "needs CuPy" in capsys.readouterr().err


def test_a_comparison_with_no_measurement(tmp_path, capsys):
    file = tmp_path / "other.json"
    file.write_text("{}")
    assert cli.main((*TINY, "--compare", str(file))) == 1
    assert "was not written by minicnn bench" in capsys.readouterr().err
    assert cli.main((*TINY, "--compare", str(tmp_path / "none.json"))) == 1


@pytest.mark.parametrize(
    ("words", "example"),
    [
        ((), "mb16ic64ih56oc64kh3ph1"),
        (("conv",), "mb16ic64ih56oc64kh3ph1"),
        (("gemm",), "256x64:64x128"),
        (("pool",), "mb8ic64ih112kh3sh2ph1"),
        (("model",), "largest memory"),
    ],
)
def test_help_teaches(words, example, capsys):
    with pytest.raises(SystemExit) as ending:
        cli.main(("bench", *words, "--help"))
    assert ending.value.code == 0
    out = capsys.readouterr().out
    assert example in out
    assert max(map(len, out.splitlines())) <= 100


def test_matrix_products(capsys):
    command = ("bench", "gemm", "--problem", "5x3:3x4", "--dir", "fwd,bwd_a,bwd_b,train", *QUICK)
    assert cli.main(command) == 0
    out = capsys.readouterr().out
    assert "numpy" in out
    assert "120 FLOP" in out


def test_pooling(capsys):
    command = ("bench", "pool", "--problem", "mb2ic3ih6kh2sh2", "--dir", "max,max_d,avg,avg_d")
    assert cli.main((*command, "--algo", "all", "--batch", "1", *QUICK)) == 0
    out = capsys.readouterr().out
    assert "mb1ic3ih6kh2sh2: 108 FLOP" in out
    assert "taps" in out


def test_networks(tmp_path, capsys):
    file = tmp_path / "model.html"
    command = ("bench", "model", "lenet5", "--batch", "2", "--dir", "train,infer", *QUICK)
    assert cli.main((*command, "--html", str(file))) == 0
    out = capsys.readouterr().out
    assert "lenet5mb2: 5 MFLOP, at most 100 GFLOP/s" in out
    assert "Inference" in file.read_text()
    assert cli.main(("bench", "model", "lennet5", *QUICK)) == 2
    assert "did you mean 'lenet5'" in capsys.readouterr().err


def shown_commands():
    """Return every `minicnn bench` command that README, docs and help show."""
    files = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    text = "\n".join([file.read_text() for file in files] + [bench.EXAMPLES])
    found = re.findall(r"^ *minicnn (bench \w+(?: [^\s\[].*?)?)(?:  .*)?$", text, re.MULTILINE)
    return sorted(set(found))


@pytest.mark.parametrize("command", shown_commands())
def test_commands_that_are_shown_can_be_run(command, monkeypatch):
    monkeypatch.setattr("minicnn_kernels.arrays.to_device", lambda array, device: array)
    options = cli.build_parser().parse_args(shlex.split(command))
    bench.checked(options)
    assert bench.chosen_works(options)


def test_many_commands_are_shown():
    assert len(shown_commands()) >= 10


def test_shares_and_lists():
    assert bench.share("5%") == bench.share("0.05") == 0.05
    assert bench.words(" a, b,") == ["a", "b"]
    assert bench.numbers("1,2") == [1, 2]


def test_a_card_beside_the_processor(card, capsys):
    assert cli.main((*TINY, "--device", "cpu,cuda", "--vs", "none", "--math", "tf32")) == 0
    shown = capsys.readouterr().out
    assert "Stand-in" in shown
    assert re.search(r"^math +tf32$", shown, re.M)
    assert re.search(r"fwd +auto/cuda: few_channels ", shown)
