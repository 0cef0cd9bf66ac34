"""Time a LeNet training step against PyTorch, side by side.

Each contender runs in a process of its own, so that thread pools do not meet; the two take turns,
a few steps at a time, so that a busy moment of the machine hits both.  Batch 64, 28x28 pixels,
float32, SGD with momentum.  Prints minimum and median in milliseconds.

    python benchmarks/lenet.py [--threads 2] [--form modern] [--json FILE]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BATCH, STEPS_A_TURN, TURNS = 64, 10, 12


def minicnn_step(form: str, threads: int) -> Callable[[], float]:
    import minicnn
    from minicnn import nn

    minicnn.manual_seed(0)
    return training_step(minicnn, nn, minicnn.optim.SGD, form)


def torch_step(form: str, threads: int) -> Callable[[], float]:
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    return training_step(torch, torch.nn, torch.optim.SGD, form)


def training_step(library: Any, nn: Any, sgd: Any, form: str) -> Callable[[], float]:
    """Build the same network and step in either library: their names agree."""
    squash, pool = (nn.ReLU, nn.MaxPool2d) if form == "modern" else (nn.Tanh, nn.AvgPool2d)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), squash(), pool(2),
        nn.Conv2d(6, 16, 5), squash(), pool(2), nn.Flatten(),
        nn.Linear(400, 120), squash(), nn.Linear(120, 84), squash(), nn.Linear(84, 10),
    )  # fmt: skip
    optimizer = sgd(model.parameters(), lr=0.01, momentum=0.9)
    loss_function = nn.CrossEntropyLoss()
    x, t = library.randn(BATCH, 1, 28, 28), library.randint(0, 10, (BATCH,))

    def step() -> float:
        optimizer.zero_grad()
        loss = loss_function(model(x), t)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


STEPS = {"minicnn": minicnn_step, "torch": torch_step}


def work(contender: str, form: str, threads: int) -> None:
    """Answer each line of standard input with the times of one turn, in milliseconds."""
    step = STEPS[contender](form, threads)
    for _ in range(5):
        step()
    for _ in sys.stdin:
        times = []
        for _ in range(STEPS_A_TURN):
            started = time.perf_counter()
            step()
            times.append(1000 * (time.perf_counter() - started))
        print(json.dumps(times), flush=True)


def compare(form: str, threads: int) -> dict[str, Any]:
    """Let the contenders take turns and return their times."""
    contenders = [name for name in STEPS if importlib.util.find_spec(name)]
    limits = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), str(threads))
    environment = {**os.environ, **limits}
    workers = {
        name: subprocess.Popen(
            [sys.executable, __file__, "--worker", name, "--form", form, "--threads", str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )
        for name in contenders
    }  # fmt: skip
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(TURNS):
        for name, worker in workers.items():
            assert worker.stdin is not None
            assert worker.stdout is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
            times[name] += json.loads(worker.stdout.readline())
    for worker in workers.values():
        worker.communicate()
    return {
        "form": form,
        "threads": threads,
        "milliseconds": {
            name: {"min": min(t), "median": statistics.median(t)} for name, t in times.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--form", choices=("modern", "1998"), default="modern")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--worker", choices=tuple(STEPS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.form, options.threads)
        return
    result = compare(options.form, options.threads)
    print(
        f"LeNet ({options.form}) training step, batch {BATCH}, 28x28, {options.threads} threads, "
        f"{platform.machine()}, {os.cpu_count()} cores"
    )
    for name, t in result["milliseconds"].items():
        print(f"  {name:8} min {t['min']:7.2f} ms   median {t['median']:7.2f} ms")
    if "torch" in result["milliseconds"]:
        ours, theirs = (result["milliseconds"][name] for name in ("minicnn", "torch"))
        print(
            f"  torch / minicnn: {theirs['min'] / ours['min']:.2f} (min), "
            f"{theirs['median'] / ours['median']:.2f} (median)"
        )
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
