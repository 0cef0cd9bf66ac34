"""A run: a recipe, and the folder that its training leaves behind."""

from __future__ import annotations

import csv
import dataclasses
import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minicnn import models, random
from minicnn.data import DataLoader, Dataset, KnownDataset, Subset, load
from minicnn.data.augment import RandomAffine
from minicnn.errors import FileFormatError, UsageError
from minicnn.io.files import StrPath, atomic_write, write_json
from minicnn.io.weights import load_file, save_file
from minicnn.nn import Conv2d, Module
from minicnn.optim import SGD, Adam, Optimizer
from minicnn.optim.lr_scheduler import CosineAnnealingLR
from minicnn.train.metrics import confusion_matrix
from minicnn.train.trainer import Row, Totals, Trainer


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the result of a training; `config.json` in the run folder."""

    model: str = "lenet5"
    modern: bool = False
    data: str = "digits"
    data_root: str | None = None
    epochs: int = 60
    batch_size: int = 32
    optimizer: str = "sgd"
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 1e-4
    augment: bool = True
    seed: int = 0
    device: str = "cpu"

    def build_model(self, dataset: KnownDataset) -> Module:
        """Build the model for the data set's channels and classes."""
        model = models.create(
            self.model,
            num_classes=dataset.num_classes,
            in_channels=dataset.input_shape[0],
            modern=self.modern,
        )
        return model.to(device=self.device)

    def build_optimizer(self, model: Module) -> Optimizer:
        """Build the optimiser over all parameters."""
        if self.optimizer == "adam":
            return Adam(model.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        if self.optimizer == "sgd":
            return SGD(
                model.parameters(),
                lr=self.lr,
                momentum=self.momentum,
                weight_decay=self.weight_decay,
                nesterov=True,
            )
        raise UsageError(f"unknown optimizer {self.optimizer!r}; there are sgd and adam")

    def open_data(self, split: str) -> KnownDataset:
        """Open "train", "validation" or "test" of the data set, at LeNet-5's 32x32 pixels."""
        options = {"size": 32} if self.data in ("digits", "mnist", "fashion-mnist") else {}
        return load(self.data, split, self.data_root, **options)

    def loaders(self) -> tuple[DataLoader, DataLoader]:
        """Return shuffled training batches, and batches of images to validate with.

        A data set without a validation split gives every tenth of its shuffled training images.
        """
        if self.data == "digits":
            train: Dataset = self.open_data("train")
            validation: Dataset = self.open_data("validation")
        else:
            whole = self.open_data("train")
            order = np.random.Generator(np.random.Philox(key=len(whole))).permutation(len(whole))
            held_out = len(whole) // 10
            train = Subset(whole, order[held_out:])
            validation = Subset(whole, order[:held_out])
        return (
            DataLoader(train, self.batch_size, shuffle=True, seed=self.seed),
            DataLoader(validation, EVALUATION_BATCH),
        )


EVALUATION_BATCH = 256
SMALL_MODEL = 1_000_000  # parameters
MODERN_LR = 0.02  # ReLU passes more of the gradient than tanh


class Run:
    """A run folder: config.json, metrics.csv, weights, checkpoint and pictures."""

    def __init__(self, folder: StrPath, recipe: Recipe) -> None:
        self.folder, self.recipe = Path(folder), recipe
        self.test_data = recipe.open_data("test")
        random.manual_seed(recipe.seed)
        self.model = recipe.build_model(self.test_data)
        self.optimizer = recipe.build_optimizer(self.model)
        self.trainer = Trainer(
            self.model,
            self.optimizer,
            scheduler=CosineAnnealingLR(self.optimizer, T_max=recipe.epochs),
            augment=RandomAffine(degrees=10, translate=0.1, scale=0.1) if recipe.augment else None,
            checkpoint=self.folder / "checkpoint.safetensors",
            on_epoch=self._write_metrics,
        )

    @classmethod
    def start(cls, recipe: Recipe, folder: StrPath | None = None) -> Run:
        """Begin a run in a new folder: the one given, or the first free runs/MODEL-N.

        Raises:
            UsageError: the folder holds a run already.
        """
        chosen = Path(folder) if folder is not None else free_folder(recipe)
        if (chosen / "config.json").exists():
            raise UsageError(
                f"{chosen} holds a run already; choose another --out, or continue it with "
                f"--resume {chosen}"
            )
        run = cls(chosen, recipe)
        write_json(chosen / "config.json", dataclasses.asdict(recipe))
        return run

    @classmethod
    def open(cls, folder: StrPath) -> Run:
        """Open an existing run folder and build its untrained model.

        Raises:
            FileFormatError: there is no run, or its config.json is damaged.
        """
        path = Path(folder) / "config.json"
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
            recipe = Recipe(**settings)
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
            self.trainer.fit(train, validation, epochs=self.recipe.epochs, progress=progress)
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

    def _write_metrics(self, history: list[Row]) -> None:
        with (
            atomic_write(self.folder / "metrics.csv") as temporary,
            open(temporary, "w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, fieldnames=list(history[0]))
            writer.writeheader()
            writer.writerows(history)

    def _draw(self, totals: Totals) -> None:
        from minicnn.train.pictures import confusion_matrix_picture, filters_picture, loss_curve

        classes = self.test_data.classes
        loss_curve(self.trainer.history, self.folder / "loss.png")
        matrix = confusion_matrix(totals.labels, totals.predictions, len(classes))
        confusion_matrix_picture(matrix, classes, self.folder / "confusion.png")
        first = next(m for m in self.model.modules() if isinstance(m, Conv2d))
        title = f"{self.recipe.model}: filters of the first layer"
        filters_picture(first.weight.detach().cpu().numpy(), self.folder / "filters.png", title)


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
        "checkpoint.safetensors": "everything needed to resume",
        "loss.png": "loss and accuracy over the epochs",
        "confusion.png": "which digit was taken for which",
        "filters.png": "what the first layer looks for",
    }
    return "\n".join(
        f"  {folder / name}  {text}" for name, text in contents.items() if (folder / name).exists()
    )
