"""Time whole networks against PyTorch: training steps, inference, and the memory they take.

The files of `minicnn/models` run with either library's layers, so both have the same network: once
with PyTorch's usual memory order, once with `channels_last`.  Each contender runs in a process of
its own; they take turns, so that a busy moment of the machine hits all.  A training step is
forward, cross-entropy, backward and SGD with momentum, at 224x224 pixels (LeNet: 32x32), float32.
In inference batch norms are folded into the convolutions in both libraries, and minicnn's model is
frozen: its weights are prepared beforehand.  PyTorch takes part in its usual way, in both orders,
and likewise prepared, by `torch.jit.freeze` and `optimize_for_inference`.  The memory is the
largest resident size during the first steps, less that before the model was built.

    python benchmarks/models.py --only resnet18 --only vgg16 [--work train --work infer1]
        [--threads 2] [--turns 5] [--markdown FILE] [--json FILE]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from minicnn.bench.timing import settle

MODELS = {"lenet5": 64, "alexnet": 8, "vgg16": 8, "googlenet": 8, "resnet18": 8, "resnet50": 8}
ASKED_FOR = {"vgg19": 2, "resnet152": 2}  # with --only, for their memory
WORK = {"train": None, "infer1": 1, "infer8": 8}  # and the batch; that of training is the model's
CONTENDERS = {
    "minicnn": "minicnn",
    "torch": "PyTorch NCHW",
    "torch-cl": "PyTorch channels_last",
    "torch-jit": "PyTorch frozen",
}
SECONDS_A_TURN = 0.5
Step = Callable[[], None]


def pictures(model: str, batch: int) -> tuple[Any, Any]:
    """Draw images and labels, the same for each contender."""
    shape = (1, 32, 32) if model == "lenet5" else (3, 224, 224)
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, *shape), np.float32), rng.integers(0, 10, batch)


def settings(model: str) -> dict[str, Any]:
    return {"modern": True} if model == "lenet5" else {}


# --- the same step with either library ------------------------------------------------------------


def training(library: Any, net: Any, sgd: Any, x: Any, labels: Any) -> Step:
    """Make a training step; GoogLeNet's two heads count 0.3 each, as in the paper."""
    optimizer = sgd(net.parameters(), lr=0.001, momentum=0.9)
    cross_entropy = library.nn.functional.cross_entropy

    def step() -> None:
        optimizer.zero_grad()
        outputs = net(x)
        main, *heads = outputs if isinstance(outputs, tuple) else (outputs,)
        loss = cross_entropy(main, labels)
        for head in heads:
            loss = loss + 0.3 * cross_entropy(head, labels)
        loss.backward()
        optimizer.step()

    return step


def minicnn_step(model: str, work: str, images: Any, labels: Any) -> Step:
    import minicnn
    from minicnn import models, nn

    minicnn.manual_seed(0)
    net, x = models.create(model, **settings(model)), minicnn.tensor(images)
    if work == "train":
        return training(minicnn, net, minicnn.optim.SGD, x, minicnn.tensor(labels))
    frozen = nn.utils.freeze(net, x)

    def step() -> None:
        with minicnn.no_grad():
            frozen(x)

    return step


def torch_step(model: str, work: str, images: Any, labels: Any, contender: str) -> Step:
    import torch
    from torch.fx.experimental import optimization

    from minicnn.models import in_torch

    torch.manual_seed(0)
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    order = torch.channels_last if contender == "torch-cl" else torch.contiguous_format
    net = in_torch.create(model, **settings(model)).to(memory_format=order)
    x = torch.tensor(images).to(memory_format=order)
    if work == "train":
        return training(torch, net, torch.optim.SGD, x, torch.tensor(labels))
    if contender == "torch-jit":
        frozen = torch.jit.freeze(torch.jit.trace(net.eval(), x))
        fused = torch.jit.optimize_for_inference(frozen)
    else:
        fused = optimization.fuse(net.eval()).to(memory_format=order)

    def step() -> None:
        with torch.inference_mode():
            fused(x)

    return step


# --- one contender in a process of its own --------------------------------------------------------


