"""Trainer: epochs of forward, backward and update, with progress, history and checkpoints."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from minicnn import cuda
from minicnn.backprop import no_grad
from minicnn.data import DataLoader
from minicnn.errors import AnomalyError, ArgumentError
from minicnn.io.files import StrPath
from minicnn.nn import Module
from minicnn.nn import functional as F
from minicnn.optim import Optimizer
from minicnn.optim.lr_scheduler import LRScheduler
from minicnn.train.checkpoint import load_checkpoint, save_checkpoint
from minicnn.train.interrupt import Interrupted, StopRequest
from minicnn.train.precision import Precision
from minicnn_kernels.arrays import to_device
from minicnn_kernels.cuda.memory import size

Row = dict[str, Any]
HEAD_WEIGHT = 0.3  # of the loss of an auxiliary head (Szegedy et al. 2014, section 5)
LOOK_EVERY = 100  # steps on a card, whether the loss is still a number
SHOW_EVERY = 0.2  # seconds, new numbers beside a progress bar


def all_logits(outputs: Any) -> tuple[Any, ...]:
    """Return the logits of a classifier, then those of its auxiliary heads, if it has any."""
    return outputs if isinstance(outputs, tuple) else (outputs,)


def classifier_loss(outputs: Any, labels: Any) -> Any:
    """Return the cross-entropy of the logits, and 0.3 times that of each auxiliary head."""
    main, *auxiliary = (F.cross_entropy(logits, labels) for logits in all_logits(outputs))
    return sum((HEAD_WEIGHT * loss for loss in auxiliary), main)


class Trainer:
    """Train a classifier, with auxiliary heads or without, and remember how it went.

    It is trained where its parameters are.  On a card steps are captured as a graph and replayed,
    if that is possible (see `minicnn.cuda.capture`), and sums stay there until they are shown.
    `precision` is one of `minicnn.train.precision.PRECISIONS`.

    Attributes:
        history: one row an epoch: epoch, lr, train_loss, train_accuracy, validation_loss,
            validation_accuracy, seconds.  Losses in nats, accuracies from 0 to 1.  On a card also
            the most bytes that tensors held, and those that the pools have taken.
        epoch, batch: how many epochs, and batches of the present epoch, are done.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        *,
        loss: Callable[[Any, Any], Any] = classifier_loss,
        scheduler: LRScheduler | None = None,
        augment: Callable[[Any], Any] | None = None,
        checkpoint: StrPath | None = None,
        on_epoch: Callable[[list[Row]], None] | None = None,
        capture: bool = True,
        precision: str = "fp32",
    ) -> None:
        self.model, self.optimizer, self.loss = model, optimizer, loss
        self.scheduler, self.augment = scheduler, augment
        self.checkpoint, self.on_epoch = checkpoint, on_epoch
        self.history: list[Row] = []
        self.epoch = self.batch = 0
        self.device = next(iter(model.parameters())).device
        self.precision = Precision(precision, self.device)
        self.totals = Totals(device=self.device)
        replayed = capture and self.device != "cpu"
        self._learned: Callable[..., Any] = cuda.capture(self._learn) if replayed else self._learn

    def fit(
        self,
        train_loader: DataLoader,
        validation_loader: Iterable[Any] | None = None,
        *,
        epochs: int,
        patience: int | None = None,
        progress: bool = True,
    ) -> list[Row]:
        """Train until `epochs` epochs are done, counted from the very beginning.

        With `patience` it stops early, after so many epochs without a lower validation loss.

        After every epoch, and when Ctrl-C or a termination signal arrives, the checkpoint is
        written; a resumed training ends with the same weights, bit by bit.

        Raises:
            Interrupted: a signal asked to stop; the checkpoint is complete.
            AnomalyError: the loss is not a number any more; the last checkpoint remains.
        """
        if epochs < 1:
            raise ArgumentError(f"fit: epochs must be at least 1, got {epochs}")
        if patience is not None and (patience < 1 or validation_loader is None):
            raise ArgumentError(
                f"fit: patience must be at least 1 and needs a validation_loader, got {patience}"
            )
        if self.device != "cpu":
            cuda.reset_peak_memory_stats()
        with StopRequest() as stop:
            while self.epoch < epochs and (patience is None or self.waited < patience):
                started = time.perf_counter()
                self.model.train()
                with ProgressBar(train_loader, self, epochs, progress) as bar:
                    for x, t in train_loader.batches(self.epoch, start=self.batch):
                        self._step(x, t)
                        bar.advance()
                        if stop.requested:
                            self.save()
                            raise Interrupted
                self._finish_epoch(validation_loader, time.perf_counter() - started)
                if progress:
                    print(describe(self.history[-1], epochs), flush=True)
        return self.history

    @property
    def waited(self) -> int:
        """How many epochs have passed since that of the lowest validation loss."""
        losses = [row["validation_loss"] for row in self.history]
        return len(losses) - 1 - losses.index(min(losses)) if losses else 0

    def _step(self, x: Any, t: Any) -> None:
        """Take a batch to the model and learn from it."""
        if self.augment is not None:
            x = self.augment(x)
        self._learned(x.to(device=self.device), t.to(device=self.device))
        self.batch += 1
        if self.device != "cpu" and self.batch % LOOK_EVERY == 0:
            self._check_loss(self.totals.loss)

    def _learn(self, x: Any, t: Any) -> None:
        """Forward, backward, update; on a card nothing waits for a result."""
        scaler = self.precision.scaler
        self.optimizer.zero_grad()
        with self.precision.products():
            with self.precision.autocast:
                outputs = self.model(x)
                loss = self.loss(outputs, t)
            if self.device == "cpu":
                self._check_loss(loss.item(), self.batch + 1)
            scaler.scale(loss).backward()
        scaler.step(self.optimizer)
        scaler.update()
        self.totals.add(loss, all_logits(outputs)[0].float(), t)

    def _check_loss(self, loss: float, batch: int | None = None) -> None:
        """Raise AnomalyError if a loss, or a sum of losses so far, is not a number any more."""
        if not np.isfinite(loss):
            where = f"batch {batch}" if batch else f"batch {self.batch} or before"
            raise AnomalyError(
                f"the loss became {loss} in epoch {self.epoch + 1}, {where}; "
                f"try a smaller learning rate, or find the first bad operation with "
                f"minicnn.detect_anomaly()"
            )

    def _finish_epoch(self, validation_loader: Iterable[Any] | None, seconds: float) -> None:
        self._check_loss(self.totals.loss)
        row: Row = {
            "epoch": self.epoch + 1,
            "lr": self.optimizer.param_groups[0]["lr"],
            "train_loss": self.totals.mean_loss,
            "train_accuracy": self.totals.accuracy,
            "validation_loss": None,
            "validation_accuracy": None,
            "seconds": round(seconds, 3),
        }
        if validation_loader is not None:
            totals = self.evaluate(validation_loader)
            row["validation_loss"] = totals.mean_loss
            row["validation_accuracy"] = totals.accuracy
        if self.device != "cpu":
            row["peak_bytes"] = cuda.max_memory_allocated()
            row["reserved_bytes"] = cuda.memory_reserved()
        self.history.append(row)
        self.epoch, self.batch = self.epoch + 1, 0
        self.totals.restore(Totals().state())
        if self.scheduler is not None:
            self.scheduler.step()
        self.save()
        if self.on_epoch is not None:
            self.on_epoch(self.history)

    @no_grad()
    def evaluate(self, loader: Iterable[Any]) -> Totals:
        """Return loss, accuracy, labels and predictions over a loader, in evaluation mode."""
        self.model.eval()
        totals = Totals(device=self.device, keep=True)
        for x, t in loader:
            x, t = x.to(device=self.device), t.to(device=self.device)
            with self.precision.products(), self.precision.autocast:
                logits = self.model(x)
                loss = self.loss(logits, t)
            totals.add(loss, logits.float(), t)
        return totals

    def save(self) -> None:
        """Write the checkpoint, if there is a path for it."""
        if self.checkpoint is not None:
            self._check_loss(self.totals.loss)
            progress = {
                "epoch": self.epoch,
                "batch": self.batch,
                "history": self.history,
                "totals": self.totals.state(),
                "scaler": self.precision.scaler.state_dict(),
            }
            save_checkpoint(self.checkpoint, self.model, self.optimizer, self.scheduler, progress)

    def resume(self, path: StrPath) -> None:
        """Continue from a checkpoint, in the middle of an epoch if it was written there."""
        progress = load_checkpoint(path, self.model, self.optimizer, self.scheduler)
        self.epoch, self.batch = progress["epoch"], progress["batch"]
        self.history = progress["history"]
        self.totals.restore(progress["totals"])
        if progress.get("scaler"):
            self.precision.scaler.load_state_dict(progress["scaler"])


