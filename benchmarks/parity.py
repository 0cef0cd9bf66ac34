"""Compare every network that torchvision has, too, with torchvision's: the same weights in both.

For each network torchvision draws the weights, its batch norms see a batch, and minicnn loads the
state dict.  Then, beside number and order of the keys:

* the logits in evaluation, in float32 and in float64;
* one training step in float64 without dropout: outputs, loss, the gradient of every parameter and
  of the image, and the running statistics afterwards.

Differences are parts of the largest value of each array (of gradients, at least of 1e-5 of the
largest of all: before a normalisation that of a bias is 0 but for rounding); the bounds are 1e-4 in
float32 and 1e-9 in float64.  The image's odd sides make the rounding of every pooling count.

    python benchmarks/parity.py [--only resnet18 --only vgg16] [--markdown FILE]
"""

from __future__ import annotations

import argparse
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from tqdm import tqdm

import minicnn
from minicnn import models

SIDES = {"inception_v3": (299, 313), "alexnet": (97, 111), "googlenet": (97, 111)}
BOUNDS = {"logits float32": 1e-4}  # of all other columns:
BOUND = 1e-9
NOISE = 1e-5  # of the largest gradient: before a normalisation that of a bias is 0 but for rounding


def main() -> int:
    """Compare, print the table, and return 1 if anything is too far away."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", action="append", metavar="NAME", help="this network, repeatable")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table here")
    options = parser.parse_args()
    names = options.only or [n for n in models.list() if hasattr(torchvision.models, n)]
    rows, failed = [], []
    for name in tqdm(names, unit="network", disable=not sys.stderr.isatty()):
        found = compare(name)
        far = [what for what, value in found.items() if not value <= BOUNDS.get(what, BOUND)]
        failed += [f"{name}: {what} differ by {found[what]:.1e}" for what in far]
        rows.append([name, *(f"{value:.1e}" for value in found.values())])
    text = table(["network", *found], rows)
    print(text)
    if options.markdown:
        options.markdown.write_text(page(text), encoding="utf-8")
    print("\n".join(failed) or "all within the bounds")
    return 1 if failed else 0


def compare(name: str) -> dict[str, float]:
    """Return by how much the two networks of a name differ."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    settings = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}  # slow
    theirs = getattr(torchvision.models, name)(weights=None, **settings)
    ours = models.create(name)
    for value in theirs.parameters():
        if value.ndim == 1:
            value.data += torch.empty_like(value).uniform_(-0.1, 0.1)
    x = rng.normal(size=(2, 3, *SIDES.get(name, (65, 79))))
    with torch.no_grad():
        theirs(torch.tensor(x[:, :, ::-1].astype(np.float32)))
    if list(ours.state_dict()) != list(theirs.state_dict()):
        raise SystemExit(f"{name}: the keys differ")
    load(ours, theirs)
    found = {"logits float32": evaluation(ours, theirs, x.astype(np.float32))}
    ours, theirs = ours.double(), theirs.double()
    load(ours, theirs)
    found["logits float64"] = evaluation(ours, theirs, x)
    return found | training(ours, theirs, x)


def load(ours: Any, theirs: Any) -> None:
    """Copy torchvision's weights."""
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})


def evaluation(ours: Any, theirs: Any, x: Any) -> float:
    """Return the difference of the logits."""
    with minicnn.no_grad(), torch.no_grad():
        return difference(ours.eval()(minicnn.tensor(x)), theirs.eval()(torch.tensor(x)))


def training(ours: Any, theirs: Any, x: Any) -> dict[str, float]:
    """Return the differences of outputs, gradients and running statistics."""
    for network in (ours, theirs):
        network.train()
        for module in network.modules():
            if type(module).__name__ == "Dropout":
                module.p = 0.0
    labels = np.array([3, 141])
    ours_x = minicnn.tensor(x, requires_grad=True)
    theirs_x = torch.tensor(x, requires_grad=True)
    outputs = as_tuple(ours(ours_x)), as_tuple(theirs(theirs_x))
    losses = (
        loss_of(minicnn.nn.functional.cross_entropy, outputs[0], labels),
        loss_of(torch.nn.functional.cross_entropy, outputs[1], torch.tensor(labels)),
    )
    for loss in losses:
        loss.backward()
    pairs = list(zip(ours.parameters(), theirs.parameters(), strict=True))
    largest = max(float(p.grad.abs().max()) for _, p in pairs)
    statistics = zip(ours.buffers(), theirs.buffers(), strict=True)
    return {
        "outputs": max(difference(a, b) for a, b in zip(*outputs, strict=True)),
        "loss": difference(*losses),
        "image gradient": difference(ours_x.grad, theirs_x.grad),
        "gradients": max(difference(a.grad, b.grad, NOISE * largest) for a, b in pairs),
        "statistics": max((difference(a, b) for a, b in statistics), default=0.0),
    }


def as_tuple(outputs: Any) -> tuple[Any, ...]:
    """Return the outputs of all heads."""
    return outputs if isinstance(outputs, tuple) else (outputs,)


def loss_of(cross_entropy: Any, outputs: tuple[Any, ...], labels: Any) -> Any:
    """Return the cross-entropy, with 0.3 times that of each auxiliary head."""
    main, *auxiliary = (cross_entropy(logits, labels) for logits in outputs)
    return main + 0.3 * sum(auxiliary)


def difference(ours: Any, theirs: Any, at_least: float = 0.0) -> float:
    """Return the largest difference as a part of the largest value."""
    found, expected = ours.detach().numpy(), theirs.detach().numpy()
    if found.shape != expected.shape or found.dtype != expected.dtype:
        raise SystemExit(f"{found.dtype}{found.shape} instead of {expected.dtype}{expected.shape}")
    scale = max(float(np.abs(expected).max()), at_least)
    return float(np.abs(found - expected).max()) / scale if scale else float(np.abs(found).max())


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(text: str) -> str:
    """Return the table with what it is about."""
    about = __doc__.split("\n\n    python")[0]
    versions = (
        f"minicnn {minicnn.__version__}, torch {torch.__version__}, torchvision "
        f"{torchvision.__version__}, Python {platform.python_version()}, NumPy {np.__version__}"
    )
    return f"# Parity with torchvision\n\n{about}\n\n{versions}\n\n{text}\n"


if __name__ == "__main__":
    sys.exit(main())
