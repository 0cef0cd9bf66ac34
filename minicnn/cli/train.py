"""`minicnn train`: train a model, or go on with a run that was interrupted."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from minicnn.data import KNOWN
from minicnn.errors import UsageError

DESCRIPTION = """Train a model and leave a folder with its weights, metrics and pictures.

LeNet-5 on the bundled digits takes about half a minute and reaches about 99 %
on 300 test images.  Ctrl-C stops after the present batch; --resume continues from there and ends
with the same weights, bit by bit, as a training that was never interrupted.
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "train",
        help="train a model, or resume a run",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", nargs="?", help="the network: lenet5")
    parser.add_argument(
        "--modern", action="store_true", help="ReLU and max-pooling instead of the 1998 form"
    )
    parser.add_argument(
        "--data", choices=KNOWN, help="the data set (default digits, which comes with minicnn)"
    )
    parser.add_argument("--data-root", metavar="DIR", help="the folder with the data set's files")
    parser.add_argument("--epochs", type=int, help="passes over the training images (default 60)")
    parser.add_argument("--batch", type=int, metavar="N", help="images in a batch (default 32)")
    parser.add_argument("--optimizer", choices=("sgd", "adam"), help="default sgd, with Nesterov")
    parser.add_argument("--lr", type=float, help="first learning rate (default 0.05; modern 0.02)")
    parser.add_argument(
        "--no-augment", action="store_true", help="do not move, turn and scale training images"
    )
    parser.add_argument("--seed", type=int, help="fixes everything random (default 0)")
    parser.add_argument("--device", help="cpu (default) or cuda")
    parser.add_argument("--out", metavar="DIR", help="the run folder (default runs/MODEL)")
    parser.add_argument("--resume", metavar="DIR", help="go on with the run in this folder")
    parser.add_argument("--quiet", action="store_true", help="print the result only")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train, and say where everything is."""
    from minicnn.train.interrupt import Interrupted
    from minicnn.train.run import describe_files

    training = _resumed(options) if options.resume is not None else _started(options)
    if not options.quiet:
        print(_introduction(training), flush=True)
    started = time.perf_counter()
    try:
        totals = training.train(progress=not options.quiet)
    except Interrupted:
        trainer = training.trainer
        print(
            f"\nstopped after epoch {trainer.epoch}, batch {trainer.batch}; go on with\n"
            f"  minicnn train --resume {training.folder}",
            file=sys.stderr,
        )
        return 130
    seconds = time.perf_counter() - started
    print(
        f"test accuracy {totals.accuracy:.2%} ({totals.correct} of {totals.count} images), "
        f"loss {totals.mean_loss:.4f}, after {seconds:.0f} s"
    )
    print(describe_files(training.folder))
    return 0


def _started(options: argparse.Namespace) -> Any:
    """Begin a new run from the options."""
    from minicnn.train.run import MODERN_LR, Recipe, Run

    if options.model is None:
        raise UsageError("name a model, as in `minicnn train lenet5`, or --resume a run folder")
    _check_ranges(options)
    if options.data not in (None, "digits") and options.data_root is None:
        raise UsageError(f"--data {options.data} is read from files; add --data-root DIR")
    settings = {
        "model": options.model,
        "modern": options.modern,
        "data": options.data,
        "data_root": options.data_root,
        "epochs": options.epochs,
        "batch_size": options.batch,
        "optimizer": options.optimizer,
        "lr": options.lr or _default_lr(options, MODERN_LR),
        "augment": False if options.no_augment else None,
        "seed": options.seed,
        "device": options.device,
    }
    recipe = Recipe(**{name: value for name, value in settings.items() if value is not None})
    return Run.start(recipe, options.out)


def _default_lr(options: argparse.Namespace, modern: float) -> float | None:
    if options.optimizer == "adam":
        return 0.002
    return modern if options.modern else None


def _check_ranges(options: argparse.Namespace) -> None:
    """Refuse numbers that make no sense before anything is loaded or written."""
    for name, least in (("epochs", 1), ("batch", 1), ("seed", 0)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise UsageError(f"--{name} must be at least {least}, got {value}")
    if options.lr is not None and not 0 < options.lr < float("inf"):
        raise UsageError(f"--lr must be a positive number, got {options.lr}")


def _resumed(options: argparse.Namespace) -> Any:
    """Open an interrupted run."""
    from minicnn.train.run import Run

    settings = ("model", "data", "data_root", "epochs", "batch", "optimizer", "lr", "seed", "out")
    given = [name for name in (*settings, "device") if getattr(options, name) is not None]
    given += [name for name in ("modern", "no_augment") if getattr(options, name)]
    if given:
        raise UsageError(
            f"--resume goes on with the run's own settings; leave out {', '.join(given)}"
        )
    training = Run.open(options.resume)
    training.resume()
    return training


def _introduction(training: Any) -> str:
    """Say what is going to happen."""
    recipe, trainer = training.recipe, training.trainer
    parameters = sum(p.array.size for p in training.model.parameters())
    name = f"{recipe.model} (ReLU, max-pooling)" if recipe.modern else recipe.model
    text = (
        f"{name}: {parameters:,} parameters; {recipe.data}; {recipe.epochs} epochs, batch "
        f"{recipe.batch_size}, {recipe.optimizer}, lr {recipe.lr:g}, seed {recipe.seed}, "
        f"{recipe.device}"
    )
    if trainer.epoch or trainer.batch:
        text += f"\nresuming after epoch {trainer.epoch}, batch {trainer.batch}"
    return text
