"""The trainer learns, is reproducible, and an interruption leaves no trace in the weights."""

from __future__ import annotations

from signal import SIGINT, raise_signal

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.data import DataLoader, TensorDataset
from minicnn.data.augment import RandomAffine
from minicnn.errors import AnomalyError, ArgumentError
from minicnn.optim import SGD, Adam
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


# --- on a card ------------------------------------------------------------------------------------


def on_card(**settings):
    """Return a trainer whose model lies on the card, with Adam and dropout."""
    minicnn.manual_seed(3)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.2), nn.MaxPool2d(2),
        nn.Conv2d(3, 2, 2), nn.Flatten(),
    ).to("cuda")  # fmt: skip
    optimizer = Adam(model.parameters(), lr=0.05)
    scheduler = CosineAnnealingLR(optimizer, T_max=3)
    return Trainer(model, optimizer, scheduler=scheduler, **settings)


def card_weights(trainer):
    return {name: t.cpu().numpy() for name, t in trainer.model.state_dict().items()}


def rows_of(trainer):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in trainer.history]


def test_a_captured_training_on_a_card_is_the_eager_one_bit_by_bit(card, seeded):
    """With a last smaller batch, a changing learning rate, dropout and moved pictures."""
    eager = on_card(augment=RandomAffine(translate=0.1), capture=False)
    minicnn.manual_seed(5)
    eager.fit(train_loader(), DataLoader(stripes(), 16), epochs=3, progress=False)
    assert card.seen("launch").get("graph", 0) == 0
    captured = on_card(augment=RandomAffine(translate=0.1))
    minicnn.manual_seed(5)
    captured.fit(train_loader(), DataLoader(stripes(), 16), epochs=3, progress=False)
    assert captured._learned.reason is None
    assert card.seen("launch")["graph"] == 9 - 2 + 1  # the last batch of the third epoch, too
    assert_same(card_weights(eager), card_weights(captured))
    for ours, theirs in zip(rows_of(captured), rows_of(eager), strict=True):
        assert {k: v for k, v in ours.items() if "bytes" not in k} == {
            k: v for k, v in theirs.items() if "bytes" not in k
        }


def test_a_step_on_a_card_does_not_wait(card, seeded):
    trainer = on_card()
    batches = iter(DataLoader(stripes(), 8))
    for _ in range(3):
        trainer._step(*next(batches))
    x, t = (part.cuda() for part in next(iter(DataLoader(stripes(), 8))))
    card.machine.seen.clear()
    trainer._step(x, t)
    assert card.seen("wait") == {}
    assert card.seen("copy") == {"array": 1}  # the numbers of the step, to the card
    assert trainer.totals.count == 32


def test_memory_of_the_card_is_in_the_log(card, seeded, capsys):
    trainer = on_card()
    trainer.fit(train_loader(), epochs=2)
    row = trainer.history[-1]
    assert min(row["peak_bytes"], row["reserved_bytes"]) > 2**20  # the numbers of its graph alone
    assert capsys.readouterr().out.splitlines()[-1].endswith("MiB of the card")
    assert "peak_bytes" not in make_trainer().fit(train_loader(), epochs=1, progress=False)[0]


@pytest.mark.parametrize("stop_after", [2, 5])
def test_an_interrupted_training_on_a_card_goes_on(card, seeded, monkeypatch, tmp_path, stop_after):
    whole = on_card()
    minicnn.manual_seed(9)
    whole.fit(train_loader(), epochs=3, progress=False)

    path = tmp_path / "checkpoint.safetensors"
    first = on_card(checkpoint=path)
    minicnn.manual_seed(9)
    step, done = first._step, []

    def stopping(x, t):
        step(x, t)
        done.append(0)
        if len(done) == stop_after:
            raise_signal(SIGINT)

    monkeypatch.setattr(first, "_step", stopping)
    with pytest.raises(Interrupted):
        first.fit(train_loader(), epochs=3, progress=False)
    again = on_card(checkpoint=path)
    minicnn.manual_seed(1)
    again.resume(path)
    again.fit(train_loader(), epochs=3, progress=False)
    assert_same(card_weights(whole), card_weights(again))


def test_a_checkpoint_of_a_card_is_read_on_the_cpu_and_back(card, seeded, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    trainer = on_card(checkpoint=path)
    trainer.fit(train_loader(), epochs=1, progress=False)
    state = card_weights(trainer)

    on_cpu = on_card()
    model = on_cpu.model.to("cpu")
    optimizer = Adam(model.parameters(), lr=0.05)
    other = Trainer(model, optimizer, scheduler=CosineAnnealingLR(optimizer, T_max=3))
    other.resume(path)
    assert_same(state, weights(other))
    moments = optimizer.state_dict()["state"][0]
    np.testing.assert_array_equal(
        moments["exp_avg"], trainer.optimizer.state_dict()["state"][0]["exp_avg"].get()
    )
    other.checkpoint = tmp_path / "cpu.safetensors"
    other.fit(train_loader(), epochs=2, progress=False)

    again = on_card()
    again.resume(tmp_path / "cpu.safetensors")
    assert_same(card_weights(again), weights(other))
    again.fit(train_loader(), epochs=3, progress=False)
    assert [("peak_bytes" in row) for row in again.history] == [True, False, True]


def test_a_loss_that_is_no_number_stops_a_training_on_a_card(card, seeded, tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.safetensors"
    trainer = on_card(checkpoint=path)
    trainer.fit(train_loader(), epochs=1, progress=False)
    before = path.read_bytes()
    trainer.model[0].weight.array[...] = np.nan
    with pytest.raises(AnomalyError, match="became nan in epoch 2, batch 4 or before"):
        trainer.fit(train_loader(), epochs=2, progress=False)
    monkeypatch.setattr("minicnn.train.trainer.LOOK_EVERY", 2)
    trainer.resume(path)
    trainer.model[0].weight.array[...] = np.nan
    with pytest.raises(AnomalyError, match="became nan in epoch 2, batch 2 or before"):
        trainer.fit(train_loader(), epochs=2, progress=False)
    assert path.read_bytes() == before


def test_a_loss_that_cannot_be_captured_is_trained_eagerly(card, seeded, caplog):
    def loss(outputs, labels):
        found = nn.functional.cross_entropy(outputs, labels)
        return found * (2.0 if found.item() > 0 else 1.0)

    trainer = on_card(loss=loss)
    trainer.fit(train_loader(), epochs=2, progress=False)
    assert "it reads a value on the card" in caplog.text
    assert len(caplog.messages) == 1
    assert trainer.history[-1]["train_loss"] > 0
