"""Time one step of each optimiser on parameters like ResNet-18's, side by side with PyTorch.

    python benchmarks/optimizers.py [--rounds 15]

float32, 11.7 million values in 62 tensors.  Every round steps both, in turn; the table shows the
quickest of each in milliseconds, and the quotient.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch

from minicnn import Tensor, optim
from minicnn.nn import Parameter

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


def time_both(name: str, settings: dict[str, Any], rounds: int) -> tuple[float, float]:
    draw = np.random.default_rng(0)
    arrays = [draw.standard_normal(shape, np.float32) for shape in shapes()]
    ours = [Parameter(array.copy()) for array in arrays]
    theirs = [torch.nn.Parameter(torch.tensor(array)) for array in arrays]
    for parameter, other, array in zip(ours, theirs, arrays, strict=True):
        parameter.grad, other.grad = Tensor(array), torch.tensor(array)
    steps = (
        getattr(optim, name)(ours, **settings).step,
        getattr(torch.optim, name)(theirs, **settings).step,
    )
    times: list[list[float]] = [[], []]
    for _ in range(rounds):
        for step, found in zip(steps, times, strict=True):
            start = time.perf_counter()
            step()
            found.append(1e3 * (time.perf_counter() - start))
    return min(times[0]), min(times[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print("| optimiser | minicnn ms | torch ms | quotient |\n|---|---|---|---|")
    for name, rows in SETTINGS.items():
        for settings in rows:
            ours, theirs = time_both(name, settings, rounds)
            label = ", ".join([name, *(f"{key}={value}" for key, value in settings.items())])
            print(f"| {label} | {ours:.1f} | {theirs:.1f} | {ours / theirs:.2f} |")


if __name__ == "__main__":
    main()
