"""Other processes, so that PyTorch's threads do not meet ours: JSON lines over pipes.

`Remote` is a contestant whose computing is done there; `python -m minicnn.bench.worker` is there.
Operands do not travel: both sides draw them from the same seed.  Whole networks have a process for
each contestant, so that its memory can be told.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from minicnn.bench.station import Own, Started
from minicnn.bench.work import Operands, Work
from minicnn.errors import MinicnnError, UsageError
from minicnn_kernels.arrays import Array

VARIANTS = ("torch", "torch-cl")
STATUS = Path("/proc/self/status")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MINICNN_NUM_THREADS")


class WorkerError(MinicnnError):
    """The other process refuses, or has ended."""


class Worker:
    """A process with a fixed number of threads, and the questions it answers.

    Attributes:
        facts: the versions of what it computes with.
    """

    def __init__(self, threads: int, torch: bool = True, **environment: str) -> None:
        if torch and find_spec("torch") is None:
            raise UsageError(
                "comparing with PyTorch needs it installed: pip install torch (the CPU build is "
                "enough); --vs none does without"
            )
        limits = dict.fromkeys(THREADS, str(threads))
        paths = os.pathsep.join(path for path in sys.path if path)
        self.complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in close()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "minicnn.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.complaints,
            text=True,
            env={**os.environ, **limits, "PYTHONPATH": paths, **environment},
        )
        self.facts: dict[str, str] = self.ask(do="facts", threads=threads) if torch else {}

    def ask(self, **question: Any) -> Any:
        """Send a question and return the answer.

        Raises:
            WorkerError: the process could not answer, or is gone.
        """
        pipe_in, pipe_out = self.process.stdin, self.process.stdout
        assert pipe_in is not None
        assert pipe_out is not None
        try:
            pipe_in.write(json.dumps(question) + "\n")
            pipe_in.flush()
            line = pipe_out.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(f"the other process has ended: {self._last_words()}")
        reply = json.loads(line)
        if "error" in reply:
            raise WorkerError(reply["error"])
        return reply["answer"]

    def _last_words(self) -> str:
        self.process.wait()
        self.complaints.seek(0)
        lines = self.complaints.read().strip().splitlines()
        return lines[-1] if lines else f"exit code {self.process.returncode}"

    def close(self) -> None:
        """End the process, also in the middle of a turn."""
        self.process.kill()
        self.process.communicate()
        self.complaints.close()


@dataclass
class Remote:
    """A contestant in a worker's process."""

    label: str
    worker: Worker
    variant: str
    device: str = "cpu"
    cold: bool = False

    def start(self, work: Work, operands: Operands) -> Started:
        """Let it compute once."""
        answer = self.worker.ask(
            do="start",
            label=self.label,
            variant=self.variant,
            device=self.device,
            cold=self.cold,
            **named(work),
        )
        samples = [unpacked(array) for array in answer.pop("samples")]
        return Started(samples, **answer)

    def turn(self, seconds: float) -> list[float]:
        """Let it compute for about so long."""
        times: list[float] = self.worker.ask(do="turn", label=self.label, seconds=seconds)
        return times

    def stop(self) -> None:
        """Let it forget the arrays."""
        self.worker.ask(do="stop", label=self.label)


def named(work: Work) -> dict[str, str]:
    """Return the three texts that name a work."""
    return {
        "kind": work.problem.kind, "problem": str(work.problem), "direction": work.direction
    }  # fmt: skip


def expected(work: Work, threads: int) -> list[Array]:
    """Let another process compute the right result, with NumPy's kernels only."""
    worker = Worker(threads, torch=False, MINICNN_KERNELS="numpy")
    try:
        return [unpacked(array) for array in worker.ask(do="expected", **named(work))]
    finally:
        worker.close()


def packed(array: Array) -> dict[str, Any]:
    """Turn an array into something that JSON can hold."""
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
    return {"dtype": array.dtype.str, "shape": array.shape, "data": data}


def unpacked(fields: dict[str, Any]) -> Array:
    """Turn it back.

    >>> unpacked(packed(np.array([[1.0, 2.0]])))
    array([[1., 2.]])
    """
    data = base64.b64decode(fields["data"])
    return np.frombuffer(data, fields["dtype"]).reshape(fields["shape"])


# --- the other side -------------------------------------------------------------------------------


class Answers:
    """What the worker does with each question."""

    def __init__(self) -> None:
        self.stations: dict[str, Own] = {}

    def facts(self, threads: int) -> dict[str, str]:
        """Prepare PyTorch."""
        import torch

        from minicnn.bench import torch_side

        torch.set_num_threads(threads)
        return torch_side.facts()

    def start(
        self, label: str, variant: str, device: str, cold: bool, **named: str
    ) -> dict[str, Any]:
        """Compute once."""
        from minicnn.bench import kinds

        kind, work = kinds.KINDS[named["kind"]], kinds.work(**named)
        if variant in VARIANTS:
            from minicnn.bench import torch_side

            build = partial(torch_side.build, variant, device)
        else:
            build = partial(kind.build, variant)
        before = largest_memory()
        station = self.stations[label] = Own(label, build, measures_memory=False, cold=cold)
        started = station.start(work, work.operands())
        return {
            "samples": [packed(array) for array in started.samples],
            "algorithms": started.algorithms,
            "compile_seconds": started.compile_seconds,
            "scratch_bytes": largest_memory() - before if kind.apart else None,
        }

    def expected(self, **named: str) -> list[dict[str, Any]]:
        """Compute the right result."""
        from minicnn.bench import kinds

        work = kinds.work(**named)
        return [packed(array) for array in work.expected(work.operands())]

    def turn(self, label: str, seconds: float) -> list[float]:
        """Compute for a while."""
        return self.stations[label].turn(seconds)

    def stop(self, label: str) -> None:
        """Forget."""
        self.stations.pop(label, None)


def largest_memory() -> int:
    """Return the most bytes that this process has held so far, as Linux tells; else 0.

    `resource.getrusage` would count what the process that started this one had held.
    """
    try:
        status = STATUS.read_text()
    except OSError:
        return 0
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def serve() -> None:
    """Answer questions until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    answers = Answers()
    for line in sys.stdin:
        question = json.loads(line)
        try:
            reply = {"answer": getattr(answers, question.pop("do"))(**question)}
        except Exception as error:  # whatever PyTorch raises is the answer
            reply = {"error": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    serve()
