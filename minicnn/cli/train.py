"""`minicnn train`: train a model, or go on with a run that was interrupted."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from minicnn.data import FROM_FILES, KNOWN
from minicnn.errors import UsageError

DESCRIPTION = """Train a network and leave a folder with its weights, metrics and pictures.

LeNet-5 on the bundled digits takes about half a minute and reaches about 99 %
on 300 test images.  Each network has settings that are usual for it; options change them.
Ctrl-C stops after the present batch; --resume continues from there and ends
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
    parser.add_argument(
        "model", nargs="?", help="a classifier of minicnn.models: lenet5, resnet20, ..."
    )
    parser.add_argument(
        "--modern", action="store_true", help="ReLU and max-pooling instead of the 1998 form"
    )
    parser.add_argument(
        "--width", type=float, metavar="PART", help="the part of its channels to have"
    )
    parser.add_argument("--init", metavar="FILE", help="weights to start from (.safetensors, .pth)")
    parser.add_argument(
        "--data", choices=KNOWN, help="the data set (default digits; shapes needs no files either)"
    )
    parser.add_argument("--data-root", metavar="DIR", help="the folder with the data set's files")
    parser.add_argument(
        "--size", type=int, metavar="N", help="pictures of N x N pixels (usually 32)"
    )
    parser.add_argument("--epochs", type=int, help="passes over the training images")
    parser.add_argument(
        "--patience",
        type=int,
        metavar="N",
        help="stop after N epochs without a lower validation loss",
    )
    parser.add_argument("--batch", type=int, metavar="N", help="images in a batch")
    parser.add_argument(
        "--optimizer", choices=("sgd", "adam", "rmsprop"), help="sgd has Nesterov's momentum"
    )
    parser.add_argument("--lr", type=float, help="first learning rate")
    parser.add_argument(
        "--no-augment", action="store_true", help="do not move, turn and scale training images"
    )
    parser.add_argument("--seed", type=int, help="fixes everything random (default 0)")
    parser.add_argument(
        "--device", help="cpu (default), cuda or cuda:1; with --resume another one than before"
    )
    parser.add_argument(
        "--capture", action=argparse.BooleanOptionalAction,
        help="replay steps on a card as one graph (default: where that is possible)",
    )  # fmt: skip
    parser.add_argument(
        "--precision", metavar="P",
        help="fp32 (default), tf32 or bf16 for products on a card; bf16-mixed or fp16-mixed",
    )  # fmt: skip
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
    from minicnn.train.recipe import recipe_for
    from minicnn.train.run import Run

    if options.model is None:
        raise UsageError("name a model, as in `minicnn train lenet5`, or --resume a run folder")
    _check_ranges(options)
    if options.data in FROM_FILES and options.data_root is None:
        raise UsageError(f"--data {options.data} is read from files; add --data-root DIR")
    settings = {
        "modern": options.modern,
        "width": options.width,
        "init": options.init,
        "data": options.data,
        "data_root": options.data_root,
        "size": options.size,
        "epochs": options.epochs,
        "patience": options.patience,
        "batch_size": options.batch,
        "optimizer": options.optimizer,
        "lr": options.lr,
        "augment": False if options.no_augment else None,
        "seed": options.seed,
        "device": options.device,
        "capture": options.capture,
        "precision": options.precision,
    }
    given = {name: value for name, value in settings.items() if value is not None}
    return Run.start(recipe_for(options.model, **given), options.out)


def _check_ranges(options: argparse.Namespace) -> None:
    """Refuse numbers that make no sense before anything is loaded or written."""
    for name, least in (("epochs", 1), ("batch", 1), ("seed", 0), ("size", 1), ("patience", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise UsageError(f"--{name} must be at least {least}, got {value}")
    for name in ("lr", "width"):
        value = getattr(options, name)
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"--{name} must be a positive number, got {value}")


def _resumed(options: argparse.Namespace) -> Any:
    """Open an interrupted run."""
    from minicnn.train.run import Run

    changes = {"device": options.device, "capture": options.capture}
    beside = ("command", "run", "resume", "quiet", *changes)
    given = [
        name
        for name, value in vars(options).items()
        if name not in beside and value is not None and value is not False
    ]
    if given:
        raise UsageError(
            f"--resume goes on with the run's own settings; leave out {', '.join(given)}"
        )
    changes = {name: value for name, value in changes.items() if value is not None}
    training = Run.open(options.resume, **changes)
    training.resume()
    return training


def _introduction(training: Any) -> str:
    """Say what is going to happen."""
    recipe, trainer = training.recipe, training.trainer
    parameters = sum(p.array.size for p in training.model.parameters())
    name = f"{recipe.model} (ReLU, max-pooling)" if recipe.modern else recipe.model
    text = (
        f"{name}: {parameters:,} parameters; {recipe.data}, {recipe.size}x{recipe.size} pixels; "
        f"{recipe.epochs} epochs, batch "
        f"{recipe.batch_size}, {recipe.optimizer}, lr {recipe.lr:g}, seed {recipe.seed}, "
        f"{recipe.device}" + (f", {recipe.precision}" if recipe.precision != "fp32" else "")
    )
    if training.drawn:
        text += f"\nfrom {recipe.init}, but new: {', '.join(training.drawn)}"
    if trainer.epoch or trainer.batch:
        text += f"\nresuming after epoch {trainer.epoch}, batch {trainer.batch}"
    return text
