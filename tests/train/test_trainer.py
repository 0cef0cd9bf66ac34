"""The trainer learns, is reproducible, and an interruption leaves no trace in the weights."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.data import DataLoader, TensorDataset
from minicnn.data.augment import RandomAffine
from minicnn.errors import AnomalyError, ArgumentError
from minicnn.optim import SGD
from minicnn.optim.lr_scheduler import CosineAnnealingLR
from minicnn.train.interrupt import Interrupted
from minicnn.train.trainer import Totals, Trainer, describe


def stripes(count=30):
    """Tiny pictures that are bright at the top (class 0) or at the left (class 1)."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, count)
    images = rng.normal(0, 0.3, (count, 1, 6, 6)).astype(np.float32)
    images[labels == 0, :, :2] += 1
    images[labels == 1, :, :, :2] += 1
    return TensorDataset(images, labels)


def make_trainer(seed=3, **settings):
    minicnn.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(),
        nn.Linear(48, 2),
    )  # fmt: skip
    optimizer = SGD(model.parameters(), lr=0.05, momentum=0.9)
    return Trainer(
        model,
        optimizer,
        scheduler=CosineAnnealingLR(optimizer, T_max=3),
        augment=RandomAffine(translate=0.1),
        **settings,
    )


def train_loader():
    return DataLoader(stripes(), 8, shuffle=True, seed=3)


def weights(trainer):
    return {name: t.numpy().copy() for name, t in trainer.model.state_dict().items()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert np.array_equal(first[name], second[name]), name


def test_it_learns_and_keeps_history(capsys):
    trainer = make_trainer()
    history = trainer.fit(train_loader(), DataLoader(stripes(), 16), epochs=3)
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert history[-1]["validation_accuracy"] > 0.9
    assert [row["lr"] for row in history] == pytest.approx([0.05, 0.0375, 0.0125])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("epoch 1/3   train loss")


def test_the_same_seed_gives_the_same_weights():
    first, second, other = make_trainer(), make_trainer(), make_trainer(seed=4)
    for trainer in (first, second, other):
        minicnn.manual_seed(9 if trainer is not other else 10)
        trainer.fit(train_loader(), epochs=2, progress=False)
    assert_same(weights(first), weights(second))
    assert not np.array_equal(weights(first)["0.weight"], weights(other)["0.weight"])


@pytest.mark.parametrize("stop_after", [1, 3, 4, 6])  # batches; an epoch has four
def test_interrupted_and_resumed_is_as_never_interrupted(tmp_path, monkeypatch, stop_after):
    whole = make_trainer()
    whole.fit(train_loader(), epochs=3, progress=False)

    path = tmp_path / "checkpoint.safetensors"
    interrupted = make_trainer(checkpoint=path)

    class StopAfter:
        def __enter__(self):
            self.left = stop_after
            return self

        def __exit__(self, *_):
            pass

        @property
        def requested(self):
            self.left -= 1
            return self.left == 0

    with monkeypatch.context() as patch:
        patch.setattr("minicnn.train.trainer.StopRequest", StopAfter)
        with pytest.raises(Interrupted):
            interrupted.fit(train_loader(), epochs=3, progress=False)

    resumed = make_trainer(seed=77)
    resumed.resume(path)
    assert (resumed.epoch, resumed.batch) == (interrupted.epoch, interrupted.batch)
    resumed.fit(train_loader(), epochs=3, progress=False)
    assert_same(weights(whole), weights(resumed))
    for ours, theirs in zip(resumed.history, whole.history, strict=True):
        assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}