class Totals:
    """Sums over batches: the loss, how many were right, how many there were.

    They lie on `device`, and are read when somebody asks for them.  With `keep` all labels and
    predictions are remembered, too.
    """

    def __init__(
        self,
        loss: float = 0.0,
        correct: int = 0,
        count: int = 0,
        *,
        device: str = "cpu",
        keep: bool = False,
    ) -> None:
        sums = (loss, correct, count)
        self._sums = [to_device(np.asarray(value, np.float64), device) for value in sums]
        self._keep = keep
        self._labels: list[Any] = []
        self._predictions: list[Any] = []

    def add(self, mean_loss: Any, logits: Any, labels: Any) -> None:
        """Add one batch."""
        truth, predictions = labels.array, logits.array.argmax(axis=1)
        parts = (
            mean_loss.array.astype(np.float64) * len(truth),
            (predictions == truth).sum(),
            len(truth),
        )
        for total, part in zip(self._sums, parts, strict=True):
            total += part
        if self._keep:
            self._labels.append(truth)
            self._predictions.append(predictions)

    @property
    def loss(self) -> float:
        """The sum of the examples' losses, in nats."""
        return float(self._sums[0])

    @property
    def correct(self) -> int:
        """How many examples are right."""
        return int(self._sums[1])

    @property
    def count(self) -> int:
        """How many examples there are."""
        return int(self._sums[2])

    @property
    def mean_loss(self) -> float:
        """The loss per example, in nats."""
        return self.loss / self.count if self.count else float("nan")

    @property
    def accuracy(self) -> float:
        """The share of examples that are right, from 0 to 1."""
        return self.correct / self.count if self.count else float("nan")

    @property
    def labels(self) -> Any:
        """The true classes of all batches."""
        return np.concatenate([to_device(part, "cpu") for part in self._labels])

    @property
    def predictions(self) -> Any:
        """The predicted classes of all batches."""
        return np.concatenate([to_device(part, "cpu") for part in self._predictions])

    def state(self) -> tuple[float, int, int]:
        """Return what `Totals(*state)` and `restore` continue from."""
        return self.loss, self.correct, self.count

    def restore(self, state: Sequence[float]) -> None:
        """Continue from the sums that `state` returned, in the same memory."""
        for total, value in zip(self._sums, state, strict=True):
            total[...] = value


