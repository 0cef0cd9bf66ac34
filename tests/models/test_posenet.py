from __future__ import annotations

import numpy as np
import pytest
from small_models import count
from twins import assert_twins

import minicnn
from minicnn import models
from minicnn.models import in_torch, pose_loss
from minicnn.models.posenet import Pose, PoseNetOutputs
from minicnn.optim import Adam

SMALL = {"dropout": 0.0, "dropout_aux": 0.0, "width": 1 / 16}


def test_parameters(undrawn):
    """Three classifiers of 1000 go, three regressors of 7 come, and a layer of 2048 before one."""
    classifiers, regressors = 3 * (1024 + 1) * 1000, (2048 + 1024 + 1024 + 3) * 7
    expected = count(models.googlenet()) - classifiers + regressors + (1024 + 1) * 2048
    assert count(models.posenet()) == expected == 12_057_781


def test_outputs_are_named(seeded):
    model, x = models.posenet(**SMALL), minicnn.rand(2, 3, 35, 41)
    outputs = model(x)
    assert outputs._fields == ("pose", "aux_pose2", "aux_pose1")
    for pose in (*outputs, model.eval()(x)):
        assert pose._fields == ("position", "orientation")
        assert [y.shape for y in pose] == [(2, 3), (2, 4)]


def test_loss_by_hand():
    pose = Pose(minicnn.tensor([[3.0, 4.0, 0.0]]), minicnn.tensor([[0.6, 0.0, 0.8, 2.0]]))
    position, orientation = minicnn.zeros(1, 3), minicnn.tensor([[3.0, 0.0, 4.0, 0.0]])
    assert pose_loss(pose, position, orientation, beta=10.0).item() == pytest.approx(5 + 10 * 2)
    exact = Pose(position, minicnn.tensor([[0.6, 0.0, 0.8, 0.0]]))
    outputs = PoseNetOutputs(exact, pose, pose)
    loss = pose_loss(outputs, position, orientation, beta=10.0)
    assert loss.item() == pytest.approx(2 * 0.3 * 25, rel=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_the_same_in_torch(torch, training, rng, seeded):
    ours, theirs = (
        make("posenet", **SMALL).train(training) for make in (models.create, in_torch.create)
    )
    x = rng.normal(size=(2, 3, 35, 41))
    assert_twins(torch, ours, theirs, x, tolerance=1e-8)
    labels = rng.normal(size=(2, 3)), rng.normal(size=(2, 4))
    loss = pose_loss(ours(minicnn.tensor(x)), *map(minicnn.tensor, labels))
    expected = in_torch.load("posenet").pose_loss(
        theirs(torch.tensor(x)), *map(torch.tensor, labels)
    )
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    ours.zero_grad()
    theirs.zero_grad()
    loss.backward()
    expected.backward()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        if other.grad is not None:
            scale = max(float(other.grad.abs().max()), 1e-6)
            np.testing.assert_allclose(mine.grad.array, other.grad.numpy(), 0, 1e-7 * scale)


def test_it_learns_where_a_bar_lies_and_how_it_is_turned(seeded, rng):
    """A bar in a picture; the quaternion turns about the third axis."""
    middle, angle = rng.uniform(-1, 1, size=(8, 2)), rng.uniform(-1, 1, size=8)
    rows, columns = np.mgrid[-2:2:33j, -2:2:33j]
    x, y = columns - middle[:, 0, None, None], rows - middle[:, 1, None, None]
    c, s = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    bars = np.exp(-4 * ((x * c + y * s) ** 2 / 2 + (y * c - x * s) ** 2 * 2))
    pictures = minicnn.tensor(np.repeat(bars[:, None], 3, axis=1).astype(np.float32))
    zeros = np.zeros(8)
    position = minicnn.tensor(np.float32(np.c_[middle, zeros]))
    orientation = minicnn.tensor(
        np.float32(np.c_[np.cos(angle / 2), zeros, zeros, np.sin(angle / 2)])
    )
    model = models.posenet(**SMALL)
    optimizer = Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = pose_loss(model(pictures), position, orientation, beta=2.0)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