def test_a_loss_that_is_no_number_stops_the_training(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    trainer = make_trainer(checkpoint=path)
    trainer.fit(train_loader(), epochs=1, progress=False)
    before = path.read_bytes()
    trainer.loss = lambda logits, t: logits.sum() * float("nan")
    with pytest.raises(AnomalyError, match=r"nan in epoch 2, batch 1; try a smaller learning rate"):
        trainer.fit(train_loader(), epochs=2, progress=False)
    assert path.read_bytes() == before


def test_evaluation_changes_nothing_and_records_nothing():
    trainer = make_trainer()
    before = weights(trainer)
    totals = trainer.evaluate(DataLoader(stripes(), 7))
    assert_same(before, weights(trainer))
    assert totals.count == 30
    assert totals.labels.tolist() == stripes()[:][1].tolist()
    assert totals.accuracy == (totals.labels == totals.predictions).mean()


def test_totals_weigh_batches_by_their_size():
    totals = Totals()
    logits = minicnn.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 1.0]])
    totals.add(minicnn.tensor(1.0), logits, minicnn.tensor([0, 0, 0]))
    totals.add(minicnn.tensor(4.0), logits[:1], minicnn.tensor([0]))
    assert totals.mean_loss == pytest.approx(7 / 4)
    assert totals.accuracy == pytest.approx(3 / 4)
    assert Totals(*totals.state()).mean_loss == totals.mean_loss


class WithHeads(nn.Module):
    """A classifier with two auxiliary heads in training."""

    def __init__(self):
        super().__init__()
        self.heads = nn.ModuleList([nn.Linear(36, 2) for _ in range(3)])

    def forward(self, x):
        logits = tuple(head(x.reshape(len(x), -1)) for head in self.heads)
        return logits if self.training else logits[0]


def test_auxiliary_heads_count_with_three_tenths():
    model = WithHeads()
    trainer = Trainer(model, SGD(model.parameters(), lr=0.0))
    (row,) = trainer.fit(train_loader(), train_loader(), epochs=1, progress=False)
    images, labels = stripes()[:]
    losses = [
        nn.functional.cross_entropy(logits, minicnn.tensor(labels)).item()
        for logits in model.train()(minicnn.tensor(images))
    ]
    assert row["train_loss"] == pytest.approx(losses[0] + 0.3 * (losses[1] + losses[2]), rel=1e-5)
    assert row["validation_loss"] == pytest.approx(losses[0], rel=1e-5)
    assert row["train_accuracy"] == row["validation_accuracy"]


@pytest.mark.parametrize(
    ("losses", "epochs"), [([3, 2, 2, 2.5, 1], 4), ([3, 2, 2.5, 1, 1.5], 5), ([1, 1, 1], 3)]
)
def test_patience_ends_a_training_that_gets_no_better(losses, epochs, monkeypatch, tmp_path):
    def planned(trainer):
        rest = iter(losses[len(trainer.history) :])
        monkeypatch.setattr(trainer, "evaluate", lambda loader: Totals(next(rest), 1, 1))
        return trainer

    path = tmp_path / "checkpoint.safetensors"
    trainer = planned(make_trainer(checkpoint=path))
    trainer.fit(train_loader(), [], epochs=5, patience=2, progress=False)
    assert len(trainer.history) == epochs
    first = planned(make_trainer(checkpoint=path))
    first.fit(train_loader(), [], epochs=2, patience=2, progress=False)
    resumed = make_trainer()
    resumed.resume(path)
    planned(resumed).fit(train_loader(), [], epochs=5, patience=2, progress=False)
    assert len(resumed.history) == epochs


def test_patience_needs_a_validation_loss():
    for patience, validation in ((2, None), (0, train_loader())):
        with pytest.raises(ArgumentError, match=f"validation_loader, got {patience}"):
            make_trainer().fit(train_loader(), validation, epochs=1, patience=patience)


def test_no_epochs_are_refused():
    with pytest.raises(ArgumentError, match="epochs must be at least 1, got 0"):
        make_trainer().fit(train_loader(), epochs=0)


def test_the_line_of_an_epoch():
    row = {
        "epoch": 3, "train_loss": 0.5, "train_accuracy": 0.875, "validation_loss": None,
        "validation_accuracy": None, "seconds": 1.25,
    }  # fmt: skip
    assert describe(row, 10) == "epoch  3/10   train loss 0.5000  accuracy 87.50%   1.2 s"
