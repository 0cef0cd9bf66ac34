"""`minicnn eval`: test a trained network again."""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "eval",
        help="test a trained network",
        description="Test the network of a run folder on images it has not learned from.",
    )
    parser.add_argument("folder", metavar="RUN", help="the run folder that `minicnn train` made")
    parser.add_argument(
        "--split",
        choices=("test", "validation"),
        default="test",
        help="which images (default test)",
    )
    parser.add_argument("--device", help="cpu or cuda (default: where it was trained)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print loss and accuracy, in all and by class."""
    from minicnn.train.run import Run

    training = Run.open(options.folder, **({"device": options.device} if options.device else {}))
    training.load_weights()
    totals = (
        training.test()
        if options.split == "test"
        else training.trainer.evaluate(training.recipe.loaders()[1])
    )
    print(
        f"{options.split} accuracy {totals.accuracy:.2%} ({totals.correct} of {totals.count} "
        f"images), loss {totals.mean_loss:.4f}"
    )
    labels, right = totals.labels, totals.labels == totals.predictions
    for number, name in enumerate(training.test_data.classes):
        of_class = right[labels == number]
        if of_class.size:
            print(f"  {name:>12}  {of_class.mean():7.2%}  ({of_class.sum()} of {of_class.size})")
    return 0
