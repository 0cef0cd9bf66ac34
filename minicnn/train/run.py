"""A run: a recipe, and the folder that its training leaves behind."""

from __future__ import annotations

import csv
import dataclasses
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from minicnn import cuda, random
from minicnn.data import DataLoader
from minicnn.errors import FileFormatError, UsageError
from minicnn.io.files import StrPath, atomic_write, write_json
from minicnn.io.weights import load_file, save_file
from minicnn.nn import Conv2d, Module
from minicnn.train.metrics import confusion_matrix
from minicnn.train.recipe import EVALUATION_BATCH, Recipe, check_fit
from minicnn.train.trainer import Row, Totals, Trainer

SMALL_MODEL = 1_000_000  # parameters


class Run:
    """A run folder: config.json, metrics.csv, weights, checkpoint and pictures.

    `drawn` names the weights that a file to start from had in another shape.
    """

    def __init__(self, folder: StrPath, recipe: Recipe) -> None:
        self.folder, self.recipe = Path(folder), recipe
        self.test_data = recipe.open_data("test")
        self.drawn: list[str] = []
        random.manual_seed(recipe.seed)
        if recipe.device.startswith("cuda"):
            cuda.set_device(recipe.device)
        self.model = recipe.build_model(self.test_data)
        self.optimizer = recipe.build_optimizer(self.model)
        self.trainer = Trainer(
            self.model,
            self.optimizer,
            scheduler=recipe.build_scheduler(self.optimizer),
            augment=recipe.build_augmentation(),
            checkpoint=self.folder / "checkpoint.safetensors",
            on_epoch=self._after_epoch,
            capture=recipe.capture,
            precision=recipe.precision,
        )

    @classmethod
    def start(cls, recipe: Recipe, folder: StrPath | None = None) -> Run:
        """Begin a run in a new folder: the one given, or the first free runs/MODEL-N.

        Raises:
            UsageError: the folder holds a run already, or the network does not take the pictures.
        """
        chosen = Path(folder) if folder is not None else free_folder(recipe)
        if (chosen / "config.json").exists():
            raise UsageError(
                f"{chosen} holds a run already; choose another --out, or continue it with "
                f"--resume {chosen}"
            )
        run = cls(chosen, recipe)
        check_fit(recipe, run.model, run.test_data)
        if recipe.init is not None:
            run.drawn = start_from(recipe.init, run.model)
        write_json(chosen / "config.json", dataclasses.asdict(recipe))
        return run

    @classmethod
    def open(cls, folder: StrPath, **changes: Any) -> Run:
        """Open an existing run folder and build its untrained model.

        Args:
            changes: settings that are to be others than when it was started, as `device="cpu"`.

        Raises:
            FileFormatError: there is no run, or its config.json is damaged.
        """
        path = Path(folder) / "config.json"
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
            recipe = Recipe(**{**settings, **changes})
        except FileNotFoundError:
            raise FileFormatError(
                f"{str(folder)!r} is no run folder: it has no config.json"
            ) from None
        except (ValueError, TypeError) as error:
            raise FileFormatError(f"{path} is damaged: {error}") from None
        return cls(folder, recipe)

    def load_weights(self) -> None:
        """Put the trained weights into the model.

        Raises:
            FileFormatError: the training has not finished, or the file is damaged.
        """
        path = self.folder / "weights.safetensors"
        if not path.exists():
            raise FileFormatError(
                f"{path} is not there: the training has not finished; continue it with "
                f"`minicnn train --resume {self.folder}`"
            )
        self.model.load_state_dict(load_file(path))

    def resume(self) -> None:
        """Continue from the run's checkpoint."""
        self.trainer.resume(self.folder / "checkpoint.safetensors")

    def train(self, progress: bool = True) -> Totals:
        """Train to the end, write everything, and return the result on the test split."""
        train, validation = self.recipe.loaders()
        with self._enough_threads():
            self.trainer.fit(
                train,
                validation,
                epochs=self.recipe.epochs,
                patience=self.recipe.patience,
                progress=progress,
            )
        if self.recipe.patience is not None:
            self.model.load_state_dict(load_file(self.folder / "best.safetensors"))
        save_file(self.model.state_dict(), self.folder / "weights.safetensors")
        totals = self.test()
        self._draw(totals)
        write_json(
            self.folder / "result.json",
            {
                "test_loss": totals.mean_loss,
                "test_accuracy": totals.accuracy,
                "images": totals.count,
            },
        )
        return totals

    def test(self) -> Totals:
        """Return the result of the present weights on the test split."""
        return self.trainer.evaluate(DataLoader(self.test_data, EVALUATION_BATCH))

    def _enough_threads(self) -> AbstractContextManager[Any]:
        """Keep small matrix products on one core.

        A second core saves LeNet a fifth of its time when it is free, and costs it several times
        its time when another program has it.  One thread also gives the same bits everywhere.
        """
        from threadpoolctl import threadpool_limits

        small = sum(p.array.size for p in self.model.parameters()) < SMALL_MODEL
        limits: AbstractContextManager[Any] = threadpool_limits(1 if small else None, "blas")
        return limits

    def _after_epoch(self, history: list[Row]) -> None:
        """Write the metrics and, if training may stop early, the best weights."""
        if self.recipe.patience is not None and self.trainer.waited == 0:
            save_file(self.model.state_dict(), self.folder / "best.safetensors")
        with (
            atomic_write(self.folder / "metrics.csv") as temporary,
            open(temporary, "w", newline="", encoding="utf-8") as file,
        ):
            names = dict.fromkeys(name for row in history for name in row)
            writer = csv.DictWriter(file, fieldnames=list(names))
            writer.writeheader()
            writer.writerows(history)

    def _draw(self, totals: Totals) -> None:
        from minicnn.train.pictures import confusion_matrix_picture, filters_picture, loss_curve

        classes = self.test_data.classes
        loss_curve(self.trainer.history, self.folder / "loss.png")
        matrix = confusion_matrix(totals.labels, totals.predictions, len(classes))
        confusion_matrix_picture(matrix, classes, self.folder / "confusion.png")
        first = next((m for m in self.model.modules() if isinstance(m, Conv2d)), None)
        if first is None:
            return
        title = f"{self.recipe.model}: filters of the first layer"
        filters_picture(first.weight.detach().cpu().numpy(), self.folder / "filters.png", title)


