"""Check the gradient of a narrow copy of every network as a whole, by its parameters and its image.

`minicnn.gradcheck` in fast mode, float64: the parameters are one long vector, and slopes are
measured along random and structured directions of it and of the image.  The tests check blocks of
deep networks, and one direction of the whole; this takes minutes.

    python benchmarks/gradients.py [--only resnet50 --only vgg11] [--markdown FILE]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import minicnn
from minicnn import nn
from minicnn.gradcheck import gradcheck

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))
from small_models import CLASSES, SMALL, loss_of, pictures, small

# How many times their first weights, through which so little passes that it drowns in rounding.
ENLARGED = {"alexnet2012": 5.0, "zfnet": 5.0, "googlenet2014": 2.0}
HEAD = "| network | parameters | in so many tensors | verdict | seconds |\n|---|---|---|---|---|"


def main() -> int:
    """Check, print the table, and return 1 if a gradient is wrong or could not be judged."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", action="append", choices=SMALL, help="this network, repeatable")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table here")
    options = parser.parse_args()
    rows, verdicts = [HEAD], set()
    for name in tqdm(options.only or SMALL, unit="network", disable=not sys.stderr.isatty()):
        minicnn.manual_seed(0)
        model, labels = small(name).double(), np.arange(2) % CLASSES
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.array[...] *= ENLARGED.get(name, 1.0)
        started = time.perf_counter()
        vector = nn.utils.parameters_to_vector(model.parameters()).detach().requires_grad_()
        tensors, number = len(list(model.parameters())), vector.shape[0]
        x = minicnn.tensor(pictures(name, dtype=np.float64), requires_grad=True)
        loss = loss_by_vector(model, labels)
        report = gradcheck(loss, (vector, x), mode="fast", raise_exception=False)
        seconds = time.perf_counter() - started
        rows.append(f"| {name} | {number:,} | {tensors} | {report.verdict} | {seconds:.0f} |")
        print(rows[-1], flush=True)
        verdicts.add(report.verdict)
    if options.markdown:
        about = __doc__.split("\n\n    python")[0]
        options.markdown.write_text(
            "\n".join([f"# Gradients of whole networks\n\n{about}\n", *rows, ""]), encoding="utf-8"
        )
    return 0 if verdicts == {"pass"} else 1


def loss_by_vector(model: Any, labels: Any) -> Callable[..., Any]:
    """Return the loss as a function of all parameters in one row, and of images."""
    places = [
        (m, name, p.shape) for m in model.modules() for name, p in m.named_parameters("", False)
    ]

    def loss(vector: Any, x: Any) -> Any:
        start = 0
        for module, name, shape in places:
            end = start + prod(shape)
            module._parameters[name] = vector[start:end].reshape(shape)
            start = end
        return loss_of(model(x), labels)

    return loss


if __name__ == "__main__":
    sys.exit(main())
