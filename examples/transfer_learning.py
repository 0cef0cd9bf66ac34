"""Transfer learning in its four cases: little or much data, a similar or a different task.

LeNet-5 learns the digits 0 to 4. Then what it has learned is used for the digits 5 to 9, which are
similar, and for shapes (circle, ring, star, ...) in grey, which are different; with few pictures of
each class, and with many. Each cell of the table is the accuracy on test pictures that no
training has seen.

    python examples/transfer_learning.py            # two minutes
    python examples/transfer_learning.py --seeds 1  # once instead of the mean of three runs
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import minicnn
from minicnn import models, nn
from minicnn.data import DataLoader, Digits, Shapes, TensorDataset
from minicnn.nn import functional as F
from minicnn.optim import SGD, Adam
from minicnn.train import Trainer

FEW, MANY = 5, 250  # pictures of each class; of a digit there are 120
STEPS = 300  # of a training, at least
BATCH = 32


class Task(NamedTuple):
    """Pictures (N, 1, 32, 32) and labels from 0 on, to learn from and to test with."""

    pictures: Any
    labels: Any
    test_pictures: Any
    test_labels: Any
    classes: int


# --- the tasks --------------------------------------------------------------------------------


def digits(first: int, last: int) -> Task:
    """Return the task of telling some digits apart."""
    arrays = []
    for split in ("train", "test"):
        pictures, labels = Digits(split)[:]
        chosen = (first <= labels) & (labels <= last)
        arrays += [pictures[chosen], labels[chosen] - first]
    return Task(*arrays, classes=last - first + 1)


def grey_shapes() -> Task:
    """Return the task of telling eight shapes apart, whatever their colour."""
    arrays = []
    for split, length in (("train", MANY * 8), ("test", 400)):
        pictures, labels = Shapes(split, length=length).batch(np.arange(length))
        arrays += [pictures.mean(1, keepdims=True), labels]
    return Task(*arrays, classes=8)


def part(task: Task, per_class: int, rng: np.random.Generator) -> Task:
    """Return the task with so many pictures of each class to learn from, or all there are."""
    order = rng.permutation(len(task.labels))
    chosen = np.concatenate(
        [order[task.labels[order] == label][:per_class] for label in range(task.classes)]
    )
    return task._replace(pictures=task.pictures[chosen], labels=task.labels[chosen])


# --- what can be done -------------------------------------------------------------------------


def train(model: nn.Module, optimizer: Any, task: Task) -> nn.Module:
    """Train with cross-entropy, for some epochs or, with little data, for more of them."""
    data = TensorDataset(task.pictures, task.labels)
    loader = DataLoader(data, batch_size=BATCH, shuffle=True)
    epochs = max(STEPS // len(loader), 15)
    Trainer(model, optimizer).fit(loader, epochs=epochs, progress=False)
    return model


def accuracy(scores: Callable[[Any], Any], task: Task) -> float:
    """Return the part of the test pictures whose highest score is that of their label."""
    with minicnn.no_grad():
        found = scores(minicnn.tensor(task.test_pictures)).numpy().argmax(1)
    return float((found == task.test_labels).mean())


def from_scratch(pretrained: nn.Module, task: Task) -> float:
    """Forget what was learned: new weights, trained on the task alone."""
    model = models.lenet5(task.classes, modern=True)
    train(model, SGD(model.parameters(), lr=0.02, momentum=0.9), task)
    return accuracy(model.eval(), task)


def fine_tune(pretrained: nn.Module, task: Task, freeze: tuple[str, ...], decay: float) -> float:
    """Put a new head on the network, and train what is not frozen, deep layers more slowly."""
    model = models.replace_head(deepcopy(pretrained), task.classes)
    models.freeze_parameters(model, *freeze)
    groups = models.layerwise_groups(model, lr=0.02, decay=decay)
    train(model, SGD(groups, lr=0.02, momentum=0.9), task)
    return accuracy(model.eval(), task)


def linear(
    pretrained: nn.Module, task: Task, features: Callable[..., Any], loss: Callable[..., Any]
) -> float:
    """Let the network be, and learn a linear classifier of its features.

    With cross-entropy this is logistic regression, with the hinge loss a linear support vector
    machine; both with 0.001 * sum w^2 to keep the weights small.
    """
    pretrained.eval()
    with minicnn.no_grad():
        x = features(pretrained, minicnn.tensor(task.pictures)).numpy()
    mean, std = x.mean(0), x.std(0) + 1e-3
    x = minicnn.tensor((x - mean) / std)
    layer = nn.Linear(x.shape[1], task.classes)
    nn.init.zeros_(layer.weight)
    optimizer = Adam(layer.parameters(), lr=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        (loss(layer(x), task.labels) + 0.001 * (layer.weight**2).sum()).backward()
        optimizer.step()
    return accuracy(lambda p: layer((features(pretrained, p) - mean) / std), task)


def early_maps(model: nn.Module, pictures: Any) -> Any:
    """Return the 16 maps of 5x5 pixels before the last convolution, in a row."""
    maps = model[:6](pictures)  # type: ignore[index]
    return maps.flatten(1)


WAYS: dict[str, Callable[[nn.Module, Task], float]] = {
    "from scratch": from_scratch,
    "logistic regression, last features": partial(
        linear, features=models.embedding, loss=F.cross_entropy
    ),
    "linear SVM, last features": partial(
        linear, features=models.embedding, loss=F.multi_margin_loss
    ),
    "logistic regression, earlier features": partial(
        linear, features=early_maps, loss=F.cross_entropy
    ),
    "fine-tune behind frozen c1, c3": partial(fine_tune, freeze=("c[13].*",), decay=1.0),
    "fine-tune all": partial(fine_tune, freeze=(), decay=1.0),
    "fine-tune all, deep layers slowly": partial(fine_tune, freeze=(), decay=0.7),
}


# --- the table --------------------------------------------------------------------------------


def measure(seed: int, few: int = FEW, many: int = MANY) -> dict[tuple[str, str], float]:
    """Return the accuracy by way and case, of one run."""
    minicnn.manual_seed(seed)
    rng = np.random.default_rng(seed)
    source = digits(0, 4)
    pretrained = models.lenet5(source.classes, modern=True)
    train(pretrained, SGD(pretrained.parameters(), lr=0.02, momentum=0.9), source)
    cases = {}
    for kind, task in {"similar": digits(5, 9), "different": grey_shapes()}.items():
        cases[f"few, {kind}"] = part(task, few, rng)
        cases[f"many, {kind}"] = part(task, many, rng)
    return {
        (way, case): WAYS[way](pretrained, task) for case, task in cases.items() for way in WAYS
    }


def table(runs: list[dict[tuple[str, str], float]]) -> str:
    """Return the means of some runs, and how far runs lie apart, as a table in Markdown."""
    cases = list(dict.fromkeys(case for _, case in runs[0]))
    lines = ["| test accuracy in % | " + " | ".join(cases) + " |", "|---" * (len(cases) + 1) + "|"]
    for way in WAYS:
        cells = [[100 * run[way, case] for run in runs] for case in cases]
        texts = [f"{np.mean(cell):.1f} ± {np.std(cell):.1f}" for cell in cells]
        lines.append(f"| {way} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Run the four cases and print the table."""
    parser = argparse.ArgumentParser(description="Transfer learning in its four cases.")
    parser.add_argument("--seeds", type=int, default=3, help="how many runs to average")
    options = parser.parse_args(arguments)
    print(table([measure(seed) for seed in range(options.seeds)]))


if __name__ == "__main__":
    main()