def start_from(path: StrPath, model: Module) -> list[str]:
    """Put weights from a file (safetensors, or PyTorch's) into a model; return names left out.

    Left out is a last layer for another number of classes.

    Raises:
        UsageError: the file is of another network.
        FileFormatError: it is missing, damaged, or no file of weights.
    """
    found, own = load_file(path), model.state_dict()
    differ = sorted(own.keys() ^ set(found))
    if differ:
        raise UsageError(
            f"{path} holds the weights of another network: of {len(differ)} names, as "
            f"{differ[0]}, only one of the two has a value"
        )
    others = {name for name, value in found.items() if value.shape != own[name].shape}
    for name in others:
        if found[name].shape[1:] != own[name].shape[1:]:
            raise UsageError(
                f"{path} holds the weights of another network: {name} has the shape "
                f"{found[name].shape} instead of {own[name].shape}; is --width the same?"
            )
    fitting = {name: value for name, value in found.items() if name not in others}
    model.load_state_dict(fitting, strict=False)
    return [name for name in own if name in others]


def free_folder(recipe: Recipe) -> Path:
    """Return the first of runs/NAME, runs/NAME-2, runs/NAME-3, ... that is not there yet."""
    name = f"{recipe.model}-modern" if recipe.modern else recipe.model
    number, folder = 1, Path("runs") / name
    while folder.exists():
        number += 1
        folder = Path("runs") / f"{name}-{number}"
    return folder


def describe_files(folder: Path) -> str:
    """List the files of a run with what is in them."""
    contents = {
        "config.json": "the settings of this run",
        "metrics.csv": "loss and accuracy of every epoch",
        "result.json": "loss and accuracy on the test images",
        "weights.safetensors": "the trained weights",
        "best.safetensors": "the same, of the epoch with the lowest validation loss",
        "checkpoint.safetensors": "everything needed to resume",
        "loss.png": "loss and accuracy over the epochs",
        "confusion.png": "which class was taken for which",
        "filters.png": "what the first layer looks for",
    }
    return "\n".join(
        f"  {folder / name}  {text}" for name, text in contents.items() if (folder / name).exists()
    )
