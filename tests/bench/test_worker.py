"""The other process: it answers, refuses in words, and may end at any time."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

from minicnn.bench import worker
from minicnn.bench.kinds import work
from minicnn.bench.work import relative_error
from minicnn.errors import UsageError


@pytest.fixture(scope="module")
def process():
    pytest.importorskip("torch")
    process = worker.Worker(1)
    yield process
    process.close()


@pytest.mark.parametrize("variant", worker.VARIANTS)
@pytest.mark.parametrize("text", ["g2mb2ic4ih7iw6oc6kh3sh2ph1", "mb2ic3iw9oc4kw3", "ic2id4oc3kd2"])
def test_pytorch_computes_the_same_work(process, text, variant):
    training = work("conv", text, "train")
    remote = worker.Remote("rival", process, variant)
    started = remote.start(training, {})
    expected = training.expected(training.operands())
    for part, sample, right in zip(training.parts, started.samples, expected, strict=True):
        assert relative_error(sample, right) < training.tolerance(part, variant)
    assert all(seconds > 0 for seconds in remote.turn(0.0))
    remote.stop()
    with pytest.raises(worker.WorkerError, match="KeyError"):
        remote.turn(0.0)


@pytest.mark.parametrize(
    ("kind", "text", "direction"),
    [("gemm", "5x3:3x4", "train")]
    + [("pool", text, d) for text in ("ic3ih7kh3sh2ph1", "ic3iw9kw3", "ic2id4kd2")
       for d in ("max", "max_d", "avg", "avg_d")],
)  # fmt: skip
def test_pytorch_multiplies_and_pools(process, kind, text, direction):
    found = work(kind, text, direction)
    remote = worker.Remote("rival", process, "torch-cl")
    samples = remote.start(found, {}).samples
    expected = found.expected(found.operands())
    for part, sample, right in zip(found.parts, samples, expected, strict=True):
        assert relative_error(sample, right) < found.tolerance(part, "torch")


@pytest.mark.parametrize("direction", ["train", "infer"])
def test_pytorch_builds_the_same_network(process, direction):
    found = work("model", "lenet5mb3", direction)
    started = worker.Remote("rival", process, "torch-cl").start(found, {})
    (right,) = found.expected(found.operands())
    assert relative_error(started.samples[0], right) < 1e-5


def test_our_own_kernels_in_another_process_and_numpys_as_the_judge():
    found = work("model", "lenet5mb3", "infer")
    process = worker.Worker(1, torch=False)
    assert process.facts == {}
    started = worker.Remote("mine", process, "minicnn").start(found, {})
    process.close()
    (right,) = worker.expected(found, 1)
    assert relative_error(started.samples[0], right) < 1e-5
    assert started.scratch_bytes == 0 or started.scratch_bytes > 10_000


def test_memory_is_that_of_this_process(monkeypatch, tmp_path):
    status = tmp_path / "status"
    status.write_text("VmPeak:\t  9 kB\nVmHWM:\t   1234 kB\nVmRSS:\t 1 kB\n")
    monkeypatch.setattr(worker, "STATUS", status)
    assert worker.largest_memory() == 1234 * 1024
    status.unlink()
    assert worker.largest_memory() == 0


def test_facts_name_the_versions(process, torch):
    assert process.facts["torch"] == torch.__version__
    assert "oneDNN" in process.facts


def test_a_process_that_has_ended_is_an_error():
    pytest.importorskip("torch")
    process = worker.Worker(1)
    process.process.kill()
    with pytest.raises(worker.WorkerError, match="has ended"):
        process.ask(do="facts", threads=1)
    process.close()


def test_without_pytorch_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(worker, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install torch"):
        worker.Worker(1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_survive_the_journey(dtype, rng):
    array = rng.standard_normal((2, 3)).astype(dtype)[:, ::2]
    found = worker.unpacked(json.loads(json.dumps(worker.packed(array))))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, array)


def test_the_other_side_answers_line_by_line(monkeypatch, capsys):
    monkeypatch.setattr(worker.signal, "signal", lambda *_: None)
    monkeypatch.setattr(worker.Answers, "facts", lambda self, threads: {"threads": threads})
    questions = [{"do": "facts", "threads": 3}, {"do": "turn", "label": "nobody", "seconds": 1}]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(map(json.dumps, questions)) + "\n"))
    worker.serve()
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {"answer": {"threads": 3}}
    assert second == {"error": "KeyError: 'nobody'"}