def work_on(contender: str, model: str, work: str) -> None:
    """Answer with the memory in MiB, then each line of input with the seconds of one turn."""
    images, labels = pictures(model, WORK[work] or (MODELS | ASKED_FOR)[model])
    if contender == "minicnn":
        import minicnn.models  # noqa: F401
    else:
        import torch  # noqa: F401
    before = peak()
    make = minicnn_step if contender == "minicnn" else torch_step
    extra = () if contender == "minicnn" else (contender,)
    step = make(model, work, images, labels, *extra)
    started = time.perf_counter()
    step()
    first = time.perf_counter() - started
    step()
    settle()
    print(json.dumps({"memory": peak() - before, "first": first}), flush=True)
    for _ in sys.stdin:
        times: list[float] = []
        while sum(times) < SECONDS_A_TURN:
            started = time.perf_counter()
            step()
            times.append(time.perf_counter() - started)
        settle()
        print(json.dumps(times), flush=True)


def peak() -> float:
    """Return the largest resident size so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# --- the contest ----------------------------------------------------------------------------------


def compare(model: str, work: str, threads: int, turns: int, names: list[str]) -> dict[str, Any]:
    """Let the contenders take turns; return the seconds of every step and the memory of each."""
    kinds = ("OPENBLAS", "OMP", "MKL", "MINICNN")
    environment = {**os.environ, **{f"{kind}_NUM_THREADS": str(threads) for kind in kinds}}
    workers, started = {}, {}
    for name in names:
        command = [sys.executable, __file__, "--worker", name, "--only", model, "--work", work]
        workers[name] = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        started[name] = answer(workers[name])  # one after the other, so that none disturbs
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(turns):
        print(f"\r{model} {work}: turn {turn + 1} of {turns} ", end="", file=sys.stderr, flush=True)
        for name, worker in workers.items():
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
            times[name] += answer(worker)
    print("\r", end="", file=sys.stderr)
    for worker in workers.values():
        worker.communicate()
    return {
        name: {
            "min": min(t), "median": statistics.median(t), "steps": len(t), **started[name]
        }
        for name, t in times.items()
    }  # fmt: skip


def answer(worker: Any) -> Any:
    line = worker.stdout.readline()
    if not line:
        raise SystemExit(f"a contender has ended, exit code {worker.wait()}")
    return json.loads(line)


def row(model: str, work: str, results: dict[str, Any]) -> str:
    """Return a line of the table; the ratio is to the fastest form of PyTorch."""
    batch = WORK[work] or (MODELS | ASKED_FOR)[model]
    cells = [model, f"{'training step' if work == 'train' else 'inference'}, batch {batch}"]
    for name in CONTENDERS:
        t = results.get(name)
        cells.append(f"{1000 * t['min']:.1f} / {1000 * t['median']:.1f}" if t else "")
    others = [t for name, t in results.items() if name != "minicnn"]
    for kind in ("min", "median"):
        best = min((t[kind] for t in others), default=None)
        cells.append(f"{best / results['minicnn'][kind]:.2f}" if best else "")
    for name in CONTENDERS:
        t = results.get(name)
        cells.append(f"{t['memory']:.0f}" if t else "")
    return "| " + " | ".join(cells) + " |"


HEAD = (
    f"| network | work | {' | '.join(CONTENDERS.values())} | ratio of minima | of medians | MiB: "
    f"{' | '.join(CONTENDERS.values())} |\n" + "|---" * (4 + 2 * len(CONTENDERS)) + "|"
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=(*MODELS, *ASKED_FOR), action="append", help="repeat it")
    parser.add_argument("--work", choices=tuple(WORK), action="append", help="repeat it")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--markdown", type=Path, help="also write the table here")
    parser.add_argument("--worker", choices=tuple(CONTENDERS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work_on(options.worker, options.only[0], options.work[0])
        return
    names = list(CONTENDERS) if importlib.util.find_spec("torch") else ["minicnn"]
    print(
        f"{options.threads} threads, {platform.machine()}; milliseconds: minimum / median\n{HEAD}"
    )
    everything, lines = {}, [HEAD]
    for model in options.only or MODELS:
        for work in options.work or WORK:
            who = [name for name in names if (name, work) != ("torch-jit", "train")]
            results = compare(model, work, options.threads, options.turns, who)
            everything[f"{model} {work}"] = results
            lines.append(row(model, work, results))
            print(lines[-1], flush=True)
    for path, text in (
        (options.markdown, "\n".join(lines)),
        (options.json, json.dumps(everything, indent=2)),
    ):
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
