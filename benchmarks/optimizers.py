"""Time one step of each optimiser on parameters like ResNet-18's, side by side with PyTorch.

    python benchmarks/optimizers.py [--rounds 15] [--markdown FILE]

float32, 11.7 million values in 62 tensors.  Each library works in a process of its own; they take
turns, five for every row.  The table shows the quickest step of each in milliseconds, and how many
times PyTorch's time ours is.  PyTorch's is the quicker of its default and of fused=True, where it
has that.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

TURNS = 5
FUSED = ("SGD", "Adam", "AdamW", "Adagrad")

SETTINGS: dict[str, list[dict[str, Any]]] = {
    "SGD": [{}, {"momentum": 0.9, "weight_decay": 1e-4, "nesterov": True}],
    "Adam": [{}, {"amsgrad": True, "weight_decay": 1e-4}],
    "AdamW": [{}],
    "Adamax": [{}],
    "NAdam": [{}],
    "RAdam": [{}],
    "Adagrad": [{}],
    "Adadelta": [{}],
    "RMSprop": [{}, {"momentum": 0.9, "centered": True}],
}


def shapes() -> list[tuple[int, ...]]:
    """Return the shapes of ResNet-18's parameters."""
    found: list[tuple[int, ...]] = [(64, 3, 7, 7), (64,), (64,)]
    before = 64
    for width in (64, 128, 256, 512):
        for inputs in (before, width, width, width):
            found += [(width, inputs, 3, 3), (width,), (width,)]
        if before != width:
            found += [(width, before, 1, 1), (width,), (width,)]
        before = width
    return [*found, (1000, 512), (1000,)]


ROWS = [(name, settings) for name, rows in SETTINGS.items() for settings in rows]


def work(library: str, rounds: int) -> None:
    """Answer each number of a row on standard input with the milliseconds of the quickest step."""
    for line in sys.stdin:
        name, settings = ROWS[int(line)]
        times = []
        for step in steps(library, name, settings):
            step()  # compiles, and makes the state
            times += [timed(step) for _ in range(rounds)]
        print(json.dumps(min(times)), flush=True)


def steps(library: str, name: str, settings: dict[str, Any]) -> Iterator[Any]:
    """Go over the library's ways to do the same step."""
    yield optimizer(library, name, settings).step
    if library == "torch" and name in FUSED:
        yield optimizer(library, name, {**settings, "fused": True}).step


def optimizer(library: str, name: str, settings: dict[str, Any]) -> Any:
    """Make the optimiser, its parameters and their gradients."""
    draw = np.random.default_rng(0)
    arrays = [draw.standard_normal(shape, np.float32) for shape in shapes()]
    if library == "torch":
        import torch as module

        tensor: Any = module.tensor
    else:
        import minicnn as module

        tensor = module.Tensor
    parameters = [module.nn.Parameter(tensor(array.copy())) for array in arrays]
    for parameter, array in zip(parameters, arrays, strict=True):
        parameter.grad = tensor(array)
    return getattr(module.optim, name)(parameters, **settings)


def timed(step: Any) -> float:
    start = time.perf_counter()
    step()
    return 1e3 * (time.perf_counter() - start)


class Worker:
    """A library in a process of its own."""

    def __init__(self, library: str, rounds: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker", library, "--rounds", str(rounds)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def turn(self, row: int) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(row, file=self.process.stdin, flush=True)
        milliseconds: float = json.loads(self.process.stdout.readline())
        return milliseconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="steps in a turn")
    parser.add_argument("--markdown", type=Path, help="also write the table here")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.rounds)
        return
    lines = ["| optimiser | minicnn ms | torch ms | minicnn / torch |", "|---|---|---|---|"]
    print("\n".join(lines), flush=True)
    workers = [Worker(library, options.rounds) for library in ("minicnn", "torch")]
    for row, (name, settings) in enumerate(ROWS):
        turns = [[worker.turn(row) for worker in workers] for _ in range(TURNS)]
        ours, theirs = (min(times) for times in zip(*turns, strict=True))
        label = ", ".join([name, *(f"{key}={value}" for key, value in settings.items())])
        lines.append(f"| {label} | {ours:.1f} | {theirs:.1f} | {ours / theirs:.2f} |")
        print(lines[-1], flush=True)
    for worker in workers:
        worker.process.communicate()
    if options.markdown:
        title = f"# Optimisers against PyTorch\n\n{platform.machine()}: `{' '.join(sys.argv)}`"
        options.markdown.write_text("\n".join([title, "", *lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