class ProgressBar:
    """A bar of the batches of an epoch on a terminal; nothing when the output is no terminal."""

    def __init__(self, loader: DataLoader, trainer: Trainer, epochs: int, shown: bool) -> None:
        self.trainer, self.bar = trainer, None
        self.shown = -SHOW_EVERY
        if shown and sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(
                total=len(loader),
                initial=trainer.batch,
                desc=f"epoch {trainer.epoch + 1}/{epochs}",
                unit="batch",
                leave=False,
                dynamic_ncols=True,
            )

    def advance(self) -> None:
        """Count one batch."""
        if self.bar is None:
            return
        if time.monotonic() >= self.shown + SHOW_EVERY:  # to read the sums means to wait for a card
            totals, self.shown = self.trainer.totals, time.monotonic()
            self.bar.set_postfix_str(
                f"loss {totals.mean_loss:.4f}, accuracy {totals.accuracy:.1%}", refresh=False
            )
        self.bar.update()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()


def describe(row: Row, epochs: int) -> str:
    """Return one line of history as people read it."""
    text = (
        f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}   "
        f"train loss {row['train_loss']:.4f}  accuracy {row['train_accuracy']:6.2%}"
    )
    if row["validation_loss"] is not None:
        text += (
            f"   validation loss {row['validation_loss']:.4f}  "
            f"accuracy {row['validation_accuracy']:6.2%}"
        )
    held = f", {size(row['reserved_bytes'])} of the card" if "reserved_bytes" in row else ""
    return f"{text}   {row['seconds']:.1f} s{held}"
